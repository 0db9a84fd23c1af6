// SPDX-License-Identifier: Apache-2.0
// The end of a short line or word, for which a call of memchr costs more than the search.
#pragma once

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sipheal::inline v0_1::sip {

// The first kWanted in [at, end); `end` when there is none.
template <char kWanted>
const char* FindNear(const char* at, const char* end) {
#if defined(__SSE2__)
  const auto found = [](const char* from) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
    return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(kWanted))));
  };
  // Most lines are shorter than two of these, so that how often this is done can be foreseen.
  for (; end - at >= 32; at += 32) {
    const unsigned mask = found(at) | found(at + 16) << 16;
    if (mask != 0) return at + std::countr_zero(mask);
  }
  if (end - at >= 16) {
    const unsigned mask = found(at);
    if (mask != 0) return at + std::countr_zero(mask);
    at += 16;
  }
#endif
  if (at == end) return end;
  const void* const found_at = std::memchr(at, kWanted, static_cast<std::size_t>(end - at));
  return found_at == nullptr ? end : static_cast<const char*>(found_at);
}

inline const char* FindLineEnd(const char* at, const char* end) { return FindNear<'\n'>(at, end); }

}  // namespace sipheal::inline v0_1::sip
