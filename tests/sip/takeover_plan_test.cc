// SPDX-License-Identifier: Apache-2.0
// How a successor goes on (rules 4.7, 6.2, 6.3, 6.7, 7.7, 9.10), and by when it must have done so:
// the rows of section 13, numbered here 13.1 to 13.7.
#include "sipheal/sip/takeover_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::CaptureTime;
using sip::DialogState;
using sip::FirstRequest;
using sip::PlanTakeover;
using sip::TakeoverPlan;
using sip::VerdictToken;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

CaptureTime Now(const CallScript& call) {
  return CaptureTime(std::chrono::microseconds(call.now_us));
}

Request FromPeer(Request request) {
  request.from_tag = "b";
  request.to_tag = "a";
  std::swap(request.from, request.to);
  return request;
}

TEST(TakeoverPlan, AQuietCallIsReinvited) {
  CallScript call;
  call.AnsweredByPeer();
  const TakeoverPlan plan = PlanTakeover(call.Only());
  EXPECT_EQ(plan.request, FirstRequest::kReinvite);
  EXPECT_FALSE(plan.expect_glare);
  EXPECT_FALSE(plan.ack_first || plan.may_cancel || plan.resync);
  EXPECT_THAT(plan.targets, ElementsAre("sip:phone@198.51.100.7:5060"));
}

TEST(TakeoverPlan, NothingIsPlannedForWhatIsNoCall) {
  CallScript ringing;
  Request invite = ringing.Send({});
  ringing.Reply(invite, {.status = 180, .to_tag = "b"});
  EXPECT_EQ(PlanTakeover(ringing.Only()).request, FirstRequest::kNone);
  CallScript ended;
  ended.AnsweredByPeer();
  ended.Receive(FromPeer({.method = "BYE", .cseq = 2}));
  EXPECT_EQ(PlanTakeover(ended.Only()).request, FirstRequest::kNone);
}

TEST(TakeoverPlan, Rule4_7_ATargetOfferedFromAKnownHopIsTriedFirst) {
  CallScript call;
  call.AnsweredByPeer();
  call.Receive(FromPeer({.cseq = 3, .contact = "<sip:new@198.51.100.7:5090>"}));
  EXPECT_THAT(PlanTakeover(call.Only()).targets,
              ElementsAre("sip:new@198.51.100.7:5090", "sip:phone@198.51.100.7:5060"));
}

TEST(TakeoverPlan, Rule4_7_ATargetOfferedFromElsewhereIsNoCandidate) {
  CallScript call;
  call.AnsweredByPeer();
  call.Receive(
      FromPeer({.cseq = 3, .contact = "<sip:evil@203.0.113.66>", .peer = "203.0.113.66:5060"}));
  EXPECT_THAT(PlanTakeover(call.Only()).targets, ElementsAre("sip:phone@198.51.100.7:5060"));
}

TEST(TakeoverPlan, Rule6_2_TheServersOwnOpenReinviteMayBeCancelledAndMeansGlare) {
  for (const bool server_called : {true, false}) {
    CallScript call;
    Request reinvite{.cseq = 5, .to_tag = "b"};
    if (server_called) {
      call.AnsweredByPeer();
    } else {
      call.AnsweredByServer();
      reinvite = call.FromCallee(reinvite);
    }
    const Request sent = call.Send(reinvite);
    // RFC 3261 9.1: not before a provisional response.
    EXPECT_EQ(PlanTakeover(call.Only()).may_cancel, std::nullopt);
    EXPECT_TRUE(PlanTakeover(call.Only()).expect_glare);
    call.Reply(sent, {.status = 100});
    const TakeoverPlan plan = PlanTakeover(call.Only());
    EXPECT_EQ(plan.request, FirstRequest::kReinvite);
    EXPECT_EQ(plan.may_cancel, 5u);
    EXPECT_TRUE(plan.expect_glare);
    // Rule 6.4: the owner of the Call-ID waits longer.
    EXPECT_EQ(plan.glare_wait_min, milliseconds(server_called ? 2100 : 0));
    EXPECT_EQ(plan.glare_wait_max, milliseconds(server_called ? 4000 : 2000));
    // The retry has a higher number than the one that is open.
    EXPECT_GT(*sip::NextCseq(call.Only(), {.capture_is_complete = true}, {}), 5u);
  }
}

