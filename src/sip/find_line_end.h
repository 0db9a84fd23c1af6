// SPDX-License-Identifier: Apache-2.0
// The end of a short line, for which a call of memchr costs more than the search.
#pragma once

#include <bit>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sipheal::inline v0_1::sip {

// The first '\n' in [at, end); `end` when there is none.
inline const char* FindLineEnd(const char* at, const char* end) {
#if defined(__SSE2__)
  const __m128i wanted = _mm_set1_epi8('\n');
  for (; end - at >= 16; at += 16) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const int mask = _mm_movemask_epi8(_mm_cmpeq_epi8(bytes, wanted));
    if (mask != 0) return at + std::countr_zero(static_cast<unsigned>(mask));
  }
#endif
  if (at == end) return end;
  const void* const found = std::memchr(at, '\n', static_cast<std::size_t>(end - at));
  return found == nullptr ? end : static_cast<const char*>(found);
}

}  // namespace sipheal::inline v0_1::sip
