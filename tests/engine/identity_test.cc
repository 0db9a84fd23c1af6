// SPDX-License-Identifier: Apache-2.0
// What the phone sees of a recovery: which dialogs are touched at all, and with which numbers.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

std::string Variable(const testing::SentRequest& request, const std::string& name) {
  for (const auto& [key, value] : request.variables) {
    if (key == name) return value;
  }
  return "(absent)";
}

long CseqOf(const testing::SentRequest& request) {
  return std::stol(Variable(request, "PJSIP_RECOVERY_CSEQ"));
}

TEST(Healer, F08_SendsNothingWithoutBothTags) {
  World world;
  for (int i = 0; i < 4; ++i) {
    Session session = world.MakeSession(i);
    sip::DialogState dialog = World::Dialog(session.call_id);
    // What the store remembers of a tag is no proof that the phone has it.
    if (i >= 2) {
      session.local_tag = dialog.local.tag;
      session.remote_tag = dialog.remote.tag;
    }
    (i % 2 == 0 ? dialog.remote.tag : dialog.local.tag).clear();
    dialog.missing = {i % 2 == 0 ? sip::Field::kRemoteTag : sip::Field::kLocalTag};
    world.Put(session);
    world.capture->AddDialog(dialog);
  }
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(4)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kClosed, 4))) << controller.Reasons();
  EXPECT_TRUE(world.servers->sent().empty());
}

TEST(Healer, F11_RecoversWhatIsUpHoweverOldAndNothingElse) {
  World world;
  world.AddCall(1);
  Session old = world.MakeSession(2);
  old.created_at = world.clock.Now() - std::chrono::hours(25);
  old.answered_at = old.created_at;
  world.Put(old);
  sip::DialogState dialog = World::Dialog(old.call_id);
  dialog.created_at = dialog.confirmed_at = dialog.last_seen = *old.answered_at;
  world.capture->AddDialog(dialog);
  for (int i = 100; i < 600; ++i) {
    Session ended = world.AddCall(i);
    ended.state = SessionState::kEnded;
    world.Put(ended);
  }
  Controller controller(world);
  controller.Start();
  controller.RunFor(milliseconds(2'000));
  const std::size_t before = world.servers->sent().size();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  controller.RunFor(milliseconds(30'000));
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
  EXPECT_EQ(world.servers->Invites("call-2"), 1);
  EXPECT_EQ(world.servers->sent().size() - before, 2u);
}

// The capture shows nothing of the first recovery: the second server died too soon. Its CSeq and
// its offer have been used all the same.
TEST(Healer, F12_F93_ASecondRecoveryGoesAboveTheFirstWhenTheCaptureMissedIt) {
  World world;
  world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  controller.Kill(controller.heard->outcomes[0].to.instance);
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  const auto sent = world.servers->sent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_GT(CseqOf(sent[1]), CseqOf(sent[0]));
  EXPECT_EQ(Variable(sent[0], "PJSIP_RECOVERY_SDP_ORIGIN"), "- 100 1100 IN IP4 192.0.2.1");
  EXPECT_EQ(Variable(sent[1], "PJSIP_RECOVERY_SDP_ORIGIN"), "- 100 1101 IN IP4 192.0.2.1");
}

TEST(Healer, F12_ASecondRecoveryCountsTheOfferOfTheFirstOnceWhenTheCaptureSawIt) {
  World world;
  const Session session = world.AddCall(1);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  sip::DialogState dialog = World::Dialog(session.call_id);
  dialog.local_seq = static_cast<std::uint32_t>(CseqOf(world.servers->sent().at(0)));
  dialog.highest_local_sdp_version = "101";
  world.capture->Clear();
  world.capture->AddDialog(dialog);
  controller.Kill(controller.heard->outcomes[0].to.instance);
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  const auto sent = world.servers->sent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_EQ(Variable(sent[1], "PJSIP_RECOVERY_SDP_ORIGIN"), "- 100 1101 IN IP4 192.0.2.1");
}

// The server that died had sent nothing in the dialog, so the first number comes from the clock.
// The clock of whoever recovers it again is behind.
TEST(Healer, F12_GoesAboveTheFirstRecoverysCseqWithAClockThatIsBehind) {
  World world;
  const Session session = world.MakeSession(1);
  world.Put(session);
  sip::DialogState dialog = World::Dialog(session.call_id);
  dialog.local_seq.reset();
  world.capture->AddDialog(dialog);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  const std::string second = controller.heard->outcomes[0].to.instance;
  controller.RunFor(milliseconds(5'000));
  world.clock.StepWall(-std::chrono::minutes(10));
  controller.Kill(second);
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  EXPECT_EQ(controller.heard->outcomes[1].outcome, Outcome::kRecovered) << controller.Reasons();
  const auto sent = world.servers->sent();
  ASSERT_EQ(sent.size(), 2u);
  EXPECT_GT(CseqOf(sent[1]), CseqOf(sent[0]));
}

TEST(Healer, F17_SendsNothingWhenTheDialogCannotCountOn) {
  World world;
  const std::uint32_t used[] = {0, 1, sip::kMaxCseq, 0x7fffffffu, 0xffffffffu};
  for (int i = 0; i < 5; ++i) {
    const Session session = world.MakeSession(i);
    world.Put(session);
    sip::DialogState dialog = World::Dialog(session.call_id);
    dialog.local_seq = used[i];
    world.capture->AddDialog(dialog);
  }
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(5)) << controller.Reasons();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), i < 2 ? 1 : 0) << used[i];
  }
  for (const auto& request : world.servers->sent()) EXPECT_GT(CseqOf(request), 1);
}

TEST(Healer, F65_DoesNothingWithTheFlowBeforeThePhoneHasAnswered) {
  World world;
  const Session session = world.AddCall(1);
  world.servers->ScriptPhone("call-1", {{.sip_status = 488}, {.delay = milliseconds(5'000)}});
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntil([&] { return world.servers->Invites("call-1") == 2; }));
  controller.RunFor(milliseconds(4'500));
  EXPECT_TRUE(world.resumer->calls().empty()) << "the phone has not answered yet";
  ASSERT_EQ(world.Stored().size(), 1u);
  EXPECT_EQ(world.Stored()[0], session) << "neither the refusal nor the wait changes the record";
  ASSERT_TRUE(controller.RunUntilOutcomes(1));
  EXPECT_EQ(world.resumer->calls().size(), 1u);
}

}  // namespace
}  // namespace sipheal
