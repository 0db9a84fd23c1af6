// SPDX-License-Identifier: Apache-2.0
// Rules 6.x to 9.x: open transactions, ends, session timers, session descriptions.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sip/text.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/sdp.h"
#include "tests/sip/built_reinvite.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using sip::Field;
using sip::SdpDirection;
using sip::VerdictToken;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(OpenTransactions, Rule6_1_ListsTheServersUnansweredReinvite) {
  CallScript call;
  call.AnsweredByPeer();
  call.Send({.cseq = 5, .to_tag = "b"});
  const DialogState dialog = call.Only();
  ASSERT_THAT(dialog.open_transactions, SizeIs(1));
  EXPECT_EQ(dialog.open_transactions[0].method, "INVITE");
  EXPECT_EQ(dialog.open_transactions[0].cseq, 5u);
  EXPECT_TRUE(dialog.open_transactions[0].sent_by_server);
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(OpenTransactions, Rule6_3_AnUnansweredReinviteOfThePeerSetsTheDeadline) {
  CallScript call;
  call.AnsweredByPeer();
  const auto sent_at = sip::CaptureTime(std::chrono::microseconds(call.now_us));
  call.Receive({.cseq = 9, .from_tag = "b", .to_tag = "a"});
  const DialogState dialog = call.Only();
  ASSERT_TRUE(dialog.deadline.has_value());
  EXPECT_EQ(*dialog.deadline, sent_at + seconds(32));
  EXPECT_TRUE(call.Judge().recoverable());
  EXPECT_EQ(call.Judge({.now = sent_at + seconds(33)}).token, VerdictToken::kExpired);
}

TEST(OpenTransactions, Rule6_7_A2xxWithoutAckIsOpen) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b"});
  DialogState dialog = call.Only();
  ASSERT_THAT(dialog.open_transactions, SizeIs(1));
  EXPECT_TRUE(dialog.open_transactions[0].awaits_ack);
  call.Send({.method = "ACK", .to_tag = "b"});
  EXPECT_THAT(call.Only().open_transactions, IsEmpty());
}

TEST(OpenTransactions, Rule6_8_RepeatedAnswersAreOneDialog) {
  CallScript call;
  Request invite = call.Receive({});
  for (int i = 0; i < 3; ++i) call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().local.tag, "b");
}

TEST(DialogEnd, Rule6_5_AFailedReinviteLeavesTheDialog_F75) {
  for (int status : {488, 491, 500, 503, 401, 487}) {
    CallScript call;
    call.AnsweredByPeer();
    Request reinvite = call.Send({.cseq = 4, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20002, "2")});
    call.Reply(reinvite, {.status = status});
    EXPECT_TRUE(call.Judge().recoverable()) << status;
    EXPECT_EQ(call.Only().local_sdp.origin_version, "1");
    // F40: the version goes on above the refused offer's.
    EXPECT_EQ(sip::NextSdpVersion(call.Only()), "3");
  }
}

TEST(DialogEnd, Rule6_5_SomeCodesEndDialogOrUsage) {
  for (int status : {404, 410, 416, 481, 482, 483, 484, 485, 502, 604, 408, 480}) {
    CallScript call;
    call.AnsweredByPeer();
    Request reinvite = call.Send({.cseq = 4, .to_tag = "b"});
    call.Reply(reinvite, {.status = status});
    EXPECT_EQ(call.Judge().token, VerdictToken::kEnded) << status;
  }
}

TEST(DialogEnd, Rule6_5_A481ToANotifyEndsItsOwnUsageOnly) {
  CallScript call;
  call.AnsweredByPeer();
  Request notify = call.Send({.method = "NOTIFY", .cseq = 4, .to_tag = "b"});
  call.Reply(notify, {.status = 481});
  EXPECT_TRUE(call.Judge().recoverable());
}

// The peer has one answer to its request, the 2xx; what is refused is a copy that came by another
// way, or that somebody made up.
TEST(DialogEnd, Rule1_9_ARefusedCopyOfARequestThatWasAcceptedEndsNothing) {
  for (const char* method : {"INVITE", "UPDATE", "INFO"}) {
    for (const bool refused_first : {true, false}) {
      CallScript call;
      call.AnsweredByPeer();
      const Request request{.method = method, .cseq = 3, .from_tag = "b", .to_tag = "a"};
      const Request one = call.Receive(request);
      const Request other = call.Receive(request);
      call.Reply(refused_first ? one : other, {.status = 482});
      call.Reply(refused_first ? other : one, {});
      if (one.method == "INVITE") {
        call.Receive({.method = "ACK", .cseq = 3, .from_tag = "b", .to_tag = "a"});
      }
      EXPECT_EQ(call.Only().end, DialogEnd::kNone) << method;
      EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
    }
  }
}

