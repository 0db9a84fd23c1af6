// SPDX-License-Identifier: Apache-2.0
// The closed list of verdicts: when each is given, and which comes first.
#include "sipheal/sip/verdict.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "sipheal/sip/explain.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using sip::Field;
using sip::Judge;
using sip::Verdict;
using sip::VerdictOptions;
using sip::VerdictToken;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr VerdictToken kAll[] = {
    VerdictToken::kRecoverable, VerdictToken::kEnded,        VerdictToken::kEnding,
    VerdictToken::kEarly,       VerdictToken::kNeedsNewFlow, VerdictToken::kNoEndpoint,
    VerdictToken::kIncomplete,  VerdictToken::kConflicting,  VerdictToken::kForged,
    VerdictToken::kExpired,     VerdictToken::kRefused,
};

DialogState Good() {
  CallScript call;
  call.AnsweredByPeer();
  return call.Only();
}

TEST(Verdicts, HaveEachItsOwnNameThatReadsBack) {
  std::set<std::string_view> names;
  for (const VerdictToken token : kAll) {
    const std::string_view name = sip::ToString(token);
    EXPECT_TRUE(names.insert(name).second) << name;
    VerdictToken read = VerdictToken::kRefused;
    ASSERT_TRUE(sip::VerdictTokenFromString(name, &read)) << name;
    EXPECT_EQ(read, token);
  }
  VerdictToken unknown = VerdictToken::kRecoverable;
  for (const char* text : {"", "Ended", "ended ", "unknown"}) {
    EXPECT_FALSE(sip::VerdictTokenFromString(text, &unknown)) << text;
  }
}

TEST(Verdicts, OnlyRecoverableHasNoReason) {
  EXPECT_TRUE(Judge(Good()).recoverable());
  EXPECT_THAT(Judge(Good()).reasons, IsEmpty());
  for (const VerdictToken token : kAll) {
    EXPECT_EQ((Verdict{token, {}}).recoverable(), token == VerdictToken::kRecoverable);
  }
}

TEST(Verdicts, EndedSaysByWhichMessage) {
  CallScript call;
  call.AnsweredByPeer();
  call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
  const Verdict verdict = call.Judge();
  EXPECT_EQ(verdict.token, VerdictToken::kEnded);
  EXPECT_THAT(verdict.reasons, ElementsAre("the server's BYE (message 6)"));
}

TEST(Verdicts, EndingIsAByeOrACancelWithoutItsLastAnswer) {
  CallScript bye;
  bye.AnsweredByPeer();
  bye.Receive({.method = "BYE", .cseq = 2, .from_tag = "b", .to_tag = "a"});
  EXPECT_EQ(bye.Judge().token, VerdictToken::kEnding);
  CallScript cancel;
  const Request invite = cancel.Receive({});
  cancel.Reply(invite, {.status = 180, .to_tag = "b"});
  cancel.Receive({.method = "CANCEL", .branch = invite.branch});
  EXPECT_EQ(cancel.Judge().token, VerdictToken::kEnding);
}

