// SPDX-License-Identifier: Apache-2.0
#include "ari/done_once.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

TEST(DoneOnce, IsDoneByOneOfMany) {
  DoneOnce book(8);
  std::atomic<int> did = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      const DoneOnce::Turn turn(book, CallContext{}, "key");
      EXPECT_TRUE(turn.status().ok());
      if (turn.done()) return;
      ++did;
      turn.Done();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(did, 1);
}

TEST(DoneOnce, PassesTheTurnOnWhenItWasNotDone) {
  DoneOnce book(8);
  { const DoneOnce::Turn failed(book, CallContext{}, "key"); }
  const DoneOnce::Turn turn(book, CallContext{}, "key");
  EXPECT_TRUE(turn.status().ok());
  EXPECT_FALSE(turn.done());
}

TEST(DoneOnce, EndsWithTheContextWhileAnotherDoesIt) {
  DoneOnce book(8);
  const DoneOnce::Turn first(book, CallContext{}, "key");
  const CallContext brief = CallContext::WithTimeout(milliseconds(10));
  EXPECT_EQ(DoneOnce::Turn(book, brief, "key").status().code(),
            absl::StatusCode::kDeadlineExceeded);
  std::stop_source stop;
  stop.request_stop();
  CallContext cancelled;
  cancelled.stop = stop.get_token();
  EXPECT_EQ(DoneOnce::Turn(book, cancelled, "key").status().code(), absl::StatusCode::kCancelled);
}

TEST(DoneOnce, IsToBeDoneAgainWhenItIsNotBelievedAnyMore) {
  DoneOnce book(8);
  book.Add("key");
  EXPECT_TRUE(
      DoneOnce::Turn(book, CallContext{}, "key", SystemClock().Monotonic() - std::chrono::hours(1))
          .done());
  EXPECT_FALSE(
      DoneOnce::Turn(book, CallContext{}, "key", SystemClock().Monotonic() + std::chrono::hours(1))
          .done());
  EXPECT_TRUE(DoneOnce::Turn(book, CallContext{}, "key").done());
}

TEST(DoneOnce, RemembersTheNewest) {
  DoneOnce book(2);
  for (const char* key : {"a", "b", "b", "c"}) book.Add(key);
  EXPECT_FALSE(book.Has("a"));
  EXPECT_TRUE(book.Has("b"));
  EXPECT_TRUE(book.Has("c"));
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
