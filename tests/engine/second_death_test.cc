// SPDX-License-Identifier: Apache-2.0
// The second server dies while, or right after, it recovers; or the controller dies with the first.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

struct Moment {
  const char* after;  // "re-INVITE", "200" or "flow"
  int delay_ms;
};

void PrintTo(const Moment& moment, std::ostream* out) {
  *out << moment.delay_ms << " ms after the " << moment.after;
}

class SecondServerKilled : public ::testing::TestWithParam<Moment> {};

TEST_P(SecondServerKilled, F73_EveryCallIsUpExactlyOnceInTheEnd) {
  constexpr int kCalls = 10;
  World world;
  for (int i = 0; i < kCalls; ++i) {
    world.AddCall(i, "ast-1", i < 4 ? absl::StrFormat("bridge-%d", i / 2) : "");
    // Half of the phones answer after 120 ms, so that the kill meets answered and unanswered ones.
    if (i % 2 == 0) {
      world.servers->ScriptPhone(absl::StrFormat("call-%d", i),
                                 {{.delay = milliseconds(120)}, {.delay = milliseconds(120)}});
    }
  }
  HealerOptions options = Controller::Options();
  options.instances[2].target = false;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  const std::string after = GetParam().after;
  ASSERT_TRUE(controller.RunUntil([&] {
    if (after == "re-INVITE") return !world.servers->sent().empty();
    if (after == "200") return world.servers->LiveChannels("call-1") == 1;
    return !world.resumer->resumed().empty();
  }));
  const MonotonicTime kill_at = world.clock.Monotonic() + milliseconds(GetParam().delay_ms);
  controller.RunUntil([&] { return world.clock.Monotonic() >= kill_at; });
  controller.Kill("ast-2");
  world.servers->Restart({"ast-2", "life-2"});
  controller.detector->Restart({"ast-2", "life-2"});
  const auto all_up = [&] {
    for (int i = 0; i < kCalls; ++i) {
      if (world.servers->LiveChannels(absl::StrFormat("call-%d", i)) != 1) return false;
    }
    return controller.engine->status().recoveries == 0;
  };
  EXPECT_TRUE(controller.RunUntil(all_up)) << controller.Reasons();
  controller.RunFor(milliseconds(10'000));
  EXPECT_TRUE(all_up()) << controller.Reasons();
  EXPECT_EQ(world.Stored().size(), static_cast<std::size_t>(kCalls));
  for (const Session& session : world.Stored()) {
    EXPECT_EQ(session.incarnation, (Incarnation{"ast-2", "life-2"})) << session.call_id;
    EXPECT_EQ(world.servers->Byes(session.call_id), 0) << session.call_id;
  }
}

INSTANTIATE_TEST_SUITE_P(EachMoment, SecondServerKilled, ::testing::ValuesIn([] {
                           std::vector<Moment> moments;
                           for (const char* after : {"re-INVITE", "200", "flow"}) {
                             for (int ms : {0, 10, 50, 200, 1000}) moments.push_back({after, ms});
                           }
                           return moments;
                         }()));

// As when the sessions that a recovery left on a dead server are looked for twice: the second claim
// has the newer fence, with which the writes of the first are refused.
TEST(Healer, F73_ClaimsASessionOnceWhenADeathIsFollowedUpTwiceAtATime) {
  World world;
  for (int i = 0; i < 3; ++i) world.AddCall(i);
  const auto store = std::make_shared<CountsClaims>(world.store);
  world.store = store;
  const auto executor = std::make_shared<StepExecutor>();
  Controller controller(world, Controller::Options(), "controller-a", executor);
  controller.Start();
  world.servers->Kill("ast-1");
  ASSERT_TRUE(controller.engine->Recover({}, "ast-1").ok());
  ASSERT_TRUE(controller.engine->Recover({}, "ast-1").ok());
  const auto all_over = [&] {
    executor->RunOldest();
    return controller.heard->outcomes.size() >= 3;
  };
  ASSERT_TRUE(controller.RunUntil(all_over)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 3)))
      << controller.Reasons();
  EXPECT_EQ(controller.engine->status().recoveries, 0);
  EXPECT_EQ(store->claims.size(), 3u);
  for (const auto& [key, times] : store->claims) EXPECT_EQ(times, 1) << key.id;
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), 1) << i;
}

// Nobody saw the death, and nothing of what the first controller knew is left but the store.
TEST(Healer, F66_AnotherControllerGoesOnWhenTheFirstDiesWithTheServer) {
  World world;
  for (int i = 0; i < 6; ++i) {
    Session session = world.MakeSession(i);
    session.flow.stasis_app = "host";
    session.flow.stasis_args = {absl::StrFormat("step-%d", i)};
    session.flow.bridge = BridgeMembership{"room", "", "mixing", "", false};
    session.group = "room";
    world.Put(session);
    world.capture->AddDialog(World::Dialog(session.call_id));
  }
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->engine->Stop();
  first.reset();
  world.servers->Kill("ast-1");

  Controller second(world, Controller::Options(), "controller-b");
  second.detector->Kill("ast-1");
  second.Start();
  ASSERT_TRUE(second.RunUntilOutcomes(6)) << second.Reasons();
  EXPECT_THAT(second.Counts(), ElementsAre(Pair(Outcome::kRecovered, 6))) << second.Reasons();
  // The flow of each session went on with what the first controller's tracker had stored.
  std::set<std::string> steps;
  for (const auto& call : world.resumer->calls()) {
    EXPECT_EQ(call.session.flow.stasis_app, "host");
    EXPECT_EQ(call.session.flow.bridge->id, "room");
    steps.insert(call.session.flow.stasis_args.at(0));
  }
  EXPECT_EQ(steps.size(), 6u);
}

}  // namespace
}  // namespace sipheal
