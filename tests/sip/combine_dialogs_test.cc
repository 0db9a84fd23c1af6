// SPDX-License-Identifier: Apache-2.0
// What two captures prove together of one dialog, when neither has all of it.
#include "sipheal/sip/combine_dialogs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>
#include <string>
#include <vector>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"
#include "tests/sip/generator/call.h"
#include "tests/sip/generator/checker.h"
#include "tests/sip/generator/dice.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using sip::VerdictToken;
using ::testing::ElementsAre;
using ::testing::SizeIs;

// The messages of the script in two captures: those of these numbers (from 0) in the first one, all
// others in the second.
struct Halves {
  std::vector<DialogState> first;
  std::vector<DialogState> second;
};

Halves Divide(const CallScript& call, std::initializer_list<std::size_t> in_first) {
  CallScript first = call;
  CallScript second = call;
  first.messages.clear();
  second.messages.clear();
  for (std::size_t i = 0; i < call.messages.size(); ++i) {
    const bool of_first = std::find(in_first.begin(), in_first.end(), i) != in_first.end();
    (of_first ? first : second).messages.push_back(call.messages[i]);
  }
  return {first.Rebuild(), second.Rebuild()};
}

// Both orders, as which capture is asked first must not matter.
std::vector<DialogState> Combined(const Halves& halves, bool swapped) {
  std::vector<DialogState> dialogs = swapped ? halves.second : halves.first;
  sip::CombineDialogs(swapped ? halves.first : halves.second, dialogs);
  return dialogs;
}

std::size_t Living(const std::vector<DialogState>& dialogs) {
  return static_cast<std::size_t>(
      std::count_if(dialogs.begin(), dialogs.end(),
                    [](const DialogState& dialog) { return sip::Judge(dialog).recoverable(); }));
}

TEST(CombineDialogs, WhatOneLacksTheOtherGives) {
  CallScript call;
  call.AnsweredByServer({"<sip:198.51.100.7;lr>"});  // INVITE, 100, 180, 200, ACK
  const Request info = call.Receive({.method = "INFO", .cseq = 2, .to_tag = "b"});
  call.Reply(info, {});
  const Halves halves = Divide(call, {0, 1, 2, 3, 4});
  for (const bool swapped : {false, true}) {
    const auto dialogs = Combined(halves, swapped);
    ASSERT_THAT(dialogs, SizeIs(1));
    EXPECT_TRUE(sip::Judge(dialogs[0]).recoverable())
        << sip::Explain(dialogs[0], sip::Judge(dialogs[0]));
    EXPECT_THAT(dialogs[0].route_set, ElementsAre("sip:198.51.100.7;lr"));
    EXPECT_EQ(dialogs[0].last_seen, call.Only().last_seen);
  }
}

// Never 2: the capture that missed the BYE raises nothing.
TEST(CombineDialogs, F10_AnEndThatOneSawIsTheEnd) {
  for (const bool by_server : {false, true}) {
    CallScript call;
    call.AnsweredByServer();
    const Request bye = by_server ? call.Send(call.FromCallee({.method = "BYE", .cseq = 9}))
                                  : call.Receive({.method = "BYE", .cseq = 2, .to_tag = "b"});
    call.Reply(bye, {});
    // The first has all, the second all but the BYE.
    CallScript without = call;
    without.messages.resize(without.messages.size() - 2);
    const Halves halves{call.Rebuild(), without.Rebuild()};
    ASSERT_EQ(Living(halves.second), 1u);
    for (const bool swapped : {false, true}) {
      const auto dialogs = Combined(halves, swapped);
      ASSERT_THAT(dialogs, SizeIs(1));
      EXPECT_EQ(dialogs[0].phase, DialogPhase::kTerminated);
      EXPECT_EQ(sip::Judge(dialogs[0]).token, VerdictToken::kEnded);
    }
  }
}

// A receiver that has swept an ended call knows no more of it than that it is over.
TEST(CombineDialogs, F10_ATombstoneEndsWhatTheOtherStillTakesForAlive) {
  CallScript call;
  call.AnsweredByServer();
  DialogState tombstone;
  tombstone.call_id = call.call_id;
  tombstone.phase = DialogPhase::kTerminated;
  tombstone.end = DialogEnd::kByeAnswered;
  const Halves halves{{tombstone}, call.Rebuild()};
  for (const bool swapped : {false, true}) EXPECT_EQ(Living(Combined(halves, swapped)), 0u);
  tombstone.call_id = "another";
  const Halves of_another{{tombstone}, call.Rebuild()};
  for (const bool swapped : {false, true}) EXPECT_EQ(Living(Combined(of_another, swapped)), 1u);
}

