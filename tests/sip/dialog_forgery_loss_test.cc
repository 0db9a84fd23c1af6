// SPDX-License-Identifier: Apache-2.0
// Forgeries in a capture that has holes: what an attacker sent is no better evidence because what
// would contradict it was lost (rules 11.9, 12.1 to 12.5).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using sip::Field;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

constexpr const char* kEvil = "6.6.6.6:5060";

// A call that the server made; its INVITE is not in the capture.
struct LostInvite : CallScript {
  LostInvite() {
    invite = Send({});
    messages.clear();
    Reply(invite, {.status = 183, .to_tag = "b"});
  }
  Request FromPeer(Request request) const { return FromCallee(std::move(request)); }
  // A 2xx to the INVITE, with a branch that the server never used.
  void Forge2xx() {
    Reply(invite, {.to_tag = "b",
                   .contact = "<sip:evil@6.6.6.6>",
                   .record_route = {"<sip:6.6.6.6;lr>"},
                   .branch = "z9hG4bKforged",
                   .peer = kEvil});
  }

  Request invite;
};

TEST(ForgeryAndLoss, Rule12_5_ARequestWithAHugeNumberMakesNoReinviteOfTheFirstInvite) {
  LostInvite call;
  call.Receive(call.FromPeer({.method = "INFO", .cseq = 2147483000}));
  call.Reply(call.invite, {.to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUac);
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
}

TEST(ForgeryAndLoss, Rule12_2_ARequestFromElsewhereMakesNoReinviteOfTheFirstInvite) {
  for (const bool refused : {false, true}) {
    LostInvite call;
    const Request forged =
        call.Receive(call.FromPeer({.cseq = 700, .contact = "<sip:e@6.6.6.6>", .peer = kEvil}));
    if (refused) call.Reply(forged, {.status = 500});
    call.Reply(call.invite, {.status = 180, .to_tag = "b"});
    EXPECT_EQ(call.Only().role, DialogRole::kUac);
    EXPECT_EQ(call.Only().phase, DialogPhase::kEarly);
    call.Reply(call.invite, {.status = 603, .to_tag = "elsewhere"});
    EXPECT_EQ(call.Only().phase, DialogPhase::kTerminated);
    EXPECT_EQ(call.Only().end, DialogEnd::kInviteFailed);
  }
}

TEST(ForgeryAndLoss, Rule12_2_AByeFromElsewhereIsNotOpenWhereTheServersOwnRequestShowsThePath) {
  LostInvite call;
  const Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
  call.Reply(prack, {});
  call.Receive(call.FromPeer({.method = "BYE", .cseq = 900, .peer = kEvil}));
  const DialogState dialog = call.Only();
  ASSERT_THAT(dialog.open_transactions, SizeIs(1));
  EXPECT_EQ(dialog.open_transactions[0].method, "INVITE");
  EXPECT_FALSE(dialog.deadline.has_value());
  EXPECT_EQ(dialog.end, DialogEnd::kNone);
}

TEST(ForgeryAndLoss, Rule12_4_OfTwoBranchesThatIsTheServersWhichItsOwnRequestsBearOut) {
  for (const bool forged_first : {true, false}) {
    LostInvite call;
    if (forged_first) call.Forge2xx();
    call.Reply(call.invite, {.to_tag = "b"});
    if (!forged_first) call.Forge2xx();
    call.Send({.method = "ACK", .to_tag = "b"});
    call.Receive(call.FromPeer({.method = "BYE", .cseq = 900, .peer = kEvil}));
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
    EXPECT_THAT(dialog.route_set, IsEmpty());
    EXPECT_FALSE(dialog.IsMissing(Field::kRouteSet));
    EXPECT_EQ(dialog.end, DialogEnd::kNone) << "a BYE from a host that only the forged 2xx names";
    EXPECT_THAT(dialog.conflicts, Not(IsEmpty()));
    EXPECT_TRUE(sip::Judge(dialog).recoverable());
  }
}

TEST(ForgeryAndLoss, Rule12_4_AForged2xxIsNoAnswerToAReinviteThatWasLost) {
  LostInvite call;
  call.Reply(call.invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1")});
  call.Send({.method = "ACK", .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "1")});
  const Request info = call.Receive(call.FromPeer({.method = "INFO", .cseq = 5}));
  call.Reply(info, {});
  call.Forge2xx();
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.contact_target, "");
  EXPECT_THAT(dialog.open_transactions, IsEmpty());
  EXPECT_FALSE(dialog.IsMissing(Field::kRemoteSdp));
}