TEST(DialogEnd, Rule6_10_AForeignTagInTheAnswerToAReinviteIsAConflict) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
  call.Reply(reinvite, {.to_tag = "other", .contact = "<sip:evil@203.0.113.66>"});
  call.Reply(reinvite, {.contact = "<sip:phone@198.51.100.7:5090>"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote.tag, "b");
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5090");
  ASSERT_THAT(dialog.conflicts, SizeIs(1));
  EXPECT_EQ(dialog.conflicts[0].field, sip::Field::kRemoteTag);
  EXPECT_EQ(dialog.conflicts[0].loser, "other");
  EXPECT_FALSE(dialog.conflicts[0].undecided);
}

// Nobody sends 408 to what is no INVITE (RFC 4320): it was made on the way, and the BYE had ended
// the call before it.
TEST(DialogEnd, Rule6_11_A408ToByeDoesNotBringTheCallBack) {
  CallScript call;
  call.AnsweredByPeer();
  Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
  call.Reply(bye, {.status = 408});
  EXPECT_EQ(call.Only().end, DialogEnd::kByeSent);
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
}

TEST(DialogEnd, Rule7_1_TheServersByeEndsAtOnce_F10) {
  for (bool answered : {true, false}) {
    CallScript call;
    call.AnsweredByPeer();
    Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
    if (answered) call.Reply(bye, {});
    EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
    EXPECT_EQ(call.Only().end, DialogEnd::kByeSent);
  }
}

TEST(DialogEnd, Rule7_1_ThePeersByeEndsWhenAnsweredAndIsEndingOtherwise_F10) {
  CallScript call;
  call.AnsweredByPeer();
  Request bye = call.Receive({.method = "BYE", .cseq = 2, .from_tag = "b", .to_tag = "a"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnding);
  CallScript refused = call;
  refused.Reply(bye, {.status = 500});
  EXPECT_EQ(refused.Judge().token, VerdictToken::kEnding);
  call.Reply(bye, {});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
}

TEST(DialogEnd, Rule7_2_AByeInAnEarlyDialogEndsIt) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "b"});
  Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
  call.Reply(bye, {});
  call.Reply(invite, {.status = 487, .to_tag = "b"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kTerminated);
}

TEST(DialogEnd, Rule7_3_CancelOfTheFirstInviteIsTheEnd_F10) {
  CallScript call;
  Request invite = call.Receive({});
  call.Reply(invite, {.status = 180, .to_tag = "b"});
  Request cancel = call.Receive({.method = "CANCEL", .branch = invite.branch});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnding);
  call.Reply(cancel, {});
  call.Reply(invite, {.status = 487, .to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
}

TEST(DialogEnd, Rule7_3_CancelThatCrossesThe2xxLeavesADialogThatIsEnding) {
  CallScript call;
  Request invite = call.Send({});
  call.Send({.method = "CANCEL", .branch = invite.branch});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kConfirmed);
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnding);
}

TEST(DialogEnd, Rule7_3_CancelOfAReinviteEndsNothing) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 5, .to_tag = "b"});
  Request cancel =
      call.Send({.method = "CANCEL", .cseq = 5, .to_tag = "b", .branch = reinvite.branch});
  call.Reply(cancel, {});
  call.Reply(reinvite, {.status = 487});
  EXPECT_EQ(call.Only().local_seq, 5u);
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(SessionTimer, Rule8_1_TheLatest2xxDecidesAlsoThatThereIsNone) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "x: 1800;refresher=uas\r\n"});
  EXPECT_EQ(call.Only().session_timer.interval, seconds(1800));
  Request update = call.Send({.method = "UPDATE", .cseq = 2, .to_tag = "b"});
  call.Reply(update, {});
  EXPECT_FALSE(call.Only().session_timer.active());
}

