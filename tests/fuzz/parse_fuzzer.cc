// SPDX-License-Identifier: Apache-2.0
// Any bytes as a SIP message: every kernel reads what the slow reference reads, or refuses for the
// same reason at the same place.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "sip/kernel/kernel.h"
#include "tests/sip/reference_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal;  // NOLINT: a fuzz target is one function
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string expected = testing::ReadByReference(bytes);
  std::size_t first_offset = 0;
  for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
    std::size_t offset = 0;
    const std::string read = testing::ReadByKernel(*kernel, bytes, &offset);
    if (kernel == sip::kernel::RunnableKernels().front()) first_offset = offset;
    if (read == expected && offset == first_offset && offset <= size) continue;
    std::fprintf(stderr, "%s read\n%s\nexpected\n%s\n", kernel->name, read.c_str(),
                 expected.c_str());
    std::abort();
  }
  return 0;
}
