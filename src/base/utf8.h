// SPDX-License-Identifier: Apache-2.0
// UTF-8 in bytes that somebody else wrote (RFC 3629).
#pragma once

#include <cstddef>
#include <string_view>

namespace sipheal::inline v0_1::internal {

// How many bytes the character at the front has, and which it is; 0 when no character begins there:
// continuation bytes, overlong forms, surrogates, what is above U+10FFFF, and what is cut.
inline std::size_t DecodeUtf8(std::string_view text, char32_t& code) {
  const auto byte = [&](std::size_t at) {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0u;
  };
  const unsigned first = byte(0);
  std::size_t length = 0;
  unsigned least = 0;
  if (text.empty()) return 0;
  if (first < 0x80) {
    code = first;
    return 1;
  }
  if (first >> 5 == 0x06) {
    length = 2, code = first & 0x1f, least = 0x80;
  } else if (first >> 4 == 0x0e) {
    length = 3, code = first & 0x0f, least = 0x800;
  } else if (first >> 3 == 0x1e) {
    length = 4, code = first & 0x07, least = 0x10000;
  } else {
    return 0;
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 0x02) return 0;
    code = code << 6 | (byte(i) & 0x3f);
  }
  const bool surrogate = code >= 0xd800 && code < 0xe000;
  return code >= least && code <= 0x10ffff && !surrogate ? length : 0;
}

// Characters that change how the text around them is shown, or whether it is: controls, marks and
// overrides of direction, and what is no character at all.
inline bool IsInvisible(char32_t code) {
  return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x061c ||
         (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
         (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || (code & 0xfffe) == 0xfffe;
}

}  // namespace sipheal::inline v0_1::internal
