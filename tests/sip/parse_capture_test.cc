// SPDX-License-Identifier: Apache-2.0
// Every message of the captures, whole and cut short, is read by every kernel as by the reference;
// and what was read of it, written as a message, reads as it did before.
#include <gtest/gtest.h>

#include <filesystem>

#include "sip/kernel/kernel.h"
#include "sipheal/adapters/pcap.h"
#include "tests/sip/reference_parser.h"
#include "tests/sip/test_data.h"

namespace sipheal::testing {
namespace {

TEST(ParseKernels, ReadTheMessagesOfTheCapturesAsTheReference) {
  const std::string root = TestDataOrSkip("captures");
  if (root.empty()) GTEST_SKIP() << "captures not found: set SIPHEAL_TEST_DATA";
  std::size_t taken = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (!entry.is_regular_file() || entry.path().extension() == ".tsv") continue;
    const auto contents = ReadPcap(entry.path().string(), {.keep_damaged = true});
    if (!contents.ok()) continue;  // capture_test.cc names those
    for (const sip::CapturedMessage& message : contents->messages) {
      for (std::size_t cut : {0u, 1u, 40u}) {
        // A block of its own, so that a sanitizer sees a read behind its end.
        const std::string text(message.bytes, 0,
                               message.bytes.size() - std::min(cut, message.bytes.size()));
        const std::string expected = ReadByReference(text);
        if (!expected.starts_with("error: ")) ++taken;
        if (sip::MessageView view;
            view.Parse(std::string_view(text)).ok() && !view.body_truncated()) {
          const std::string written = Write(view);
          ASSERT_EQ(ReadByReference(written), expected) << text;
          ASSERT_TRUE(view.Parse(std::string_view(written)).ok()) << written;
          ASSERT_EQ(Write(view), written);
        }
        for (const sip::kernel::Kernel* kernel : sip::kernel::RunnableKernels()) {
          std::size_t offset = 0;
          ASSERT_EQ(ReadByKernel(*kernel, text, &offset), expected) << kernel->name << " of\n"
                                                                    << text;
        }
      }
    }
  }
  EXPECT_GT(taken, 2000u);
}

}  // namespace
}  // namespace sipheal::testing
