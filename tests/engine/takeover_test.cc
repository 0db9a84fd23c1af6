// SPDX-License-Identifier: Apache-2.0
// One controller dies, another goes on: at every arrow of the state machine, without a second
// re-INVITE and without losing a session.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

// A store that stops taking steps when a session has reached a stage: what a controller killed
// right there leaves.
class DyingStore final : public testing::ForwardingSessionStore {
 public:
  DyingStore(std::shared_ptr<SessionStore> store, RecoveryStage last, bool written)
      : ForwardingSessionStore(std::move(store)), last_(last), written_(written) {}

  bool dead() const { return dead_; }

  absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) override {
    if (dead_) return absl::UnavailableError("dead");
    return ForwardingSessionStore::List(ctx, params);
  }
  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override {
    if (dead_) return absl::UnavailableError("dead");
    auto leases = ForwardingSessionStore::Claim(ctx, params);
    if (last_ == RecoveryStage::kClaimed) {
      dead_ = true;
      return absl::UnavailableError("dead");
    }
    return leases;
  }
  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    if (dead_) return absl::UnavailableError("dead");
    for (const auto& step : params.steps) {
      if (step.entry.stage == last_) dead_ = true;
    }
    if (dead_ && !written_) return absl::UnavailableError("dead");
    auto result = ForwardingSessionStore::Advance(ctx, params);
    if (dead_) return absl::UnavailableError("dead");
    return result;
  }

 private:
  const RecoveryStage last_;
  const bool written_;
  bool dead_ = false;
};

struct Arrow {
  RecoveryStage stage;
  bool written;  // killed after the step was durable, or just before
};

void PrintTo(const Arrow& arrow, std::ostream* out) {
  *out << ToString(arrow.stage) << (arrow.written ? " written" : " not written");
}

class ControllerKilledAt : public ::testing::TestWithParam<Arrow> {};

TEST_P(ControllerKilledAt, LosesNoCallAndSendsNoSecondReinvite) {
  World world;
  for (int i = 0; i < 6; ++i) world.AddCall(i, "ast-1", i < 2 ? "bridge" : "");
  auto healthy_store = world.store;
  auto dying = std::make_shared<DyingStore>(world.store, GetParam().stage, GetParam().written);
  world.store = dying;
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->Kill("ast-1");
  first->RunUntil([&] { return dying->dead(); }, milliseconds(10'000));
  ASSERT_TRUE(dying->dead()) << "the stage was never reached";
  first->Settle();
  first->engine->Stop();

  world.store = healthy_store;
  Controller second(world, Controller::Options(), "controller-b");
  second.detector->Kill("ast-1");
  second.Start();
  ASSERT_TRUE(second.RunUntil(
      [&] {
        if (second.engine->status().recoveries > 0) return false;
        for (const Session& session : world.Stored()) {
          if (session.epoch == 0) return false;
        }
        return true;
      },
      milliseconds(120'000)))
      << second.Reasons();
  for (int i = 0; i < 6; ++i) {
    const std::string call = absl::StrFormat("call-%d", i);
    EXPECT_EQ(world.servers->LiveChannels(call), 1) << call << "\n" << second.Reasons();
    EXPECT_EQ(world.servers->Invites(call), 1) << call << "\n" << second.Reasons();
    EXPECT_EQ(world.servers->Byes(call), 0) << call;
  }
  for (const Session& session : world.Stored()) EXPECT_EQ(session.epoch, 1u) << session.call_id;
  EXPECT_EQ(world.Stored().size(), 6u);
}

INSTANTIATE_TEST_SUITE_P(
    EveryArrow, ControllerKilledAt,
    ::testing::Values(Arrow{RecoveryStage::kClaimed, true}, Arrow{RecoveryStage::kInviting, false},
                      Arrow{RecoveryStage::kInviting, true}, Arrow{RecoveryStage::kAnswered, false},
                      Arrow{RecoveryStage::kAnswered, true}, Arrow{RecoveryStage::kFinished, false},
                      Arrow{RecoveryStage::kFinished, true}));

// A store whose journal cannot be written for a while.
class StuckJournal final : public CountsClaims {
 public:
  using CountsClaims::CountsClaims;

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    if (stuck) return absl::UnavailableError("stuck");
    return ForwardingSessionStore::Advance(ctx, params);
  }

  bool stuck = false;
};

// A claim of its own would make the lease void with which it goes on.
TEST(Healer, TakesNotOverFromItselfWhenItsLeasesRanOutMeanwhile) {
  World world;
  for (int i = 0; i < 3; ++i) world.AddCall(i);
  const auto store = std::make_shared<StuckJournal>(world.store);
  world.store = store;
  Controller controller(world);
  controller.Start();
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(1'000));
  ASSERT_EQ(controller.engine->status().recoveries, 3);
  store->stuck = true;
  controller.RunFor(3 * Controller::Options().lease / 2);
  store->stuck = false;
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, true);
  ASSERT_TRUE(controller.RunUntilOutcomes(3)) << controller.Reasons();
  EXPECT_EQ(store->claims.size(), 3u);
  for (const auto& [key, times] : store->claims) EXPECT_EQ(times, 1) << key.id;
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), 1) << i;
}

// Claims in small portions; one of them fails, and what was claimed before goes on.
class CountsReads final : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override {
    claimed.push_back(params.sessions.size());
    if (claimed.size() == fails_at) return absl::DeadlineExceededError("slow");
    return ForwardingSessionStore::Claim(ctx, params);
  }
  absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& ctx,
                                                    const std::string& session_id) override {
    ++journals;
    return ForwardingSessionStore::Journal(ctx, session_id);
  }

  std::size_t fails_at = 0;
  std::vector<std::size_t> claimed;
  int journals = 0;
};