// The 2xx crossed the CANCEL; each of two captures saw one of them.
TEST(CombineDialogs, F10_AnInviteThatOneSawCancelledIsNotRaisedByTheOthersAnswer) {
  CallScript answered;
  answered.AnsweredByServer();
  CallScript cancelled;
  const Request invite = cancelled.Receive({.sdp = Sdp("198.51.100.7", 30000, "1")});
  cancelled.Reply(invite, {.status = 180, .to_tag = "b"});
  cancelled.Receive({.method = "CANCEL", .branch = invite.branch});
  const Halves halves{cancelled.Rebuild(), answered.Rebuild()};
  ASSERT_EQ(Living(halves.second), 1u);
  for (const bool swapped : {false, true}) EXPECT_EQ(Living(Combined(halves, swapped)), 0u);
}

// F12: never a lower CSeq, whichever of them saw it.
TEST(CombineDialogs, F12_SequenceNumbersAreTheHigherOnes) {
  CallScript call;
  call.AnsweredByPeer();  // INVITE, 100, 180, 200, ACK
  for (const unsigned cseq : {2u, 3u}) {
    const Request info = call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {});
  }
  const Halves halves{Divide(call, {0, 1, 2, 3, 4, 7, 8}).first, Divide(call, {7, 8}).second};
  ASSERT_THAT(halves.first, SizeIs(1));
  ASSERT_THAT(halves.second, SizeIs(1));
  EXPECT_EQ(halves.first[0].local_seq, 3u);
  EXPECT_EQ(halves.second[0].local_seq, 2u);
  for (const bool swapped : {false, true}) {
    EXPECT_EQ(Combined(halves, swapped).at(0).local_seq, 3u);
  }
}

// A call whose peer moved to another Contact; only the second capture saw that.
CallScript MovedCall(std::int64_t seconds_later) {
  CallScript call;
  call.AnsweredByServer();
  call.Wait(seconds_later);
  const Request moved = call.Receive({.cseq = 2,
                                      .to_tag = "b",
                                      .contact = "<sip:alice@198.51.100.7:7777>",
                                      .sdp = Sdp("198.51.100.7", 30002, "2")});
  call.Reply(moved, {.sdp = Sdp("192.0.2.10", 20000, "2")});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
  return call;
}

TEST(CombineDialogs, TheNewerTargetAndSessionCount) {
  const CallScript call = MovedCall(60);
  CallScript before = call;
  before.messages.resize(5);
  const Halves halves{before.Rebuild(), call.Rebuild()};
  for (const bool swapped : {false, true}) {
    const auto dialogs = Combined(halves, swapped);
    ASSERT_THAT(dialogs, SizeIs(1));
    EXPECT_TRUE(sip::Judge(dialogs[0]).recoverable())
        << sip::Explain(dialogs[0], sip::Judge(dialogs[0]));
    EXPECT_EQ(dialogs[0].remote_target, "sip:alice@198.51.100.7:7777");
    EXPECT_EQ(dialogs[0].local_sdp.origin_version, "2");
    EXPECT_EQ(dialogs[0].remote_sdp.media.at(0).port, 30002);
    EXPECT_EQ(dialogs[0].highest_local_sdp_version, "2");
  }
}

// The agents' clocks do not tell which of the two came first.
TEST(CombineDialogs, TargetsOfTheSameMomentThatDifferAreNotChosenFrom) {
  const CallScript call = MovedCall(0);
  CallScript before = call;
  before.messages.resize(5);
  const Halves halves{before.Rebuild(), call.Rebuild()};
  for (const bool swapped : {false, true}) {
    const auto dialogs = Combined(halves, swapped);
    EXPECT_EQ(sip::Judge(dialogs.at(0)).token, VerdictToken::kConflicting);
  }
}

