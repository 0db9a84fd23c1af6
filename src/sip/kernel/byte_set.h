// SPDX-License-Identifier: Apache-2.0
// Sets of ASCII characters as two tables of sixteen, one for each half of a byte: a byte is in the
// set when its two entries share a bit. That is how a byte shuffle looks up sixteen bytes at once.
#pragma once

#include <array>
#include <cstdint>

namespace sipheal::inline v0_1::sip::kernel {

struct ByteSet {
  std::array<std::uint8_t, 16> by_low{};
  std::array<std::uint8_t, 16> by_high{};  // of bytes above 0x7f: nothing
};

// High halves that have the same low halves share a bit; there are never more than seven different
// ones, so that every entry is positive as a signed byte.
constexpr ByteSet MakeByteSet(bool (*contains)(int)) {
  ByteSet set;
  int known[8] = {};
  int bits = 0;
  for (int high = 0; high < 8; ++high) {
    int members = 0;
    for (int low = 0; low < 16; ++low) members |= contains(high * 16 + low) ? 1 << low : 0;
    if (members == 0) continue;
    int bit = 0;
    while (bit < bits && known[bit] != members) ++bit;
    if (bit == bits) known[bits++] = members;
    set.by_high[static_cast<unsigned>(high)] = static_cast<std::uint8_t>(1 << bit);
    for (unsigned low = 0; low < 16; ++low) {
      if ((members >> low) & 1) {
        set.by_low[low] = static_cast<std::uint8_t>(set.by_low[low] | (1 << bit));
      }
    }
  }
  return set;
}

constexpr bool IsUriStop(int c) {
  return c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"';
}
constexpr bool IsOddInUri(int c) { return IsUriStop(c) || c == '@' || c == '?'; }
constexpr bool IsHostByte(int c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
         c == '-';
}
constexpr bool IsValueStop(int c) {
  return c <= ' ' || c == ';' || c == ',' || c == '<' || c == '>' || c == '"';
}

alignas(16) inline constexpr ByteSet kUriStops = MakeByteSet(IsUriStop);
alignas(16) inline constexpr ByteSet kOddInUri = MakeByteSet(IsOddInUri);
alignas(16) inline constexpr ByteSet kHostBytes = MakeByteSet(IsHostByte);
alignas(16) inline constexpr ByteSet kValueStops = MakeByteSet(IsValueStop);

}  // namespace sipheal::inline v0_1::sip::kernel
