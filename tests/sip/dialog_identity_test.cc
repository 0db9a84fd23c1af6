// SPDX-License-Identifier: Apache-2.0
// Rules 1.x: who is who.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using sip::VerdictToken;
using ::testing::ElementsAre;
using ::testing::SizeIs;

std::string Explained(const DialogState& dialog) {
  return sip::Explain(dialog, sip::Judge(dialog));
}

TEST(DialogIdentity, Rule1_1_TakesLocalAndRemoteTagFromDirection_F01) {
  CallScript call;
  call.AnsweredByServer();
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local.tag, "b");
  EXPECT_EQ(dialog.remote.tag, "a");
  EXPECT_EQ(dialog.local.uri, "sip:bob@example.com");
  EXPECT_EQ(dialog.remote.uri, "sip:alice@example.com");
  EXPECT_EQ(dialog.role, DialogRole::kUas);
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
  EXPECT_TRUE(call.Judge().recoverable()) << Explained(dialog);
}

TEST(DialogIdentity, Rule1_1_KeepsTheSidesOfACallThatTheServerMade) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local.tag, "a");
  EXPECT_EQ(dialog.remote.tag, "b");
  EXPECT_EQ(dialog.role, DialogRole::kUac);
  EXPECT_EQ(dialog.local_seq, 1u);
  EXPECT_EQ(dialog.remote_seq, std::nullopt);
  EXPECT_TRUE(call.Judge().recoverable()) << Explained(dialog);
}

TEST(DialogIdentity, Rule1_2_TakesNoDialogFrom100Or401) {
  CallScript call;
  Request first = call.Send({});
  call.Reply(first, {.status = 401, .to_tag = "x"});
  call.Send({.method = "ACK", .to_tag = "x", .branch = first.branch});
  Request second = call.Send({.cseq = 2});
  call.Reply(second, {.status = 100, .to_tag = "y"});
  call.Reply(second, {.to_tag = "z"});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "z"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote.tag, "z");
  EXPECT_EQ(dialog.local_seq, 2u);
}

// Two versions of one ACK: the one that loses leaves nothing behind, in whatever order they come.
TEST(DialogIdentity, Rule11_8_ATagInAnotherLetterCaseIsToldOrNotWhateverTheOrder) {
  for (const char* const later : {"b", "B"}) {
    CallScript call;
    const Request invite = call.Send({});
    call.Reply(invite, {.to_tag = "b"});
    const Request ack = call.Send({.method = "ACK", .to_tag = *later == 'b' ? "B" : "b"});
    const sip::CaptureTime at = call.messages.back().time;
    Request other = ack;
    other.to_tag = later;
    call.Send(other);
    call.messages.back().time = at;
    const auto dialogs = call.Rebuild();
    std::reverse(call.messages.begin(), call.messages.end());
    EXPECT_EQ(call.Rebuild(), dialogs);
  }
}

// Of the INVITE there is a later version with a To tag: the answer's Record-Route counts whether
// the first version came before or after it.
TEST(DialogIdentity, Rule11_8_AVersionWithinTheDialogTakesTheAnswerNoRouteWhateverTheOrder) {
  CallScript call;
  const Request invite = call.Send({});
  Request within = invite;
  within.to_tag = "b";
  call.Send(within);
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:198.51.100.7;lr>"}});
  const auto dialogs = call.Rebuild();
  std::rotate(call.messages.begin(), call.messages.begin() + 1, call.messages.end());
  EXPECT_EQ(call.Rebuild(), dialogs);
}

TEST(DialogIdentity, Rule1_3_TellsCallIdsApartByLetterCase) {
  CallScript first;
  first.call_id = "AbC@h";
  first.AnsweredByPeer();
  CallScript second;
  second.call_id = "abc@h";
  second.AnsweredByPeer();
  first.messages.insert(first.messages.end(), second.messages.begin(), second.messages.end());
  EXPECT_THAT(first.Rebuild(), SizeIs(2));
}

TEST(DialogIdentity, Rule1_3_TakesACallIdWithOddCharactersWhole) {
  CallScript call;
  call.call_id = "w<>\":\\/[]?{}()@x";
  call.AnsweredByPeer();
  EXPECT_EQ(call.Only().call_id, "w<>\":\\/[]?{}()@x");
}

TEST(DialogIdentity, Rule1_4_JoinsTagsThatDifferInCaseAndSendsTheOwnersBytes) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "AbC"});
  call.Send({.method = "ACK", .to_tag = "abc"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote.tag, "AbC");
  EXPECT_THAT(dialog.warnings, SizeIs(1));
}

