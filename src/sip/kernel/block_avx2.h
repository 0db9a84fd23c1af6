// SPDX-License-Identifier: Apache-2.0
// Sixty-four bytes at once with AVX2. See block_plain.h for what is asked. Include only where the
// instruction set is on.
#pragma once

#include <immintrin.h>

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "sip/copy_text.h"
#include "sip/kernel/byte_set.h"

namespace sipheal::inline v0_1::sip::kernel {

class Avx2Block {
 public:
  explicit Avx2Block(const char* bytes)
      : low_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes))),
        high_(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(bytes) + 1)) {}
  static std::size_t FirstBit(std::uint64_t mask) { return _tzcnt_u64(mask); }
  // Two loads, of which a mask leaves out what is not of the text: no branch on its size.
  static void Copy(char* to, std::string_view text) {
    constexpr std::size_t kWord = 4;
    const std::size_t size = text.size();
    if (size < kWord || size > 64) return CopyText(to, text);
    const std::int32_t* const mask = kWordMasks.data() + 64 / kWord - size / kWord;
    const __m256i low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask));
    const __m256i high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask + 8));
    const auto* const from = reinterpret_cast<const int*>(text.data());
    auto* const out = reinterpret_cast<__m256i*>(to);
    std::uint32_t last;
    std::memcpy(&last, text.data() + size - kWord, kWord);
    _mm256_storeu_si256(out, _mm256_maskload_epi32(from, low));
    _mm256_storeu_si256(out + 1, _mm256_maskload_epi32(from + 8, high));
    std::memcpy(to + size - kWord, &last, kWord);
  }
  static std::uint64_t NewLines(const char* bytes) { return Avx2Block(bytes).Is('\n'); }

  std::uint64_t Is(char c) const { return Mask(Equal(low_, c), Equal(high_, c)); }
  std::uint64_t QuotedStop() const { return Mask(QuotedStop(low_), QuotedStop(high_)); }
  std::uint64_t DisplayStop() const { return Mask(DisplayStop(low_), DisplayStop(high_)); }
  std::uint64_t UriStop() const { return Mask(In(kUriStops, low_), In(kUriStops, high_)); }
  std::uint64_t OddInUri() const { return Mask(In(kOddInUri, low_), In(kOddInUri, high_)); }
  std::uint64_t NotHost() const { return ~Mask(In(kHostBytes, low_), In(kHostBytes, high_)); }
  std::uint64_t ValueStop() const { return Mask(In(kValueStops, low_), In(kValueStops, high_)); }
  std::uint64_t SpaceOrControl() const { return Mask(SpaceOrControl(low_), SpaceOrControl(high_)); }

 private:
  // Sixteen words of ones, then as many of zeros.
  alignas(64) static constexpr std::array<std::int32_t, 32> kWordMasks = [] {
    std::array<std::int32_t, 32> masks{};
    for (std::size_t i = 0; i < 16; ++i) masks[i] = -1;
    return masks;
  }();

  // All bits of the bytes that are in the set; a byte above 0x7f is in none.
  static __m256i In(const ByteSet& set, __m256i part) {
    const __m256i by_low = _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(set.by_low.data())));
    const __m256i by_high = _mm256_broadcastsi128_si256(
        _mm_loadu_si128(reinterpret_cast<const __m128i*>(set.by_high.data())));
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(part, 4), _mm256_set1_epi8(0x0f));
    const __m256i bits =
        _mm256_and_si256(_mm256_shuffle_epi8(by_low, part), _mm256_shuffle_epi8(by_high, high));
    return _mm256_cmpgt_epi8(bits, _mm256_setzero_si256());
  }
  static __m256i QuotedStop(__m256i part) {
    return Or(Or(Equal(part, '"'), Equal(part, '\\')), UpTo(part, 0x1f));
  }
  static __m256i DisplayStop(__m256i part) {
    return Or(Or(Equal(part, '"'), Equal(part, ',')), Or(Equal(part, '<'), UpTo(part, 0x1f)));
  }
  static __m256i SpaceOrControl(__m256i part) { return Or(Equal(part, '\x7f'), UpTo(part, ' ')); }
  static __m256i Or(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }
  static __m256i Equal(__m256i part, char c) {
    return _mm256_cmpeq_epi8(part, _mm256_set1_epi8(c));
  }
  static __m256i UpTo(__m256i part, char limit) {
    return _mm256_cmpeq_epi8(_mm256_min_epu8(part, _mm256_set1_epi8(limit)), part);
  }
  static std::uint64_t Mask(__m256i low, __m256i high) {
    return static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(low))) |
           static_cast<std::uint64_t>(static_cast<unsigned>(_mm256_movemask_epi8(high))) << 32;
  }

  __m256i low_;
  __m256i high_;
};

}  // namespace sipheal::inline v0_1::sip::kernel