TEST(ForgeryAndLoss, Rule12_6_ARequestOfTheServerWithAHugeNumberShowsNoRoute) {
  CallScript call;
  const Request invite = call.Send({});
  call.Reply(invite, {.status = 180, .to_tag = "b", .record_route = {"<sip:203.0.113.1;lr>"}});
  const Request theirs = call.Receive(call.FromCallee({.cseq = 9}));
  call.Reply(theirs, {});
  call.Send({.method = "INFO", .cseq = 2147483646, .to_tag = "b"});
  EXPECT_TRUE(call.Only().IsMissing(Field::kRouteSet)) << "the 2xx was lost";
}

TEST(ForgeryAndLoss, Rule12_4_WhereNothingTellsWhichBranchWasTheServersNothingIsSent) {
  for (const bool forged_first : {true, false}) {
    LostInvite call;
    if (forged_first) call.Forge2xx();
    call.Reply(call.invite, {.to_tag = "b"});
    if (!forged_first) call.Forge2xx();
    const DialogState dialog = call.Only();
    EXPECT_TRUE(dialog.IsMissing(Field::kRouteSet));
    EXPECT_TRUE(dialog.IsMissing(Field::kRemoteTarget));
    EXPECT_THAT(dialog.conflicts, Not(IsEmpty()));
    EXPECT_FALSE(sip::Judge(dialog).recoverable());
    EXPECT_THAT(dialog.open_transactions, SizeIs(1)) << "it is one INVITE";
    EXPECT_THAT(dialog.seen_hosts, IsEmpty()) << "the attacker's may be one of them";
    EXPECT_EQ(dialog.observed_source, sip::Endpoint());
    EXPECT_EQ(dialog.next_hop, sip::Endpoint());
  }
}

// The forged one is the only 2xx that was captured: the server's own request goes elsewhere, or the
// 100 to its INVITE has another branch.
TEST(ForgeryAndLoss, Rule12_4_AForged2xxAloneIsNotBelievedAgainstTheServersOwnMessages) {
  for (const bool own_request : {true, false}) {
    LostInvite call;
    call.messages.clear();
    call.Forge2xx();
    EXPECT_EQ(call.Only().remote_target, "sip:evil@6.6.6.6") << "rule 2.12: nothing speaks against";
    if (own_request) {
      const Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
      call.Reply(prack, {});
    } else {
      call.Reply(call.invite, {.status = 100});
    }
    const DialogState dialog = call.Only();
    EXPECT_NE(dialog.remote_target, "sip:evil@6.6.6.6");
    EXPECT_TRUE(dialog.IsMissing(Field::kRemoteTarget));
    EXPECT_THAT(dialog.route_set, IsEmpty());
    EXPECT_THAT(dialog.conflicts, SizeIs(1));
    EXPECT_FALSE(sip::Judge(dialog).recoverable());
  }
}

// A request from there came before, so that it passes for the answer to a re-INVITE; but the
// answers of another fork show the branch that the server used under that number.
TEST(ForgeryAndLoss, Rule12_4_AForged2xxWithABranchOfItsOwnSetsNeitherTargetNorTimer) {
  LostInvite call;
  call.messages.clear();
  call.Reply(call.invite, {.status = 100});
  call.Reply(call.invite, {.status = 180, .to_tag = "other"});
  call.Send({.method = "ACK", .to_tag = "b"});
  call.Receive(call.FromPeer({.cseq = 700, .contact = "<sip:evil@6.6.6.6>", .peer = kEvil}));
  call.Forge2xx();
  const std::vector<DialogState> dialogs = call.Rebuild();
  const auto found = std::find_if(dialogs.begin(), dialogs.end(),
                                  [](const DialogState& one) { return one.remote.tag == "b"; });
  ASSERT_NE(found, dialogs.end());
  const DialogState& dialog = *found;
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(dialog.contact_target, "");
  EXPECT_TRUE(dialog.IsMissing(Field::kSessionTimer)) << "the 2xx that the ACK is for was lost";
}

// Both of two that an attacker made up.
TEST(ForgeryAndLoss, Rule12_4_OfTwoForged2xxNeitherShowsFromWhereThePeerSpeaks) {
  LostInvite call;
  call.messages.clear();
  call.Send({.method = "ACK", .to_tag = "b"});
  call.Forge2xx();
  call.invite.branch = "z9hG4bKother";
  call.Reply(call.invite, {.to_tag = "b", .contact = "<sip:evil@6.6.6.6>", .peer = kEvil});
  call.Receive(call.FromPeer({.method = "BYE", .cseq = 900, .peer = kEvil}));
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(dialog.end, DialogEnd::kNone);
}

