// SPDX-License-Identifier: Apache-2.0
// Small text helpers of the SIP layer. Constant-size, allocation-free, locale-free.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

namespace sipheal::inline v0_1::sip {

constexpr bool IsDigit(char c) { return c >= '0' && c <= '9'; }
constexpr bool IsAlpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
constexpr char Lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
// Linear white space as it stands in a header value that may be folded over lines.
constexpr bool IsLws(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// RFC 3261 25.1 token characters.
constexpr bool IsTokenChar(char c) {
  if (IsAlpha(c) || IsDigit(c)) return true;
  switch (c) {
    case '-':
    case '.':
    case '!':
    case '%':
    case '*':
    case '_':
    case '+':
    case '`':
    case '\'':
    case '~':
      return true;
    default:
      return false;
  }
}

constexpr bool IsToken(std::string_view text) {
  for (char c : text) {
    if (!IsTokenChar(c)) return false;
  }
  return !text.empty();
}

constexpr bool EqualsIgnoreCase(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (Lower(a[i]) != Lower(b[i])) return false;
  }
  return true;
}

constexpr std::string_view TrimLws(std::string_view text) {
  while (!text.empty() && IsLws(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsLws(text.back())) text.remove_suffix(1);
  return text;
}

// Digits only, leading zeros allowed (RFC 4475 3.1.1.1), no more than `limit`. No wrap-around.
constexpr std::optional<std::uint32_t> ParseUnsigned(std::string_view text, std::uint32_t limit) {
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  for (char c : text) {
    if (!IsDigit(c)) return std::nullopt;
    value = value * 10 + static_cast<std::uint64_t>(c - '0');
    if (value > limit) return std::nullopt;
  }
  return static_cast<std::uint32_t>(value);
}

// A 64-bit hash that does not change between processes (FNV-1a with a final mix).
constexpr std::uint64_t HashBytes(std::string_view text, std::uint64_t seed = 0) {
  std::uint64_t hash = 0xcbf29ce484222325u ^ seed;
  for (char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3u;
  hash ^= hash >> 32;
  hash *= 0xd6e8feb86659fd93u;
  hash ^= hash >> 32;
  return hash;
}

// The same for whole messages: four times eight bytes at a time, which do not wait for each other.
inline std::uint32_t HashMessage(std::string_view text) {
  constexpr std::uint64_t kPrime = 0x9fb21c651e98df25u;
  constexpr std::size_t kLanes = 4;
  std::uint64_t lanes[kLanes] = {0x9e3779b97f4a7c15u ^ text.size(), 0xc2b2ae3d27d4eb4fu,
                                 0x165667b19e3779f9u, 0x85ebca77c2b2ae63u};
  auto mix = [](std::uint64_t hash, std::uint64_t word) {
    hash = (hash ^ word) * kPrime;
    return hash ^ hash >> 29;
  };
  std::size_t at = 0;
  for (; at + 8 * kLanes <= text.size(); at += 8 * kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      std::uint64_t word;
      std::memcpy(&word, text.data() + at + 8 * lane, 8);
      lanes[lane] = mix(lanes[lane], word);
    }
  }
  std::uint64_t hash = 0;
  for (; at < text.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + at, std::min<std::size_t>(8, text.size() - at));
    hash = mix(hash, word);
  }
  for (const std::uint64_t lane : lanes) hash = mix(hash, lane);
  return static_cast<std::uint32_t>(hash ^ (hash >> 32));
}

// True when the value cannot be put into a header or a channel variable.
inline bool HasUnsafeBytes(std::string_view text) {
  constexpr std::uint64_t kOnes = 0x0101010101010101u;
  // Not zero when one of the eight bytes is.
  auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word & (kOnes << 7); };
  std::size_t at = 0;
  for (; at + 8 <= text.size(); at += 8) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + at, 8);
    if ((zeros(word) | zeros(word ^ kOnes * '\r') | zeros(word ^ kOnes * '\n')) != 0) return true;
  }
  for (; at < text.size(); ++at) {
    if (text[at] == '\r' || text[at] == '\n' || text[at] == '\0') return true;
  }
  return false;
}

}  // namespace sipheal::inline v0_1::sip
