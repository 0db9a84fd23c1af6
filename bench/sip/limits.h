// SPDX-License-Identifier: Apache-2.0
// What no parser can be faster than: looking for the line ends, and reading the memory.
#pragma once

#include "bench/sip/corpus.h"
#include "bench/sip/measure.h"

namespace sipheal::bench {

// A memchr for each header line up to the empty line, with glibc's memchr and with 16 bytes at a
// time (SSE2, which is what a machine without AVX2 has).
std::vector<Contender> LimitContenders(const Corpus& corpus);

// Bytes a second that one thread reads from memory far larger than any cache.
double ReadBandwidth();

}  // namespace sipheal::bench