TEST(ForgeryAndLoss, Rule12_6_ARequestOfTheServerWithAHugeNumberShowsNotWhereThePeerIs) {
  CallScript call;
  call.Send(call.FromCallee({.method = "INFO", .cseq = 2147483646, .peer = kEvil}));
  const Request info = call.Receive({.method = "INFO", .cseq = 5, .to_tag = "b"});
  call.Reply(info, {});
  call.Receive({.method = "BYE", .cseq = 900, .to_tag = "b", .peer = kEvil});
  EXPECT_EQ(call.Only().end, DialogEnd::kNone);
  EXPECT_EQ(call.Only().next_hop, *sip::Endpoint::Parse(kPeer));
}

// Of the answers to a re-INVITE that was lost nothing tells which one is the peer's: the target may
// be another since then, whatever the server sent to before.
TEST(ForgeryAndLoss, Rule12_4_WhereNothingTellsWhichAnswersAReinviteTheOldTargetIsNotSure) {
  for (const bool forged_first : {true, false}) {
    CallScript call;
    call.AnsweredByPeer();
    Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
    call.messages.pop_back();
    const auto forge = [&] {
      call.Reply(reinvite, {.contact = "<sip:evil@6.6.6.6>", .branch = "z9hG4bKforged"});
    };
    if (forged_first) forge();
    call.Reply(reinvite, {.contact = "<sip:phone@203.0.113.9>"});
    if (!forged_first) forge();
    EXPECT_TRUE(call.Only().IsMissing(Field::kRemoteTarget));
    EXPECT_FALSE(call.Judge().recoverable());
    // The server shows where the peer is now.
    call.Send({.method = "ACK", .cseq = 2, .to_tag = "b", .uri = "sip:phone@203.0.113.9"});
    EXPECT_EQ(call.Only().remote_target, "sip:phone@203.0.113.9");
    EXPECT_FALSE(call.Only().IsMissing(Field::kRemoteTarget));
    EXPECT_TRUE(call.Judge().recoverable());
  }
}

TEST(ForgeryAndLoss, Rule12_6_ARequestOfTheServerWithAHugeNumberRenamesNobody) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState before = call.Only();
  call.Send({.method = "INFO",
             .cseq = 2147400000u,
             .to_tag = "b",
             .from = "<sip:mallory@example.com>",
             .to = "<sip:victim@example.com>"});
  EXPECT_EQ(call.Only().local.uri, before.local.uri);
  EXPECT_EQ(call.Only().remote.uri, before.remote.uri);
}

// Whoever can send to the server can write its own address into the packet as the source.
TEST(ForgeryAndLoss, Rule12_6_ARequestOfTheServerToItselfIsNotItsWord) {
  for (const std::string method : {"INFO", "ACK", "BYE", "INVITE"}) {
    CallScript call;
    call.AnsweredByPeer();
    const DialogState before = call.Only();
    call.Send({.method = method,
               .cseq = method == "ACK" ? 1u : 2u,
               .to_tag = "b",
               .from = "<sip:mallory@example.com>",
               .to = "<sip:victim@example.com>",
               .uri = "sip:evil@6.6.6.6",
               .route = {"<sip:6.6.6.6;lr>"},
               .peer = kServer});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_target, before.remote_target) << method;
    EXPECT_EQ(dialog.route_set, before.route_set) << method;
    EXPECT_EQ(dialog.next_hop, before.next_hop) << method;
    EXPECT_EQ(dialog.local.uri, before.local.uri) << method;
    EXPECT_EQ(dialog.remote.uri, before.remote.uri) << method;
    EXPECT_EQ(dialog.end, DialogEnd::kNone) << method;
    EXPECT_TRUE(call.Judge().recoverable()) << method;
    // Nor where the beginning of the call was not captured, and the peer shows in what came later.
    const sip::CapturedMessage forged = call.messages.back();
    call.messages.clear();
    for (const bool sent : {true, false}) {
      Request info{.method = "INFO", .cseq = 8, .to_tag = "b"};
      if (!sent) info = call.FromCallee(info);
      call.Reply(sent ? call.Send(info) : call.Receive(info), {});
      const DialogState without = call.Only();
      call.messages.push_back(forged);
      EXPECT_EQ(call.Only().end, DialogEnd::kNone) << method;
      EXPECT_EQ(call.Only().remote_target, without.remote_target) << method;
      EXPECT_EQ(call.Only().route_set, without.route_set) << method;
      call.messages.clear();
    }
  }
}