TEST(TakeoverPlan, Rule6_3_AnOpenReinviteOfThePeerAsksForAnUpdate) {
  CallScript call;
  call.AnsweredByPeer();
  const CaptureTime sent = Now(call);
  call.Receive(FromPeer({.cseq = 9, .extra = "Allow: INVITE, ACK, BYE, UPDATE\r\n"}));
  const TakeoverPlan plan = PlanTakeover(call.Only());
  EXPECT_EQ(plan.request, FirstRequest::kUpdate);
  EXPECT_TRUE(plan.expect_glare);
  EXPECT_EQ(call.Only().deadline, sent + seconds(32));
  // A peer that knows no UPDATE has to be waited for.
  CallScript old;
  old.AnsweredByPeer();
  old.Receive(FromPeer({.cseq = 9, .extra = "Allow: INVITE, ACK, BYE\r\n"}));
  EXPECT_EQ(PlanTakeover(old.Only()).request, FirstRequest::kReinvite);
  EXPECT_TRUE(PlanTakeover(old.Only()).expect_glare);
}

TEST(TakeoverPlan, Rule6_3_AProvisionalAnswerStopsThePeersTimer) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Receive(FromPeer({.cseq = 9}));
  call.Reply(reinvite, {.status = 100});
  EXPECT_EQ(call.Only().deadline, std::nullopt);
  EXPECT_TRUE(PlanTakeover(call.Only()).expect_glare);
}

TEST(TakeoverPlan, Rule6_7_The2xxThatWaitsForItsAckGetsItFirst) {
  CallScript call;
  Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
  const CaptureTime answered = Now(call);
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1")});
  const DialogState dialog = call.Only();
  EXPECT_EQ(PlanTakeover(dialog).ack_first, 1u);
  EXPECT_THAT(sip::Explain(dialog, sip::Judge(dialog)),
              ::testing::HasSubstr("reinvite, ACK 1 first"));
  EXPECT_EQ(PlanTakeover(dialog).request, FirstRequest::kReinvite);
  EXPECT_EQ(dialog.deadline, answered + seconds(32));
  call.Send({.method = "ACK", .to_tag = "b"});
  EXPECT_EQ(PlanTakeover(call.Only()).ack_first, std::nullopt);
}

TEST(TakeoverPlan, Rule6_7_A2xxOfTheServerWithoutAckMayNotHaveArrived) {
  CallScript call;
  Request invite = call.Receive({.sdp = Sdp("198.51.100.7", 30000, "1")});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "1")});
  EXPECT_TRUE(PlanTakeover(call.Only()).expect_glare);
  EXPECT_EQ(PlanTakeover(call.Only()).ack_first, std::nullopt);
  call.Receive({.method = "ACK", .to_tag = "b"});
  EXPECT_FALSE(PlanTakeover(call.Only()).expect_glare);
}

TEST(TakeoverPlan, Rule6_6_AHalfExecutedReinviteAsksForAResync) {
  DialogState dialog = [] {
    CallScript call;
    call.AnsweredByPeer();
    return call.Only();
  }();
  dialog.resync_needed = true;
  EXPECT_TRUE(PlanTakeover(dialog).resync);
}

TEST(TakeoverPlan, Rule7_7_ANewCallReplacesADialogWhoseNumbersOrRoutesAreLost) {
  for (const sip::Field lost : {sip::Field::kLocalSeq, sip::Field::kRouteSet}) {
    CallScript call;
    Request invite = call.Send({});
    call.Reply(invite, {.to_tag = "b", .extra = "Supported: timer, Replaces\r\n"});
    call.Send({.method = "ACK", .to_tag = "b"});
    DialogState dialog = call.Only();
    dialog.missing.push_back(lost);
    EXPECT_EQ(PlanTakeover(dialog).request, FirstRequest::kInviteWithReplaces);
    // The tags as the peer sees them: to-tag is its own.
    EXPECT_EQ(*sip::ReplacesValue(dialog), "call-1@example.com;to-tag=b;from-tag=a");
    dialog.remote_supported = "timer";
    EXPECT_EQ(PlanTakeover(dialog).request, FirstRequest::kNone);
  }
}

