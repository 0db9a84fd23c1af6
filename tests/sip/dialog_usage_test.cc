// SPDX-License-Identifier: Apache-2.0
// Rules 4.8, 6.6, 6.12 and 7.4 to 7.6: what happens to a dialog besides the call in it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::CaptureTime;
using sip::DialogPhase;
using sip::DialogState;
using sip::DialogUsage;
using sip::Field;
using sip::VerdictToken;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

const char* const kKnowsChanges = "Supported: timer, from-change\r\n";

// The server called; the peer's tag is b.
Request FromPeer(Request request) {
  request.from_tag = "b";
  request.to_tag = "a";
  std::swap(request.from, request.to);
  return request;
}

CallScript CallWithAbilities(bool server_knows, bool peer_knows) {
  CallScript call;
  Request invite = call.Send({.extra = server_knows ? kKnowsChanges : ""});
  call.Reply(invite, {.to_tag = "b", .extra = peer_knows ? kKnowsChanges : ""});
  call.Send({.method = "ACK", .to_tag = "b"});
  return call;
}

// --- connected identity ---

TEST(ConnectedIdentity, Rule4_8_AnAcceptedChangeOfThePeersFromBecomesTheNextTo) {
  for (const char* method : {"UPDATE", "INVITE"}) {
    CallScript call = CallWithAbilities(true, true);
    Request change =
        FromPeer({.method = method, .cseq = 2, .to = "Carol <sip:carol@example.com>;x=1"});
    change = call.Receive(change);
    EXPECT_EQ(call.Only().remote.uri, "sip:bob@example.com") << "not accepted yet";
    call.Reply(change, {});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote.uri, "sip:carol@example.com") << method;
    EXPECT_EQ(dialog.remote.display, "Carol");
    EXPECT_EQ(dialog.remote.params, ";x=1");
    EXPECT_EQ(dialog.remote.tag, "b");
    EXPECT_EQ(dialog.local.uri, "sip:alice@example.com");
    EXPECT_EQ(dialog.FindEvidence(Field::kRemoteUri)->message.sequence, 4u);
    EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(dialog, call.Judge());
  }
}

TEST(ConnectedIdentity, Rule4_8_AChangeThatOneSideDoesNotKnowOfChangesNothingAndIsNoted) {
  for (const bool server_knows : {true, false}) {
    CallScript call = CallWithAbilities(server_knows, !server_knows);
    Request change =
        call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = "<sip:carol@example.com>"}));
    call.Reply(change, {});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote.uri, "sip:bob@example.com");
    ASSERT_THAT(dialog.conflicts, SizeIs(1));
    EXPECT_EQ(dialog.conflicts[0].field, Field::kRemoteUri);
    EXPECT_EQ(dialog.conflicts[0].loser, "sip:carol@example.com");
  }
}

TEST(ConnectedIdentity, Rule4_8_ARefusedChangeChangesNothing) {
  CallScript call = CallWithAbilities(true, true);
  Request change =
      call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = "<sip:carol@example.com>"}));
  call.Reply(change, {.status = 488});
  EXPECT_EQ(call.Only().remote.uri, "sip:bob@example.com");
}

TEST(ConnectedIdentity, Rule4_8_TheServersOwnLaterRequestShowsWhomItAddresses) {
  CallScript call = CallWithAbilities(false, false);
  Request change =
      call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = "<sip:carol@example.com>"}));
  call.Reply(change, {});
  Request info =
      call.Send({.method = "INFO", .cseq = 2, .to_tag = "b", .to = "<sip:carol@example.com>"});
  call.Reply(info, {});
  EXPECT_EQ(call.Only().remote.uri, "sip:carol@example.com");
}

TEST(ConnectedIdentity, Rule4_8_TheServersOwnChangeIsTheNextFrom) {
  CallScript call = CallWithAbilities(true, true);
  Request change = call.Send(
      {.method = "UPDATE", .cseq = 2, .to_tag = "b", .from = "<sip:operator@example.com>"});
  call.Reply(change, {});
  EXPECT_EQ(call.Only().local.uri, "sip:operator@example.com");
  EXPECT_EQ(call.Only().local.tag, "a");
}

