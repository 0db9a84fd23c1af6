// SPDX-License-Identifier: Apache-2.0
// The end of a short line or word, for which a call of memchr costs more than the search.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sipheal::inline v0_1::sip {

// A bit for each of the 16 bytes at `at` that is kWanted.
template <char kWanted>
unsigned FindIn16(const char* at) {
#if defined(__SSE2__)
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, _mm_set1_epi8(kWanted))));
#else
  unsigned found = 0;
  for (unsigned i = 0; i < 16; ++i) found |= (at[i] == kWanted ? 1u : 0u) << i;
  return found;
#endif
}

// The first kWanted in [at, end); `end` when there is none.
template <char kWanted>
const char* FindNear(const char* at, const char* end) {
#if defined(__SSE2__)
  // Most lines are shorter than two of these, so that how often this is done can be foreseen.
  for (; end - at >= 32; at += 32) {
    const unsigned found = FindIn16<kWanted>(at) | FindIn16<kWanted>(at + 16) << 16;
    if (found != 0) return at + std::countr_zero(found);
  }
  if (end - at >= 16) {
    const unsigned found = FindIn16<kWanted>(at);
    if (found != 0) return at + std::countr_zero(found);
    at += 16;
  }
#endif
  if (at == end) return end;
  const void* const found = std::memchr(at, kWanted, static_cast<std::size_t>(end - at));
  return found == nullptr ? end : static_cast<const char*>(found);
}

inline const char* FindLineEnd(const char* at, const char* end) { return FindNear<'\n'>(at, end); }

// A bit for each line end among the 64 bytes at `at`.
inline std::uint64_t LineEndsOf64(const char* at) {
  std::uint64_t ends = 0;
  for (unsigned i = 0; i < 64; i += 16) ends |= std::uint64_t{FindIn16<'\n'>(at + i)} << i;
  return ends;
}

}  // namespace sipheal::inline v0_1::sip