TEST(SessionTimer, Rule8_2_RefresherIsOfTheTransaction) {
  struct Case {
    bool server_called;
    const char* refresher;
    bool local_refreshes;
  };
  for (const Case& c : {Case{true, "uac", true}, Case{true, "uas", false}, Case{false, "UAS", true},
                        Case{false, "uac", false}}) {
    CallScript call;
    Request invite = c.server_called ? call.Send({}) : call.Receive({});
    call.Reply(invite,
               {.to_tag = "b",
                .extra = std::string("Session-Expires: 90;refresher=") + c.refresher + "\r\n"});
    EXPECT_EQ(call.Only().session_timer.local_refreshes, c.local_refreshes) << c.refresher;
  }
}

TEST(SessionTimer, Rule8_3_Rule8_4_Rule8_5_DeadlineOfEitherRefresher) {
  for (bool peer : {true, false}) {
    CallScript call;
    Request invite = call.Send({});
    const auto t0 = sip::CaptureTime(std::chrono::microseconds(call.now_us));
    call.Reply(invite, {.to_tag = "b",
                        .extra = peer ? "Session-Expires: 1800;refresher=uas\r\n"
                                      : "Session-Expires: 60\r\n"});
    call.Send({.method = "ACK", .to_tag = "b"});
    const DialogState dialog = call.Only();
    ASSERT_TRUE(dialog.deadline.has_value());
    EXPECT_EQ(*dialog.deadline, t0 + (peer ? seconds(932) : seconds(40)));
    EXPECT_EQ(sip::Judge(dialog, {.now = *dialog.deadline}).token, VerdictToken::kExpired);
  }
}

TEST(SessionTimer, Rule8_6_A422LeavesTheTimerAndRaisesTheNextOffer) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 1800;refresher=uac\r\n"});
  call.Send({.method = "ACK", .to_tag = "b"});
  const sip::SessionTimer before = call.Only().session_timer;
  Request refresh = call.Send({.cseq = 2, .to_tag = "b", .extra = "Session-Expires: 1800\r\n"});
  call.Reply(refresh, {.status = 422, .extra = "Min-SE: 3600\r\n"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.session_timer.expires_at, before.expires_at);
  EXPECT_EQ(dialog.session_timer.interval, seconds(1800));
  EXPECT_EQ(dialog.session_timer.min_interval, seconds(3600));
  EXPECT_TRUE(call.Judge().recoverable());
  const auto text =
      BuildReinvite(dialog, {.contact = "sip:n@192.0.2.11:5060", .via_sent_by = "192.0.2.11:5060"});
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text,
              ::testing::HasSubstr("Session-Expires: 3600;refresher=uac\r\nMin-SE: 3600\r\n"));
}

TEST(SessionTimer, Rule8_4_TheTakeoverRestartsTheTimerWithItsOwnRefresher) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 1800;refresher=uas\r\n"});
  const auto text = BuildReinvite(
      call.Only(), {.contact = "sip:n@192.0.2.11:5060", .via_sent_by = "192.0.2.11:5060"});
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text,
              ::testing::HasSubstr("Supported: timer\r\nSession-Expires: 1800;refresher=uac\r\n"));
}

// RFC 3264 8 wants one more than the last: who cannot know the last goes well above it.
TEST(Sdp, Rule9_2_AnUnknownTailGetsAMarginInTheVersion) {
  CallScript call;
  call.AnsweredByPeer();
  EXPECT_EQ(sip::NextSdpVersion(call.Only()), "2");
  EXPECT_EQ(sip::NextSdpVersion(call.Only(), 1000), "1002");
}

TEST(Sdp, Rule9_2_TheVariablesLeaveThatMarginUnlessTheTailIsKnown) {
  CallScript call;
  call.AnsweredByPeer();
  DialogState dialog = call.Only();
  const auto origin = [&dialog](bool complete) {
    const auto variables =
        sip::RecoveryVariables(dialog, {.cseq = {.capture_is_complete = complete}});
    EXPECT_TRUE(variables.ok()) << variables.status();
    for (const auto& [name, value] : *variables) {
      if (name == "PJSIP_RECOVERY_SDP_ORIGIN") return value;
    }
    return std::string();
  };
  EXPECT_EQ(origin(true), "- 1000 1 IN IP4 192.0.2.10");
  EXPECT_EQ(origin(false), "- 1000 1001 IN IP4 192.0.2.10");
  dialog.from_stored_state = true;
  EXPECT_EQ(origin(true), "- 1000 1001 IN IP4 192.0.2.10");
  // No further than a media server can count.
  dialog.highest_local_sdp_version = "4294967000";
  EXPECT_EQ(origin(false), "- 1000 4294967294 IN IP4 192.0.2.10");
  dialog.highest_local_sdp_version = "4294967295";
  EXPECT_EQ(origin(false), "");
}

