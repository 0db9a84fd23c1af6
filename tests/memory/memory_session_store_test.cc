// SPDX-License-Identifier: Apache-2.0
// What the conformance suite leaves to each store: here, the details of the one in memory.
#include <gtest/gtest.h>

#include "sipheal/adapters/memory.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class ManualClock final : public Clock {
 public:
  WallTime Now() const override { return now; }
  MonotonicTime Monotonic() const override { return MonotonicTime(now.time_since_epoch()); }
  WallTime now{std::chrono::hours(1)};
};

Session Leg(const std::string& id, std::uint32_t epoch = 0) {
  Session session;
  session.id = id;
  session.epoch = epoch;
  session.incarnation = {"ast1", "life1"};
  return session;
}

class MemorySessionStoreTest : public ::testing::Test {
 protected:
  std::uint64_t Claim(const SessionKey& key, const std::string& owner) {
    const auto leases = store->Claim({}, {{key}, owner, milliseconds(1000)});
    return leases.ok() && (*leases)[0].ok() ? (*leases)[0]->fence : 0;
  }
  JournalEntry Entry(const SessionKey& key, std::uint64_t fence, RecoveryStage stage) {
    JournalEntry entry;
    entry.session = key;
    entry.fence = fence;
    entry.stage = stage;
    if (stage == RecoveryStage::kFinished) entry.outcome = Outcome::kRecovered;
    return entry;
  }

  ManualClock clock;
  std::shared_ptr<SessionStore> store = MakeMemorySessionStore(&clock);
};

TEST_F(MemorySessionStoreTest, RecoversOneSessionFromClaimToSuccessor) {
  ASSERT_TRUE(store->Put({}, {{Leg("a")}}).ok());
  const std::uint64_t fence = Claim({"a", 0}, "me");
  ASSERT_EQ(fence, 1u);
  auto done =
      store->Advance({}, {{{Entry({"a", 0}, fence, RecoveryStage::kInviting), {}},
                           {Entry({"a", 0}, fence, RecoveryStage::kFinished), Leg("a", 1)}}});
  ASSERT_TRUE(done.ok());
  EXPECT_TRUE((*done)[0].ok() && (*done)[1].ok()) << (*done)[1];
  const auto page = store->List({}, {});
  ASSERT_TRUE(page.ok());
  ASSERT_EQ(page->sessions.size(), 1u);
  EXPECT_EQ(page->sessions[0].epoch, 1u);
  EXPECT_EQ(store->Journal({}, "a")->size(), 2u);
}

TEST_F(MemorySessionStoreTest, TakesAFinishSaidTwiceAsOne) {
  ASSERT_TRUE(store->Put({}, {{Leg("a")}}).ok());
  const auto finish = Entry({"a", 0}, Claim({"a", 0}, "me"), RecoveryStage::kFinished);
  EXPECT_TRUE((*store->Advance({}, {{{finish, {}}}}))[0].ok());
  EXPECT_TRUE((*store->Advance({}, {{{finish, {}}}}))[0].ok());
  EXPECT_EQ(store->Journal({}, "a")->size(), 1u);
}

TEST_F(MemorySessionStoreTest, LetsTheFenceRiseOverEpochs) {
  ASSERT_TRUE(store->Put({}, {{Leg("a")}}).ok());
  const std::uint64_t fence = Claim({"a", 0}, "me");
  ASSERT_TRUE(
      store->Advance({}, {{{Entry({"a", 0}, fence, RecoveryStage::kFinished), Leg("a", 1)}}}).ok());
  EXPECT_GT(Claim({"a", 1}, "me"), fence);
}

TEST_F(MemorySessionStoreTest, ReplacesAnOlderEpochWhoseRecoveryHasNotBegun) {
  ASSERT_TRUE(store->Put({}, {{Leg("a", 0)}}).ok());
  ASSERT_TRUE(store->Put({}, {{Leg("a", 3)}}).ok());
  const auto page = store->List({}, {});
  ASSERT_EQ(page->sessions.size(), 1u);
  EXPECT_EQ(page->sessions[0].epoch, 3u);
}

TEST_F(MemorySessionStoreTest, ShowsAClaimWithoutStepsAsClaimed) {
  ASSERT_TRUE(store->Put({}, {{Leg("a")}}).ok());
  Claim({"a", 0}, "me");
  clock.now += milliseconds(1000);
  const auto unfinished = store->ListUnfinished({});
  ASSERT_EQ(unfinished->size(), 1u);
  EXPECT_EQ((*unfinished)[0].last.stage, RecoveryStage::kClaimed);
  EXPECT_EQ((*unfinished)[0].last.fence, 1u);
}

TEST_F(MemorySessionStoreTest, NamesTheSessionThatIsNotValid) {
  Session bad = Leg("good.id");
  bad.incarnation.instance.clear();
  const auto put = store->Put({}, {{Leg("fine"), bad}});
  EXPECT_EQ(put.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(put.status().ToString().find("good.id"), std::string::npos) << put.status();
  EXPECT_TRUE(store->List({}, {})->sessions.empty()) << "nothing of the batch is written";
}

}  // namespace
}  // namespace sipheal
