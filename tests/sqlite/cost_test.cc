// SPDX-License-Identifier: Apache-2.0
// What a crash with 1,000 calls costs at the store, counted in what SQLite is asked to do: a batch
// is one transaction, each of which waits for the disk, and a claim does not queue behind the
// tracker.
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <functional>
#include <map>
#include <mutex>
#include <string_view>
#include <thread>
#include <vector>

#include "sipheal/adapters/sqlite.h"
#include "tests/sqlite/database_file.h"
#include "tests/support/store_entries.h"

namespace sipheal {
namespace {

// Sees each statement of the connections that are opened while it lives, on the thread that runs
// it.
class SqliteWatch {
 public:
  explicit SqliteWatch(std::function<void(std::string_view sql)> see) {
    see_ = std::move(see);
    sqlite3_auto_extension(reinterpret_cast<void (*)()>(&Attach));
  }
  ~SqliteWatch() { sqlite3_cancel_auto_extension(reinterpret_cast<void (*)()>(&Attach)); }
  SqliteWatch(const SqliteWatch&) = delete;
  SqliteWatch& operator=(const SqliteWatch&) = delete;

 private:
  static int Attach(sqlite3* db, char**, const sqlite3_api_routines*) {
    const auto see = [](unsigned, void*, void*, void* text) {
      see_(static_cast<const char*>(text));
      return 0;
    };
    return sqlite3_trace_v2(db, SQLITE_TRACE_STMT, see, nullptr);
  }

  static inline std::function<void(std::string_view)> see_;
};

constexpr std::string_view kBeginOfWriting = "BEGIN IMMEDIATE";

TEST(SqliteCost, AThousandCallsInOneTransactionForEachStep) {
  constexpr int kCalls = 1000;
  const tests::DatabaseFile file;
  int statements = 0, transactions = 0;
  const SqliteWatch watch([&](std::string_view sql) {
    ++statements;
    if (sql == kBeginOfWriting) ++transactions;
  });
  const auto store = *MakeSqliteSessionStore({.path = file.path()});
  const auto legs = tests::Legs(kCalls);
  statements = transactions = 0;
  const auto cost = [&](int writes, int statements_a_call, const char* what) {
    EXPECT_EQ(transactions, writes) << what;
    EXPECT_LE(statements, statements_a_call * kCalls + 10) << what;
    EXPECT_GE(statements, 1) << what << ": nothing was counted";
    statements = transactions = 0;
  };

  ASSERT_TRUE(store->Put({}, {.sessions = legs}).ok());
  cost(1, 3, "put");

  const auto page = store->List({}, {.incarnation = Incarnation{"ast1", "life1"}});
  ASSERT_EQ(page->sessions.size(), static_cast<std::size_t>(kCalls));
  cost(0, 0, "list");

  const auto leases = store->Claim({}, {.sessions = tests::KeysOf(legs), .owner = "me"});
  ASSERT_TRUE(leases.ok());
  cost(1, 3, "claim");

  SessionStore::AdvanceParams steps;
  SessionStore::AdvanceParams finishes;
  for (const auto& lease : *leases) {
    steps.steps.push_back({tests::Step(*lease, RecoveryStage::kInviting), {}});
    finishes.steps.push_back(
        {tests::Step(*lease, RecoveryStage::kFinished), tests::Leg(lease->session.id, "life2", 1)});
  }
  ASSERT_TRUE(store->Advance({}, steps).ok());
  cost(1, 3, "a step of each");
  ASSERT_TRUE(store->Advance({}, finishes).ok());
  cost(1, 6, "an outcome with a successor of each");
}

// The system's clock, which knows how often each thread has read it.
class CountingClock final : public Clock {
 public:
  WallTime Now() const override { return SystemClock().Now(); }
  MonotonicTime Monotonic() const override {
    const std::lock_guard lock(mutex_);
    ++readings_[std::this_thread::get_id()];
    return SystemClock().Monotonic();
  }
  int ReadingsOf(std::thread::id thread) const {
    const std::lock_guard lock(mutex_);
    return readings_[thread];
  }

 private:
  mutable std::mutex mutex_;
  mutable std::map<std::thread::id, int> readings_;
};

// F81: what the tracker writes does not hold up a claim.
TEST(SqliteCost, AClaimComesBeforeTheTrackersThatWaitedLonger) {
  const tests::DatabaseFile file;
  const CountingClock clock;
  std::mutex first;  // held: the transaction that begins waits
  std::mutex mutex;
  std::vector<std::thread::id> order;
  const SqliteWatch watch([&](std::string_view sql) {
    if (sql != kBeginOfWriting) return;
    {
      const std::lock_guard lock(mutex);
      order.push_back(std::this_thread::get_id());
    }
    const std::lock_guard wait(first);
  });
  const auto store = *MakeSqliteSessionStore({.path = file.path(), .clock = &clock});
  ASSERT_TRUE(store->Put({}, {.sessions = {tests::Leg("mine")}}).ok());
  order.clear();

  const CallContext ctx = CallContext::WithTimeout(std::chrono::hours(1));
  std::vector<std::thread> threads;
  {
    const std::lock_guard hold(first);
    for (const bool claims : {false, false, false, true}) {
      threads.emplace_back([&store, &ctx, claims] {
        const absl::Status done =
            claims ? store->Claim(ctx, {.sessions = {{"mine", 0}}, .owner = "me"}).status()
                   : store->Put(ctx, {.sessions = {tests::Leg("other")}}).status();
        EXPECT_TRUE(done.ok()) << done;
      });
      // The first is in its transaction; who waits for it looks at the clock again and again (and
      // twice or so before).
      const std::thread::id thread = threads.back().get_id();
      const auto goes_on = [&] {
        const std::lock_guard lock(mutex);
        return !order.empty() && (order.front() == thread || clock.ReadingsOf(thread) > 5);
      };
      while (!goes_on()) std::this_thread::yield();
    }
  }
  const std::thread::id claim = threads.back().get_id();
  for (std::thread& thread : threads) thread.join();
  ASSERT_EQ(order.size(), 4u);
  EXPECT_EQ(order[1], claim);
}

}  // namespace
}  // namespace sipheal