TEST(DialogIdentity, Rule1_5_NullTagIsIncomplete_F08) {
  CallScript call;
  Request invite = call.Receive({.from_tag = ""});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().remote.tag, "");
  EXPECT_EQ(call.Judge().token, VerdictToken::kIncomplete);
  EXPECT_FALSE(sip::RecoveryVariables(call.Only()).ok());
}

TEST(DialogIdentity, Rule1_6_KeepsForksApartWithTheirOwnCseq) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "A", .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "A"});
  call.Reply(prack, {});
  Request update = call.Send({.method = "UPDATE", .cseq = 3, .to_tag = "A"});
  call.Reply(update, {});
  call.Reply(invite, {.status = 183, .to_tag = "B", .extra = "Require: 100rel\r\nRSeq: 7\r\n"});
  Request other = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "B"});
  call.Reply(other, {});
  call.Reply(invite, {.to_tag = "B"});
  call.Send({.method = "ACK", .to_tag = "B"});
  std::map<std::string, DialogState> by_tag;
  for (DialogState& dialog : call.Rebuild()) by_tag[dialog.remote.tag] = dialog;
  ASSERT_THAT(by_tag, SizeIs(2));
  EXPECT_EQ(by_tag["B"].phase, DialogPhase::kConfirmed);
  EXPECT_EQ(by_tag["B"].local_seq, 2u);
  EXPECT_EQ(by_tag["A"].phase, DialogPhase::kEarly);
  EXPECT_EQ(by_tag["A"].local_seq, 3u);
  ASSERT_TRUE(by_tag["A"].deadline.has_value());
  // 64*T1 after the 2xx of the other fork it is over.
  call.Wait(33);
  Request info = call.Send({.method = "INFO", .cseq = 3, .to_tag = "B"});
  call.Reply(info, {});
  for (DialogState& dialog : call.Rebuild()) by_tag[dialog.remote.tag] = dialog;
  EXPECT_EQ(by_tag["A"].phase, DialogPhase::kTerminated);
  EXPECT_EQ(by_tag["A"].end, DialogEnd::kEarlyTerminated);
}

TEST(DialogIdentity, Rule1_7_EndsOneOfTwoAnsweredForks) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "A"});
  call.Reply(invite, {.to_tag = "B"});
  call.Send({.method = "ACK", .to_tag = "A"});
  call.Send({.method = "ACK", .to_tag = "B"});
  Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "B"});
  call.Reply(bye, {});
  const std::vector<DialogState> dialogs = call.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  for (const DialogState& dialog : dialogs) {
    const bool ended = dialog.remote.tag == "B";
    EXPECT_EQ(dialog.phase, ended ? DialogPhase::kTerminated : DialogPhase::kConfirmed);
    EXPECT_EQ(sip::Judge(dialog).token, ended ? VerdictToken::kEnded : VerdictToken::kRecoverable);
  }
}

TEST(DialogIdentity, Rule1_8_FailureOfTheFirstInviteEndsItsEarlyDialogs) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "A"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEarly);
  call.Reply(invite, {.status = 486, .to_tag = "x"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kTerminated);
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
}

// What the server sent in the dialog while it rang shows that the INVITE had made it.
TEST(DialogIdentity, Rule1_8_ARefusalUnderTheTagOfADialogThatWasThereEndsIt) {
  for (const bool challenged_first : {false, true}) {
    CallScript call;
    if (challenged_first) {
      call.Reply(call.Receive({.cseq = 1}), {.status = 401, .to_tag = "b"});
    }
    Request invite = call.Receive({.cseq = 2});
    call.Reply(invite, {.status = 183, .to_tag = "b"});
    call.messages.pop_back();
    Request update = call.Send(call.FromCallee({.method = "UPDATE", .cseq = 7}));
    call.Reply(update, {});
    call.Reply(invite, {.status = 487, .to_tag = "b"});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_seq, 2u);
    EXPECT_EQ(dialog.phase, DialogPhase::kTerminated);
    EXPECT_EQ(dialog.end, DialogEnd::kInviteFailed);
  }
}

TEST(DialogIdentity, Rule1_8_AChallengeUnderTheTagOfALaterDialogEndsNothing) {
  CallScript call;
  call.Reply(call.Receive({.cseq = 1}), {.status = 401, .to_tag = "b"});
  Request update = call.Send(call.FromCallee({.method = "UPDATE", .cseq = 7}));
  call.Reply(update, {});
  EXPECT_EQ(call.Only().end, DialogEnd::kNone);
}

