// SPDX-License-Identifier: Apache-2.0
#include "cli/fence_command.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sipheal::inline v0_1::cli {
namespace {

using std::chrono::milliseconds;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr milliseconds kLong(10'000);

std::string MessageOf(const absl::Status& status) { return std::string(status.message()); }

TEST(FenceCommand, IsFencedWhenTheProgramEndsWithStatusZero) {
  EXPECT_TRUE(RunFenceCommand({"/bin/true"}, {"pbx1", "life"}, kLong).ok());
}

TEST(FenceCommand, GivesTheIncarnationByEnvironmentOnlyAndNothingElse) {
  const absl::Status status = RunFenceCommand({"/bin/sh", "-c", "env | sort; exit 3"},
                                              {"pbx1", "2026-01-01T00:00:00"}, kLong);
  EXPECT_THAT(MessageOf(status), HasSubstr("ended with status 3 for pbx1"));
  EXPECT_THAT(MessageOf(status), HasSubstr("SIPHEAL_INSTANCE=pbx1"));
  EXPECT_THAT(MessageOf(status), HasSubstr("SIPHEAL_LIFE=2026-01-01T00:00:00"));
  EXPECT_THAT(MessageOf(status), Not(HasSubstr("HOME=")));
}

TEST(FenceCommand, IsNoShellForWhatAServerSays) {
  // A life comes from the media server: it must stay one value.
  const absl::Status status = RunFenceCommand(
      {"/bin/sh", "-c", "printf '[%s]' \"$SIPHEAL_LIFE\"; exit 1"}, {"pbx1", "$(id);`id`"}, kLong);
  EXPECT_THAT(MessageOf(status), HasSubstr("[$(id);`id`]"));
}

TEST(FenceCommand, SaysThatTheProgramCannotBeRun) {
  const absl::Status status = RunFenceCommand({"/nonexistent/fence"}, {"pbx1", ""}, kLong);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(MessageOf(status), HasSubstr("/nonexistent/fence cannot be run: No such file"));
}

TEST(FenceCommand, KillsAProgramThatTakesTooLongWithItsChildren) {
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status status =
      RunFenceCommand({"/bin/sh", "-c", "sleep 60 & sleep 60"}, {"pbx1", ""}, milliseconds(200));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(FenceCommand, TellsTheSignalThatEndedTheProgram) {
  const absl::Status status = RunFenceCommand({"/bin/sh", "-c", "kill -9 $$"}, {"pbx1", ""}, kLong);
  EXPECT_THAT(MessageOf(status), HasSubstr("ended with signal 9"));
}

TEST(FenceCommand, CutsAndCleansItsOutput) {
  const absl::Status status = RunFenceCommand(
      {"/bin/sh", "-c", "printf '\\033[31m'; yes | head -c 100000; exit 1"}, {"pbx1", ""}, kLong);
  EXPECT_LT(MessageOf(status).size(), 6'000U);
  EXPECT_THAT(MessageOf(status), HasSubstr("\\x1b[31m"));
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
