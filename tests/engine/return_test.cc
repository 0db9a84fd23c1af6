// SPDX-License-Identifier: Apache-2.0
// An instance that was silent, lost its calls to another and is back (F90).
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// ast-1 is silent until its calls are elsewhere, and speaks again.
void StallAndWake(Controller& controller, std::size_t outcomes) {
  controller.detector->Stall("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(outcomes)) << controller.Reasons();
  controller.detector->Wake("ast-1");
  controller.RunFor(milliseconds(1'000));
}

TEST(Healer, F90_RecoversTheCallsOfAnInstanceThatDiesAfterItsReturn) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  StallAndWake(controller, 1);
  world.AddCall(2);
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)));
  EXPECT_EQ(world.servers->Invites("call-2"), 1);
}

TEST(Healer, F90_RecoversTheCallsOfAnInstanceThatIsSilentASecondTime) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  StallAndWake(controller, 1);
  world.AddCall(2);
  StallAndWake(controller, 2);
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)));
}

TEST(Healer, F90_TakesAnInstanceThatReturnedForATargetAgain) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  StallAndWake(controller, 1);
  controller.Kill("ast-2");
  controller.Kill("ast-3");
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  EXPECT_EQ(controller.heard->outcomes[1].to.instance, "ast-1") << controller.Reasons();
}