TEST(Sdp, Rule9_4_ThePayloadNumbersOfTheServerAreKept) {
  CallScript call;
  const std::string offer =
      "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
      "m=audio 20000 RTP/AVP 96 0 101\r\na=rtpmap:96 opus/48000/2\r\n"
      "a=rtpmap:101 telephone-event/8000\r\n";
  Request invite = call.Send({.sdp = offer});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1")});
  call.Send({.method = "ACK", .to_tag = "b"});
  const DialogState dialog = call.Only();
  ASSERT_THAT(dialog.local_sdp.media, SizeIs(1));
  EXPECT_EQ(dialog.local_sdp.media[0].formats, "96 0 101");
  EXPECT_EQ(dialog.local_sdp.media[0].rtpmaps, "96 opus/48000/2,101 telephone-event/8000");
  const auto variables = sip::RecoveryVariables(dialog);
  ASSERT_TRUE(variables.ok());
  EXPECT_THAT(*variables, ::testing::Contains(std::pair<std::string, std::string>(
                              "PJSIP_RECOVERY_SDP_MEDIA", "audio 20000 RTP/AVP 96 0 101")));
}

TEST(Sdp, Rule9_1_ContinuesOriginOfTheServersLastDescription) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_sdp.Origin(), "- 1000 1 IN IP4 192.0.2.10");
  EXPECT_EQ(dialog.remote_sdp.media.at(0).port, 30000);
  EXPECT_EQ(sip::NextSdpVersion(dialog), "2");
  EXPECT_EQ(sip::NextSdpVersion(dialog, 1000), "1002");
}

TEST(Sdp, Rule9_1_VersionsAreDecimalTextOfAnySize) {
  DialogState dialog;
  dialog.highest_local_sdp_version = "99999999999999999999999";
  EXPECT_EQ(sip::NextSdpVersion(dialog), "100000000000000000000000");
}

TEST(Sdp, Rule9_3_KeepsAllMediaLinesInOrder_F41) {
  const auto sdp = sip::ParseSdp(
      "v=0\r\no=root 555055307 555055308 IN IP4 h\r\nc=IN IP4 192.0.2.1\r\nm=audio 20000 RTP/AVP 0 "
      "96\r\na=rtpmap:96 opus/48000/2\r\nm=video 0 RTP/AVP 99\r\nm=image 4000 udptl t38\r\n");
  ASSERT_TRUE(sdp.has_value());
  ASSERT_THAT(sdp->summary.media, SizeIs(3));
  EXPECT_EQ(sdp->summary.media[0].rtpmaps, "96 opus/48000/2");
  EXPECT_EQ(sdp->summary.media[1].port, 0);
  EXPECT_EQ(sdp->summary.media[2].formats, "t38");
}

TEST(Sdp, Rule9_5_TakesTheAnswerFromTheAckWhenThe2xxOffered) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "7")});
  call.Send({.method = "ACK", .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "5")});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_sdp.origin_version, "5");
  EXPECT_EQ(dialog.remote_sdp.origin_version, "7");
}

TEST(Sdp, Rule9_5_AnUnansweredOfferMovesNothing) {
  CallScript call;
  call.AnsweredByPeer();
  call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20004, "2")});
  EXPECT_EQ(call.Only().local_sdp.media.at(0).port, 20000);
  EXPECT_EQ(call.Only().highest_local_sdp_version, "2");
}

TEST(Hold, Rule9_6_ThePeersHoldIsKept_F54) {
  CallScript call;
  call.AnsweredByPeer();
  Request hold = call.Receive({.cseq = 3,
                               .from_tag = "b",
                               .to_tag = "a",
                               .sdp = Sdp("198.51.100.7", 30000, "2", "sendonly")});
  call.Reply(hold, {.sdp = Sdp("192.0.2.10", 20000, "2", "recvonly")});
  EXPECT_TRUE(call.Only().held_by_remote);
  EXPECT_FALSE(call.Only().held_by_local);
  EXPECT_EQ(sip::NextOfferDirection(call.Only()), SdpDirection::kRecvOnly);
}

