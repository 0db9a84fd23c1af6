// SPDX-License-Identifier: Apache-2.0
#include "cli/line_writer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <string>

namespace sipheal::inline v0_1::cli {
namespace {

TEST(LineWriter, NeverBlocksAndDropsWhenNobodyReads) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  {
    LineWriter writer(pipes[1]);
    for (std::size_t i = 0; i < 2 * LineWriter::kMostPending; ++i) writer.Write("0123456789\n");
    EXPECT_GT(writer.dropped(), 0U);
    EXPECT_FALSE(writer.Flush(std::chrono::milliseconds(50)));
  }
  close(pipes[0]);
  close(pipes[1]);
}

TEST(LineWriter, KeepsTheOrderOfLines) {
  int pipes[2];
  ASSERT_EQ(pipe(pipes), 0);
  {
    LineWriter writer(pipes[1]);
    for (int i = 0; i < 100; ++i) writer.Write(std::to_string(i) + "\n");
    EXPECT_TRUE(writer.Flush(std::chrono::seconds(10)));
  }
  close(pipes[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got = 0; (got = read(pipes[0], buffer, sizeof(buffer))) > 0;) {
    text.append(buffer, static_cast<std::size_t>(got));
  }
  close(pipes[0]);
  std::string expected;
  for (int i = 0; i < 100; ++i) expected += std::to_string(i) + "\n";
  EXPECT_EQ(text, expected);
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