TEST(CombineDialogs, RouteSetsThatDifferAreNotChosenFrom) {
  CallScript one;
  one.AnsweredByServer({"<sip:192.0.2.98;lr>"});
  CallScript other;
  other.AnsweredByServer({"<sip:192.0.2.99;lr>"});
  const Halves halves{one.Rebuild(), other.Rebuild()};
  for (const bool swapped : {false, true}) {
    EXPECT_EQ(sip::Judge(Combined(halves, swapped).at(0)).token, VerdictToken::kConflicting);
  }
}

// The ACK was lost to one of them: its clock of 64*T1 is stopped by the other, which saw it.
TEST(CombineDialogs, AnAckThatOneSawStopsTheClockOfTheOther) {
  CallScript call;
  call.AnsweredByPeer();
  CallScript without_ack = call;
  without_ack.messages.pop_back();
  const Halves halves{without_ack.Rebuild(), call.Rebuild()};
  ASSERT_TRUE(halves.first.at(0).deadline.has_value());
  for (const bool swapped : {false, true}) {
    const auto dialogs = Combined(halves, swapped);
    EXPECT_FALSE(dialogs.at(0).deadline.has_value()) << dialogs[0].deadline_reason;
    EXPECT_THAT(dialogs[0].open_transactions, SizeIs(0));
  }
}

TEST(CombineDialogs, F95_DialogsOfOneCallIdStayApart) {
  CallScript one;
  one.AnsweredByServer();
  DialogState other = one.Only();
  other.remote.tag = "another";
  std::vector<DialogState> dialogs = one.Rebuild();
  sip::CombineDialogs({other}, dialogs);
  EXPECT_THAT(dialogs, SizeIs(2));
  other.remote.tag = "a";
  other.call_id = "another";
  sip::CombineDialogs({other}, dialogs);
  EXPECT_THAT(dialogs, SizeIs(3));
}

TEST(CombineDialogs, WithItselfIsItself) {
  for (std::uint64_t seed = 1; seed <= 300; ++seed) {
    const generator::GeneratedCall call = generator::Generate(seed);
    const auto rebuilt = sip::Rebuild(call.Messages(), call.server);
    auto combined = rebuilt;
    sip::CombineDialogs(rebuilt, combined);
    ASSERT_EQ(combined.size(), rebuilt.size());
    for (std::size_t i = 0; i < rebuilt.size(); ++i) {
      DialogState expected = rebuilt[i];
      if (expected.phase == DialogPhase::kTerminated) expected.deadline.reset();
      EXPECT_EQ(combined[i].conflicts, expected.conflicts) << "seed " << seed;
      EXPECT_EQ(combined[i].open_transactions, expected.open_transactions) << "seed " << seed;
      EXPECT_EQ(combined[i].deadline, expected.deadline) << "seed " << seed;
      EXPECT_EQ(sip::Judge(combined[i]).token, sip::Judge(expected).token) << "seed " << seed;
    }
  }
}

const DialogState* Find(const std::vector<DialogState>& dialogs, const DialogState& wanted) {
  for (const DialogState& dialog : dialogs) {
    if (dialog.call_id == wanted.call_id && dialog.local.tag == wanted.local.tag &&
        dialog.remote.tag == wanted.remote.tag) {
      return &dialog;
    }
  }
  return nullptr;
}

// A change of identity (RFC 4916) whose request one of them saw and whose answer the other is seen
// by neither. Phones tell dialogs by their tags; the URI before is one that they know, too.
void ExpectSameParty(sip::Field field, const DialogState& dialog, const DialogState& whole) {
  const sip::Evidence* const evidence = whole.FindEvidence(field);
  const bool changed =
      evidence != nullptr && (evidence->reason.reason == sip::Reason::kConnectedServer ||
                              evidence->reason.reason == sip::Reason::kConnectedPeer);
  if (changed) return;
  const bool local = field == sip::Field::kLocalUri;
  EXPECT_EQ(local ? dialog.local.uri : dialog.remote.uri,
            local ? whole.local.uri : whole.remote.uri);
}

// Where the server really would have sent its next request.
std::string TrueTarget(const generator::GeneratedCall& call, const DialogState& dialog) {
  for (const auto& leg : call.legs) {
    const generator::Dialog& side = leg->server_side;
    if (side.call_id == dialog.call_id && side.local.tag == dialog.local.tag &&
        side.remote.tag == dialog.remote.tag) {
      return side.target;
    }
  }
  return "no such dialog";
}

