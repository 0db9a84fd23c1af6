// SPDX-License-Identifier: Apache-2.0
// Reads big-endian numbers from bytes that somebody else made; never outside of them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sipheal::inline v0_1::pcap {

inline std::uint8_t Byte(std::string_view bytes, std::size_t at) {
  return at < bytes.size() ? static_cast<std::uint8_t>(bytes[at]) : 0;
}
inline std::uint16_t Be16(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint16_t>(Byte(bytes, at) << 8 | Byte(bytes, at + 1));
}
inline std::uint32_t Be32(std::string_view bytes, std::size_t at) {
  return static_cast<std::uint32_t>(Be16(bytes, at)) << 16 | Be16(bytes, at + 2);
}
// What follows the first `count` bytes; empty when there are not so many.
inline std::string_view After(std::string_view bytes, std::size_t count) {
  return count <= bytes.size() ? bytes.substr(count) : std::string_view();
}

}  // namespace sipheal::inline v0_1::pcap