TEST(Hold, Rule9_6_TheServersHoldIsKept_F54) {
  CallScript call;
  call.AnsweredByPeer();
  Request hold =
      call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "2", "sendonly")});
  call.Reply(hold, {.sdp = Sdp("198.51.100.7", 30000, "2", "recvonly")});
  EXPECT_TRUE(call.Only().held_by_local);
  EXPECT_FALSE(call.Only().held_by_remote);
  EXPECT_EQ(sip::NextOfferDirection(call.Only()), SdpDirection::kSendOnly);
}

TEST(Hold, Rule9_7_BothHoldAndOneResumes) {
  CallScript call;
  call.AnsweredByPeer();
  Request ours =
      call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "2", "sendonly")});
  call.Reply(ours, {.sdp = Sdp("198.51.100.7", 30000, "2", "recvonly")});
  Request theirs = call.Receive({.cseq = 3,
                                 .from_tag = "b",
                                 .to_tag = "a",
                                 .sdp = Sdp("198.51.100.7", 30000, "3", "inactive")});
  call.Reply(theirs, {.sdp = Sdp("192.0.2.10", 20000, "3", "inactive")});
  EXPECT_EQ(sip::NextOfferDirection(call.Only()), SdpDirection::kInactive);
  Request resume = call.Receive({.cseq = 4,
                                 .from_tag = "b",
                                 .to_tag = "a",
                                 .sdp = Sdp("198.51.100.7", 30000, "4", "recvonly")});
  call.Reply(resume, {.sdp = Sdp("192.0.2.10", 20000, "4", "sendonly")});
  EXPECT_EQ(sip::NextOfferDirection(call.Only()), SdpDirection::kSendOnly);
}

TEST(Hold, Rule9_6_ZeroConnectionIsHold_Rule9_8_PortZeroIsNot) {
  CallScript call;
  call.AnsweredByPeer();
  Request hold =
      call.Receive({.cseq = 3, .from_tag = "b", .to_tag = "a", .sdp = Sdp("0.0.0.0", 30000, "2")});
  call.Reply(hold, {.sdp = Sdp("192.0.2.10", 20000, "2")});
  EXPECT_TRUE(call.Only().held_by_remote);
  const auto removed = sip::ParseSdp("o=- 1 1 IN IP4 h\nc=IN IP4 0.0.0.0\nm=audio 0 RTP/AVP 0\n");
  ASSERT_TRUE(removed.has_value());
  EXPECT_FALSE(removed->zero_connection);
}

TEST(Sdp, Rule9_9_EncryptedMediaIsRefusedByPolicy) {
  for (const char* line : {"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x\r\n",
                           "a=fingerprint:sha-256 AA\r\n", "a=ice-ufrag:x\r\n"}) {
    CallScript call;
    Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1") + line});
    call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1") + line});
    EXPECT_EQ(call.Judge().token, VerdictToken::kRefused) << line;
    sip::VerdictOptions allow;
    allow.allow_secure_media = true;
    EXPECT_TRUE(call.Judge(allow).recoverable()) << line;
  }
}

TEST(Sdp, Rule9_10_ALostLocalDescriptionIsMissingNotGuessed) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "7")});
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kLocalSdp));
  EXPECT_TRUE(call.Judge().recoverable());
  const auto variables = sip::RecoveryVariables(call.Only());
  ASSERT_TRUE(variables.ok());
  for (const auto& [name, value] : *variables) EXPECT_NE(name, "PJSIP_RECOVERY_SDP_ORIGIN");
}

TEST(Sdp, Rule9_11_TakesTheSdpPartOfAMultipartBody) {
  const std::string body =
      "--b1\r\nContent-Type: application/isup\r\n\r\nxx\r\n--b1\r\nContent-Type: "
      "application/sdp\r\n\r\n"
      "v=0\r\no=- 1 2 IN IP4 h\r\n\r\n--b1--\r\n";
  const std::string text =
      "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: "
      "<sip:a@h>;tag=a\r\nTo: "
      "<sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nContent-Type: multipart/mixed;boundary=b1\r\n"
      "Content-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  sip::MessageView view;
  ASSERT_TRUE(view.Parse(text).ok());
  const auto sdp = sip::ParseSdp(sip::FindSdp(view));
  ASSERT_TRUE(sdp.has_value());
  EXPECT_EQ(sdp->summary.origin_version, "2");
}