// Whether this capture alone would send the same request: where both would, no state shows a doubt.
bool SameRequest(const std::vector<DialogState>& part, const DialogState& dialog) {
  const DialogState* const seen = Find(part, dialog);
  if (seen == nullptr || !sip::Judge(*seen).recoverable()) return false;
  const auto theirs = sip::NextRequest(*seen);
  const auto ours = sip::NextRequest(dialog);
  return theirs.ok() && ours.ok() && theirs->request_uri == ours->request_uri &&
         theirs->route == ours->route;
}

std::uint64_t Calls() {
  const char* const longer = std::getenv("SIPHEAL_LONG");
  return longer != nullptr && std::string(longer) == "1" ? 100'000 : 4'000;
}

// F92: random calls, of which each of two captures got a random part. What both prove together is
// never more than what all messages at once prove.
TEST(CombineDialogs, F92_OfTwoPartialCapturesNothingIsWrong) {
  generator::Dice dice(20261124);
  int possible = 0;
  int alone = 0;
  int recoverable = 0;
  for (std::uint64_t seed = 1; seed <= Calls() && !HasFailure(); ++seed) {
    const generator::GeneratedCall call = generator::Generate(seed);
    if (call.flooded) continue;  // what is kept of a flood depends on what came first
    const std::vector<sip::CapturedMessage> all = call.Messages();
    std::vector<sip::CapturedMessage> first;
    std::vector<sip::CapturedMessage> second;
    for (const sip::CapturedMessage& message : all) {
      const bool lost_by_first = dice.Chance(15);
      if (!lost_by_first) first.push_back(message);
      if (lost_by_first || !dice.Chance(15)) second.push_back(message);
    }
    const auto truth = sip::Rebuild(all, call.server);
    auto combined = sip::Rebuild(first, call.server);
    const auto of_first = combined;
    const auto of_second = sip::Rebuild(second, call.server);
    alone += static_cast<int>(Living(combined));
    sip::CombineDialogs(of_second, combined);
    possible += static_cast<int>(Living(truth));
    for (const DialogState& dialog : combined) {
      if (!sip::Judge(dialog).recoverable()) continue;
      ++recoverable;
      SCOPED_TRACE(::testing::Message() << "seed " << seed << '\n'
                                        << sip::Explain(dialog, sip::Judge(dialog)));
      std::string parts = "of first and second:\n";
      const DialogState* const whole = Find(truth, dialog);
      ASSERT_NE(whole, nullptr);
      SCOPED_TRACE(sip::Explain(*whole, sip::Judge(*whole)));
      for (const auto* part : {&of_first, &of_second}) {
        const DialogState* const seen = Find(*part, dialog);
        if (seen != nullptr) parts += sip::Explain(*seen, sip::Judge(*seen));
      }
      SCOPED_TRACE(parts);
      // Of a refusal in the dialog that one of them saw, and its request the other, neither knows
      // that it ended this dialog (an answer outside of dialogs has a To tag, too).
      if (whole->end == DialogEnd::kRejectedInDialog) continue;
      EXPECT_NE(whole->phase, DialogPhase::kTerminated);
      EXPECT_EQ(whole->end, DialogEnd::kNone);
      const auto request = sip::NextRequest(dialog);
      const auto wanted = sip::NextRequest(*whole);
      ASSERT_TRUE(request.ok()) << request.status();
      ExpectSameParty(sip::Field::kLocalUri, dialog, *whole);
      ExpectSameParty(sip::Field::kRemoteUri, dialog, *whole);
      const auto cseq = sip::NextCseq(dialog, {}, dialog.last_seen);
      ASSERT_TRUE(cseq.ok()) << cseq.status();
      EXPECT_GT(*cseq, whole->local_seq.value_or(0));
      if (SameRequest(of_first, dialog) && SameRequest(of_second, dialog)) continue;
      if (wanted.ok()) {
        EXPECT_EQ(request->request_uri, wanted->request_uri);
        EXPECT_EQ(request->route, wanted->route);
      } else {
        // All messages at once leave a doubt that the part with the proof does not have.
        EXPECT_EQ(dialog.remote_target, TrueTarget(call, dialog));
      }
    }
  }
  EXPECT_GE(recoverable, alone);
  std::cout << recoverable << " of " << possible << " dialogs are recoverable from two captures, "
            << alone << " from the first one alone\n";
}

}  // namespace
}  // namespace sipheal::testing
