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

}  // namespace
}  // namespace sipheal
