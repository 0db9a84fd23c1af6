// SPDX-License-Identifier: Apache-2.0
// Sixty-four bytes at once with SSE2, which every x86-64 has. See block_plain.h for what is asked.
#pragma once

#include <emmintrin.h>

#include <cstdint>
#include <string_view>

#include "sip/copy_text.h"
#include "sip/kernel/header_names.h"

namespace sipheal::inline v0_1::sip::kernel {

class Sse2Block {
 public:
  explicit Sse2Block(const char* bytes) {
    for (int i = 0; i < 4; ++i) {
      parts_[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + i);
    }
  }
  // The number of the lowest bit that is set; 64: none.
  static std::size_t FirstBit(std::uint64_t mask) {
    // Without a branch: whether there is one is often a matter of chance.
    return static_cast<std::size_t>(__builtin_ctzll(mask | (std::uint64_t{1} << 63))) +
           std::size_t{mask == 0};
  }
  // Up to 64 bytes may be written, whatever the size of the text is.
  static void Copy(char* to, std::string_view text) { CopyText(to, text); }
  static std::uint64_t NewLines(const char* bytes) { return Sse2Block(bytes).Is('\n'); }

  std::uint64_t Is(char c) const {
    return Collect([c](__m128i part) { return Equal(part, c); });
  }
  std::uint64_t QuotedStop() const {
    return Collect(
        [](__m128i part) { return Or(Or(Equal(part, '"'), Equal(part, '\\')), UpTo(part, 0x1f)); });
  }
  std::uint64_t DisplayStop() const {
    return Collect([](__m128i part) {
      return Or(Or(Equal(part, '"'), Equal(part, ',')), Or(Equal(part, '<'), UpTo(part, 0x1f)));
    });
  }
  std::uint64_t UriStop() const {
    return Collect([](__m128i part) {
      return Or(Or(Brackets(part), Equal(part, '"')), Or(Equal(part, '\x7f'), UpTo(part, ' ')));
    });
  }
  std::uint64_t OddInUri() const { return UriStop() | Is('@') | Is('?'); }
  std::uint64_t NotHost() const {
    return ~Collect([](__m128i part) {
      const __m128i letter = Between(_mm_or_si128(part, _mm_set1_epi8(0x20)), 'a', 'z');
      // '-', '.', '/' and the digits stand in a row.
      const __m128i other = _mm_andnot_si128(Equal(part, '/'), Between(part, '-', '9'));
      return Or(letter, other);
    });
  }
  std::uint64_t ValueStop() const {
    return Collect([](__m128i part) {
      return Or(Or(Or(Brackets(part), Equal(part, '"')), Or(Equal(part, ','), Equal(part, ';'))),
                UpTo(part, ' '));
    });
  }
  std::uint64_t SpaceOrControl() const {
    return Collect([](__m128i part) { return Or(Equal(part, '\x7f'), UpTo(part, ' ')); });
  }

 private:
  static __m128i Or(__m128i a, __m128i b) { return _mm_or_si128(a, b); }
  static __m128i Equal(__m128i part, char c) { return _mm_cmpeq_epi8(part, _mm_set1_epi8(c)); }
  static __m128i UpTo(__m128i part, char limit) {
    return _mm_cmpeq_epi8(_mm_min_epu8(part, _mm_set1_epi8(limit)), part);
  }
  static __m128i Between(__m128i part, char low, char high) {
    return UpTo(_mm_sub_epi8(part, _mm_set1_epi8(low)), static_cast<char>(high - low));
  }
  static __m128i Brackets(__m128i part) {  // '<' and '>' differ in one bit
    return Equal(_mm_or_si128(part, _mm_set1_epi8(2)), '>');
  }
  template <typename Fn>
  std::uint64_t Collect(Fn fn) const {
    std::uint64_t mask = 0;
    for (int i = 0; i < 4; ++i) {
      mask |= static_cast<std::uint64_t>(static_cast<unsigned>(_mm_movemask_epi8(fn(parts_[i]))))
              << (16 * i);
    }
    return mask;
  }

  __m128i parts_[4];
};

// The first sixteen bytes of a header line.
class Sse2Name {
 public:
  static constexpr std::size_t kReadable = 16;

  Sse2Name(const char* bytes, std::size_t /*readable*/)
      : bytes_(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes))) {}

  std::uint32_t Colons() const { return Mask(_mm_cmpeq_epi8(bytes_, _mm_set1_epi8(':'))); }
  std::uint32_t SpacesOrControls() const {
    return Mask(_mm_cmpeq_epi8(_mm_min_epu8(bytes_, _mm_set1_epi8(' ')), bytes_));
  }
  // All ones when the bytes `through` its colon are this name, else 0.
  std::uint32_t Is(const HeaderName& name, std::uint32_t through) const {
    const __m128i letters = _mm_load_si128(reinterpret_cast<const __m128i*>(name.letters.data()));
    const __m128i folded = _mm_or_si128(bytes_, _mm_set1_epi8(0x20));
    const std::uint32_t same = Mask(_mm_cmpeq_epi8(folded, letters));
    return std::uint32_t{(~same & through) != 0} - 1;
  }

 private:
  static std::uint32_t Mask(__m128i part) { return static_cast<unsigned>(_mm_movemask_epi8(part)); }

  __m128i bytes_;
};

}  // namespace sipheal::inline v0_1::sip::kernel
