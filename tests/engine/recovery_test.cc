// SPDX-License-Identifier: Apache-2.0
// The way of sessions from a crash to their outcomes.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

std::string Variable(const testing::SentRequest& request, const std::string& name) {
  for (const auto& [key, value] : request.variables) {
    if (key == name) return value;
  }
  return "(absent)";
}

TEST(Healer, BringsACallToAHealthyInstanceAndResumesItsFlow) {
  World world;
  const Session session = world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();

  const SessionReport& report = controller.heard->outcomes[0];
  EXPECT_EQ(report.outcome, Outcome::kRecovered) << report.reason;
  EXPECT_EQ(report.from, (Incarnation{"ast-1", "life-1"}));
  EXPECT_NE(report.to.instance, "ast-1");
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  EXPECT_THAT(world.resumer->resumed(), ElementsAre(report.channel_id));
  // The recovered session is a session again.
  const std::vector<Session> stored = world.Stored();
  ASSERT_EQ(stored.size(), 1u);
  EXPECT_EQ(stored[0].id, session.id);
  EXPECT_EQ(stored[0].epoch, 1u);
  EXPECT_EQ(stored[0].incarnation, report.to);
  EXPECT_EQ(stored[0].channel_id, report.channel_id);
}

TEST(Healer, JournalsEveryArrowBeforeItsEffect) {
  World world;
  const Session session = world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  std::vector<RecoveryStage> stages;
  for (const JournalEntry& entry : world.JournalOf(session)) stages.push_back(entry.stage);
  // The claim itself may have an entry of the store's own.
  std::erase(stages, RecoveryStage::kClaimed);
  EXPECT_THAT(stages,
              ElementsAre(RecoveryStage::kRebuilt, RecoveryStage::kPlaced, RecoveryStage::kInviting,
                          RecoveryStage::kAnswered, RecoveryStage::kFinished));
}

TEST(Healer, F76_TouchesNoCallOfAHealthyInstance) {
  World world;
  world.AddCall(1, "ast-1");
  world.AddCall(2, "ast-2");
  world.AddCall(3, "ast-3");
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  EXPECT_EQ(world.servers->Invites("call-2"), 0);
  EXPECT_EQ(world.servers->Invites("call-3"), 0);
}

TEST(Healer, F72_NeverTriesAgainAfter481) {
  World world;
  world.AddCall(1);
  world.servers->ScriptPhone("call-1", {{.sip_status = 481}});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  controller.RunFor(milliseconds(30'000));
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  EXPECT_EQ(controller.heard->outcomes.size(), 1u);
}

TEST(Healer, F77_KeepsASessionWhenEveryTargetRefusesAndRecoversItWhenOneIsThere) {
  World world;
  world.AddCall(1);
  world.servers->SetCannotRecover("ast-2", "module missing");
  world.servers->SetCannotRecover("ast-3", "module missing");
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(5'000));
  EXPECT_TRUE(controller.heard->outcomes.empty()) << controller.Reasons();
  world.servers->SetCannotRecover("ast-3", "");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
  EXPECT_EQ(controller.heard->outcomes[0].to.instance, "ast-3");
}

TEST(Healer, F77_RecordsAReasonWhenNoTargetCameBeforeTheDeadline) {
  World world;
  const Session session = world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.Kill("ast-2");
  controller.Kill("ast-3");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kExpired);
  EXPECT_FALSE(controller.heard->outcomes[0].reason.empty());
  EXPECT_EQ(world.JournalOf(session).back().outcome, Outcome::kExpired);
}

TEST(Healer, F56_RecoversBothLegsWhenTheyCallEachOther) {
  // Both ends of one dialog are ours: same Call-ID, mirrored tags.
  World world;
  Session one = world.MakeSession(1);
  Session two = world.MakeSession(2);
  two.call_id = one.call_id;
  one.local_tag = two.remote_tag = "a";
  one.remote_tag = two.local_tag = "b";
  world.Put(one);
  world.Put(two);
  sip::DialogState dialog = World::Dialog(one.call_id);
  dialog.local.tag = "a";
  dialog.remote.tag = "b";
  world.capture->AddDialog(dialog);
  std::swap(dialog.local, dialog.remote);
  dialog.role = sip::DialogRole::kUac;
  world.capture->AddDialog(dialog);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)))
      << controller.Reasons();
  std::set<std::string> from_tags;
  for (const auto& request : world.servers->sent())
    from_tags.insert(Variable(request, "PJSIP_RECOVERY_FROM_TAG"));
  EXPECT_THAT(from_tags, ElementsAre("a", "b"));
}

TEST(Healer, F95_TouchesNeitherOfTwoLivingDialogsThatItCannotTellApart) {
  World world;
  world.AddCall(1);
  sip::DialogState other = World::Dialog("call-1");
  other.remote.tag = "another";
  world.capture->AddDialog(other);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kClosed);
  EXPECT_EQ(controller.heard->outcomes[0].reason, "conflicting");
  EXPECT_TRUE(world.servers->sent().empty());
}

