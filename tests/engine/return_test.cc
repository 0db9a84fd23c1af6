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
  controller.RunUntil([] { return false; }, milliseconds(1'000));
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
  controller.RunUntil([] { return false; }, milliseconds(2'000));
  controller.detector->Wake("ast-1");
  controller.RunUntil([] { return false; }, milliseconds(30'000));
  EXPECT_TRUE(world.servers->sent().empty()) << "its channel lives there";
}

}  // namespace
}  // namespace sipheal
