// SPDX-License-Identifier: Apache-2.0
#include "pq/parameters.h"

#include <utility>

namespace sipheal::inline v0_1::internal::pq {
namespace {

// PostgreSQL's src/include/catalog/pg_type.dat.
constexpr std::uint32_t kBool = 16;
constexpr std::uint32_t kBytea = 17;
constexpr std::uint32_t kInt8 = 20;
constexpr std::uint32_t kText = 25;
constexpr std::uint32_t kBoolArray = 1000;
constexpr std::uint32_t kByteaArray = 1001;
constexpr std::uint32_t kTextArray = 1009;
constexpr std::uint32_t kInt8Array = 1016;

void AppendBigEndian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = 8 * (bytes - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xff));
  }
}

}  // namespace

Parameters& Parameters::Text(std::string_view value) { return Add(kText, std::string(value)); }

Parameters& Parameters::Blob(std::string_view value) { return Add(kBytea, std::string(value)); }
Parameters& Parameters::Bool(bool value) { return Add(kBool, std::string(1, value ? 1 : 0)); }

Parameters& Parameters::Number(std::int64_t value) {
  std::string bytes;
  AppendBigEndian(bytes, static_cast<std::uint64_t>(value), 8);
  return Add(kInt8, std::move(bytes));
}

void Parameters::Column::Number(std::int64_t value) {
  AppendBigEndian(elements_, 8, 4);
  AppendBigEndian(elements_, static_cast<std::uint64_t>(value), 8);
  ++count_;
}

void Parameters::Column::Bool(bool value) { Add(std::string_view(value ? "\1" : "\0", 1)); }

void Parameters::Column::Null() {
  AppendBigEndian(elements_, 0xffffffff, 4);
  has_null_ = true;
  ++count_;
}

void Parameters::Column::Add(std::string_view value) {
  AppendBigEndian(elements_, value.size(), 4);
  elements_.append(value);
  ++count_;
}

Parameters& Parameters::Texts(const Column& column) { return Array(kTextArray, kText, column); }
Parameters& Parameters::Blobs(const Column& column) { return Array(kByteaArray, kBytea, column); }
Parameters& Parameters::Numbers(const Column& column) { return Array(kInt8Array, kInt8, column); }
Parameters& Parameters::Bools(const Column& column) { return Array(kBoolArray, kBool, column); }

Parameters& Parameters::Add(std::uint32_t type, std::string value) {
  held_.push_back(std::move(value));
  types_.push_back(type);
  values_.push_back(held_.back().data());
  lengths_.push_back(static_cast<int>(held_.back().size()));
  formats_.push_back(1);  // binary
  return *this;
}

Parameters& Parameters::Array(std::uint32_t type, std::uint32_t element, const Column& column) {
  std::string bytes;
  bytes.reserve(20 + column.elements_.size());
  AppendBigEndian(bytes, column.count_ == 0 ? 0 : 1, 4);  // dimensions
  AppendBigEndian(bytes, column.has_null_ ? 1 : 0, 4);
  AppendBigEndian(bytes, element, 4);
  if (column.count_ > 0) {
    AppendBigEndian(bytes, column.count_, 4);
    AppendBigEndian(bytes, 1, 4);  // the lowest subscript
    bytes.append(column.elements_);
  }
  return Add(type, std::move(bytes));
}

}  // namespace sipheal::inline v0_1::internal::pq
