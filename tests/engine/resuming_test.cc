// SPDX-License-Identifier: Apache-2.0
// After the answer: when the flow is resumed, with whom, and what a failure of it ends.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::_;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;

// Two calls of one target: the first phone has answered while the second channel is being created.
class FlowsAfterChannels : public ::testing::Test {
 protected:
  void SetUp() override {
    for (int i = 1; i <= 2; ++i) {
      world_.resumer->SetPrepare(world_.AddCall(i).id, {{"PJSIP_RECOVERY_FLOW", "{}"}});
    }
    HealerOptions options = Controller::Options();
    options.instances = {{"ast-1", {}}, {"ast-2", {}}};
    controller_.emplace(world_, options, "controller-a", executor_);
    controller_->Start();
    controller_->Kill("ast-1");
    ASSERT_TRUE(RunUntil([&] { return world_.servers->sent().size() == 1; }));
    // What was posted after the second create goes on without it: the answer is journalled.
    for (controller_->Settle(); executor_->waiting() > 1; controller_->Settle()) {
      executor_->RunNewest();
    }
    ASSERT_THAT(controller_->heard->stages, Contains(Pair(_, RecoveryStage::kAnswered)));
    ASSERT_EQ(executor_->waiting(), 1u) << "the second create";
    ASSERT_EQ(world_.servers->sent().size(), 1u);
  }

  template <typename Done>
  bool RunUntil(Done done) {
    for (controller_->Settle(); !done() && executor_->waiting() > 0; controller_->Settle()) {
      executor_->RunOldest();
    }
    return done();
  }

  World world_;
  std::shared_ptr<StepExecutor> executor_ = std::make_shared<StepExecutor>();
  std::optional<Controller> controller_;
};

TEST_F(FlowsAfterChannels, NoFlowIsResumedWhileItsTargetCreatesAChannel) {
  EXPECT_THAT(world_.resumer->calls(), IsEmpty());
  ASSERT_TRUE(RunUntil([&] { return controller_->heard->outcomes.size() == 2; }));
  EXPECT_THAT(controller_->Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)));
  EXPECT_EQ(world_.servers->sent().size(), 2u);
  EXPECT_EQ(world_.resumer->calls().size(), 2u);
}

TEST_F(FlowsAfterChannels, ButNoCallWaitsForOthersForLongerThanTwoSeconds) {
  world_.clock.Advance(milliseconds(1'999));
  // What the engine looks for now and then goes on without the second create, too.
  for (controller_->Settle(); executor_->waiting() > 1; controller_->Settle()) {
    executor_->RunNewest();
  }
  EXPECT_THAT(world_.resumer->calls(), IsEmpty());
  world_.clock.Advance(milliseconds(1));
  controller_->Settle();
  ASSERT_EQ(executor_->waiting(), 2u);
  executor_->RunNewest();
  EXPECT_EQ(world_.resumer->calls().size(), 1u);
  EXPECT_EQ(world_.servers->sent().size(), 1u) << "the second create still hangs";
}

TEST_F(FlowsAfterChannels, AFlowThatWaitedIsNotResumedWhenItsPhoneHasHungUp) {
  world_.servers->PhoneHangsUp(world_.servers->sent()[0].call_id);
  ASSERT_TRUE(RunUntil([&] { return controller_->heard->outcomes.size() == 2; }));
  EXPECT_THAT(controller_->Counts(),
              ElementsAre(Pair(Outcome::kRecovered, 1), Pair(Outcome::kClosed, 1)))
      << controller_->Reasons();
  EXPECT_EQ(world_.resumer->calls().size(), 1u);
}

class FlowsOfTheServerAfterChannels : public FlowsAfterChannels {
 protected:
  void SetUp() override {
    world_.servers->SetFlowProgress(FlowProgress::kDone);
    FlowsAfterChannels::SetUp();
  }
};

TEST_F(FlowsOfTheServerAfterChannels, WaitForNothing) {
  ASSERT_EQ(executor_->waiting(), 1u);
  EXPECT_EQ(world_.resumer->calls().size(), 1u);
  EXPECT_EQ(world_.servers->sent().size(), 1u) << "the second create still hangs";
}

TEST(Healer, AsksForTheFirstResumeOnlyOnce) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->FailResume(session.id, absl::UnavailableError("not yet"), 2);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  std::vector<bool> first;
  for (const auto& call : world.resumer->calls()) first.push_back(call.first);
  EXPECT_THAT(first, ElementsAre(true, false, false));
}

TEST(Healer, PromisesTheResumerNothingOfAChannelWhoseCreateWasNotConfirmed) {
  World world;
  world.AddCall(1);
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetLosesCreateAnswers(name, true);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  ASSERT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 1)))
      << controller.Reasons();
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  ASSERT_EQ(world.resumer->calls().size(), 1u);
  EXPECT_FALSE(world.resumer->calls()[0].first);
}