TEST(SessionTimer, Rule8_1_The2xxToTheInviteIsLaterThanAnUpdateWhileItRang) {
  CallScript call;
  Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
  call.Reply(invite, {.status = 183, .to_tag = "b", .extra = "RSeq: 1\r\n"});
  Request update = call.Send({.method = "UPDATE", .cseq = 2, .to_tag = "b"});
  call.Reply(update, {.extra = "Session-Expires: 600;refresher=uas\r\n"});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 1800;refresher=uac\r\n"});
  EXPECT_EQ(call.Only().session_timer.interval.count(), 1800);
}

TEST(SessionDescription, Rule11_9_ALostReinviteWhoseAnswerWasSeenLeavesNoStaleHold) {
  CallScript call;
  call.AnsweredByServer();
  // The peer held; its re-INVITE was not captured, the server's answer was.
  Request lost{.cseq = 2, .from_tag = "a", .to_tag = "b", .branch = "z9hG4bKlost"};
  call.Reply(lost, {.to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "2", "recvonly")});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
  const sip::DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_sdp.origin_version, "2");
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kRemoteSdp));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kHold));
}

// What stands behind Content-Length is not the message's (RFC 3261 18.3), but a description that
// goes on there was cut: what the receiver made of the rest is not known.
TEST(Sdp, Rule10_10_ADescriptionThatGoesOnBehindContentLengthIsNotKnown) {
  const std::string sdp = Sdp("198.51.100.9", 40000, "2", "sendonly");
  for (std::size_t size = 0; size <= sdp.size(); ++size) {
    for (const bool padded : {true, false}) {
      CallScript call;
      call.AnsweredByPeer();
      const Request hold = call.Receive({.cseq = 3, .from_tag = "b", .to_tag = "a", .sdp = sdp});
      std::string& bytes = call.messages.back().bytes;
      const std::size_t at = bytes.find("Content-Length: ");
      bytes.replace(at, bytes.find("\r\n", at) - at, "Content-Length: " + std::to_string(size));
      if (padded) bytes += std::string("\r\n\0", 3);
      call.Reply(hold, {.sdp = Sdp("192.0.2.10", 20000, "2", "recvonly")});
      call.Receive({.method = "ACK", .cseq = 3, .from_tag = "b", .to_tag = "a"});
      const DialogState dialog = call.Only();
      // Without the last line end, which some do not count.
      const bool whole = size + 2 >= sdp.size();
      EXPECT_EQ(dialog.IsMissing(Field::kRemoteSdp), !whole) << size;
      EXPECT_EQ(dialog.IsMissing(Field::kHold), !whole) << size;
      if (!whole) continue;
      EXPECT_TRUE(dialog.held_by_remote);
      EXPECT_EQ(dialog.remote_sdp.address, "198.51.100.9");
    }
  }
}

// Two controllers, or one before and after a restart, must come to the same: of what nothing else
// puts in order, the bytes do, and not a hash that each process draws its own keys for.
TEST(Sdp, F91_OfTwoAnsweredAtOneMomentEveryProcessTakesTheSame) {
  for (int i = 0; i < 16; ++i) {
    CallScript call;
    call.AnsweredByPeer();
    call.step_us = 0;
    const std::size_t first = call.messages.size();
    for (const char* side : {"8", "9"}) {
      const Request reinvite =
          call.Receive({.cseq = 3,
                        .from_tag = "b",
                        .to_tag = "a",
                        .sdp = Sdp(std::string("198.51.100.") + side, 4000, "2"),
                        .branch = "z9hG4bK" + std::to_string(i) + side});
      call.Reply(reinvite, {.sdp = Sdp("192.0.2.10", 20000, "2")});
    }
    const auto hash = [&](std::size_t at) { return sip::HashMessage(call.messages[at].bytes); };
    const bool second_counts = hash(first) < hash(first + 2);
    EXPECT_EQ(call.Only().remote_sdp.address, second_counts ? "198.51.100.9" : "198.51.100.8") << i;
  }
}

}  // namespace
}  // namespace sipheal::testing