TEST(TakeoverPlan, Rule10_2_WhatThePeerSupportsMayStandInSeveralRowsAndFolded) {
  for (const char* rows :
       {"Supported: timer\r\nk: replaces\r\n", "Supported: timer,\r\n replaces\r\n",
        "Supported:\r\nSupported: timer, replaces\r\n"}) {
    CallScript call;
    const Request invite = call.Receive({.extra = rows});
    call.Reply(invite, {.to_tag = "b"});
    call.Receive({.method = "ACK", .to_tag = "b"});
    DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_supported, "timer, replaces") << rows;
    dialog.missing.push_back(sip::Field::kRouteSet);
    EXPECT_EQ(PlanTakeover(dialog).request, FirstRequest::kInviteWithReplaces) << rows;
  }
}

TEST(TakeoverPlan, Rule7_7_ReplacesIsRefusedWhereItCouldBeReadAsSomethingElse) {
  DialogState dialog;
  dialog.call_id = "c@h";
  dialog.local.tag = "a";
  EXPECT_FALSE(sip::ReplacesValue(dialog).ok());
  dialog.remote.tag = "b";
  EXPECT_TRUE(sip::ReplacesValue(dialog).ok());
  dialog.call_id = "c@h;to-tag=x";
  EXPECT_FALSE(sip::ReplacesValue(dialog).ok());
  dialog.call_id = "c@h";
  dialog.remote.tag = "b\r\nRoute: <sip:evil>";
  EXPECT_FALSE(sip::ReplacesValue(dialog).ok());
}

TEST(TakeoverPlan, Rule9_10_WithoutTheServersDescriptionThePeerOffers) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "7")});
  EXPECT_EQ(PlanTakeover(call.Only()).request, FirstRequest::kReinviteWithoutOffer);
}

// --- the takeover clock ---

TEST(TakeoverClock, Rule13_1_ARequestToTheDeadServerIsGivenUpAfter64T1) {
  for (const char* method : {"INVITE", "UPDATE", "INFO", "OPTIONS"}) {
    CallScript call;
    call.AnsweredByPeer();
    const CaptureTime sent = Now(call);
    call.Receive(FromPeer({.method = method, .cseq = 9}));
    EXPECT_EQ(call.Only().deadline, sent + seconds(32)) << method;
    EXPECT_TRUE(call.Judge({.now = sent + seconds(31)}).recoverable()) << method;
    EXPECT_EQ(call.Judge({.now = sent + seconds(32)}).token, VerdictToken::kExpired) << method;
  }
}

TEST(TakeoverClock, Rule13_1_OverAConnectionItMayBeAtOnceAndTheReasonSaysSo) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  call.AnsweredByPeer({"<sip:198.51.100.7;transport=tcp;lr>"});
  call.Receive(FromPeer({.method = "INFO", .cseq = 9}));
  EXPECT_THAT(call.Only().deadline_reason, ::testing::HasSubstr("connection breaks"));
}

TEST(TakeoverClock, Rule13_2_A2xxWithoutAckIsGivenUpAfter64T1) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
  const CaptureTime answered = Now(call);
  call.Reply(reinvite, {});
  EXPECT_EQ(call.Only().deadline, answered + seconds(32));
  EXPECT_EQ(call.Judge({.now = answered + seconds(32)}).token, VerdictToken::kExpired);
}

// 1800 s: half a minute before the end; 90 s and 60 s: a third.
TEST(TakeoverClock, Rule13_3_WhoWaitsForTheServersRefreshHangsUpAThirdOrHalfAMinuteBeforeTheEnd) {
  for (const auto& [interval, left] :
       {std::pair(1800, 1768), std::pair(90, 60), std::pair(60, 40)}) {
    CallScript call;
    Request invite = call.Send({});
    const CaptureTime t0 = Now(call);
    call.Reply(invite,
               {.to_tag = "b",
                .extra = "Session-Expires: " + std::to_string(interval) + ";refresher=uac\r\n"});
    call.Send({.method = "ACK", .to_tag = "b"});
    EXPECT_TRUE(call.Only().session_timer.local_refreshes);
    EXPECT_EQ(call.Only().deadline, t0 + seconds(left)) << interval;
    EXPECT_EQ(call.Only().session_timer.expires_at, t0 + seconds(interval));
  }
}

