// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <latch>
#include <thread>
#include <vector>

namespace sipheal {
namespace {

TEST(InlineExecutor, RunsTheTaskBeforePostReturns) {
  std::thread::id ran_on;
  InlineExecutor()->Post([&] { ran_on = std::this_thread::get_id(); });
  EXPECT_EQ(ran_on, std::this_thread::get_id());
}

TEST(ThreadPool, RunsEveryTaskOnceEvenWhenDestroyedAtOnce) {
  std::vector<std::atomic<int>> runs(1000);
  {
    auto pool = MakeThreadPool(3);
    for (auto& run : runs) pool->Post([&run] { ++run; });
  }
  for (std::size_t i = 0; i < runs.size(); ++i) EXPECT_EQ(runs[i], 1) << "task " << i;
}

TEST(ThreadPool, RunsTasksAtTheSameTimeSoThatOneThatBlocksHoldsNobodyUp) {
  auto pool = MakeThreadPool(2);
  std::latch both(2);  // each task waits for the other: with one thread this would never end
  std::latch done(2);
  for (int i = 0; i < 2; ++i) {
    pool->Post([&] {
      both.arrive_and_wait();
      done.count_down();
    });
  }
  done.wait();
}

TEST(ThreadPool, HasAtLeastOneThread) {
  std::latch done(1);
  auto pool = MakeThreadPool(0);
  pool->Post([&] { done.count_down(); });
  done.wait();
}

}  // namespace
}  // namespace sipheal
