// SPDX-License-Identifier: Apache-2.0
// Small text helpers of the SIP layer. Constant-size, allocation-free, locale-free.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
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

using HashKeys = std::array<std::uint64_t, 4>;

namespace hash_internal {

inline constexpr HashKeys kKeys = {0x9e3779b97f4a7c15u, 0xc2b2ae3d27d4eb4fu, 0x165667b19e3779f9u,
                                   0x9fb21c651e98df25u};

// Both halves of the product. The factors themselves are mixed in, so that one which is 0 wipes out
// nothing of the other. One which is 1 does: who knows the keys can make hashes equal.
inline std::uint64_t Mix(std::uint64_t a, std::uint64_t b) {
#ifdef __SIZEOF_INT128__
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return a ^ b ^ static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
#else
  const std::uint64_t low = (a & 0xffffffffu) * (b & 0xffffffffu);
  const std::uint64_t cross = (a >> 32) * (b & 0xffffffffu) + (low >> 32);
  const std::uint64_t other = (a & 0xffffffffu) * (b >> 32) + (cross & 0xffffffffu);
  const std::uint64_t high = (a >> 32) * (b >> 32) + (cross >> 32) + (other >> 32);
  return a ^ b ^ (a * b) ^ high;
#endif
}

inline std::uint64_t Load64(const char* at) {
  std::uint64_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}
inline std::uint32_t Load32(const char* at) {
  std::uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

}  // namespace hash_internal

// A 64-bit hash by words, for what stays within the process: it depends on the order of bytes in
// one. With the keys that are known, not for what an attacker may choose, unless what is equal by
// it is compared. Each eight bytes have kSet set in them first, so that letter case can be left out
// of it.
template <std::uint64_t kSet = 0>
inline std::uint64_t HashWords(std::string_view text, std::uint64_t seed = 0,
                               const HashKeys& keys = hash_internal::kKeys) {
  using namespace hash_internal;
  const char* at = text.data();
  const std::size_t size = text.size();
  std::uint64_t hash = keys[0] ^ seed;
  std::uint64_t a = 0;
  std::uint64_t b = 0;
  if (size > 16) {
    const char* const last = at + size - 16;
    for (; at < last; at += 16) {
      hash = Mix((Load64(at) | kSet) ^ keys[1], (Load64(at + 8) | kSet) ^ hash);
    }
    a = Load64(last);
    b = Load64(last + 8);
  } else if (size >= 8) {
    a = Load64(at);
    b = Load64(at + size - 8);
  } else if (size >= 4) {
    a = Load32(at);
    b = Load32(at + size - 4);
  } else if (size > 0) {
    a = static_cast<unsigned char>(at[0]) | static_cast<unsigned>(at[size / 2]) << 8;
    b = static_cast<unsigned char>(at[size - 1]);
  }
  return Mix(Mix((a | kSet) ^ keys[2], (b | kSet) ^ hash), keys[3] ^ size);
}

// The same for whole messages: four chains of words, which do not wait for each other.
inline std::uint32_t HashMessage(std::string_view text) {
  using namespace hash_internal;
  constexpr std::size_t kBlock = 64;
  std::uint64_t hash;
  if (text.size() < kBlock) {
    hash = HashWords(text);
  } else {
    std::uint64_t a = kKeys[0];
    std::uint64_t b = kKeys[1];
    std::uint64_t c = kKeys[2];
    std::uint64_t d = kKeys[3];
    const auto add = [&](const char* at) {
      a = Mix(Load64(at) ^ kKeys[1], Load64(at + 8) ^ a);
      b = Mix(Load64(at + 16) ^ kKeys[2], Load64(at + 24) ^ b);
      c = Mix(Load64(at + 32) ^ kKeys[3], Load64(at + 40) ^ c);
      d = Mix(Load64(at + 48) ^ kKeys[0], Load64(at + 56) ^ d);
    };
    const char* at = text.data();
    const char* const last = at + text.size() - kBlock;
    for (; at < last; at += kBlock) add(at);
    add(last);  // overlaps the one before
    // The size last: no word of the text can undo it.
    hash = Mix(Mix(a, b) ^ text.size(), Mix(c, d));
  }
  return static_cast<std::uint32_t>(hash ^ hash >> 32);
}

// As ==, for texts of a few dozen bytes: a call of memcmp takes longer than comparing them.
inline bool SameText(std::string_view a, std::string_view b) {
  using namespace hash_internal;
  const std::size_t size = a.size();
  if (size != b.size()) return false;
  const char* x = a.data();
  const char* y = b.data();
  if (size > 64) return std::memcmp(x, y, size) == 0;
  if (size < 8) {
    if (size >= 4) {
      return ((Load32(x) ^ Load32(y)) | (Load32(x + size - 4) ^ Load32(y + size - 4))) == 0;
    }
    for (std::size_t i = 0; i < size; ++i) {
      if (x[i] != y[i]) return false;
    }
    return true;
  }
  // The last words overlap those before.
  std::uint64_t differ = Load64(x + size - 8) ^ Load64(y + size - 8);
  for (std::size_t at = 8; at < size; at += 8) {
    differ |= Load64(x + at - 8) ^ Load64(y + at - 8);
  }
  return differ == 0;
}

// Whether one of the bytes is in the text, which is short.
template <char... kWanted>
inline bool HasAny(std::string_view text) {
  using hash_internal::Load64;
  constexpr std::uint64_t kOnes = 0x0101010101010101u;
  // Not zero when one of the eight bytes is.
  const auto zeros = [](std::uint64_t word) { return (word - kOnes) & ~word & (kOnes << 7); };
  const auto found = [&](std::uint64_t word) {
    return (... | zeros(word ^ kOnes * static_cast<unsigned char>(kWanted)));
  };
  const std::size_t size = text.size();
  if (size < 8) {
    return std::any_of(text.begin(), text.end(), [](char c) { return (... || (c == kWanted)); });
  }
  // The last word overlaps that before.
  std::uint64_t any = found(Load64(text.data() + size - 8));
  for (std::size_t at = 8; at < size; at += 8) any |= found(Load64(text.data() + at - 8));
  return any != 0;
}

// True when the value cannot be put into a header or a channel variable.
inline bool HasUnsafeBytes(std::string_view text) { return HasAny<'\r', '\n', '\0'>(text); }

}  // namespace sipheal::inline v0_1::sip
