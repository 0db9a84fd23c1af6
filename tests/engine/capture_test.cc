// SPDX-License-Identifier: Apache-2.0
// What the engine makes of captures that give a part: messages beside folded dialogs, and a source
// that did not answer for some of the calls.
#include "sipheal/sip/dialog_folder.h"
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

// In front of the capture in memory: for these Call-IDs one of two sources does not answer.
class PartlySilent final : public MemorySipCapture {
 public:
  explicit PartlySilent(std::shared_ptr<MemorySipCapture> good) : good_(std::move(good)) {}

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override {
    auto captures = good_->Fetch(ctx, params);
    if (!captures.ok()) return captures;
    for (DialogCapture& capture : *captures) {
      if (silent_for.contains(capture.call_id)) {
        capture.status = absl::UnavailableError("homer: down");
      }
    }
    return captures;
  }
  void AddMessage(const std::string& call_id, sip::CapturedMessage message) override {
    good_->AddMessage(call_id, std::move(message));
  }
  void AddDialog(sip::DialogState dialog) override { good_->AddDialog(std::move(dialog)); }
  void SetCompleteness(Completeness completeness) override { good_->SetCompleteness(completeness); }
  void SetError(absl::Status error) override { good_->SetError(std::move(error)); }
  void Clear() override { good_->Clear(); }

  std::set<std::string> silent_for;

 private:
  const std::shared_ptr<MemorySipCapture> good_;
};

std::shared_ptr<PartlySilent> MakePartlySilent(World& world) {
  auto capture = std::make_shared<PartlySilent>(world.capture);
  world.capture = capture;
  return capture;
}

TEST(Healer, ASourceThatIsSilentDelaysOnlyTheCallsThatNeedIt) {
  World world;
  const auto capture = MakePartlySilent(world);
  const Session known = world.AddCall(1);
  const Session needed = world.MakeSession(2);
  world.Put(needed);  // nothing of it is known by the source that answers
  capture->silent_for = {known.call_id, needed.call_id};
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  EXPECT_EQ(controller.heard->outcomes[0].call_id, known.call_id);
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
  controller.RunFor(milliseconds(3'000));
  EXPECT_EQ(controller.heard->outcomes.size(), 1u) << controller.Reasons();

  world.capture->AddDialog(World::Dialog(needed.call_id));
  capture->silent_for.clear();
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)));
}

TEST(Healer, ACallOfWhichNothingBecomesKnownEndsAtItsDeadline) {
  World world;
  const auto capture = MakePartlySilent(world);
  const Session needed = world.MakeSession(1);
  world.Put(needed);
  capture->silent_for = {needed.call_id};
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kExpired, 1)));
  EXPECT_TRUE(world.servers->sent().empty());
}

// The BYE that the source which answered saw is not doubted because another one is silent.
TEST(Healer, F10_AnEndIsTheEndAlsoWhileASourceIsSilent) {
  World world;
  const auto capture = MakePartlySilent(world);
  const Session session = world.MakeSession(1);
  world.Put(session);
  sip::DialogState ended = World::Dialog(session.call_id);
  ended.phase = sip::DialogPhase::kTerminated;
  ended.end = sip::DialogEnd::kByeAnswered;
  world.capture->AddDialog(ended);
  capture->silent_for = {session.call_id};
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kClosed, 1)));
  EXPECT_TRUE(world.servers->sent().empty());
}

// The phone's BYE and its answer, as one that keeps messages has them.
void AddBye(World& world, const sip::DialogState& dialog) {
  const std::string parties =
      "Via: SIP/2.0/UDP 192.0.2.9:5062;branch=z9hG4bKbye\r\nFrom: <" + dialog.remote.uri +
      ">;tag=" + dialog.remote.tag + "\r\nTo: <" + dialog.local.uri + ">;tag=" + dialog.local.tag +
      "\r\nCall-ID: " + dialog.call_id + "\r\nCSeq: 4 BYE\r\nContent-Length: 0\r\n\r\n";
  sip::CapturedMessage bye;
  bye.bytes = "BYE sip:pbx@192.0.2.1 SIP/2.0\r\nMax-Forwards: 70\r\n" + parties;
  bye.source = *sip::Endpoint::Parse("192.0.2.9:5062");
  bye.destination = *sip::Endpoint::Parse("192.0.2.1:5060");
  bye.transport = sip::Transport::kUdp;
  bye.time = std::chrono::time_point_cast<std::chrono::microseconds>(world.clock.Now());
  sip::CapturedMessage answer = bye;
  answer.bytes = "SIP/2.0 200 OK\r\n" + parties;
  std::swap(answer.source, answer.destination);
  answer.time += milliseconds(5);
  world.capture->AddMessage(dialog.call_id, bye);
  world.capture->AddMessage(dialog.call_id, answer);
}

// Never 2, for a chain: the folded state missed the BYE that the messages hold.
TEST(Healer, F10_MessagesBesideAFoldedDialogAreEvidenceToo) {
  for (const bool with_bye : {false, true}) {
    World world;
    const Session session = world.AddCall(1);
    if (with_bye) AddBye(world, World::Dialog(session.call_id));
    HealerOptions options = Controller::Options();
    for (InstanceOptions& instance : options.instances) {
      instance.identity.addresses.push_back({*sip::IpAddress::Parse("192.0.2.1"), 5060});
    }
    Controller controller(world, options);
    controller.Start();
    controller.Kill("ast-1");
    ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
    EXPECT_THAT(controller.Counts(),
                ElementsAre(Pair(with_bye ? Outcome::kClosed : Outcome::kRecovered, 1)))
        << controller.Reasons();
    EXPECT_EQ(world.servers->sent().empty(), with_bye);
  }
}

}  // namespace
}  // namespace sipheal