TEST(TakeoverClock, Rule13_4_ThePeersOwnRefreshFindsNobodyHalfAMinuteAfterHalfTime) {
  for (const auto& [interval, left] : {std::pair(1800, 932), std::pair(90, 77)}) {
    CallScript call;
    Request invite = call.Send({});
    const CaptureTime t0 = Now(call);
    call.Reply(invite,
               {.to_tag = "b",
                .extra = "Session-Expires: " + std::to_string(interval) + ";refresher=uas\r\n"});
    call.Send({.method = "ACK", .to_tag = "b"});
    EXPECT_EQ(call.Only().deadline, t0 + seconds(left)) << interval;
  }
}

TEST(TakeoverClock, Rule13_5_AReliableProvisionalAnswerWaits64T1ForItsPrack) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
  const CaptureTime answered = Now(call);
  call.Reply(reinvite, {.status = 183, .extra = "Require: 100rel\r\nRSeq: 7\r\n"});
  EXPECT_EQ(call.Only().deadline, answered + seconds(32));
  Request other =
      call.Send({.method = "PRACK", .cseq = 3, .to_tag = "b", .extra = "RAck: 6 2 INVITE\r\n"});
  call.Reply(other, {});
  EXPECT_EQ(call.Only().deadline, answered + seconds(32)) << "the PRACK was for another answer";
  Request prack =
      call.Send({.method = "PRACK", .cseq = 4, .to_tag = "b", .extra = "RAck: 7 2 INVITE\r\n"});
  call.Reply(prack, {});
  EXPECT_EQ(call.Only().deadline, std::nullopt);
}