TEST(ConnectedIdentity, Rule11_9_WhatCameAfterALostChangeShowsIt) {
  for (const char* shown_by : {"its answer", "the peer's next request", "the server's own"}) {
    SCOPED_TRACE(shown_by);
    CallScript call = CallWithAbilities(true, true);
    const std::string carol = "<sip:carol@example.com>";
    const Request change = call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = carol}));
    call.messages.pop_back();
    if (shown_by == std::string("its answer")) {
      call.Reply(change, {});
    } else if (shown_by == std::string("the server's own")) {
      call.Send({.method = "INFO", .cseq = 2, .to_tag = "b", .to = carol});
    } else {
      const Request info = call.Receive(FromPeer({.method = "INFO", .cseq = 3, .to = carol}));
      EXPECT_EQ(call.Only().remote.uri, "sip:bob@example.com") << "not accepted yet";
      call.Reply(info, {});
    }
    EXPECT_EQ(call.Only().remote.uri, "sip:carol@example.com");
    EXPECT_EQ(call.Only().local.uri, "sip:alice@example.com");
  }
}

TEST(ConnectedIdentity, Rule11_9_TheAckOfAChangeShowsThatItWasAccepted) {
  CallScript call = CallWithAbilities(true, true);
  const std::string carol = "<sip:carol@example.com>";
  call.Send({.cseq = 2, .to_tag = "b", .from = carol});
  EXPECT_EQ(call.Only().local.uri, "sip:alice@example.com");
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b", .from = carol});
  EXPECT_EQ(call.Only().local.uri, "sip:carol@example.com");
}

TEST(ConnectedIdentity, Rule11_9_WithoutTheFirstInviteItIsUnknownWhetherBothKnowOfChanges) {
  for (const bool lost : {true, false}) {
    CallScript call = CallWithAbilities(false, true);
    if (lost) call.messages.erase(call.messages.begin());
    const Request change =
        call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = "<sip:carol@example.com>"}));
    call.Reply(change, {});
    EXPECT_EQ(call.Only().remote.uri, "sip:bob@example.com");
    EXPECT_EQ(call.Only().IsMissing(Field::kRemoteUri), lost);
    EXPECT_EQ(call.Judge().recoverable(), !lost);
  }
}

TEST(ConnectedIdentity, Rule11_9_WithoutTheFirstInviteAChangeThatIsNotAcceptedYetIsNotTaken) {
  CallScript call = CallWithAbilities(true, true);
  const Request info = call.Receive(FromPeer({.method = "INFO", .cseq = 2}));
  call.messages.erase(call.messages.begin(), call.messages.end() - 1);
  call.Reply(info, {});
  call.Send({.cseq = 2, .to_tag = "b", .from = "<sip:carol@example.com>"});
  EXPECT_EQ(call.Only().local.uri, "sip:alice@example.com");
}

TEST(ConnectedIdentity, Rule4_8_AQuietCallKeepsTheChangeWhenItShrinks) {
  CallScript call = CallWithAbilities(true, true);
  Request change =
      call.Receive(FromPeer({.method = "UPDATE", .cseq = 2, .to = "<sip:carol@example.com>"}));
  call.Reply(change, {});
  for (unsigned cseq = 2; cseq < 40; ++cseq) {
    Request refresh = call.Send(
        {.method = "UPDATE", .cseq = cseq, .to_tag = "b", .to = "<sip:carol@example.com>"});
    call.Reply(refresh, {});
  }
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  folder.Sweep(call.messages.back().time + seconds(60));
  const std::vector<DialogState> dialogs = folder.Snapshot(call.call_id);
  ASSERT_THAT(dialogs, SizeIs(1));
  EXPECT_EQ(dialogs[0].remote.uri, "sip:carol@example.com");
}

// --- a re-INVITE that failed half-way, or was sent elsewhere ---