TEST(Healer, TakesOverManySessionsInPagesAndDoesNotWaitForTheLast) {
  World world;
  constexpr int kCalls = 600;
  for (int i = 0; i < kCalls; ++i) world.AddCall(i);
  SessionStore::ClaimParams claim;
  claim.owner = "controller-dead";
  claim.lease = milliseconds(1);
  for (const Session& session : world.Stored()) claim.sessions.push_back(session.key());
  ASSERT_TRUE(world.store->Claim({}, claim).ok());
  world.clock.Advance(milliseconds(10));
  const auto store = std::make_shared<CountsReads>(world.store);
  store->fails_at = 2;
  world.store = store;
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  Controller controller(world);
  world.servers->Kill("ast-1");
  controller.Start();
  EXPECT_THAT(store->claimed, ::testing::ElementsAre(256, 256));
  EXPECT_EQ(controller.engine->status().recoveries, 256u);
  controller.RunFor(milliseconds(1'100));
  EXPECT_THAT(store->claimed, ::testing::ElementsAre(256, 256, 256, 600 - 2 * 256));
  EXPECT_EQ(controller.engine->status().recoveries, 600u);
}

// Only one of a crash is asked when it was: what a take-over reads does not grow with its calls.
TEST(Healer, ReadsOneJournalOfACrashThatItTakesOver) {
  World world;
  const auto store = std::make_shared<CountsReads>(world.store);
  world.store = store;
  for (int i = 0; i < 40; ++i) world.AddCall(i);
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->Kill("ast-1");
  first->RunFor(milliseconds(100));
  ASSERT_EQ(first->engine->status().recoveries, 40u);
  first->engine->Stop();
  world.clock.Advance(milliseconds(10));
  world.capture->SetError(absl::UnavailableError("not asked here"));
  store->journals = 0;
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  EXPECT_EQ(second.engine->status().recoveries, 40u);
  EXPECT_EQ(store->journals, 1);
}

}  // namespace
}  // namespace sipheal
