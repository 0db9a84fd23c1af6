// SPDX-License-Identifier: Apache-2.0
// Copies of texts that are mostly short: those are done without a call.
#pragma once

#include <cstdint>
#include <cstring>
#include <string_view>

namespace sipheal::inline v0_1::sip {

// As memcpy. Up to 64 bytes two moves do it, which may overlap.
[[gnu::always_inline]] inline void CopyText(char* to, std::string_view text) {
  const char* const from = text.data();
  const std::size_t size = text.size();
  auto twice = [&]<typename Part>(Part first, Part last) {
    std::memcpy(&first, from, sizeof(Part));
    std::memcpy(&last, from + size - sizeof(Part), sizeof(Part));
    std::memcpy(to, &first, sizeof(Part));
    std::memcpy(to + size - sizeof(Part), &last, sizeof(Part));
  };
  struct Sixteen {
    std::uint64_t words[2];
  };
  struct ThirtyTwo {
    std::uint64_t words[4];
  };
  if (size > 64) {
    std::memcpy(to, from, size);
  } else if (size >= 32) {
    twice(ThirtyTwo{}, ThirtyTwo{});
  } else if (size >= 16) {
    twice(Sixteen{}, Sixteen{});
  } else if (size >= 8) {
    twice(std::uint64_t{}, std::uint64_t{});
  } else if (size >= 4) {
    twice(std::uint32_t{}, std::uint32_t{});
  } else if (size > 0) {
    const char middle = from[size / 2];
    const char last = from[size - 1];
    to[0] = from[0];
    to[size / 2] = middle;
    to[size - 1] = last;
  }
}

}  // namespace sipheal::inline v0_1::sip