// It may be that of a re-INVITE which was lost, to a peer that has moved: then the server's ACK, or
// what it sent later, shows it.
TEST(ForgeryAndLoss, Rule12_4_AnAnswerFromElsewhereToNothingThatWasCapturedMakesNoTargetSure) {
  for (const char* method : {"INVITE", "UPDATE"}) {
    CallScript call;
    call.AnsweredByPeer();
    const Request lost = call.Send({.method = method, .cseq = 2, .to_tag = "b"});
    call.messages.pop_back();
    call.Reply(lost, {.contact = "<sip:phone@6.6.6.6>", .branch = "z9hG4bKforged", .peer = kEvil});
    EXPECT_TRUE(call.Only().IsMissing(Field::kRemoteTarget)) << method;
    EXPECT_TRUE(call.Only().IsMissing(Field::kSessionTimer)) << method;
    EXPECT_FALSE(call.Judge().recoverable()) << method;
    call.Send({.method = "INFO", .cseq = 3, .to_tag = "b", .uri = "sip:phone@6.6.6.6"});
    EXPECT_EQ(call.Only().remote_target, "sip:phone@6.6.6.6");
    EXPECT_FALSE(call.Only().IsMissing(Field::kRemoteTarget)) << method;
  }
}

// From the peer's own address, which anybody can write: the answer alone says that the server asked
// (rule 12.1). To another host the call goes only when the server's ACK, or what it sent later,
// shows it. The rest is believed: who can forge such an answer can forge a BYE, too.
TEST(ForgeryAndLoss, Rule12_1_AnAnswerToNothingThatWasCapturedLeadsToNoOtherHostByItself) {
  for (const char* method : {"INVITE", "UPDATE"}) {
    for (const std::string uri : {"sip:evil@evil.example.net", "sip:evil@203.0.113.66",
                                  "sip:moved@198.51.100.7:5090", "sip:phone@198.51.100.7:5060"}) {
      const bool elsewhere = uri.find("evil") != std::string::npos;
      CallScript call;
      call.AnsweredByPeer();
      const Request lost = call.Send({.method = method, .cseq = 2, .to_tag = "b"});
      call.messages.pop_back();
      call.Reply(lost, {.contact = '<' + uri + '>',
                        .extra = "Session-Expires: 1800;refresher=uas\r\n",
                        .branch = "z9hG4bKforged"});
      EXPECT_EQ(call.Only().IsMissing(Field::kRemoteTarget), elsewhere) << uri;
      EXPECT_EQ(call.Judge().recoverable(), !elsewhere) << uri;
      EXPECT_TRUE(call.Only().session_timer.active());
      const bool invite = std::string(method) == "INVITE";
      call.Send(
          {.method = invite ? "ACK" : "INFO", .cseq = invite ? 2u : 3u, .to_tag = "b", .uri = uri});
      EXPECT_EQ(call.Only().remote_target, uri) << method;
      EXPECT_FALSE(call.Only().IsMissing(Field::kRemoteTarget)) << method;
    }
  }
}

// The peer has moved since, so that all that the server agreed to later is with another host; but
// the attempt that was challenged shows that it called this one.
TEST(ForgeryAndLoss, Rule12_4_AnAttemptOfTheServerBearsOutTheAnswerToTheNextOne) {
  CallScript call;
  const Request challenged = call.Send({});
  call.Reply(challenged, {.status = 401, .to_tag = "q"});
  call.Send({.method = "ACK", .to_tag = "q", .branch = challenged.branch});
  const Request lost = call.Send({.cseq = 2});
  call.messages.pop_back();
  call.Reply(lost, {.to_tag = "b"});
  const sip::CaptureTime answered = call.messages.back().time;
  const std::string moved = "203.0.113.9:5060";
  Request from_there = call.FromCallee({.method = "INFO", .cseq = 9});
  from_there.peer = moved;
  call.Reply(call.Receive(from_there), {});
  call.Reply(call.Send({.method = "INFO",
                        .cseq = 3,
                        .to_tag = "b",
                        .uri = "sip:phone@203.0.113.9",
                        .peer = moved}),
             {});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.quarantined, 0u);
  EXPECT_EQ(dialog.created_at, answered);
}

}  // namespace
}  // namespace sipheal::testing