TEST(Healer, F10_SendsNothingIntoADialogThatIsOver) {
  World world;
  for (int i = 0; i < 3; ++i) world.Put(world.MakeSession(i));
  sip::DialogState ended = World::Dialog("call-0");
  ended.phase = sip::DialogPhase::kTerminated;
  ended.end = sip::DialogEnd::kByeAnswered;
  world.capture->AddDialog(ended);
  sip::DialogState ending = World::Dialog("call-1");
  ending.phase = sip::DialogPhase::kTerminated;
  ending.end = sip::DialogEnd::kByeUnanswered;
  world.capture->AddDialog(ending);
  // call-2 was never captured
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(3));
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kClosed, 3))) << controller.Reasons();
  EXPECT_TRUE(world.servers->sent().empty());
}

TEST(Healer, SendsByeWhenTheHostDoesNotWantTheSessionRecovered) {
  World world;
  Session session = world.MakeSession(1);
  session.recover = false;
  world.Put(session);
  world.capture->AddDialog(World::Dialog("call-1"));
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_EQ(controller.heard->outcomes[0].reason, "opt_out");
  EXPECT_EQ(world.servers->Invites("call-1"), 0);
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

TEST(Healer, F14_GoesAboveEveryCseqOfEarlierAttempts) {
  World world;
  world.AddCall(1);
  world.servers->ScriptPhone("call-1",
                             {{.sip_status = 488}, {.sip_status = 500}, {.sip_status = 200}});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered) << controller.Reasons();
  std::vector<int> cseqs;
  for (const auto& request : world.servers->sent())
    cseqs.push_back(std::stoi(Variable(request, "PJSIP_RECOVERY_CSEQ")));
  ASSERT_EQ(cseqs.size(), 3u);
  EXPECT_GT(cseqs[0], 7);
  EXPECT_GT(cseqs[1], cseqs[0]);
  EXPECT_GE(cseqs[2], cseqs[1] + 100'000) << "after a 500 without Retry-After";
}

TEST(Healer, EndsTheCallWithByeWhenItWasRefusedTooOften) {
  World world;
  world.AddCall(1);
  world.servers->ScriptPhone("call-1", {{.sip_status = 488}});
  HealerOptions options = Controller::Options();
  options.max_attempts = 3;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_EQ(controller.heard->outcomes[0].reason, "sip_488");
  EXPECT_EQ(world.servers->Invites("call-1"), 3);
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

TEST(Healer, RecoversTheRecoveredSessionAgain) {
  World world;
  const Session session = world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  const std::string second = controller.heard->outcomes[0].to.instance;
  controller.RunFor(milliseconds(5'000));
  controller.Kill(second);
  ASSERT_TRUE(controller.RunUntilOutcomes(2));
  EXPECT_EQ(controller.heard->outcomes[1].outcome, Outcome::kRecovered) << controller.Reasons();
  EXPECT_EQ(controller.heard->outcomes[1].session, (SessionKey{session.id, 1}));
  EXPECT_EQ(world.Stored().at(0).epoch, 2u);
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1);
}

TEST(Healer, F73_GoesOnElsewhereWhenTheTargetDiesWhileItWaitsForTheAnswer) {
  World world;
  for (int i = 0; i < 20; ++i) {
    world.AddCall(i);
    world.servers->ScriptPhone(absl::StrFormat("call-%d", i), {{.delay = milliseconds(500)}, {}});
  }
  HealerOptions options = Controller::Options();
  options.instances[2].target = false;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunUntil([&] { return world.servers->sent().size() == 20; });
  controller.Kill("ast-2");
  world.servers->Restart({"ast-2", "life-2"});
  ASSERT_TRUE(controller.RunUntilOutcomes(20)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 20)))
      << controller.Reasons();
  for (int i = 0; i < 20; ++i)
    EXPECT_EQ(world.servers->LiveChannels(absl::StrFormat("call-%d", i)), 1) << i;
}

TEST(Healer, F100_QuarantinesThePoisonCallAndRecoversTheOthers) {
  World world;
  for (int i = 0; i < 10; ++i) world.AddCall(i);
  const Session poison = world.MakeSession(4);
  world.servers->ScriptPhone("call-4", {{.kills_server = true}});
  Controller controller(world);
  int deaths = 0;
  world.servers->OnServerDeath([&](const Incarnation& incarnation) {
    ++deaths;
    controller.detector->Kill(incarnation.instance);
    // A supervisor starts it again at once.
    const Incarnation next{incarnation.instance, incarnation.life + "+"};
    world.servers->Restart(next);
    controller.detector->Restart(next);
  });
  controller.Start();
  controller.Kill("ast-1");
  // A session that was up on a server when it died is recovered once more from there.
  controller.RunUntil([&] {
    return deaths > 2 ||
           (controller.heard->outcomes.size() >= 10 && controller.engine->status().recoveries == 0);
  });
  ASSERT_EQ(deaths, 2) << world.Story(poison);
  std::map<std::string, Outcome> last;
  for (const SessionReport& report : controller.heard->outcomes)
    last[report.call_id] = report.outcome;
  ASSERT_EQ(last.size(), 10u) << controller.Reasons();
  for (const auto& [call, outcome] : last) {
    EXPECT_EQ(outcome, call == "call-4" ? Outcome::kQuarantined : Outcome::kRecovered)
        << controller.Reasons();
  }
  EXPECT_EQ(world.servers->Invites("call-4"), 2) << world.Story(poison);
}

TEST(Healer, DryRunSendsAndClaimsNothing) {
  World world;
  const Session session = world.AddCall(1);
  HealerOptions options = Controller::Options();
  options.dry_run = true;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_THAT(controller.heard->outcomes[0].reason, HasSubstr("would be recovered"));
  EXPECT_TRUE(world.servers->sent().empty());
  EXPECT_TRUE(world.JournalOf(session).empty());
  ASSERT_EQ(world.Stored().size(), 1u);
  EXPECT_EQ(world.Stored()[0], session);
}

TEST(Healer, PlanShowsTheVariablesWithoutDoingAnything) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  const auto plans = controller.engine->Plan({}, "ast-1");
  ASSERT_TRUE(plans.ok()) << plans.status();
  ASSERT_EQ(plans->size(), 1u);
  EXPECT_TRUE((*plans)[0].verdict.recoverable());
  EXPECT_THAT((*plans)[0].variables, Contains(Pair("PJSIP_RECOVERY_CALL-ID", "call-1")));
  EXPECT_TRUE(world.servers->sent().empty());
}

