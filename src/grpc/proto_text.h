// SPDX-License-Identifier: Apache-2.0
// Text for the fields of proto3, which must be UTF-8: libprotobuf would print a complaint, and the
// peer refuse the whole message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sipheal::inline v0_1::internal {

// `text`, with U+FFFD for each byte that is no UTF-8.
std::string ToUtf8(std::string_view text, bool* changed = nullptr);

// What a peer wrote, fit for a log or a reason: one line, printable, at most `most` bytes and
// "...".
std::string OneLine(std::string_view text, std::size_t most = 200);

// Writes the texts of one message, and remembers the first name that was not UTF-8.
class ProtoText {
 public:
  // A name that must arrive as it is.
  std::string Name(std::string_view text, const char* field) {
    bool changed = false;
    std::string out = ToUtf8(text, &changed);
    if (changed && first_changed_.empty()) first_changed_ = field;
    return out;
  }
  // For a person, or for the record.
  static std::string Prose(std::string_view text) { return ToUtf8(text); }

  // The field; empty when all are whole.
  const std::string& first_changed() const { return first_changed_; }

 private:
  std::string first_changed_;
};

}  // namespace sipheal::inline v0_1::internal