TEST(FailedReinvite, Rule6_6_WhatWasAgreedWithinItIsUndoneAndTheSidesMustResync) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20002, "2")});
  call.Reply(reinvite, {.status = 183,
                        .sdp = Sdp("198.51.100.7", 30002, "2"),
                        .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  Request prack =
      call.Send({.method = "PRACK", .cseq = 3, .to_tag = "b", .extra = "RAck: 1 2 INVITE\r\n"});
  call.Reply(prack, {});
  Request update = call.Send(
      {.method = "UPDATE", .cseq = 4, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20004, "3")});
  call.Reply(update, {.sdp = Sdp("198.51.100.7", 30004, "3")});
  EXPECT_FALSE(call.Only().resync_needed);
  call.Reply(reinvite, {.status = 488});
  DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_sdp.media.at(0).port, 20000);
  EXPECT_EQ(dialog.remote_sdp.media.at(0).port, 30000);
  EXPECT_TRUE(dialog.resync_needed);
  EXPECT_EQ(dialog.highest_local_sdp_version, "3");
  EXPECT_THAT(sip::Explain(dialog, call.Judge()), HasSubstr("resync"));
  EXPECT_TRUE(call.Judge().recoverable());
  // The next completed pair sets it right.
  Request again = call.Send({.cseq = 5, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "4")});
  call.Reply(again, {.sdp = Sdp("198.51.100.7", 30000, "4")});
  EXPECT_FALSE(call.Only().resync_needed);
}

TEST(FailedReinvite, Rule6_6_OneThatFailedAtOnceNeedsNoResync) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20002, "2")});
  call.Reply(reinvite, {.status = 488});
  EXPECT_FALSE(call.Only().resync_needed);
}

TEST(FailedReinvite, Rule6_12_ARedirectListsItsTargetsAndChangesNeitherRouteNorTarget) {
  CallScript call;
  call.AnsweredByPeer({"<sip:198.51.100.7;lr>"});
  const DialogState before = call.Only();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b", .route = {"<sip:198.51.100.7;lr>"}});
  call.Reply(reinvite,
             {.status = 302,
              .extra = "Contact: <sip:x@203.0.113.66>;q=1, \"y\" <sip:y@203.0.113.67>\r\n"});
  const DialogState dialog = call.Only();
  EXPECT_THAT(dialog.redirect_targets, ElementsAre("sip:x@203.0.113.66", "sip:y@203.0.113.67"));
  EXPECT_EQ(dialog.route_set, before.route_set);
  EXPECT_EQ(dialog.remote_target, before.remote_target);
  EXPECT_TRUE(call.Judge().recoverable());
  EXPECT_THAT(sip::Explain(dialog, call.Judge()), HasSubstr("sip:y@203.0.113.67"));
}

// --- subscriptions ---

TEST(Usages, Rule7_4_AReferOpensASubscriptionThatOutlivesTheCall) {
  CallScript call;
  call.AnsweredByPeer();
  Request refer = call.Receive(FromPeer({.method = "REFER",
                                         .cseq = 3,
                                         .contact = "<sip:phone@198.51.100.7:5060>",
                                         .extra = "Refer-To: <sip:c@h>\r\n"}));
  EXPECT_THAT(call.Only().usages, IsEmpty()) << "not accepted yet";
  call.Reply(refer, {.status = 202});
  ASSERT_THAT(call.Only().usages, SizeIs(1));
  EXPECT_FALSE(call.Only().usages[0].active);
  const CaptureTime notified{std::chrono::microseconds(call.now_us)};
  Request notify =
      call.Send({.method = "NOTIFY",
                 .cseq = 7,
                 .to_tag = "b",
                 .extra = "Event: refer;id=3\r\nSubscription-State: active;expires=60\r\n"});
  call.Reply(notify, {});
  Request bye = call.Receive(FromPeer({.method = "BYE", .cseq = 4}));
  call.Reply(bye, {});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.phase, DialogPhase::kTerminated);
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
  EXPECT_EQ(dialog.local_seq, 7u);
  ASSERT_THAT(dialog.usages, SizeIs(1));
  EXPECT_EQ(dialog.usages[0],
            (DialogUsage{"refer", "3", false, true, {8, notified}, notified + seconds(60)}));
  EXPECT_THAT(sip::Explain(dialog, call.Judge()),
              HasSubstr("refer;id=3, the peer subscribed, active"));
  Request last = call.Send(
      {.method = "NOTIFY",
       .cseq = 8,
       .to_tag = "b",
       .extra = "Event: refer;id=3\r\nSubscription-State: terminated;reason=noresource\r\n"});
  call.Reply(last, {});
  EXPECT_THAT(call.Only().usages, IsEmpty());
}

