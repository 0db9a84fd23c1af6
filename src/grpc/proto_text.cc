// SPDX-License-Identifier: Apache-2.0
#include "grpc/proto_text.h"

#include "base/utf8.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr std::string_view kReplacement = "\xef\xbf\xbd";

}  // namespace

std::string ToUtf8(std::string_view text, bool* changed) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    char32_t code = 0;
    std::size_t length = DecodeUtf8(text, code);
    if (length == 0) {
      out += kReplacement;
      length = 1;
      if (changed != nullptr) *changed = true;
    } else {
      out += text.substr(0, length);
    }
    text.remove_prefix(length);
  }
  return out;
}

std::string OneLine(std::string_view text, std::size_t most) {
  std::string out;
  while (!text.empty()) {
    char32_t code = 0;
    std::size_t length = DecodeUtf8(text, code);
    const bool shown = length > 0 && !IsInvisible(code);
    if (length == 0) length = 1;
    const std::string_view one = shown ? text.substr(0, length) : std::string_view("?");
    if (out.size() + one.size() > most) return out + "...";
    out += one;
    text.remove_prefix(length);
  }
  return out;
}

}  // namespace sipheal::inline v0_1::internal