// What the resumer hears of a call whose server says that of its flow.
class FlowOfTheServer : public ::testing::TestWithParam<FlowProgress> {
 protected:
  FlowResumer::ResumeParams Resumed() {
    World world;
    const Session session = world.AddCall(1);
    world.resumer->SetPrepare(session.id, {{"PJSIP_RECOVERY_FLOW", "{}"}});
    world.servers->SetFlowProgress(GetParam());
    Controller controller(world);
    controller.Start();
    controller.Kill("ast-1");
    EXPECT_TRUE(controller.RunUntilOutcomes(1));
    EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 1)));
    const auto calls = world.resumer->calls();
    EXPECT_EQ(calls.size(), 1u);
    return calls.empty() ? FlowResumer::ResumeParams{} : calls[0];
  }
};

TEST_P(FlowOfTheServer, ReachesTheResumer) {
  const FlowResumer::ResumeParams resumed = Resumed();
  EXPECT_EQ(resumed.done_by_server, GetParam() == FlowProgress::kDone);
  EXPECT_EQ(resumed.first, GetParam() != FlowProgress::kUnknown);
}

INSTANTIATE_TEST_SUITE_P(Healer, FlowOfTheServer,
                         ::testing::Values(FlowProgress::kNotBegun, FlowProgress::kDone,
                                           FlowProgress::kUnknown));

TEST(Healer, F55_TellsTheResumerWhichPartnersLivedThere) {
  World world;
  world.AddCall(1, "ast-1", "call-7");
  world.AddCall(2, "ast-1", "call-7");
  const Session alive = world.AddCall(3, "ast-3", "call-7");
  world.AddCall(4, "ast-3", "another");
  world.AddCall(5, "ast-2", "call-8");
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2));
  const auto calls = world.resumer->calls();
  ASSERT_EQ(calls.size(), 2u);
  for (const FlowResumer::ResumeParams& call : calls) {
    EXPECT_EQ(call.instance, "ast-3");
    std::vector<std::string> lived_there;
    for (const FlowResumer::Partner& partner : call.partners) {
      EXPECT_EQ(partner.instance, "ast-3");
      EXPECT_NE(partner.session_id, call.session.id);
      if (partner.lived_there) lived_there.push_back(partner.channel_id);
    }
    EXPECT_THAT(lived_there, ElementsAre(alive.channel_id));
  }
  EXPECT_EQ(calls.back().partners.size(), 2u) << "one that lived there, one recovered before it";
}

TEST(Healer, F65_ResumesNoFlowOfAPhoneThatRefused) {
  World world;
  const Session session = world.AddCall(1);
  world.servers->ScriptPhone("call-1", {{.sip_status = 481}});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kClosed);
  EXPECT_EQ(controller.heard->outcomes[0].reason, "sip_481");
  EXPECT_TRUE(world.resumer->calls().empty());
  EXPECT_EQ(world.servers->Byes("call-1"), 0)
      << "the phone said itself that there is no such dialog";
}

TEST(Healer, SendsByeWhenTheFlowCannotBeResumed) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->SetAccept(session.id, absl::FailedPreconditionError("outside Stasis"));
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_THAT(controller.heard->outcomes[0].reason, HasSubstr("outside Stasis"));
  EXPECT_EQ(world.servers->Invites("call-1"), 0);
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

TEST(Healer, HangsUpWithByeWhenTheFlowFailsAfterTheAnswer) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->FailResume(session.id, absl::InvalidArgumentError("no such sound"), 100);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 0);
}

TEST(Healer, TriesTheFlowAgainWhenItWasOnlyUnavailable) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->FailResume(session.id, absl::UnavailableError("busy"), 3);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered) << controller.Reasons();
  EXPECT_EQ(world.resumer->calls().size(), 4u);
}

TEST(Healer, WaitsForAResumerThatHasTooMuchToDo) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->FailResume(session.id, absl::ResourceExhaustedError("the host is behind"), 60);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered) << controller.Reasons();
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
}

TEST(Healer, HangsUpWithByeWhenTheResumerHasTooMuchToDoUntilTheDeadline) {
  World world;
  const Session session = world.AddCall(1);
  world.resumer->FailResume(session.id, absl::ResourceExhaustedError("the host is behind"),
                            1'000'000);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_THAT(controller.heard->outcomes[0].reason, HasSubstr("the host is behind"));
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

}  // namespace
}  // namespace sipheal
