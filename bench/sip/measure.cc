// SPDX-License-Identifier: Apache-2.0
#include "bench/sip/measure.h"

#include <ctime>

#include <cerrno>
#include <cstddef>

namespace {

thread_local std::uint64_t allocations = 0;

}  // namespace

// glibc's own allocator under the names that everything in the process calls, peers included.
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* block, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
  ++allocations;
  return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) {
  ++allocations;
  return __libc_calloc(count, size);
}
void* realloc(void* block, std::size_t size) {
  ++allocations;
  return __libc_realloc(block, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
  ++allocations;
  return __libc_memalign(alignment, size);
}
int posix_memalign(void** block, std::size_t alignment, std::size_t size) {
  ++allocations;
  *block = __libc_memalign(alignment, size);
  return *block == nullptr ? ENOMEM : 0;
}
}

namespace sipheal::bench {
namespace {

double Seconds(clockid_t clock) {
  timespec now;
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

}  // namespace

double CpuSeconds() { return Seconds(CLOCK_THREAD_CPUTIME_ID); }
double WallSeconds() { return Seconds(CLOCK_MONOTONIC); }
std::uint64_t Allocations() { return allocations; }

void MeasureInTurn(std::vector<Contender>& contenders, double seconds, int rounds) {
  const double end = WallSeconds() + seconds;
  for (int round = 0; round < rounds || WallSeconds() < end; ++round) {
    for (Contender& contender : contenders) {
      contender.pass();  // the caches hold what this contender needs, not what the last one did
      const std::uint64_t allocated = Allocations();
      const double start = CpuSeconds();
      contender.pass();
      const double took = CpuSeconds() - start;
      contender.allocations = Allocations() - allocated;
      if (round == 0 || took < contender.best) contender.best = took;
    }
  }
}

}  // namespace sipheal::bench