TEST(DialogIdentity, Rule1_14_199EndsItsEarlyDialogOnly) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "A"});
  call.Reply(invite, {.status = 199, .to_tag = "A"});
  call.Reply(invite, {.to_tag = "B"});
  call.Send({.method = "ACK", .to_tag = "B"});
  const std::vector<DialogState> dialogs = call.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  for (const DialogState& dialog : dialogs) {
    EXPECT_EQ(dialog.phase,
              dialog.remote.tag == "A" ? DialogPhase::kTerminated : DialogPhase::kConfirmed);
  }
}

TEST(DialogIdentity, Rule1_9_AMergedRequestMakesNoSecondDialog) {
  CallScript call;
  Request first = call.Receive({.branch = "z9hG4bKone"});
  Request second = call.Receive({.branch = "z9hG4bKtwo"});
  call.Reply(second, {.status = 482, .to_tag = "q"});
  call.Reply(first, {.to_tag = "b"});
  call.Receive({.method = "ACK", .to_tag = "b"});
  EXPECT_EQ(call.Only().local.tag, "b");
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(DialogIdentity, Rule1_10_TellsDialogsOfOneCallIdApartByTags_F95) {
  CallScript outer;
  outer.AnsweredByServer();
  CallScript inner;
  inner.now_us += 5'000;
  Request invite = inner.Send({.from_tag = "h_a", .branch = "z9hG4bKi1"});
  inner.Reply(invite, {.to_tag = "h_c"});
  inner.Send({.method = "ACK", .from_tag = "h_a", .to_tag = "h_c", .branch = "z9hG4bKi2"});
  outer.messages.insert(outer.messages.end(), inner.messages.begin(), inner.messages.end());
  const std::vector<DialogState> dialogs = outer.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  EXPECT_EQ(dialogs[0].role, DialogRole::kUas);
  EXPECT_EQ(dialogs[1].role, DialogRole::kUac);
  EXPECT_EQ(dialogs[1].remote.tag, "h_c");
}

TEST(DialogIdentity, Rule1_10_IgnoresCopiesThatDoNotTouchTheServer_F94) {
  CallScript call;
  call.AnsweredByServer({"<sip:198.51.100.7;lr>"});
  // The same call one hop further out: other tags, no Record-Route, not next to the server.
  CallScript outside;
  outside.server = call.server;
  Request invite = outside.Receive({.from_tag = "u"});
  outside.Reply(invite, {.to_tag = "w"});
  for (sip::CapturedMessage& message : outside.messages) {
    for (sip::Endpoint* end : {&message.source, &message.destination}) {
      if (*end == *sip::Endpoint::Parse(kServer)) *end = *sip::Endpoint::Parse("203.0.113.4:5060");
    }
    call.messages.push_back(message);
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote.tag, "a");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:198.51.100.7;lr"));
}

TEST(DialogIdentity, Rule1_11_An200ToCancelMakesNoDialog) {
  CallScript call;
  Request invite = call.Send({});
  Request cancel = call.Send({.method = "CANCEL", .branch = invite.branch});
  call.Reply(cancel, {.to_tag = "q"});
  call.Reply(invite, {.to_tag = "z"});
  EXPECT_EQ(call.Only().remote.tag, "z");
}

TEST(DialogIdentity, Rule1_12_TakesEverythingFromTheAttemptThatWasAnswered_F06) {
  CallScript call;
  Request first = call.Send({});
  call.Reply(first, {.status = 407, .to_tag = "p"});
  call.Send({.method = "ACK", .to_tag = "p", .branch = first.branch});
  Request second = call.Send({.cseq = 2});
  call.Reply(second, {.to_tag = "b",
                      .contact = "<sip:bob@198.51.100.7:5070>",
                      .record_route = {"<sip:198.51.100.7;lr>"}});
  call.Send({.method = "ACK",
             .cseq = 2,
             .to_tag = "b",
             .uri = "sip:bob@198.51.100.7:5070",
             .route = {"<sip:198.51.100.7;lr>"}});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_seq, 2u);
  EXPECT_EQ(dialog.remote_target, "sip:bob@198.51.100.7:5070");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:198.51.100.7;lr"));
}

TEST(DialogIdentity, Rule1_13_RepeatedInvitesWithOneToTagAreOneDialog) {
  CallScript call;
  for (unsigned cseq : {1u, 2u, 3u}) {
    Request invite = call.Send({.cseq = cseq});
    call.Reply(invite, {.to_tag = "z", .record_route = {"<sip:p" + std::to_string(cseq) + ";lr>"}});
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_seq, 3u);
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1;lr"));
}