TEST(Verdicts, EarlyIsACallThatRings) {
  CallScript call;
  const Request invite = call.Send({});
  call.Reply(invite, {.status = 180, .to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEarly);
}

TEST(Verdicts, AnEarlyForkIsExpiredOnceAnotherOneWon) {
  CallScript call;
  const Request invite = call.Send({});
  call.Reply(invite, {.status = 180, .to_tag = "lost"});
  call.Reply(invite, {.to_tag = "won"});
  for (const DialogState& dialog : call.Rebuild()) {
    if (dialog.remote.tag != "lost") continue;
    EXPECT_EQ(Judge(dialog).token, VerdictToken::kEarly);
    EXPECT_EQ(Judge(dialog, {.now = dialog.last_seen + seconds(40)}).token, VerdictToken::kExpired);
  }
}

// The server's UPDATE is all that shows the dialog, and its only answer has a made-up branch.
TEST(Verdicts, ForgedIsWhatOnlyOneSidedMessagesSpeakOf) {
  CallScript call;
  const Request update = call.Send({.method = "UPDATE", .cseq = 7, .to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kIncomplete) << "lost is not forged";
  call.Reply(update, {.contact = "<sip:evil@203.0.113.66>", .branch = "z9hG4bKguess"});
  const Verdict verdict = call.Judge();
  EXPECT_EQ(verdict.token, VerdictToken::kForged) << sip::Explain(call.Only(), verdict);
  EXPECT_EQ(call.Only().quarantined, 1u);
  // With the rest of the call the forgery is an entry among the conflicts, and no more.
  CallScript whole;
  whole.AnsweredByPeer();
  const Request real = whole.Send({.method = "UPDATE", .cseq = 7, .to_tag = "b"});
  whole.Reply(real, {.contact = "<sip:evil@203.0.113.66>", .branch = "z9hG4bKguess"});
  EXPECT_TRUE(whole.Judge().recoverable());
  EXPECT_THAT(whole.Only().conflicts, Not(IsEmpty()));
}

TEST(Verdicts, ForgedIsAByeFromElsewhereIntoACallThatNobodyProved) {
  CallScript call;
  call.Send({.method = "UPDATE", .cseq = 7, .to_tag = "b"});
  call.Receive(
      {.method = "BYE", .cseq = 2, .from_tag = "b", .to_tag = "a", .peer = "203.0.113.66:5060"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kForged);
}

TEST(Verdicts, IncompleteNamesEachFieldThatIsMissing) {
  for (const Field field : {Field::kCallId, Field::kLocalTag, Field::kRemoteTag, Field::kLocalUri,
                            Field::kRemoteUri, Field::kPhase, Field::kInviteUsage, Field::kRouteSet,
                            Field::kRemoteTarget, Field::kLocalSeq, Field::kEnd}) {
    DialogState dialog = Good();
    dialog.missing = {field};
    const Verdict verdict = Judge(dialog);
    EXPECT_EQ(verdict.token, VerdictToken::kIncomplete);
    ASSERT_EQ(verdict.reasons.size(), 1u);
    EXPECT_EQ(verdict.reasons[0].rfind(std::string(sip::ToString(field)), 0), 0u);
  }
  DialogState several = Good();
  several.missing = {Field::kRouteSet, Field::kRemoteTarget};
  EXPECT_EQ(Judge(several).reasons.size(), 2u);
  // What a request does not need does not hold it up.
  DialogState enough = Good();
  enough.missing = {Field::kRole, Field::kLocalSdp, Field::kRemoteSdp, Field::kHold};
  EXPECT_TRUE(Judge(enough).recoverable());
}

TEST(Verdicts, ConflictingIsOnlyWhatNothingDecides) {
  // Two versions of one INVITE, seen by the same witness at the same time.
  CallScript call;
  call.step_us = 0;
  const Request invite = call.Receive({.record_route = {"<sip:198.51.100.7;lr>"}});
  call.Receive({.record_route = {"<sip:198.51.100.8;lr>"}, .branch = invite.branch});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kConflicting)
      << sip::Explain(call.Only(), call.Judge());
  DialogState decided = Good();
  decided.conflicts = {{Field::kRouteSet, {4, {}}, "sip:evil", "the earlier one was taken", false}};
  EXPECT_TRUE(Judge(decided).recoverable());
}

TEST(Verdicts, NeedsNewFlowIsAConnectionThatDiedWithTheServer) {
  CallScript call;
  call.transport = sip::Transport::kWss;
  const Request invite = call.Receive({.contact = "<sip:x@df7j.invalid;transport=ws>"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kNeedsNewFlow);
}

TEST(Verdicts, ExpiredIsAClockOfThePeerThatRanOut) {
  DialogState dialog = Good();
  dialog.deadline = dialog.last_seen + seconds(5);
  dialog.deadline_reason = "why";
  EXPECT_TRUE(Judge(dialog, {.now = dialog.last_seen + seconds(4)}).recoverable());
  const Verdict verdict = Judge(dialog, {.now = dialog.last_seen + seconds(5)});
  EXPECT_EQ(verdict.token, VerdictToken::kExpired);
  EXPECT_THAT(verdict.reasons, ElementsAre("why"));
}

TEST(Verdicts, RefusedSaysWhichPolicyAndAllOfThem) {
  DialogState dialog = Good();
  dialog.media_security.sdes = true;
  dialog.remote_target = "sip:phone@127.0.0.1";
  dialog.local_seq = 0x7fffffffu;
  const Verdict verdict = Judge(dialog);
  EXPECT_EQ(verdict.token, VerdictToken::kRefused);
  ASSERT_EQ(verdict.reasons.size(), 3u);
  EXPECT_THAT(verdict.reasons[0], HasSubstr("SRTP"));
  EXPECT_THAT(verdict.reasons[1], HasSubstr("loopback"));
  EXPECT_THAT(verdict.reasons[2], HasSubstr("CSeq"));
}

TEST(Verdicts, NoEndpointIsNeverGivenByJudge) {
  DialogState dialog;
  EXPECT_NE(Judge(dialog).token, VerdictToken::kNoEndpoint);
  EXPECT_NE(Judge(Good()).token, VerdictToken::kNoEndpoint);
}

// One dialog with everything wrong with it, mended from the strongest objection to the weakest: the
// order of docs/verdicts.md.
TEST(Verdicts, TheFirstOfTheListCounts) {
  DialogState dialog = Good();
  const sip::CaptureTime now = dialog.last_seen + seconds(100);
  const VerdictOptions options{.now = now};
  dialog.phase = DialogPhase::kTerminated;
  dialog.end = DialogEnd::kByeUnanswered;
  dialog.missing = {Field::kRouteSet, Field::kInviteUsage};
  dialog.quarantined = 1;
  dialog.conflicts = {{Field::kRouteSet, {4, {}}, "x", "undecided", true}};
  dialog.deadline = dialog.last_seen;
  dialog.deadline_reason = "clock";
  dialog.media_security.dtls = true;
  dialog.transport = sip::Transport::kWss;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kEnded);
  dialog.phase = DialogPhase::kEarly;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kEnding);
  dialog.end = DialogEnd::kNone;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kExpired) << "an early one";
  dialog.deadline = now + seconds(1);
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kEarly);
  dialog.deadline = dialog.last_seen;
  dialog.phase = DialogPhase::kConfirmed;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kForged);
  dialog.quarantined = 0;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kIncomplete);
  dialog.missing.clear();
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kConflicting);
  dialog.conflicts.clear();
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kNeedsNewFlow);
  dialog.transport = sip::Transport::kUdp;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kExpired);
  dialog.deadline.reset();
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kRefused);
  dialog.media_security.dtls = false;
  EXPECT_EQ(Judge(dialog, options).token, VerdictToken::kRecoverable);
}

}  // namespace
}  // namespace sipheal::testing
