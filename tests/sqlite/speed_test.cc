// SPDX-License-Identifier: Apache-2.0
// What a crash with 1,000 calls costs at the store. The limits are ten times what is measured on a
// small machine: they catch a batch that is no longer one transaction, not a slow day.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>
#include <thread>

#include "tests/sqlite/store_support.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class Stopwatch {
 public:
  double ms() const {
    return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin_)
        .count();
  }

 private:
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

void Report(const char* what, double ms) { std::printf("[ MEASURED ] %s: %.1f ms\n", what, ms); }

TEST(SqliteSpeed, AThousandCallsInAFewTransactions) {
  constexpr int kCalls = 1000;
  const tests::DatabaseFile file;
  const auto store = *MakeSqliteSessionStore({.path = file.path()});
  const auto legs = tests::Legs(kCalls);

  const Stopwatch put;
  ASSERT_TRUE(store->Put({}, {.sessions = legs}).ok());
  const double put_ms = put.ms();
  Report("put of 1,000 sessions", put_ms);

  const Stopwatch list;
  const auto page = store->List({}, {.incarnation = Incarnation{"ast1", "life1"}});
  ASSERT_EQ(page->sessions.size(), static_cast<std::size_t>(kCalls));
  const double list_ms = list.ms();
  Report("list of 1,000 sessions", list_ms);

  const Stopwatch claim;
  const auto leases = store->Claim({}, {.sessions = tests::KeysOf(legs), .owner = "me"});
  const double claim_ms = claim.ms();
  ASSERT_TRUE(leases.ok());
  Report("1,000 claims in one call", claim_ms);

  SessionStore::AdvanceParams steps;
  SessionStore::AdvanceParams finishes;
  for (const auto& lease : *leases) {
    steps.steps.push_back({tests::Step(*lease, RecoveryStage::kInviting), {}});
    finishes.steps.push_back(
        {tests::Step(*lease, RecoveryStage::kFinished), tests::Leg(lease->session.id, "life2", 1)});
  }
  const Stopwatch advance;
  ASSERT_TRUE(store->Advance({}, steps).ok());
  const double advance_ms = advance.ms();
  Report("1,000 steps in one call", advance_ms);

  const Stopwatch finish;
  ASSERT_TRUE(store->Advance({}, finishes).ok());
  const double finish_ms = finish.ms();
  Report("1,000 outcomes with successors in one call", finish_ms);

  const Stopwatch single;
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(store->Claim({}, {.sessions = {{"s" + std::to_string(i), 1}}, .owner = "me"}).ok());
  }
  Report("one claim by itself, with its wait for the disk", single.ms() / 50);

  EXPECT_LT(put_ms, 500);
  EXPECT_LT(list_ms, 200);
  EXPECT_LT(claim_ms, 300);
  EXPECT_LT(advance_ms, 300);
  EXPECT_LT(finish_ms, 700);
}

// F81: a tracker that writes without a pause does not hold up the claims.
TEST(SqliteSpeed, AClaimDoesNotWaitForTheTracker) {
  const tests::DatabaseFile file;
  const auto store = *MakeSqliteSessionStore({.path = file.path()});
  ASSERT_TRUE(store->Put({}, {.sessions = tests::Legs(200)}).ok());
  std::atomic<bool> done = false;
  std::vector<std::thread> trackers;
  for (int i = 0; i < 3; ++i) {
    trackers.emplace_back([&, i] {
      const auto legs = tests::Legs(200, "t" + std::to_string(i) + ".");
      while (!done) (void)store->Put({}, {.sessions = legs});
    });
  }
  double worst = 0;
  for (int i = 0; i < 200; ++i) {
    const Stopwatch claim;
    EXPECT_TRUE(store->Claim({}, {.sessions = {{"s" + std::to_string(i), 0}}, .owner = "me"}).ok());
    worst = std::max(worst, claim.ms());
  }
  done = true;
  for (std::thread& tracker : trackers) tracker.join();
  Report("slowest of 200 claims while three trackers write without a pause", worst);
  EXPECT_LT(worst, 500);
}

}  // namespace
}  // namespace sipheal
