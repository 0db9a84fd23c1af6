// SPDX-License-Identifier: Apache-2.0
#include "engine/plugin_call.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <memory>
#include <optional>
#include <stdexcept>

#include "engine/plugin_pool.h"
#include "sipheal/testing/fake_clock.h"

namespace sipheal::internal {
namespace {

using std::chrono::milliseconds;

class PluginCallsTest : public ::testing::Test {
 protected:
  testing::FakeClock clock_;
  std::shared_ptr<Loop> loop_ = std::make_shared<Loop>(clock_);
};

TEST_F(PluginCallsTest, TurnsAnExceptionIntoInternalWithItsText) {
  PluginCalls calls(loop_, InlineExecutor(), clock_);
  absl::Status seen;
  calls.Call<absl::Status>(
      "Plugin::Do", milliseconds(100),
      [](const CallContext&) -> absl::Status { throw std::runtime_error("disk on fire"); },
      [&](const absl::Status& status) { seen = status; });
  loop_->RunReady();
  EXPECT_EQ(seen.code(), absl::StatusCode::kInternal);
  EXPECT_NE(std::string(seen.message()).find("disk on fire"), std::string::npos) << seen;
  EXPECT_NE(std::string(seen.message()).find("Plugin::Do"), std::string::npos) << seen;
}

TEST_F(PluginCallsTest, TurnsAnExceptionThatIsNoneOfTheStandardOnesIntoInternal) {
  PluginCalls calls(loop_, InlineExecutor(), clock_);
  absl::StatusOr<int> seen = 1;
  calls.Call<absl::StatusOr<int>>(
      "Plugin::Get", milliseconds(100), [](const CallContext&) -> absl::StatusOr<int> { throw 42; },
      [&](const absl::StatusOr<int>& value) { seen = value; });
  loop_->RunReady();
  EXPECT_EQ(seen.status().code(), absl::StatusCode::kInternal);
}

TEST_F(PluginCallsTest, GivesUpOnAPluginThatHangsAndIgnoresItsLateAnswer) {
  auto pool = MakePluginPool(1, 4, milliseconds(2'000));
  std::optional<PluginCalls> calls(std::in_place, loop_, pool, clock_);
  std::latch release(1);
  std::latch returned(1);
  int answers = 0;
  absl::Status seen;
  calls->Call<absl::Status>(
      "Plugin::Hang", milliseconds(100),
      [&](const CallContext&) {
        release.wait();
        returned.count_down();
        return absl::OkStatus();
      },
      [&](const absl::Status& status) {
        ++answers;
        seen = status;
      });
  loop_->RunReady();
  EXPECT_EQ(answers, 0);
  clock_.Advance(milliseconds(1'000));
  loop_->RunReady();
  EXPECT_EQ(answers, 1);
  EXPECT_EQ(seen.code(), absl::StatusCode::kDeadlineExceeded);
  release.count_down();
  returned.wait();
  calls.reset();
  pool.reset();  // the last owner: waits for the thread, which has posted its answer by then
  loop_->RunReady();
  EXPECT_EQ(answers, 1);
}

TEST_F(PluginCallsTest, AnAnswerThatIsNeverFetchedKeepsNoLoopAlive) {
  const std::weak_ptr<Loop> loop = loop_;
  {
    PluginCalls calls(loop_, InlineExecutor(), clock_);
    calls.Call<absl::Status>(
        "Plugin::Late", milliseconds(100), [](const CallContext&) { return absl::OkStatus(); },
        [](const absl::Status&) {});
  }
  loop_.reset();  // its answer is posted, and nobody runs it any more
  EXPECT_TRUE(loop.expired());
}

TEST(PluginPool, AHungTaskHoldsNoOtherUp) {
  auto pool = MakePluginPool(1, 8, milliseconds(2'000));
  std::latch release(1);
  std::latch others(5);
  pool->Post([&] { release.wait(); });
  for (int i = 0; i < 5; ++i) pool->Post([&] { others.count_down(); });
  others.wait();
  release.count_down();
}

TEST(PluginPool, DoesNotWaitForEverForAHungTask) {
  auto release = std::make_shared<std::latch>(1);
  auto pool = MakePluginPool(1, 2, milliseconds(50));
  pool->Post([release] { release->wait(); });
  pool.reset();  // returns although the task hangs
  release->count_down();
}

TEST(Loop, RunsTimersInTheOrderOfTheirTimes) {
  testing::FakeClock clock;
  Loop loop(clock);
  std::string order;
  loop.After(milliseconds(20), [&] { order += "b"; });
  loop.After(milliseconds(10), [&] { order += "a"; });
  const Loop::TimerId cancelled = loop.After(milliseconds(15), [&] { order += "x"; });
  loop.Cancel(cancelled);
  loop.RunReady();
  EXPECT_EQ(order, "");
  clock.Advance(milliseconds(30));
  loop.RunReady();
  EXPECT_EQ(order, "ab");
}

}  // namespace
}  // namespace sipheal::internal
