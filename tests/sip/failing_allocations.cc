// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/failing_allocations.h"

#include <cstdlib>
#include <new>

namespace sipheal::testing {

thread_local int allocations_left = -1;

}  // namespace sipheal::testing

void* operator new(std::size_t size) {
  int& left = sipheal::testing::allocations_left;
  if (left >= 0 && left-- == 0) throw std::bad_alloc();
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
// Sorting takes its memory by this one and gives it back to the delete below: a sanitizer brings
// one of its own, whose memory that must not free.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return operator new(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
