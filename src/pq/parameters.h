// SPDX-License-Identifier: Apache-2.0
// The parameters of one statement in PostgreSQL's binary form: no value is ever part of the SQL
// text, and none needs escaping. (PostgreSQL documentation, 55.2.3; arrays as array_recv reads
// them, src/backend/utils/adt/arrayfuncs.c.)
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal::pq {

class SIPHEAL_EXPORT Parameters {
 public:
  // Each adds the next parameter: $1, $2, ...
  Parameters& Text(std::string_view value);
  Parameters& Blob(std::string_view value);
  Parameters& Number(std::int64_t value);
  Parameters& Bool(bool value);

  // One value for each row of a batch, given to the statement as an array for unnest().
  class SIPHEAL_EXPORT Column {
   public:
    void Text(std::string_view value) { Add(value); }
    void Number(std::int64_t value);
    void Bool(bool value);
    void Null();

   private:
    friend class Parameters;
    void Add(std::string_view value);

    std::string elements_;
    std::uint32_t count_ = 0;
    bool has_null_ = false;
  };
  Parameters& Texts(const Column& column);
  Parameters& Blobs(const Column& column);
  Parameters& Numbers(const Column& column);
  Parameters& Bools(const Column& column);

  int count() const { return static_cast<int>(types_.size()); }
  const std::uint32_t* types() const { return types_.data(); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  Parameters& Add(std::uint32_t type, std::string value);
  Parameters& Array(std::uint32_t type, std::uint32_t element, const Column& column);

  std::deque<std::string> held_;  // what values_ points to: elements of a deque stay where they are
  std::vector<std::uint32_t> types_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

}  // namespace sipheal::inline v0_1::internal::pq