TEST(Healer, F90_BringsNoCallBackToTheIncarnationItWasTakenFrom) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-2");
  controller.Kill("ast-3");
  controller.detector->Stall("ast-1");
  controller.RunFor(milliseconds(2'000));
  controller.detector->Wake("ast-1");
  controller.RunFor(milliseconds(30'000));
  EXPECT_TRUE(world.servers->sent().empty()) << "its channel lives there";
}

// --- what a controller that is gone has taken -------------------------------------------------

World& WithOneCall(World& world) {
  world.AddCall(1);
  world.servers->AddChannel("ast-1", "chan-1", "call-1");
  return world;
}

// ast-1 hangs with its call on it, another takes it, and the controller that saw to that is gone.
void TakenByAControllerThatIsGone(World& world) {
  Controller first(WithOneCall(world));
  first.Start();
  world.servers->SetReachable("ast-1", false);
  first.detector->Stall("ast-1");
  ASSERT_TRUE(first.RunUntilOutcomes(1)) << first.Reasons();
  ASSERT_THAT(first.Counts(), ElementsAre(Pair(Outcome::kRecovered, 1)));
}

void ExpectGivenUpInSilence(World& world, Controller& controller) {
  controller.RunUntil([&] { return world.servers->given_up() > 0; }, milliseconds(5'000));
  EXPECT_THAT(world.servers->Channels("ast-1"), ElementsAre());
  EXPECT_EQ(world.servers->given_up(), 1);
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1);
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
}

TEST(Healer, F90_GivesUpWhatAControllerBeforeItTookWhenTheServerWakes) {
  World world;
  TakenByAControllerThatIsGone(world);
  // Nothing is lost there any more, so its detector has nothing to tell of it.
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  second.RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->given_up(), 0);
  world.servers->SetReachable("ast-1", true);
  ExpectGivenUpInSilence(world, second);
}

TEST(Healer, F90_GivesUpWhatAControllerBeforeItTookWhenItsOwnDetectorSeesTheServerWake) {
  World world;
  TakenByAControllerThatIsGone(world);
  Controller second(world, Controller::Options(), "controller-b");
  second.detector->Stall("ast-1");
  second.Start();
  second.RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->given_up(), 0);
  second.detector->Wake("ast-1");
  world.servers->SetReachable("ast-1", true);
  ExpectGivenUpInSilence(world, second);
}

TEST(Healer, F90_GivesUpWhatAControllerBeforeItTookFromAServerThatIsAwakeAlready) {
  World world;
  TakenByAControllerThatIsGone(world);
  world.servers->SetReachable("ast-1", true);
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  ExpectGivenUpInSilence(world, second);
}

TEST(Healer, F90_GivesUpNothingOnTheIncarnationAfterTheOneThatHung) {
  World world;
  TakenByAControllerThatIsGone(world);
  world.servers->Restart({"ast-1", "life-2"});
  world.servers->SetReachable("ast-1", true);
  world.servers->AddChannel("ast-1", "chan-1", "call-2");
  Controller second(world, Controller::Options(), "controller-b");
  second.detector->AddInstance({"ast-1", "life-2"});
  second.Start();
  second.RunFor(milliseconds(10'000));
  EXPECT_THAT(world.servers->Channels("ast-1"), ElementsAre("chan-1"));
  EXPECT_EQ(world.servers->given_up(), 0);
}

TEST(Healer, F90_GivesUpTheChannelOfAnAttemptOnATargetThatHungMeanwhile) {
  World world;
  Session call = world.AddCall(1);
  world.servers->ScriptPhone("call-1", {{.delay = milliseconds(3'000)}, {}});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-3");
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntil([&] { return world.servers->Invites("call-1") == 1; }));
  world.servers->SetReachable("ast-2", false);
  controller.detector->Stall("ast-2");
  world.servers->Restart({"ast-3", "life-2"});
  controller.detector->Restart({"ast-3", "life-2"});
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  ASSERT_EQ(controller.heard->outcomes[0].to.instance, "ast-3") << world.Story(call);
  EXPECT_THAT(world.servers->Channels("ast-2"), ElementsAre(ToChannelId({call.key(), 1})));
  controller.detector->Wake("ast-2");
  world.servers->SetReachable("ast-2", true);
  controller.RunFor(milliseconds(5'000));
  EXPECT_THAT(world.servers->Channels("ast-2"), ElementsAre());
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1) << world.Story(call);
}

// --- calls that nobody took -------------------------------------------------------------------

// ast-1 is the only one, and hangs for this long.
void HangAlone(World& world, Controller& controller, milliseconds hang) {
  controller.Start();
  controller.Kill("ast-2");
  controller.Kill("ast-3");
  world.servers->SetReachable("ast-1", false);
  controller.detector->Stall("ast-1");
  controller.RunFor(hang);
  controller.detector->Wake("ast-1");
  world.servers->SetReachable("ast-1", true);
  controller.RunFor(milliseconds(1'000));
}

// It is a session of ast-1 as before, and its next death is one like any other.
void ExpectLivesOnAndIsRecoveredLater(World& world, Controller& controller) {
  EXPECT_TRUE(world.servers->sent().empty());
  EXPECT_EQ(world.servers->given_up(), 0);
  const std::vector<Session> stored = world.Stored();
  ASSERT_EQ(stored.size(), 1u) << controller.Reasons();
  EXPECT_EQ(stored[0].incarnation, (Incarnation{"ast-1", "life-1"}));
  EXPECT_EQ(stored[0].channel_id, "chan-1");
  EXPECT_EQ(controller.engine->status().recoveries, 0u);

  controller.Kill("ast-1");
  world.servers->Restart({"ast-1", "life-2"});
  controller.detector->Restart({"ast-1", "life-2"});
  ASSERT_TRUE(controller.RunUntil([&] { return world.servers->Invites("call-1") == 1; }))
      << controller.Reasons();
  controller.RunFor(milliseconds(1'000));
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1) << controller.Reasons();
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
}

TEST(Healer, F90_ACallOfTheOnlyServerLivesOnWhenThatWakes) {
  World world;
  Controller controller(WithOneCall(world));
  HangAlone(world, controller, milliseconds(5'000));
  controller.RunFor(milliseconds(120'000));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 1)))
      << controller.Reasons();
  ExpectLivesOnAndIsRecoveredLater(world, controller);
}

TEST(Healer, F90_ACallThatExpiredWhileTheOnlyServerHungIsASessionAgainWhenThatWakes) {
  World world;
  Controller controller(WithOneCall(world));
  HangAlone(world, controller, milliseconds(90'000));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kExpired, 1))) << controller.Reasons();
  ExpectLivesOnAndIsRecoveredLater(world, controller);
}

TEST(Healer, F90_ACallLivesOnWhenTheOnlyServerWakesBeforeItsCaptureWasRead) {
  World world;
  WithOneCall(world);
  auto executor = std::make_shared<StepExecutor>();
  Controller controller(world, Controller::Options(), "controller-a", executor);
  const auto run = [&](milliseconds time) {
    controller.RunUntil(
        [&] {
          executor->RunOldest();
          return false;
        },
        time);
  };
  controller.Start();
  controller.Kill("ast-2");
  controller.Kill("ast-3");
  run(milliseconds(1'000));
  controller.detector->Stall("ast-1");
  ASSERT_TRUE(controller.RunUntil([&] {
    executor->RunOldest();
    return controller.engine->status().recoveries == 1;  // claimed
  }));
  controller.detector->Wake("ast-1");
  controller.RunFor(milliseconds(100));
  run(milliseconds(90'000));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 1)))
      << controller.Reasons();
  EXPECT_TRUE(world.servers->sent().empty());
  ASSERT_EQ(world.Stored().size(), 1u);
}

TEST(Healer, F90_ACallThatAControllerOnlyClaimedLivesOnInAServerThatIsAwakeAgain) {
  World world;
  WithOneCall(world);
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->Kill("ast-2");
  first->Kill("ast-3");
  first->detector->Stall("ast-1");
  first->RunFor(milliseconds(2'000));
  first.reset();
  world.servers->Restart({"ast-2", "life-2"});
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  second.RunFor(milliseconds(60'000));
  EXPECT_TRUE(world.servers->sent().empty()) << "a live server's call is not touched";
  const std::vector<Session> stored = world.Stored();
  ASSERT_EQ(stored.size(), 1u) << second.Reasons();
  EXPECT_EQ(stored[0].incarnation, (Incarnation{"ast-1", "life-1"}));
  EXPECT_EQ(second.engine->status().recoveries, 0u);
}

}  // namespace
}  // namespace sipheal
