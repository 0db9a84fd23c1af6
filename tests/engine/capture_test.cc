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

// In front of the capture in memory: what it was asked.
class Asked final : public SipCapture {
 public:
  explicit Asked(std::shared_ptr<SipCapture> inner) : inner_(std::move(inner)) {}

  absl::StatusOr<std::vector<DialogCapture>> Fetch(const CallContext& ctx,
                                                   const FetchParams& params) override {
    asked.push_back(params);
    return inner_->Fetch(ctx, params);
  }

  std::vector<FetchParams> asked;

 private:
  const std::shared_ptr<SipCapture> inner_;
};

// A source that is written late (HOMER) waits until what was seen before the death can be read: it
// must know when that was, or each try waits anew.
TEST(Healer, ACaptureIsToldWhenTheServerDiedAndHowOldTheCallsAre) {
  World world;
  const auto asked = std::make_shared<Asked>(world.capture);
  world.fetch_from = asked;
  const WallTime started = world.clock.Now();
  const Session old = world.AddCall(1);
  world.clock.Advance(std::chrono::hours(100));
  const Session young = world.AddCall(2);
  world.capture->SetError(absl::UnavailableError("down"));
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(5'000));
  world.capture->SetError(absl::OkStatus());
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2)));
  const WallTime died = controller.heard->crashes.at(0).detected_at;
  ASSERT_GE(asked->asked.size(), 2u);
  for (const SipCapture::FetchParams& params : asked->asked) {
    EXPECT_EQ(params.until, died);  // of the first try and of the last
    ASSERT_TRUE(params.since.has_value());
    EXPECT_LT(*params.since, started);
    EXPECT_GE(*params.since, started - std::chrono::hours(1));
  }
}

TEST(Healer, ACallOfWhichNobodySaysHowOldItIsIsLookedForInAllThatWasCaptured) {
  World world;
  const auto asked = std::make_shared<Asked>(world.capture);
  world.fetch_from = asked;
  Session session = world.MakeSession(1);
  session.created_at = {};
  world.Put(session);
  world.AddCall(2);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2)) << controller.Reasons();
  ASSERT_EQ(asked->asked.size(), 1u);
  EXPECT_FALSE(asked->asked[0].since.has_value());
}

// Never 2: what the phone said after the death was noticed counts as well.
TEST(Healer, F10_AByeThatCameAfterTheDeathWasNoticedEndsTheCall) {
  World world;
  const Session session = world.AddCall(1);
  HealerOptions options = Controller::Options();
  for (InstanceOptions& instance : options.instances) {
    instance.identity.addresses.push_back({*sip::IpAddress::Parse("192.0.2.1"), 5060});
  }
  world.capture->SetError(absl::UnavailableError("down"));
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(3'000));
  AddBye(world, World::Dialog(session.call_id));
  world.capture->SetError(absl::OkStatus());
  ASSERT_TRUE(controller.RunUntilOutcomes(1)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kClosed, 1)));
  EXPECT_TRUE(world.servers->sent().empty());
}

}  // namespace
}  // namespace sipheal
