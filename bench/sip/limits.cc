// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/limits.h"

#include <algorithm>
#include <bit>
#include <cstring>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace sipheal::bench {
namespace {

#if defined(__SSE2__)
// As glibc's memchr for machines without AVX2: 16 bytes a step. Reads up to 15 bytes behind `end`;
// the corpus has 64 there.
const char* FindLineEnd16(const char* at, const char* end) {
  const __m128i wanted = _mm_set1_epi8('\n');
  for (; at < end; at += 16) {
    const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    const auto mask = static_cast<unsigned>(_mm_movemask_epi8(_mm_cmpeq_epi8(block, wanted)));
    if (mask != 0) {
      const char* const found = at + std::countr_zero(mask);
      return found < end ? found : nullptr;
    }
  }
  return nullptr;
}
#endif

const char* FindLineEnd(const char* at, const char* end) {
  return static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(end - at)));
}

template <const char* (*Find)(const char*, const char*)>
void Scan(const Corpus& corpus) {
  std::size_t lines = 0;
  for (const sip::CapturedMessageView& message : corpus.messages) {
    const char* at = message.bytes.data();
    const char* const end = at + message.bytes.size();
    while (const char* found = Find(at, end)) {
      at = found + 1;
      ++lines;
      if (*at == '\r') break;
    }
  }
  Keep(lines);
}

}  // namespace

std::vector<Contender> LimitContenders(const Corpus& corpus) {
  auto make = [&](std::string name, void (*scan)(const Corpus&)) {
    Contender contender;
    contender.name = std::move(name);
    contender.pass = [&corpus, scan] { scan(corpus); };
    contender.messages = corpus.messages.size();
    contender.dialogs = corpus.dialogs;
    contender.bytes = corpus.bytes;
    return contender;
  };
  std::vector<Contender> contenders;
  contenders.push_back(make("limit: header lines by memchr", Scan<FindLineEnd>));
#if defined(__SSE2__)
  contenders.push_back(make("limit: header lines by SSE2 alone", Scan<FindLineEnd16>));
#endif
  return contenders;
}

double ReadBandwidth() {
  const std::vector<std::uint64_t> words(std::size_t{32} * 1024 * 1024, 1);  // 256 MB
  double best = 0;
  for (int round = 0; round < 5; ++round) {
    const double start = CpuSeconds();
    std::uint64_t sums[8] = {};
    for (std::size_t i = 0; i < words.size(); i += 8) {
      for (std::size_t lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
    }
    Keep(sums);
    const double rate = static_cast<double>(words.size() * 8) / (CpuSeconds() - start);
    best = std::max(best, rate);
  }
  return best;
}

}  // namespace sipheal::bench
