// SPDX-License-Identifier: Apache-2.0
#include "homer/answer_reader.h"

#include <array>
#include <cstdint>
#include <cstring>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal::homer {
namespace {

// No name that matters is longer.
constexpr std::size_t kLongestName = 16;

enum Kind : std::uint8_t { kBad, kPlain, kSpecial };

constexpr std::array<Kind, 256> MakeKinds() {
  std::array<Kind, 256> kinds{};  // kBad
  for (const char c : {' ', '\t', '\r', '\n', '+', '-', '.'}) {
    kinds[static_cast<unsigned char>(c)] = kPlain;
  }
  for (char c = '0'; c <= '9'; ++c) kinds[static_cast<unsigned char>(c)] = kPlain;
  for (char c = 'a'; c <= 'z'; ++c) kinds[static_cast<unsigned char>(c)] = kPlain;
  kinds['E'] = kPlain;
  for (const char c : {'"', '{', '}', '[', ']', ',', ':'}) {
    kinds[static_cast<unsigned char>(c)] = kSpecial;
  }
  return kinds;
}
constexpr std::array<Kind, 256> kKinds = MakeKinds();

bool IsRows(std::string_view name) { return name == "messages" || name == "items"; }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

}  // namespace

absl::Status AnswerReader::Invalid(const char* what) const {
  return absl::InvalidArgumentError(
      absl::StrFormat("%s, near byte %d of the answer", what, consumed_));
}

absl::Status AnswerReader::Append(std::string_view bytes) {
  const char* at = bytes.data();
  const char* const end = at + bytes.size();
  row_begin_ = at;
  while (at != end) {
    if (in_string_) {
      // The end is the next quote that no odd number of backslashes precedes.
      const char* const begin = at;
      const char* const quote =
          static_cast<const char*>(std::memchr(at, '"', static_cast<std::size_t>(end - at)));
      const char* const stop = quote != nullptr ? quote : end;
      std::size_t backslashes = 0;
      while (stop - backslashes != begin && *(stop - backslashes - 1) == '\\') ++backslashes;
      // A run of backslashes that began in the piece before, or before a quote that it escaped.
      const bool whole = stop - backslashes == begin;
      odd_backslashes_ = ((backslashes & 1) != 0) != (whole && odd_backslashes_);
      if (keeps_ && name_.size() < kLongestName) {
        name_.append(begin, std::min<std::size_t>(static_cast<std::size_t>(stop - begin),
                                                  kLongestName - name_.size()));
      }
      at = stop;
      if (quote == nullptr) continue;
      ++at;
      if (odd_backslashes_) {
        odd_backslashes_ = false;
        continue;
      }
      in_string_ = false;
      if (keeps_) {
        (depth_ == 1 ? name1_ : name2_) = name_;
        if (depth_ == 1 && name_ == "success") is_homer11_ = true;
        if (depth_ == 2 && IsRows(name_)) has_rows_ = true;
        keeps_ = false;
      }
      continue;
    }
    const Kind kind = kKinds[static_cast<unsigned char>(*at)];
    if (kind == kPlain && (depth_ > 0 || IsSpace(*at))) {
      ++at;
      continue;
    }
    if (kind != kSpecial || ended_) return Invalid("what is not JSON");
    ABSL_RETURN_IF_ERROR(Take(*at, at));
    ++at;
  }
  if (in_row_) {
    row_.append(row_begin_, static_cast<std::size_t>(end - row_begin_));
    if (row_.size() > max_row_bytes_) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("a message has more than max_row_bytes = %d bytes", max_row_bytes_));
    }
  }
  consumed_ += bytes.size();
  return absl::OkStatus();
}

absl::Status AnswerReader::Take(char c, const char* at) {
  if (depth_ == 0 && c != '{') return Invalid("what is not a JSON object");
  switch (c) {
    case '"':
      if (in_rows_ && !in_row_) return Invalid("a row that is no object");
      in_string_ = true;
      odd_backslashes_ = false;
      keeps_ = KeepsName();
      name_.clear();
      return absl::OkStatus();
    case ':':
      expect_name_ = false;
      return absl::OkStatus();
    case ',':
      expect_name_ = InObject();
      return absl::OkStatus();
    case '{':
    case '[':
      return Open(c, at);
    default:
      return Close(c, at);
  }
}

absl::Status AnswerReader::Open(char c, const char* at) {
  if (depth_ == kMaxDepth) return Invalid("JSON that is nested too deep");
  if (in_rows_ && !in_row_) {
    if (c != '{') return Invalid("a row that is no object");
    in_row_ = true;
    row_.clear();
    row_begin_ = at;
  } else if (c == '[' && depth_ == 2 && InObject() && name1_ == "data" && IsRows(name2_)) {
    in_rows_ = true;
  }
  is_object_[depth_++] = c == '{';
  expect_name_ = c == '{';
  if (depth_ == 2) name2_.clear();
  return absl::OkStatus();
}

absl::Status AnswerReader::Close(char c, const char* at) {
  if (InObject() != (c == '}')) return Invalid("a bracket that closes another kind");
  --depth_;
  expect_name_ = false;
  if (in_row_ && depth_ == 3) return EndRow(at + 1);
  if (in_rows_ && depth_ == 2) in_rows_ = false;
  if (depth_ == 0) ended_ = true;
  return absl::OkStatus();
}

absl::Status AnswerReader::EndRow(const char* end) {
  in_row_ = false;
  row_.append(row_begin_, static_cast<std::size_t>(end - row_begin_));
  if (row_.size() > max_row_bytes_) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("a message has more than max_row_bytes = %d bytes", max_row_bytes_));
  }
  ++rows_;
  row_.reserve(row_.size() + kRowPadding);
  return on_row_(row_);
}

absl::Status AnswerReader::Finish() const {
  return ended_ ? absl::OkStatus() : Invalid("the answer was cut");
}

}  // namespace sipheal::inline v0_1::internal::homer