TEST(TakeoverClock, Rule13_5_APrackIsThatOfItsInviteWhateverItsRSeqLooksLike) {
  CallScript call;
  call.AnsweredByPeer();
  const Request first = call.Send({.cseq = 2, .to_tag = "b"});
  call.Reply(first, {.status = 183, .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  const Request prack =
      call.Send({.method = "PRACK", .cseq = 3, .to_tag = "b", .extra = "RAck: 01 2 INVITE\r\n"});
  EXPECT_FALSE(call.Only().deadline.has_value());
  call.Reply(prack, {});
  call.Reply(first, {});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b"});
  // Of the PRACK for another INVITE only the answer is left: it is none of this one's.
  std::erase_if(call.messages, [](const sip::CapturedMessage& message) {
    return message.bytes.starts_with("PRACK");
  });
  const Request second = call.Send({.cseq = 4, .to_tag = "b"});
  call.Reply(second, {.status = 183, .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  ASSERT_TRUE(call.Only().deadline.has_value());
  EXPECT_EQ(*call.Only().deadline, call.messages.back().time + std::chrono::seconds(32));
  // The next one is sent only after the first was acknowledged (RFC 3262 3).
  call.Reply(second, {.status = 183, .extra = "Require: 100rel\r\nRSeq: 2\r\n"});
  EXPECT_EQ(*call.Only().deadline, call.messages.back().time + std::chrono::seconds(32));
}

TEST(TakeoverClock, Rule13_6_ASubscriptionEndsWithItsOwnTimeAndNotTheCall) {
  CallScript call;
  call.AnsweredByPeer();
  const CaptureTime notified = Now(call);
  Request notify = call.Receive(FromPeer({.method = "NOTIFY",
                                          .cseq = 2,
                                          .extra = "Event: refer;id=1\r\nSubscription-State: "
                                                   "active;expires=60\r\n"}));
  call.Reply(notify, {});
  ASSERT_THAT(call.Only().usages, SizeIs(1));
  EXPECT_EQ(call.Only().usages[0].expires_at, notified + seconds(60));
  EXPECT_EQ(call.Only().deadline, std::nullopt);
}

// The peer's RTP timer is nobody's standard and in no message: without a clock of SIP the dialog
// has no deadline, and how long is tried is the host's to say.
TEST(TakeoverClock, Rule13_7_ThePeersMediaTimerIsNotGuessed) {
  CallScript call;
  call.AnsweredByPeer();
  EXPECT_EQ(call.Only().deadline, std::nullopt);
  const CaptureTime later = call.Only().last_seen + seconds(100'000);
  EXPECT_TRUE(call.Judge({.now = later}).recoverable());
  EXPECT_EQ(call.Judge({.now = later, .max_silence = seconds(3600)}).token, VerdictToken::kExpired);
}

TEST(TakeoverClock, Rule13_TheFirstClockThatRunsOutCounts) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 1800;refresher=uas\r\n"});
  call.Send({.method = "ACK", .to_tag = "b"});
  const CaptureTime sent = Now(call);
  call.Receive(FromPeer({.method = "INFO", .cseq = 9}));
  EXPECT_EQ(call.Only().deadline, sent + seconds(32));
  EXPECT_THAT(call.Only().deadline_reason, ::testing::HasSubstr("request"));
}

TEST(TakeoverClock, Rule7_9_ACallThatIsSilentForLongerThanItsSessionIntervalIsExpired) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 90;refresher=uas\r\n"});
  call.Send({.method = "ACK", .to_tag = "b"});
  const CaptureTime last = call.Only().last_seen;
  EXPECT_TRUE(call.Judge({.now = last + seconds(30)}).recoverable());
  EXPECT_EQ(call.Judge({.now = last + seconds(200)}).token, VerdictToken::kExpired);
  // Without a timer nobody can know.
  CallScript timeless;
  timeless.AnsweredByPeer();
  EXPECT_TRUE(timeless.Judge({.now = timeless.Only().last_seen + seconds(200)}).recoverable());
}

// RFC 4028 10: who is not refreshed SHOULD send BYE. A peer that goes on did not, so the refresh
// was not captured, or nobody kept the timer; either way it ends nothing any more.
TEST(TakeoverClock, Rule7_9_ACallInWhichBothSidesGoOnBehindItsSessionIntervalIsNotExpired) {
  for (const bool asked_by_server : {true, false}) {
    for (const int silence : {60, 82, 200}) {
      CallScript call;
      const Request invite = call.Send({});
      call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 90;refresher=uas\r\n"});
      call.Send({.method = "ACK", .to_tag = "b"});
      const CaptureTime expires = call.Only().session_timer.expires_at;
      const CaptureTime deadline = *call.Only().deadline;
      call.Wait(silence);
      const Request info{.method = "INFO", .cseq = 7};
      const Request sent = asked_by_server ? call.Send({.method = "INFO", .cseq = 2, .to_tag = "b"})
                                           : call.Receive(FromPeer(info));
      EXPECT_LE(*call.Only().deadline, std::max(deadline, Now(call) + seconds(32)));
      call.Reply(sent, {});
      const DialogState dialog = call.Only();
      if (silence == 60) {  // nothing has run out yet
        EXPECT_EQ(dialog.deadline, deadline);
      } else if (silence == 82) {  // the refresh did not come at half, but may come yet
        EXPECT_EQ(dialog.deadline, expires);
      } else {
        EXPECT_EQ(dialog.deadline, std::nullopt);
        EXPECT_TRUE(dialog.IsMissing(sip::Field::kSessionTimer));
        EXPECT_FALSE(dialog.session_timer.active());
        EXPECT_THAT(dialog.warnings, ::testing::Contains(::testing::HasSubstr("session timer")));
      }
      EXPECT_TRUE(call.Judge().recoverable()) << silence;
    }
  }
}

TEST(TakeoverClock, Rule12_2_WhatComesFromElsewhereBehindTheSessionIntervalIsNoSignOfLife) {
  CallScript call;
  const Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 90;refresher=uas\r\n"});
  call.Send({.method = "ACK", .to_tag = "b"});
  call.Wait(200);
  const Request info =
      call.Receive(FromPeer({.method = "INFO", .cseq = 7, .peer = "203.0.113.66:5060"}));
  call.Reply(info, {.status = 403});
  EXPECT_EQ(call.Judge().token, VerdictToken::kExpired);
}

}  // namespace
}  // namespace sipheal::testing