TEST(Usages, Rule7_4_ReferSubFalseOpensNone) {
  for (const bool asked : {true, false}) {
    CallScript call;
    call.AnsweredByPeer();
    Request refer = call.Send({.method = "REFER",
                               .cseq = 2,
                               .to_tag = "b",
                               .extra = asked ? "Refer-Sub: false\r\n" : ""});
    call.Reply(refer, {.extra = asked ? "" : "Refer-Sub: false\r\n"});
    EXPECT_THAT(call.Only().usages, IsEmpty());
  }
}

TEST(Usages, Rule7_4_AFailedNotifyEndsItsSubscriptionOnly) {
  CallScript call;
  call.AnsweredByPeer();
  Request refer = call.Receive(FromPeer({.method = "REFER", .cseq = 3}));
  call.Reply(refer, {.status = 202});
  Request notify =
      call.Send({.method = "NOTIFY",
                 .cseq = 2,
                 .to_tag = "b",
                 .extra = "Event: refer;id=3\r\nSubscription-State: active;expires=60\r\n"});
  call.Reply(notify, {.status = 481});
  EXPECT_THAT(call.Only().usages, IsEmpty());
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(Usages, Rule7_4_ASubscriptionInTheDialogIsListedUntilItIsCancelled) {
  CallScript call;
  call.AnsweredByPeer();
  Request subscribe = call.Send({.method = "SUBSCRIBE",
                                 .cseq = 2,
                                 .to_tag = "b",
                                 .extra = "Event: dialog\r\nExpires: 600\r\n"});
  const CaptureTime accepted{std::chrono::microseconds(call.now_us)};
  call.Reply(subscribe, {.extra = "Expires: 300\r\n"});
  ASSERT_THAT(call.Only().usages, SizeIs(1));
  EXPECT_TRUE(call.Only().usages[0].server_subscribes);
  EXPECT_EQ(call.Only().usages[0].expires_at, accepted + seconds(300));
  Request cancel = call.Send({.method = "SUBSCRIBE",
                              .cseq = 3,
                              .to_tag = "b",
                              .extra = "Event: dialog\r\nExpires: 0\r\n"});
  call.Reply(cancel, {.extra = "Expires: 0\r\n"});
  EXPECT_THAT(call.Only().usages, IsEmpty());
}

TEST(Usages, Rule7_5_ANotifyOpensTheSubscribersDialogWithItsOwnRoute) {
  CallScript call;
  Request notify =
      call.Receive({.method = "NOTIFY",
                    .cseq = 9,
                    .from_tag = "n",
                    .to_tag = "s",
                    .contact = "<sip:phone@198.51.100.7:5060>",
                    .record_route = {"<sip:p2;lr>", "<sip:p1;lr>"},
                    .extra = "Event: presence\r\nSubscription-State: active;expires=60\r\n"});
  EXPECT_THAT(call.Rebuild(), IsEmpty()) << "not accepted yet";
  call.Reply(notify, {});
  // Another branch of the SUBSCRIBE notifies, too: a dialog of its own.
  Request fork = call.Receive({.method = "NOTIFY",
                               .cseq = 1,
                               .from_tag = "m",
                               .to_tag = "s",
                               .contact = "<sip:phone@198.51.100.8:5060>",
                               .record_route = {"<sip:p3;lr>"},
                               .extra = "Event: presence\r\nSubscription-State: pending\r\n"});
  call.Reply(fork, {});
  const std::vector<DialogState> dialogs = call.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  EXPECT_EQ(dialogs[0].local.tag, "s");
  EXPECT_EQ(dialogs[0].remote.tag, "n");
  EXPECT_THAT(dialogs[0].route_set, ElementsAre("sip:p2;lr", "sip:p1;lr"));
  EXPECT_EQ(dialogs[0].remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(dialogs[0].remote_seq, 9u);
  EXPECT_EQ(dialogs[0].phase, DialogPhase::kUnknown) << "of the call, and there is none";
  ASSERT_THAT(dialogs[0].usages, SizeIs(1));
  EXPECT_TRUE(dialogs[0].usages[0].server_subscribes);
  EXPECT_THAT(dialogs[1].route_set, ElementsAre("sip:p3;lr"));
  // There is no call in it that an INVITE could go on with.
  for (const DialogState& dialog : dialogs) {
    EXPECT_EQ(sip::Judge(dialog).token, VerdictToken::kIncomplete);
  }
}

// --- subscriptions within the call: what came last counts ---

struct Subscribed : CallScript {
  Subscribed() {
    AnsweredByPeer();
    Receive("2");
  }
  // The peer subscribes, or does it anew, and the server answers.
  void Receive(const std::string& cseq, int status = 200, const std::string& expires = "600") {
    const Request subscribe =
        CallScript::Receive(FromPeer({.method = "SUBSCRIBE",
                                      .cseq = static_cast<unsigned>(std::stoul(cseq)),
                                      .extra = "Event: presence\r\nExpires: " + expires + "\r\n"}));
    Reply(subscribe, {.status = status, .extra = "Expires: " + expires + "\r\n"});
  }
  void Notify(unsigned cseq, const std::string& state) {
    const Request notify =
        Send({.method = "NOTIFY",
              .cseq = cseq,
              .to_tag = "b",
              .extra = "Event: presence\r\nSubscription-State: " + state + "\r\n"});
    Reply(notify, {});
  }
};

TEST(Subscriptions, Rule7_4_ARefusedFirstSubscribeMakesNone) {
  CallScript call;
  call.AnsweredByPeer();
  const Request subscribe = call.Receive(
      FromPeer({.method = "SUBSCRIBE", .cseq = 2, .extra = "Event: presence\r\nExpires: 60\r\n"}));
  call.Reply(subscribe, {.status = 403});
  EXPECT_THAT(call.Only().usages, IsEmpty());
}

TEST(Subscriptions, Rule7_4_TheLaterExpiryOfARefreshCountsAndNotThatOfTheNotificationBefore) {
  Subscribed call;
  call.Notify(2, "active;expires=600");
  call.Wait(500);
  call.Receive("3");
  ASSERT_THAT(call.Only().usages, SizeIs(1));
  const sip::CaptureTime answered = call.messages.back().time;
  EXPECT_EQ(call.Only().usages[0].expires_at, answered + std::chrono::seconds(600));
  EXPECT_TRUE(call.Only().usages[0].active);
}

TEST(Subscriptions, Rule7_4_ARefusedRefreshThatEndsItOverrulesTheNotificationBefore) {
  for (const int status : {481, 403}) {
    Subscribed call;
    call.Notify(2, "active;expires=600");
    call.Receive("3", status);
    // RFC 6665 4.1.2.2: other refusals leave it as it was.
    EXPECT_EQ(call.Only().usages.empty(), status == 481) << status;
  }
}

TEST(Subscriptions, Rule7_4_OneThatWasGivenUpIsOverWithoutItsLastNotification) {
  Subscribed call;
  call.Notify(2, "active;expires=600");
  call.Receive("3", 200, "0");
  EXPECT_THAT(call.Only().usages, IsEmpty());
}

}  // namespace
}  // namespace sipheal::testing
