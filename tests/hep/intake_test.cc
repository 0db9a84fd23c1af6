// SPDX-License-Identifier: Apache-2.0
#include "hep/intake.h"

#include <algorithm>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/hep/hep_builder.h"
#include "tests/hep/test_call.h"

namespace sipheal::hep {
namespace {

using sip::CapturedMessage;
using sip::DialogState;
using testing::Append;
using ::testing::ElementsAre;
using testing::HepAgent;
using testing::HepPacketOf;
using ::testing::IsEmpty;
using testing::TestCall;

const sip::IpAddress kLocalhost = *sip::IpAddress::Parse("127.0.0.1");
const WallTime kNow{std::chrono::seconds(1'790'000'100)};

HepInstanceOptions InstanceOptions(std::string name, const TestCall& call) {
  HepInstanceOptions options;
  options.agents = {name};
  options.instance = std::move(name);
  options.server = call.Identity();
  return options;
}

class IntakeTest : public ::testing::Test {
 protected:
  explicit IntakeTest(Intake::Options options = {}) : intake_(WithRecords(std::move(options))) {}

  static Intake::Options WithRecords(Intake::Options options) {
    options.keep_records = true;
    return options;
  }

  void Add(HepInstanceOptions options) {
    auto heard = std::make_shared<HeardCell>(kNeverHeard);
    heard_[options.instance] = heard;
    const absl::Status status = intake_.AddInstance(std::move(options), std::move(heard));
    ASSERT_TRUE(status.ok()) << status;
  }
  void Take(const CapturedMessage& message, const std::string& agent) {
    intake_.Take(HepPacketOf(message, {0, agent, ""}), kLocalhost, kNow, MonotonicTime());
  }
  void TakeAll(const std::vector<CapturedMessage>& messages, const std::string& agent) {
    for (const CapturedMessage& message : messages) Take(message, agent);
  }
  std::vector<DialogState> Dialogs(const std::string& call_id, const std::string& instance) {
    return intake_.Fetch(call_id, instance).dialogs;
  }
  HepStats Stats() const {
    HepStats stats;
    intake_.AddTo(stats);
    return stats;
  }
  Changes AllChanges() { return intake_.TakeChanges(SIZE_MAX, kNow); }

  Intake intake_;
  std::map<std::string, std::shared_ptr<HeardCell>> heard_;
};

class IntakeWithKeyTest : public IntakeTest {
 protected:
  IntakeWithKeyTest()
      : IntakeTest([] {
          Intake::Options options;
          options.auth_key = "s3cret";
          return options;
        }()) {}
};

TEST_F(IntakeTest, FoldsACallThatTheServerAnswered) {
  TestCall call;
  Add(InstanceOptions("a", call));
  TakeAll(call.Setup(), "a");
  const std::vector<DialogState> dialogs = Dialogs(call.call_id, "a");
  ASSERT_EQ(dialogs.size(), 1u);
  EXPECT_EQ(dialogs[0].role, sip::DialogRole::kUas);
  EXPECT_EQ(dialogs[0].phase, sip::DialogPhase::kConfirmed);
  EXPECT_EQ(dialogs[0].local.tag, call.server_tag);
  EXPECT_EQ(dialogs[0].remote.tag, call.peer_tag);
  EXPECT_EQ(dialogs[0].remote_target, call.PeerUri());
  EXPECT_EQ(intake_.Fetch(call.call_id, "a").completeness, Completeness::kBestEffort);
  EXPECT_EQ(intake_.Fetch("never-seen", "a").completeness, Completeness::kMissing);
}

// F99: a packet whose sender is not the instance's own agent is no evidence.
TEST_F(IntakeTest, PacketsOfUnknownAgentsOrForeignSourcesChangeNothingAndAreCounted) {
  TestCall call;
  HepInstanceOptions options = InstanceOptions("a", call);
  options.agents = {"a", "17"};
  options.allowed_sources = {"127.0.0.0/30", "2001:db8::/32"};
  Add(std::move(options));
  const CapturedMessage invite = call.Setup()[0];
  const auto take = [&](const HepAgent& agent, const char* source) {
    intake_.Take(HepPacketOf(invite, agent), *sip::IpAddress::Parse(source), kNow,
                 MonotonicTime(std::chrono::seconds(5)));
  };
  take({17, "", ""}, "192.0.2.66");
  take({17, "", ""}, "127.0.0.4");
  take({18, "", ""}, "127.0.0.1");
  take({18, "b", ""}, "127.0.0.1");
  take({0, "", ""}, "127.0.0.1");
  EXPECT_EQ(heard_["a"]->load(), kNeverHeard);
  EXPECT_EQ(Stats().wrong_source, 2u);
  EXPECT_EQ(Stats().unknown_agent, 3u);
  EXPECT_EQ(Stats().instances[0].messages, 0u);
  EXPECT_THAT(Dialogs(call.call_id, "a"), IsEmpty());

  take({17, "", ""}, "127.0.0.3");
  take({18, "a", ""}, "2001:db8::9");
  EXPECT_EQ(Stats().instances[0].messages, 2u);
  EXPECT_EQ(heard_["a"]->load(), std::chrono::nanoseconds(std::chrono::seconds(5)).count());
}

TEST_F(IntakeWithKeyTest, EveryPacketMustBearTheKey) {
  TestCall call;
  Add(InstanceOptions("a", call));
  const CapturedMessage invite = call.Setup()[0];
  for (const char* key : {"", "s3cre", "s3cret!", "S3cret", "x"}) {
    intake_.Take(HepPacketOf(invite, {0, "a", key}), kLocalhost, kNow, MonotonicTime());
  }
  EXPECT_EQ(Stats().wrong_key, 5u);
  EXPECT_EQ(Stats().instances[0].packets, 0u);
  intake_.Take(HepPacketOf(invite, {0, "a", "s3cret"}), kLocalhost, kNow, MonotonicTime());
  EXPECT_EQ(Stats().instances[0].messages, 1u);
}

TEST_F(IntakeTest, OnlySipIsFoldedAndTheRestIsCounted) {
  TestCall call;
  Add(InstanceOptions("a", call));
  for (const std::uint8_t type : {0, 5, 34, 100}) {
    intake_.Take(HepPacketOf(call.Setup()[0], {0, "a", ""}, type), kLocalhost, kNow,
                 MonotonicTime());
  }
  intake_.Take("garbage", kLocalhost, kNow, MonotonicTime());
  EXPECT_EQ(Stats().not_sip, 4u);
  EXPECT_EQ(Stats().refused[static_cast<std::size_t>(sip::HepError::kNotHep)], 1u);
  EXPECT_EQ(Stats().instances[0].packets, 4u);  // signs of life all the same
  EXPECT_EQ(Stats().instances[0].messages, 0u);
  EXPECT_EQ(Stats().packets, 5u);
}

// Asterisk sends the whole buffer of a connection once for each message in it.
TEST_F(IntakeTest, ACoalescedStreamBufferIsFoldedMessageByMessageAndOnlyOnce) {
  TestCall first;
  first.transport = sip::Transport::kTcp;
  TestCall second = first;
  second.call_id = "call-2@198.51.100.20";
  second.server_tag = "as2222";
  second.peer_tag = "ph2222";
  Add(InstanceOptions("a", first));
  const std::vector<CapturedMessage> one = first.Setup();
  const std::vector<CapturedMessage> two = second.Setup();
  for (std::size_t i = 0; i < one.size(); ++i) {
    CapturedMessage both = one[i];
    both.bytes = "\r\n\r\n" + one[i].bytes + two[i].bytes + one[0].bytes.substr(0, 100);
    Take(both, "a");
    Take(both, "a");
  }
  for (const TestCall& call : {first, second}) {
    const std::vector<DialogState> dialogs = Dialogs(call.call_id, "a");
    ASSERT_EQ(dialogs.size(), 1u) << call.call_id;
    EXPECT_EQ(dialogs[0].phase, sip::DialogPhase::kConfirmed);
    EXPECT_EQ(dialogs[0].remote.tag, call.peer_tag);
  }
  EXPECT_EQ(Stats().instances[0].duplicates, 10u);
}

// F56: each side of a call between two of our own instances is its own dialog.
TEST_F(IntakeTest, TwoInstancesThatTalkToEachOtherKeepTheirOwnSides) {
  TestCall at_a;  // a calls b: a is UAC
  at_a.server_is_uac = true;
  at_a.server = "192.0.2.10:5060";
  at_a.peer = "192.0.2.11:5060";
  TestCall at_b = at_a;
  at_b.server_is_uac = false;
  std::swap(at_b.server, at_b.peer);
  std::swap(at_b.server_tag, at_b.peer_tag);
  Add(InstanceOptions("a", at_a));
  Add(InstanceOptions("b", at_b));
  // One message on the wire; each agent reports its own copy of it.
  for (const CapturedMessage& message : at_a.Setup()) {
    Take(message, "a");
    Take(message, "b");
  }
  const std::vector<DialogState> a = Dialogs(at_a.call_id, "a");
  const std::vector<DialogState> b = Dialogs(at_a.call_id, "b");
  ASSERT_EQ(a.size(), 1u);
  ASSERT_EQ(b.size(), 1u);
  EXPECT_EQ(a[0].role, sip::DialogRole::kUac);
  EXPECT_EQ(b[0].role, sip::DialogRole::kUas);
  EXPECT_EQ(a[0].local.tag, b[0].remote.tag);
  EXPECT_EQ(a[0].remote.tag, b[0].local.tag);
  EXPECT_EQ(intake_.Fetch(at_a.call_id, "").dialogs.size(), 2u);

  // Its end, too, is each side's own.
  for (const CapturedMessage& message : at_a.Bye(101, true)) Take(message, "a");
  AllChanges();
  EXPECT_EQ(Dialogs(at_a.call_id, "a")[0].phase, sip::DialogPhase::kTerminated);
  EXPECT_EQ(Dialogs(at_a.call_id, "b")[0].phase, sip::DialogPhase::kConfirmed);
}

// F91: equal time stamps, any order of arrival.
TEST_F(IntakeTest, MessagesOfOneMillisecondGiveTheSameStateInEveryOrder) {
  std::mt19937 random(91);  // NOLINT: a fixed seed
  for (const bool uac : {false, true}) {
    TestCall call;
    call.server_is_uac = uac;
    call.proxy = "192.0.2.99:5060";
    call.step = std::chrono::microseconds(0);
    std::vector<CapturedMessage> messages = call.Setup();
    Append(messages, call.Reinvite(uac ? 1 : 2, false));
    Append(messages, call.Reinvite(101, true));
    std::optional<std::vector<DialogState>> expected;
    for (int round = 0; round < 300; ++round) {
      const std::string agent = absl::StrFormat("%d-%d", uac, round);
      Add(InstanceOptions(agent, call));
      TakeAll(messages, agent);
      std::vector<DialogState> dialogs = Dialogs(call.call_id, agent);
      ASSERT_TRUE(intake_.RemoveInstance(agent).ok());
      for (DialogState& dialog : dialogs) {
        // The numbers of arrival differ, which is all that may.
        for (sip::Evidence& evidence : dialog.evidence) evidence.message.sequence = 0;
        for (sip::OpenTransaction& open : dialog.open_transactions) open.request.sequence = 0;
      }
      if (!expected.has_value()) {
        ASSERT_EQ(dialogs.size(), 1u);
        ASSERT_EQ(dialogs[0].role, uac ? sip::DialogRole::kUac : sip::DialogRole::kUas);
        ASSERT_THAT(dialogs[0].route_set, ElementsAre(call.RouteUri()));
        expected = dialogs;
      }
      ASSERT_EQ(dialogs, *expected) << "round " << round;
      std::shuffle(messages.begin(), messages.end(), random);
    }
  }
}

// F92: what is lost may make a dialog not recoverable; it never makes it wrong.
TEST_F(IntakeTest, LossNeverGivesAWrongRecoverableDialog) {
  std::mt19937 random(92);  // NOLINT: a fixed seed
  int recoverable = 0;
  for (int round = 0; round < 3000; ++round) {
    TestCall call;
    call.call_id = absl::StrFormat("loss-%d@x", round);
    call.server_is_uac = round % 2 == 0;
    if (round % 3 == 0) call.proxy = "192.0.2.99:5060";
    std::vector<CapturedMessage> messages = call.Setup();
    if (round % 5 != 0) Append(messages, call.Reinvite(101, true));
    if (round % 7 == 0) Append(messages, call.Reinvite(2, false));
    const bool ended = round % 4 == 0;
    if (ended) Append(messages, call.Bye(102, true));
    const std::string agent = absl::StrFormat("agent-%d", round);
    Add(InstanceOptions(agent, call));
    const unsigned percent = static_cast<unsigned>(round) % 21;
    std::string seen;
    bool bye_seen = false;
    for (std::size_t i = 0; i < messages.size(); ++i) {
      const CapturedMessage& message = messages[i];
      if (random() % 100 < percent) continue;
      seen += absl::StrFormat(" %d:%s", i, message.bytes.substr(0, message.bytes.find(' ', 8)));
      bye_seen = bye_seen || message.bytes.starts_with("BYE");
      Take(message, agent);
    }
    SCOPED_TRACE("seen:" + seen);
    sip::VerdictOptions options;
    for (const DialogState& dialog : Dialogs(call.call_id, agent)) {
      if (!sip::Judge(dialog, options).recoverable()) continue;
      ++recoverable;
      EXPECT_FALSE(bye_seen) << "round " << round << ": raised after a BYE";
      EXPECT_EQ(dialog.local.tag, call.server_tag) << "round " << round;
      EXPECT_EQ(dialog.remote.tag, call.peer_tag) << "round " << round;
      EXPECT_EQ(dialog.local.uri, call.LocalUri()) << "round " << round;
      EXPECT_EQ(dialog.remote.uri, call.RemoteUri()) << "round " << round;
      EXPECT_EQ(dialog.remote_target, call.PeerUri()) << "round " << round;
      EXPECT_EQ(dialog.route_set, call.proxy.empty() ? std::vector<std::string>{}
                                                     : std::vector<std::string>{call.RouteUri()})
          << "round " << round;
      if (dialog.role != sip::DialogRole::kUnknown) {
        EXPECT_EQ(dialog.role, call.server_is_uac ? sip::DialogRole::kUac : sip::DialogRole::kUas)
            << "round " << round;
      }
      // The server used 102 at most; the head-room covers what was lost.
      const auto cseq = sip::NextCseq(dialog, {}, dialog.last_seen);
      ASSERT_TRUE(cseq.ok()) << cseq.status();
      EXPECT_GT(*cseq, 102u) << "round " << round;
    }
    ASSERT_TRUE(intake_.RemoveInstance(agent).ok());
  }
  EXPECT_GT(recoverable, 1000);
}

// F74: a call that moved from a to b is, at b's death, what it was at a's.
TEST_F(IntakeTest, TheSecondRecoveryHasRoleTagsAndRoutesOfTheFirst) {
  for (const bool uac : {false, true}) {
    TestCall at_a;
    at_a.call_id = uac ? "moved-uac@x" : "moved-uas@x";
    at_a.server_is_uac = uac;
    at_a.proxy = "192.0.2.99:5060";
    TestCall at_b = at_a;
    at_b.server = "192.0.2.11:5060";
    const std::string a = absl::StrFormat("a%d", uac);
    const std::string b = absl::StrFormat("b%d", uac);
    Add(InstanceOptions(a, at_a));
    Add(InstanceOptions(b, at_b));
    TakeAll(at_a.Setup(), a);
    const std::vector<DialogState> first = Dialogs(at_a.call_id, a);
    ASSERT_EQ(first.size(), 1u);

    at_b.start = at_a.start + std::chrono::seconds(2);
    TakeAll(at_b.Reinvite(1101, true), b);
    const std::vector<DialogState> second = Dialogs(at_a.call_id, b);
    ASSERT_EQ(second.size(), 1u);
    EXPECT_EQ(second[0].role, first[0].role);
    EXPECT_EQ(second[0].local.tag, first[0].local.tag);
    EXPECT_EQ(second[0].remote.tag, first[0].remote.tag);
    EXPECT_EQ(second[0].route_set, first[0].route_set);
    EXPECT_EQ(second[0].remote_target, first[0].remote_target);
    EXPECT_EQ(second[0].local_seq, 1101u);
    EXPECT_EQ(second[0].remote_seq, first[0].remote_seq);
    EXPECT_TRUE(second[0].from_stored_state);
  }
}

TEST_F(IntakeTest, AnotherInstanceThatNeverCarriedTheCallKnowsNothingOfIt) {
  TestCall call;
  Add(InstanceOptions("a", call));
  TestCall other = call;
  other.server = "192.0.2.11:5060";
  Add(InstanceOptions("b", other));
  TakeAll(call.Setup(), "a");
  EXPECT_EQ(intake_.Fetch(call.call_id, "b").completeness, Completeness::kMissing);
  EXPECT_EQ(intake_.Fetch(call.call_id, "nobody").completeness, Completeness::kMissing);
}

TEST_F(IntakeTest, ALateMessageDoesNotRaiseWhatEnded) {
  TestCall call;
  Add(InstanceOptions("a", call));
  const std::vector<CapturedMessage> setup = call.Setup();
  TakeAll(setup, "a");
  TakeAll(call.Bye(2, false), "a");
  ASSERT_EQ(Dialogs(call.call_id, "a")[0].phase, sip::DialogPhase::kTerminated);
  // The agent's clock: its last message came at kNow.
  intake_.Sweep(kNow + std::chrono::seconds(60));
  EXPECT_EQ(Stats().instances[0].calls, 0u);
  EXPECT_EQ(Stats().instances[0].tombstones, 1u);
  TakeAll(setup, "a");
  EXPECT_EQ(Stats().instances[0].tombstoned, setup.size());
  const DialogCapture capture = intake_.Fetch(call.call_id, "a");
  ASSERT_EQ(capture.dialogs.size(), 1u);
  EXPECT_EQ(capture.dialogs[0].phase, sip::DialogPhase::kTerminated);
  EXPECT_EQ(sip::Judge(capture.dialogs[0]).token, sip::VerdictToken::kEnded);
  intake_.Sweep(kNow + std::chrono::seconds(600));
  EXPECT_EQ(Stats().instances[0].tombstones, 0u);
}

TEST_F(IntakeTest, ConfirmedDialogsAreRecordedOnceForEachChangeAndRemovedWhenTheyEnd) {
  TestCall call;
  Add(InstanceOptions("a", call));
  const std::vector<CapturedMessage> setup = call.Setup();
  TakeAll({setup[0], setup[1], setup[2]}, "a");
  EXPECT_THAT(AllChanges().records, IsEmpty());  // ringing: nothing to keep

  TakeAll({setup[3], setup[4]}, "a");
  Changes changes = AllChanges();
  ASSERT_EQ(changes.records.size(), 1u);
  EXPECT_EQ(changes.records[0].instance, "a");
  EXPECT_EQ(changes.records[0].call_id, call.call_id);
  EXPECT_EQ(changes.records[0].local_tag, call.server_tag);
  EXPECT_EQ(changes.records[0].remote_tag, call.peer_tag);
  EXPECT_FALSE(changes.records[0].removed);
  const auto decoded = sip::DecodeDialog(changes.records[0].bytes);
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  EXPECT_EQ(decoded->dialog, Dialogs(call.call_id, "a")[0]);

  TakeAll(setup, "a");  // duplicates
  EXPECT_EQ(AllChanges().calls, 0u);

  TakeAll(call.Bye(2, false), "a");
  changes = AllChanges();
  ASSERT_EQ(changes.records.size(), 1u);
  EXPECT_TRUE(changes.records[0].removed);
  EXPECT_TRUE(changes.records[0].bytes.empty());
}

TEST_F(IntakeTest, ACallThatFailedNeverReachesTheStore) {
  TestCall call;
  Add(InstanceOptions("a", call));
  Take(call.Setup()[0], "a");
  Take(call.Answer(486, "Busy Here", "INVITE", 1, false, "setup"), "a");
  Take(call.Request("ACK", 1, false, true, "setup"), "a");
  const Changes changes = AllChanges();
  EXPECT_THAT(changes.records, IsEmpty());
  EXPECT_THAT(changes.gone, IsEmpty());
}

TEST_F(IntakeTest, WhatWasSweptBeforeItsEndCouldBeWrittenIsNamedAsGone) {
  TestCall call;
  Add(InstanceOptions("a", call));
  TakeAll(call.Setup(), "a");
  AllChanges();
  TakeAll(call.Bye(2, false), "a");
  intake_.Sweep(kNow + std::chrono::seconds(60));  // the store was away all the while
  const Changes changes = AllChanges();
  EXPECT_THAT(changes.records, IsEmpty());
  ASSERT_EQ(changes.gone.size(), 1u);
  EXPECT_EQ(changes.gone[0].instance, "a");
  EXPECT_EQ(changes.gone[0].call_id, call.call_id);
}

TEST_F(IntakeTest, TheEndOfARecoveredCallEndsWhatEarlierInstancesAndTheStoreKnow) {
  TestCall at_a;
  at_a.server_is_uac = true;
  TestCall at_b = at_a;
  at_b.server = "192.0.2.11:5060";
  Add(InstanceOptions("a", at_a));
  Add(InstanceOptions("b", at_b));
  TakeAll(at_a.Setup(), "a");
  DialogRecord stored = AllChanges().records.at(0);
  stored.instance = "c";  // it was on c before this receiver started
  intake_.SetStored({stored});
  at_b.start = at_a.start + std::chrono::seconds(2);
  TakeAll(at_b.Reinvite(1101, true), "b");
  AllChanges();
  TakeAll(at_b.Bye(1102, true), "b");
  std::vector<std::string> removed;
  for (const DialogRecord& record : AllChanges().records) {
    EXPECT_TRUE(record.removed);
    removed.push_back(record.instance);
  }
  EXPECT_THAT(removed, ::testing::UnorderedElementsAre("a", "b", "c"));
  EXPECT_THAT(Dialogs(at_a.call_id, "a"), IsEmpty());
}

// The controller was restarted: what it knew before is the lower bound.
TEST_F(IntakeTest, StoredStateCompletesWhatIsSeenAfterARestart) {
  TestCall call;
  call.server_is_uac = true;
  call.proxy = "192.0.2.99:5060";
  Add(InstanceOptions("a", call));
  TakeAll(call.Setup(), "a");
  const DialogState before = Dialogs(call.call_id, "a").at(0);
  const std::vector<DialogRecord> records = AllChanges().records;

  Intake restarted(WithRecords({}));
  ASSERT_TRUE(
      restarted.AddInstance(InstanceOptions("a", call), std::make_shared<HeardCell>(kNeverHeard))
          .ok());
  restarted.SetStored(records);
  std::vector<DialogState> dialogs = restarted.Fetch(call.call_id, "a").dialogs;
  ASSERT_EQ(dialogs.size(), 1u);
  EXPECT_TRUE(dialogs[0].from_stored_state);
  EXPECT_EQ(dialogs[0].route_set, before.route_set);

  for (const CapturedMessage& message : call.Reinvite(2, false)) {
    restarted.Take(HepPacketOf(message, {0, "a", ""}), kLocalhost, kNow, MonotonicTime());
  }
  dialogs = restarted.Fetch(call.call_id, "a").dialogs;
  ASSERT_EQ(dialogs.size(), 1u);
  EXPECT_EQ(dialogs[0].role, sip::DialogRole::kUac);
  EXPECT_EQ(dialogs[0].route_set, before.route_set);
  EXPECT_EQ(dialogs[0].local_seq, before.local_seq);
  EXPECT_EQ(dialogs[0].remote_seq, 2u);

  // What is written now is not poorer than what was there.
  const Changes changes = restarted.TakeChanges(SIZE_MAX, kNow);
  ASSERT_EQ(changes.records.size(), 1u);
  EXPECT_EQ(sip::DecodeDialog(changes.records[0].bytes)->dialog, dialogs[0]);
}

TEST_F(IntakeTest, DamagedRecordsOfTheStoreAreLeftOut) {
  TestCall call;
  Add(InstanceOptions("a", call));
  DialogRecord record;
  record.instance = "a";
  record.call_id = call.call_id;
  record.local_tag = call.server_tag;
  record.remote_tag = call.peer_tag;
  record.bytes = "no dialog at all";
  intake_.SetStored({record});
  EXPECT_EQ(intake_.Fetch(call.call_id, "a").completeness, Completeness::kMissing);
  TakeAll(call.Setup(), "a");
  EXPECT_EQ(Dialogs(call.call_id, "a").size(), 1u);
}

TEST_F(IntakeTest, WhatTheHostForgetsIsGoneHereAndInTheStore) {
  TestCall call;
  Add(InstanceOptions("a", call));
  TakeAll(call.Setup(), "a");
  AllChanges();
  intake_.Forget("a", call.call_id);
  EXPECT_EQ(intake_.Fetch(call.call_id, "a").completeness, Completeness::kMissing);
  const Changes changes = AllChanges();
  ASSERT_EQ(changes.gone.size(), 1u);
  EXPECT_EQ(changes.gone[0].call_id, call.call_id);
}

TEST_F(IntakeTest, InstancesAreCheckedBeforeTheyAreTaken) {
  TestCall call;
  const auto cell = std::make_shared<HeardCell>(kNeverHeard);
  const auto add = [&](HepInstanceOptions options) {
    return intake_.AddInstance(std::move(options), cell).code();
  };
  HepInstanceOptions options = InstanceOptions("a", call);
  EXPECT_EQ(add({}), absl::StatusCode::kInvalidArgument);
  options.agents = {};
  EXPECT_EQ(add(options), absl::StatusCode::kInvalidArgument);
  options.agents = {""};
  EXPECT_EQ(add(options), absl::StatusCode::kInvalidArgument);
  options.agents = {"a"};
  for (const char* source : {"nonsense", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/x", "::/129"}) {
    options.allowed_sources = {source};
    EXPECT_EQ(add(options), absl::StatusCode::kInvalidArgument) << source;
  }
  options.allowed_sources = {"10.0.0.0/0"};
  EXPECT_EQ(add(options), absl::StatusCode::kOk);
  EXPECT_EQ(add(options), absl::StatusCode::kAlreadyExists);
  options.instance = "b";  // with the agent of a
  EXPECT_EQ(add(options), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(intake_.RemoveInstance("b").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(intake_.RemoveInstance("a").ok());
  EXPECT_EQ(add(options), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace sipheal::hep