// F02, F03, F04: whoever sent the last message, the identity stays what it is.
TEST(DialogIdentity, F02_F03_F04_IdentityDoesNotDependOnTheLastMessage) {
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer();
    } else {
      call.AnsweredByServer();
    }
    const std::string local = server_called ? "a" : "b";
    const std::string remote = server_called ? "b" : "a";
    unsigned own = 10;
    unsigned theirs = 100;
    for (const char* method : {"INVITE", "INFO", "UPDATE", "INVITE"}) {
      for (bool by_server : {true, false, true}) {
        Request request;
        request.method = method;
        request.cseq = by_server ? own++ : theirs++;
        request.from_tag = by_server ? local : remote;
        request.to_tag = by_server ? remote : local;
        request.from =
            by_server == server_called ? "<sip:alice@example.com>" : "<sip:bob@example.com>";
        request.to =
            by_server == server_called ? "<sip:bob@example.com>" : "<sip:alice@example.com>";
        Request sent = by_server ? call.Send(request) : call.Receive(request);
        call.Reply(sent, {});
        const DialogState dialog = call.Only();
        ASSERT_EQ(dialog.local.tag, local) << method << Explained(dialog);
        ASSERT_EQ(dialog.remote.tag, remote);
        ASSERT_EQ(dialog.role, server_called ? DialogRole::kUac : DialogRole::kUas);
        ASSERT_EQ(dialog.local.uri,
                  server_called ? "sip:alice@example.com" : "sip:bob@example.com");
        ASSERT_TRUE(call.Judge().recoverable()) << method << Explained(dialog);
      }
    }
  }
}

TEST(DialogIdentity, F05_RoleComesFromWhoMadeTheTagNotFromPrivateHeaders) {
  CallScript call;
  Request invite = call.Receive({.extra = "X-Direction: outbound\r\n"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().role, DialogRole::kUas);
}

TEST(DialogIdentity, F74_ARecoveryInTheCaptureChangesNoRole) {
  CallScript call;
  call.AnsweredByServer({"<sip:p1;lr>"});
  // The successor at another address sent the re-INVITE; both belong to the identity.
  const sip::Endpoint successor = *sip::Endpoint::Parse("192.0.2.11:5060");
  call.server.addresses.push_back({successor.ip, successor.port, sip::Transport::kUnknown});
  Request reinvite = call.FromCallee({.cseq = 850'000'001,
                                      .contact = "<sip:asterisk@192.0.2.11:5060>",
                                      .route = {"<sip:p1;lr>"},
                                      .via_host = "192.0.2.11:5060"});
  const std::size_t before = call.messages.size();
  reinvite = call.Send(reinvite);
  call.Reply(reinvite, {});
  call.Send(call.FromCallee({.method = "ACK",
                             .cseq = 850'000'001,
                             .route = {"<sip:p1;lr>"},
                             .via_host = "192.0.2.11:5060"}));
  for (std::size_t i = before; i < call.messages.size(); ++i) {
    for (sip::Endpoint* end : {&call.messages[i].source, &call.messages[i].destination}) {
      if (*end == *sip::Endpoint::Parse(kServer)) *end = successor;
    }
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUas);
  EXPECT_EQ(dialog.local.tag, "b");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1;lr"));
  EXPECT_EQ(dialog.local_seq, 850'000'001u);
  EXPECT_TRUE(call.Judge().recoverable() ||
              call.Judge().token == VerdictToken::kRefused /* p1 is a name */)
      << Explained(dialog);
}

TEST(DialogIdentity, F56_ACallBetweenTwoOfTheServersOwnEndsIsTwoMirroredDialogs) {
  CallScript call;
  call.AnsweredByPeer();
  const sip::Endpoint peer = *sip::Endpoint::Parse(kPeer);
  call.server.addresses.push_back({peer.ip, peer.port, sip::Transport::kUnknown});
  const std::vector<DialogState> dialogs = call.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  EXPECT_EQ(dialogs[0].local.tag, "a");
  EXPECT_EQ(dialogs[0].role, DialogRole::kUac);
  EXPECT_EQ(dialogs[1].local.tag, "b");
  EXPECT_EQ(dialogs[1].role, DialogRole::kUas);
}

// A message without Allow says nothing of it (RFC 3261 20.5).
TEST(Abilities, WhatTheLatestMessageDoesNotMentionStaysAsItWasSaid) {
  CallScript call;
  const Request invite = call.Send({});
  call.Reply(invite,
             {.to_tag = "b", .extra = "Supported: timer\r\nAllow: INVITE, ACK, BYE, UPDATE\r\n"});
  call.Send({.method = "ACK", .to_tag = "b"});
  const Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
  call.Reply(reinvite, {.extra = "Supported: replaces\r\n"});
  EXPECT_EQ(call.Only().remote_supported, "replaces");
  EXPECT_EQ(call.Only().remote_allow, "INVITE, ACK, BYE, UPDATE");
}

}  // namespace
}  // namespace sipheal::testing
