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

// As one controller sees the targets: all healthy, with these loads.
internal::Targets TargetsWithLoads(const std::vector<int>& loads) {
  internal::Targets targets;
  for (std::size_t i = 0; i < loads.size(); ++i) {
    InstanceOptions options;
    options.name = absl::StrFormat("ast-%d", i + 1);
    auto target = std::make_unique<internal::Target>(options, PacingOptions(), MonotonicTime());
    target->status.emplace();
    target->status->incarnation = {options.name, "life-1"};
    target->status->can_recover = true;
    target->status->channels = loads[i];
    target->has_endpoints = {"phone"};
    targets.emplace(options.name, std::move(target));
  }
  return targets;
}

// The legs of one call may be claimed by two controllers, each of which knows nothing of what the
// other does, and has asked the servers for their load at another moment.
TEST(Placement, LegsOfOneGroupMeetAlsoWhenTwoControllersPlaceThem) {
  const internal::Targets one = TargetsWithLoads({0, 10, 20});
  const internal::Targets other = TargetsWithLoads({20, 0, 5});
  std::map<std::string, int> groups;
  for (int i = 0; i < 300; ++i) {
    internal::PlacementQuery query;
    query.endpoint = "phone";
    query.group = absl::StrFormat("bridge-%d", i);
    const auto* const first = internal::Place(one, query).target;
    const auto* const second = internal::Place(other, query).target;
    ASSERT_TRUE(first != nullptr && second != nullptr);
    EXPECT_EQ(first->options.name, second->options.name) << query.group;
    ++groups[first->options.name];
    // One that just failed it is avoided by both alike.
    query.avoid = {first->options.name};
    EXPECT_EQ(internal::Place(one, query).target->options.name,
              internal::Place(other, query).target->options.name);
  }
  ASSERT_EQ(groups.size(), 3u);
  for (const auto& [name, count] : groups) EXPECT_GT(count, 60) << name;
}

TEST(Placement, WhereTheCallIsComesBeforeTheNameOfItsGroup) {
  const internal::Targets targets = TargetsWithLoads({0, 10, 20});
  for (const char* home : {"ast-1", "ast-2", "ast-3"}) {
    internal::PlacementQuery query;
    query.endpoint = "phone";
    query.group = "bridge-1";
    query.wish = home;
    EXPECT_EQ(internal::Place(targets, query).target->options.name, home);
  }
}

TEST(Placement, ACallOfNoGroupGoesToTheLeastLoaded) {
  internal::PlacementQuery query;
  query.endpoint = "phone";
  EXPECT_EQ(internal::Place(TargetsWithLoads({20, 0, 5}), query).target->options.name, "ast-2");
}

}  // namespace
}  // namespace sipheal
