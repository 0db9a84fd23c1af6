// SPDX-License-Identifier: Apache-2.0
// Cuts the rows out of an answer of HOMER's while it arrives: an answer of 100 MB is never held,
// only the row at hand. simdjson reads a row fast but needs it whole; the rest of the answer, which
// is of no use here (it tells of each message again without its text), is looked at only for
// strings and brackets.
#pragma once

#include <bitset>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "homer/row.h"

namespace sipheal::inline v0_1::internal::homer {

// {"data":{"messages":[ROW,...],...},...} of HOMER 7, {"data":{"items":[ROW,...]},...} of HOMER 11.
// Not thread-safe.
class AnswerReader {
 public:
  // Takes one row: a JSON object with kRowPadding readable bytes behind it.
  using OnRow = std::function<absl::Status(std::string_view row)>;

  AnswerReader(std::size_t max_row_bytes, OnRow on_row)
      : max_row_bytes_(max_row_bytes), on_row_(std::move(on_row)) {}

  // InvalidArgument: no JSON, or not of that form. ResourceExhausted: a row that is too long. What
  // on_row gave. After an error nothing more may be appended.
  absl::Status Append(std::string_view bytes);
  // InvalidArgument when the answer ends before its end.
  absl::Status Finish() const;

  // Rows that were cut out.
  std::size_t rows() const { return rows_; }
  // It says what rows there are, if any: [] or null are none.
  bool has_rows() const { return has_rows_; }
  // The answer is of HOMER 11's /api/v3, which is another than HOMER 7's.
  bool is_homer11() const { return is_homer11_; }

 private:
  static constexpr std::size_t kMaxDepth = 64;

  absl::Status Take(char c, const char* at);
  absl::Status Open(char c, const char* at);
  absl::Status Close(char c, const char* at);
  absl::Status EndRow(const char* end);
  bool InObject() const { return depth_ > 0 && is_object_[depth_ - 1]; }
  // A name is kept where it tells what the value is.
  bool KeepsName() const {
    return expect_name_ && InObject() && (depth_ == 1 || (depth_ == 2 && name1_ == "data"));
  }
  absl::Status Invalid(const char* what) const;

  const std::size_t max_row_bytes_;
  const OnRow on_row_;

  std::size_t depth_ = 0;
  std::bitset<kMaxDepth> is_object_;
  bool in_string_ = false;
  bool odd_backslashes_ = false;  // before what comes next, within a string
  bool expect_name_ = false;
  bool keeps_ = false;  // the string at hand is a name that is kept, in name_
  std::string name_;    // at most a few bytes of it
  std::string name1_;   // the last name in the outermost object, and in its "data"
  std::string name2_;
  bool in_rows_ = false;  // within the array of rows
  bool in_row_ = false;
  bool ended_ = false;
  const char* row_begin_ = nullptr;  // of the row at hand, in the bytes at hand
  std::string row_;                  // what came of it before
  std::size_t consumed_ = 0;         // bytes of earlier pieces, for messages
  std::size_t rows_ = 0;
  bool has_rows_ = false;
  bool is_homer11_ = false;
};

}  // namespace sipheal::inline v0_1::internal::homer