TEST(Healer, BeginsNothingWhilePausedAndEverythingAfterwards) {
  World world;
  world.AddCall(1);
  HealerOptions options = Controller::Options();
  options.paused = true;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(3'000));
  EXPECT_TRUE(world.servers->sent().empty());
  EXPECT_EQ(controller.engine->status().lost.size(), 1u);
  controller.engine->Resume();
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
}

TEST(Healer, F90_TellsAnInstanceThatWakesUpToGiveUpWhatWasTaken) {
  World world;
  for (int i = 0; i < 5; ++i) {
    world.AddCall(i);
    world.servers->AddChannel("ast-1", absl::StrFormat("chan-%d", i),
                              absl::StrFormat("call-%d", i));
  }
  Controller controller(world);
  controller.Start();
  world.servers->SetReachable("ast-1", false);
  controller.detector->Stall("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(5));
  EXPECT_EQ(controller.heard->crashes.at(0).kind, CrashKind::kSilent);
  world.servers->SetReachable("ast-1", true);
  controller.detector->Wake("ast-1");
  controller.RunUntil([&] { return world.servers->given_up() >= 5; }, milliseconds(5'000));
  EXPECT_EQ(world.servers->given_up(), 5);
  EXPECT_EQ(controller.heard->returned.size(), 1u);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(world.servers->Byes(absl::StrFormat("call-%d", i)), 0);
}

TEST(Healer, FencesASilentInstanceBeforeItTakesItsCalls) {
  World world;
  world.AddCall(1);
  HealerOptions options = Controller::Options();
  std::size_t sent_when_fenced = 99;
  Incarnation fenced;
  options.fence = [&](const Incarnation& incarnation) {
    fenced = incarnation;
    sent_when_fenced = world.servers->sent().size();
    return absl::OkStatus();
  };
  Controller controller(world, options);
  controller.Start();
  world.servers->SetReachable("ast-1", false);
  controller.detector->Stall("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(fenced, (Incarnation{"ast-1", "life-1"}));
  EXPECT_EQ(sent_when_fenced, 0u);
}

TEST(Healer, F87_FindsADeathThatHappenedBeforeItWasStarted) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Kill("ast-1");
  controller.Start();
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
}

// The server was started again while no controller ran: only the store knows that there was a life
// before.
TEST(Healer, F87_FindsTheDeathOfALifeThatOnlyTheStoreKnows) {
  World world;
  Session former = world.MakeSession(1);
  former.incarnation.life = "life-0";
  former.id = MakeSessionId(former.incarnation, former.channel_id);
  world.Put(former);
  world.capture->AddDialog(World::Dialog(former.call_id));
  world.AddCall(2);
  Controller controller(world);
  controller.Start();
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered) << controller.Reasons();
  EXPECT_EQ(controller.heard->outcomes[0].from, (Incarnation{"ast-1", "life-0"}));
  controller.RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->Invites("call-2"), 0) << "the life that runs is left alone";
}

TEST(Healer, RecoversByHandWhatTheOperatorDeclaresDead) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  EXPECT_TRUE(absl::IsNotFound(controller.engine->Recover({}, "ast-9")));
  world.servers->SetReachable("ast-1", false);
  ASSERT_TRUE(controller.engine->Recover({}, "ast-1").ok());
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
}

TEST(Healer, ReportsACrashAsDoneWhenEachSessionHasItsOutcome) {
  World world;
  for (int i = 0; i < 450; ++i) world.AddCall(i);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntil([&] { return !controller.heard->reports.empty(); }));
  EXPECT_EQ(controller.heard->reports[0]->sessions.size(), 450u);
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 450)))
      << controller.Reasons();
  EXPECT_TRUE(controller.engine->status().lost.empty());
}

}  // namespace
}  // namespace sipheal
