// SPDX-License-Identifier: Apache-2.0
// Which instance gets a session, and how fast.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(Healer, PutsTheLegsOfOneCallOnOneInstance) {
  World world;
  for (int i = 0; i < 12; ++i) world.AddCall(i, "ast-1", absl::StrFormat("bridge-%d", i / 3));
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(12));
  std::map<std::string, std::set<std::string>> homes;
  for (const SessionReport& report : controller.heard->outcomes) {
    const int number = std::stoi(report.call_id.substr(5));
    homes[absl::StrFormat("bridge-%d", number / 3)].insert(report.to.instance);
  }
  for (const auto& [bridge, instances] : homes) EXPECT_EQ(instances.size(), 1u) << bridge;
  std::set<std::string> used;
  for (const auto& [bridge, instances] : homes) used.insert(*instances.begin());
  EXPECT_EQ(used.size(), 2u) << "calls are spread over the healthy instances";
}

TEST(Healer, F55_PlacesALegWhereItsPartnerLives) {
  World world;
  world.AddCall(1, "ast-1", "bridge");
  world.AddCall(2, "ast-3", "bridge");
  // Without the partner, the least loaded one would be taken.
  world.servers->SetOwnChannels("ast-3", 50);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].to.instance, "ast-3");
}

TEST(Healer, F55_KnowsWhereAPartnerLivesBeforeItsInstanceHasAnswered) {
  World world;
  world.AddCall(1, "ast-1", "bridge");
  world.AddCall(2, "ast-3", "bridge");
  world.servers->SetOwnChannels("ast-3", 50);
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.Settle();
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, true);
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].to.instance, "ast-3");
}

TEST(Healer, F80_DoesNotExceedTheRateOfATarget) {
  World world;
  for (int i = 0; i < 300; ++i) world.AddCall(i);
  HealerOptions options = Controller::Options();
  options.instances = {{"ast-1", {}}, {"ast-2", {}}};
  options.pacing.rate = 50;
  options.pacing.burst = 10;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(300));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 300)));
  std::vector<WallTime> times;
  for (const auto& request : world.servers->sent()) times.push_back(request.at);
  for (std::size_t i = 0; i + 61 < times.size(); ++i) {
    EXPECT_GE(times[i + 61] - times[i], milliseconds(1'000))
        << "more than rate + burst in a second, from " << i;
  }
}

TEST(Healer, ClosesASessionWhoseEndpointNobodyHas) {
  World world;
  world.AddCall(1);
  world.servers->SetMissingEndpoints("ast-2", {"phone"});
  world.servers->SetMissingEndpoints("ast-3", {"phone"});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].reason, "no_endpoint");
  EXPECT_EQ(controller.heard->outcomes[0].verdict.token, sip::VerdictToken::kNoEndpoint);
  EXPECT_TRUE(world.servers->sent().empty());
}

TEST(Healer, TakesTheInstanceThatHasTheEndpoint) {
  World world;
  world.AddCall(1);
  world.servers->SetMissingEndpoints("ast-2", {"phone"});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].to.instance, "ast-3");
}

TEST(Healer, RecoversOntoTheRestartedInstanceWhenItIsTheOnlyOne) {
  World world;
  world.AddCall(1);
  HealerOptions options = Controller::Options();
  options.instances = {{"ast-1", {}}};
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(2'000));
  EXPECT_TRUE(controller.heard->outcomes.empty());
  world.servers->Restart({"ast-1", "life-2"});
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
  EXPECT_EQ(controller.heard->outcomes[0].to, (Incarnation{"ast-1", "life-2"}));
}

}  // namespace
}  // namespace sipheal
