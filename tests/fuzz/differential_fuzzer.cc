// SPDX-License-Identifier: Apache-2.0
// Any bytes as a SIP message: every kernel reads what the slow reference reads, or refuses for the
// same reason at the same place; and what was read, written as a message, reads as it did before.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sip/kernel/kernel.h"
#include "sipheal/sip/message_view.h"
#include "tests/sip/reference_parser.h"

namespace {

void Require(bool condition, const char* what, std::string_view read, std::string_view expected) {
  if (condition) return;
  std::fprintf(stderr, "%s read\n%.*s\nexpected\n%.*s\n", what, static_cast<int>(read.size()),
               read.data(), static_cast<int>(expected.size()), expected.data());
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal;  // NOLINT: a fuzz target is one function
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const std::string expected = testing::ReadByReference(bytes);
  std::size_t first_offset = 0;
  for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
    std::size_t offset = 0;
    const std::string read = testing::ReadByKernel(*kernel, bytes, &offset);
    if (kernel == sip::kernel::RunnableKernels().front()) first_offset = offset;
    Require(read == expected && offset == first_offset && offset <= size, kernel->name, read,
            expected);
  }
  sip::MessageView view;
  if (!view.Parse(bytes).ok() || view.body_truncated()) return 0;
  const std::string written = testing::Write(view);
  const std::string read_again = testing::ReadByReference(written);
  Require(read_again == expected, "written, it", read_again, expected);
  sip::MessageView again;
  Require(again.Parse(std::string_view(written)).ok() && testing::Write(again) == written,
          "written twice, it", testing::Write(again), written);
  return 0;
}
