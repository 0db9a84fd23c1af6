// SPDX-License-Identifier: Apache-2.0
// Sixty-four bytes at once with nothing but 64-bit words: for processors without a kernel of their
// own. Every question gives a mask with one bit for each byte, the first byte in bit 0.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "sip/copy_text.h"
#include "sip/kernel/header_names.h"

namespace sipheal::inline v0_1::sip::kernel {

class PlainBlock {
 public:
  explicit PlainBlock(const char* bytes) {
    for (int i = 0; i < 8; ++i) words_[i] = Load(bytes + 8 * i);
  }
  // The number of the lowest bit that is set; 64: none.
  static std::size_t FirstBit(std::uint64_t mask) {
    // Without a branch: whether there is one is often a matter of chance.
    return static_cast<std::size_t>(__builtin_ctzll(mask | (std::uint64_t{1} << 63))) +
           std::size_t{mask == 0};
  }
  // Up to 64 bytes may be written, whatever the size of the text is.
  static void Copy(char* to, std::string_view text) { CopyText(to, text); }
  static std::uint64_t NewLines(const char* bytes) { return PlainBlock(bytes).Is('\n'); }

  std::uint64_t Is(char c) const {
    return Collect([c](std::uint64_t word) { return Equal(word, c); });
  }
  // Ends a quoted or unquoted display name, or makes it one for the slow path.
  std::uint64_t QuotedStop() const {
    return Collect([](std::uint64_t word) {
      return Equal(word, '"') | Equal(word, '\\') | Below(word, 0x20);
    });
  }
  std::uint64_t DisplayStop() const {
    return Collect([](std::uint64_t word) {
      return Equal(word, '<') | Equal(word, '"') | Equal(word, ',') | Below(word, 0x20);
    });
  }
  // Cannot be in a URI: controls, white space, <, > and the quote.
  std::uint64_t UriStop() const {
    return Collect([](std::uint64_t word) {
      return Equal(word, '<') | Equal(word, '>') | Equal(word, '"') | Equal(word, '\x7f') |
             Below(word, 0x21);
    });
  }
  // The same, and '@' and '?', of which a plain URI has one and none.
  std::uint64_t OddInUri() const { return UriStop() | Is('@') | Is('?'); }
  // Not a letter, a digit, '.' or '-'.
  std::uint64_t NotHost() const {
    return Collect([](std::uint64_t word) {
      return ~(Between(word | kOnes * 0x20, 'a', 'z') | Between(word, '0', '9') | Equal(word, '.') |
               Equal(word, '-'));
    });
  }
  // Ends a parameter's plain value, or makes it one for the slow path.
  std::uint64_t ValueStop() const {
    return Collect([](std::uint64_t word) {
      return Equal(word, ';') | Equal(word, ',') | Equal(word, '"') | Equal(word, '<') |
             Equal(word, '>') | Below(word, 0x21);
    });
  }
  // White space, controls and DEL.
  std::uint64_t SpaceOrControl() const {
    return Collect([](std::uint64_t word) { return Equal(word, '\x7f') | Below(word, 0x21); });
  }

 private:
  friend class PlainName;

  static constexpr std::uint64_t kOnes = 0x0101010101010101u;
  static constexpr std::uint64_t kHigh = 0x8080808080808080u;

  static std::uint64_t Load(const char* bytes) {
    std::uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    if constexpr (std::endian::native == std::endian::big) word = __builtin_bswap64(word);
    return word;
  }
  // Each gives the highest bit of each byte for which it holds; the other bits mean nothing.
  static std::uint64_t Zero(std::uint64_t word) { return ~(((word & ~kHigh) + ~kHigh) | word); }
  static std::uint64_t Equal(std::uint64_t word, char c) {
    return Zero(word ^ (kOnes * static_cast<unsigned char>(c)));
  }
  static std::uint64_t Below(std::uint64_t word, unsigned char limit) {  // limit <= 0x80
    return ~((word | kHigh) - kOnes * limit) & ~word;
  }
  static std::uint64_t Between(std::uint64_t word, unsigned char low, unsigned char high) {
    return Below(word, static_cast<unsigned char>(high + 1)) & ~Below(word, low);
  }
  // The highest bits of the bytes, the first byte's in bit 0.
  static std::uint32_t Bits(std::uint64_t word) {
    return static_cast<std::uint32_t>(((word & kHigh) * 0x0002040810204081u) >> 56);
  }
  template <typename Fn>
  std::uint64_t Collect(Fn fn) const {
    std::uint64_t mask = 0;
    for (int i = 0; i < 8; ++i) {
      mask |= std::uint64_t{Bits(fn(words_[i]))} << (8 * i);
    }
    return mask;
  }

  std::uint64_t words_[8];
};

// The first sixteen bytes of a header line.
class PlainName {
 public:
  static constexpr std::size_t kReadable = 16;

  PlainName(const char* bytes, std::size_t /*readable*/)
      : words_{PlainBlock::Load(bytes), PlainBlock::Load(bytes + 8)} {}

  // A bit for each colon among the sixteen bytes.
  std::uint32_t Colons() const {
    return Collect([](std::uint64_t word) { return PlainBlock::Equal(word, ':'); });
  }
  std::uint32_t SpacesOrControls() const {
    return Collect([](std::uint64_t word) { return PlainBlock::Below(word, 0x21); });
  }
  // All ones when the bytes `through` its colon are this name, else 0. `through` has the bits up to
  // and with the colon's.
  std::uint32_t Is(const HeaderName& name, std::uint32_t through) const {
    const char* const letters = reinterpret_cast<const char*>(name.letters.data());
    const std::uint32_t same[] = {Same(words_[0], letters), Same(words_[1], letters + 8)};
    return std::uint32_t{(~(same[0] | same[1] << 8) & through) != 0} - 1;
  }

 private:
  static std::uint32_t Same(std::uint64_t word, const char* letters) {
    const std::uint64_t folded = word | PlainBlock::kOnes * 0x20;
    return PlainBlock::Bits(PlainBlock::Zero(folded ^ PlainBlock::Load(letters)));
  }
  template <typename Fn>
  std::uint32_t Collect(Fn fn) const {
    return PlainBlock::Bits(fn(words_[0])) | PlainBlock::Bits(fn(words_[1])) << 8;
  }

  std::uint64_t words_[2];
};

}  // namespace sipheal::inline v0_1::sip::kernel
