// SPDX-License-Identifier: Apache-2.0
// Rules 3.x, 4.x and 5.x: Request-URI and Route of the next request, target refresh, CSeq.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using sip::Field;
using sip::VerdictToken;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

DialogState WithRoutes(std::string target, std::vector<std::string> routes) {
  DialogState dialog;
  dialog.remote_target = std::move(target);
  dialog.route_set = std::move(routes);
  return dialog;
}

sip::RequestTarget Next(const DialogState& dialog) {
  auto request = sip::NextRequest(dialog);
  EXPECT_TRUE(request.ok()) << request.status();
  return request.ok() ? *request : sip::RequestTarget{};
}

TEST(NextRequest, Rule3_1_WithoutRoutesTheTargetIsTheRequestUri) {
  const auto request = Next(WithRoutes("sip:b@h", {}));
  EXPECT_EQ(request.request_uri, "sip:b@h");
  EXPECT_THAT(request.route, IsEmpty());
}

TEST(NextRequest, Rule3_2_ALooseRouteKeepsTheTargetInTheRequestUri) {
  for (const char* first : {"sip:p1;lr", "sip:p1;lr=on", "sip:p1;LR=true", "sip:p1;x=1;lr"}) {
    const auto request = Next(WithRoutes("sip:b@h", {first, "sip:p2"}));
    EXPECT_EQ(request.request_uri, "sip:b@h") << first;
    EXPECT_THAT(request.route, ElementsAre(first, "sip:p2"));
  }
}

TEST(NextRequest, Rule3_2_LrIsAParameterNameAndNothingElse) {
  for (const char* first : {"sip:p;lrx", "sip:a;lr@p", "sip:lr", "sip:p;x=lr"}) {
    EXPECT_EQ(Next(WithRoutes("sip:b@h", {first})).request_uri, first);
  }
}

TEST(NextRequest, Rule3_3_AStrictRouteTakesTheRequestUri_F29) {
  // The example of RFC 3261 12.2.1.1.
  const auto request = Next(
      WithRoutes("sip:user@remoteua", {"sip:proxy1", "sip:proxy2", "sip:proxy3;lr", "sip:proxy4"}));
  EXPECT_EQ(request.request_uri, "sip:proxy1");
  EXPECT_THAT(request.route,
              ElementsAre("sip:proxy2", "sip:proxy3;lr", "sip:proxy4", "sip:user@remoteua"));
}

TEST(NextRequest, Rule3_4_OnlyTheFirstRouteDecides) {
  const auto request = Next(WithRoutes("sip:b@h", {"sip:p4;lr", "sip:p3", "sip:p2;lr"}));
  EXPECT_EQ(request.request_uri, "sip:b@h");
  EXPECT_THAT(request.route, ElementsAre("sip:p4;lr", "sip:p3", "sip:p2;lr"));
}

TEST(NextRequest, Rule3_5_KeepsAllContactParametersButMethodAndHeaders_F25) {
  EXPECT_EQ(Next(WithRoutes("sip:b@h;method=BYE;x=1?Route=evil", {})).request_uri, "sip:b@h;x=1");
  EXPECT_EQ(Next(WithRoutes("sip:b@h:5060;transport=tcp;ob;line=abc", {})).request_uri,
            "sip:b@h:5060;transport=tcp;ob;line=abc");
}

TEST(NextRequest, Rule3_5_KeepsThemOutOfTheRouteBehindAStrictRouterToo) {
  const DialogState dialog = WithRoutes("sip:b@h;method=BYE;x=1?Route=evil", {"sip:p1"});
  EXPECT_THAT(Next(dialog).route, ElementsAre("sip:b@h;x=1"));
}

TEST(NextRequest, Rule3_6_ReadsTheTargetBehindAStrictRouter) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .contact = "-"});
  call.Send({.method = "ACK", .to_tag = "b", .uri = "sip:p3", .route = {"<sip:p2>", "<sip:u1@h>"}});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:u1@h");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p3", "sip:p2"));
  EXPECT_EQ(Next(dialog).request_uri, "sip:p3");
}

TEST(NextRequest, Rule3_6_ReadsAStrictRouterBeforeLooseOnes) {
  // By itself the ACK looks like one to sip:p1 by way of p2.
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p2;lr>", "<sip:p1>"}});
  call.Send({.method = "ACK",
             .to_tag = "b",
             .uri = "sip:p1",
             .route = {"<sip:p2;lr>", "<sip:phone@198.51.100.7:5060>"}});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1", "sip:p2;lr"));
  EXPECT_EQ(Next(dialog).request_uri, "sip:p1");
}

TEST(NextRequest, Rule2_3_WhatWasSentWhileItRangDoesNotOverruleTheRouteOfThe2xx) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "b", .extra = "RSeq: 1\r\n"});
  Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
  call.Reply(prack, {.contact = "-"});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p1;lr>"}});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr"));
}

TEST(NextRequest, Rule2_3_NorThatOfAReinviteWhereTheOpeningWasLost) {
  CallScript call;
  Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
  call.Reply(prack, {.contact = "-"});
  Request reinvite = call.Send({.cseq = 3, .to_tag = "b", .route = {"<sip:p1;lr>"}});
  call.Reply(reinvite, {.status = 491, .to_tag = "b", .contact = "-"});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr"));
}

TEST(NextRequest, Rule3_8_GivesTheHopThatTheServerUsed) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p.example.com;lr>"}});
  call.Send({.method = "ACK",
             .to_tag = "b",
             .route = {"<sip:p.example.com;lr>"},
             .peer = "203.0.113.9:5060"});
  EXPECT_EQ(call.Only().next_hop.ToString(), "203.0.113.9:5060");
}

// The Via of an answer tells the way back of answers, not where the peer is.
TEST(NextRequest, Rule3_9_ReceivedAndRportAreNoTarget) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b"});
  std::string& bytes = call.messages.back().bytes;
  const std::string via = ";branch=" + invite.branch;
  ASSERT_NE(bytes.find(via), std::string::npos);
  bytes.insert(bytes.find(via), ";received=203.0.113.4;rport=40000");
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(dialog.next_hop.ToString(), kPeer);
}

TEST(NextRequest, Rule3_10_SendsWhereTheServerSentNotWhereTheContactSays_F32) {
  CallScript call;
  Request invite = call.Send({.peer = "203.0.113.4:40123"});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:b@10.0.0.5:5060>"});
  call.Send({.method = "ACK",
             .to_tag = "b",
             .uri = "sip:b@203.0.113.4:40123",
             .peer = "203.0.113.4:40123"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:b@203.0.113.4:40123");
  EXPECT_EQ(dialog.contact_target, "sip:b@10.0.0.5:5060");
  EXPECT_EQ(dialog.observed_source.ToString(), "203.0.113.4:40123");
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(dialog, call.Judge());
}

TEST(NextRequest, Rule3_10_WithoutTheServersWordBothAddressesAreKept) {
  CallScript call;
  Request invite = call.Receive({.contact = "<sip:b@10.0.0.5:5060>", .peer = "203.0.113.4:40123"});
  call.Reply(invite, {.to_tag = "x"});
  EXPECT_EQ(call.Only().remote_target, "sip:b@10.0.0.5:5060");
  EXPECT_EQ(call.Only().observed_source.ToString(), "203.0.113.4:40123");
  // 10.0.0.5 never was next to the server, so nothing is sent there.
  EXPECT_EQ(call.Judge().token, VerdictToken::kRefused);
  const auto rewritten =
      sip::Rebuild(call.messages, call.server, {.contact_rewrite = sip::ContactRewrite::kAlways});
  ASSERT_THAT(rewritten, SizeIs(1));
  EXPECT_EQ(rewritten[0].remote_target, "sip:b@203.0.113.4:40123");
  EXPECT_TRUE(sip::Judge(rewritten[0]).recoverable());
}

TEST(NextRequest, Rule3_11_KeepsParametersThatTheServerLeftOut) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:b@198.51.100.7:5060;rinstance=5e>"});
  call.Send({.method = "ACK", .to_tag = "b", .uri = "sip:b@198.51.100.7:5060"});
  EXPECT_EQ(call.Only().remote_target, "sip:b@198.51.100.7:5060;rinstance=5e");
}

TEST(NextRequest, Rule3_12_AFlowThatTheServerHeldNeedsANewOne) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  Request invite = call.Receive({.contact = "<sip:u@198.51.100.7:5060;transport=tcp;ob>"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kNeedsNewFlow);
}

TEST(NextRequest, Rule3_12_AFlowAtTheProxyLivesOn) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  Request invite = call.Receive({.contact = "<sip:u@10.1.1.1:5000;transport=tcp;ob>",
                                 .record_route = {"<sip:token@198.51.100.7;transport=tcp;lr>"}});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
}

TEST(NextRequest, Rule3_13_AWebSocketClientNeedsANewFlow) {
  CallScript call;
  call.transport = sip::Transport::kWss;
  Request invite = call.Receive({.contact = "<sip:x@df7j.invalid;transport=ws>"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kNeedsNewFlow);
}

TEST(NextRequest, ATcpPhoneThatListensCanBeCalledBack) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  Request invite = call.Receive(
      {.contact = "<sip:u@198.51.100.7:5060;transport=tcp>", .peer = "198.51.100.7:41000"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
}

TEST(NextRequest, Rule3_14_AGruuIsKeptAsItIs) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:b@home.example;gr=urn:uuid:1>"});
  EXPECT_EQ(Next(call.Only()).request_uri, "sip:b@home.example;gr=urn:uuid:1");
}

TEST(NextRequest, Rule3_15_ATelIdentityStaysTel) {
  CallScript call;
  Request invite = call.Receive({.from = "<tel:+1555;phone-context=x>"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().remote.uri, "tel:+1555;phone-context=x");
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
}

TEST(TargetRefresh, Rule4_1_OnlyRefreshMethodsMoveTheTarget) {
  CallScript call;
  call.AnsweredByPeer();
  Request info = call.Receive({.method = "INFO",
                               .cseq = 5,
                               .from_tag = "b",
                               .to_tag = "a",
                               .contact = "<sip:evil@203.0.113.66>"});
  call.Reply(info, {});
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(call.Only().remote_seq, 5u);
}

TEST(TargetRefresh, Rule4_2_AnAnsweredRefreshOfThePeerMovesTheTarget_F07) {
  for (const char* method : {"INVITE", "UPDATE"}) {
    CallScript call;
    call.AnsweredByPeer();
    Request refresh = call.Receive({.method = method,
                                    .cseq = 3,
                                    .from_tag = "b",
                                    .to_tag = "a",
                                    .contact = "<sip:new@198.51.100.7:5090>"});
    EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
    EXPECT_EQ(call.Only().pending_remote_target, "sip:new@198.51.100.7:5090");
    call.Reply(refresh, {});
    EXPECT_EQ(call.Only().remote_target, "sip:new@198.51.100.7:5090");
    EXPECT_EQ(call.Only().pending_remote_target, "");
  }
}

TEST(TargetRefresh, Rule4_3_AReliableProvisionalKeepsTheNewTargetThroughAFailure) {
  CallScript call;
  call.AnsweredByPeer();
  Request refresh = call.Receive({.cseq = 3,
                                  .from_tag = "b",
                                  .to_tag = "a",
                                  .contact = "<sip:new@198.51.100.7:5090>",
                                  .sdp = Sdp("198.51.100.7", 31000, "2")});
  call.Reply(refresh, {.status = 183, .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  call.Reply(refresh, {.status = 488});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:new@198.51.100.7:5090");
  EXPECT_EQ(dialog.remote_sdp.origin_version, "1");
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(TargetRefresh, Rule4_4_TheAnswerToTheServersRefreshMovesTheTarget) {
  CallScript call;
  call.AnsweredByPeer();
  Request refresh = call.Send({.cseq = 2, .to_tag = "b"});
  call.Reply(refresh, {.status = 180, .contact = "<sip:x@198.51.100.7>"});
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
  call.Reply(refresh, {.contact = "<sip:y@198.51.100.7>"});
  EXPECT_EQ(call.Only().remote_target, "sip:y@198.51.100.7");
}

TEST(TargetRefresh, Rule4_5_CrossingRefreshesTakeThePeersRequestAndSaySo) {
  CallScript call;
  call.step_us = 1'000;
  call.AnsweredByPeer();
  Request ours = call.Send({.method = "UPDATE", .cseq = 5, .to_tag = "b"});
  Request theirs = call.Receive({.method = "UPDATE",
                                 .cseq = 9,
                                 .from_tag = "b",
                                 .to_tag = "a",
                                 .from = "<sip:bob@example.com>",
                                 .to = "<sip:alice@example.com>",
                                 .contact = "<sip:y@198.51.100.7>"});
  call.Reply(theirs, {});
  call.Reply(ours, {.contact = "<sip:x@198.51.100.7>"});
  EXPECT_EQ(call.Only().remote_target, "sip:y@198.51.100.7");
  EXPECT_THAT(call.Only().conflicts, SizeIs(1));
}

// The peer cannot have sent its request after an answer to what the server had not yet sent.
TEST(TargetRefresh, Rule4_5_RefreshesThatOnlyFollowEachOtherFastAreTakenInTheirOrder) {
  for (const bool answered_before : {true, false}) {
    CallScript call;
    call.step_us = 1'000;
    call.AnsweredByPeer();
    Request theirs = call.Receive({.method = "UPDATE",
                                   .cseq = 9,
                                   .from_tag = "b",
                                   .to_tag = "a",
                                   .from = "<sip:bob@example.com>",
                                   .to = "<sip:alice@example.com>",
                                   .contact = "<sip:y@198.51.100.7>"});
    if (answered_before) call.Reply(theirs, {});
    Request ours = call.Send({.method = "UPDATE", .cseq = 5, .to_tag = "b"});
    if (!answered_before) call.Reply(theirs, {});
    call.Reply(ours, {.contact = "<sip:x@198.51.100.7>"});
    EXPECT_EQ(call.Only().remote_target, "sip:x@198.51.100.7");
    EXPECT_THAT(call.Only().conflicts, IsEmpty());
  }
}

TEST(TargetRefresh, Rule11_9_AnAckOfALostReinviteOfThePeerLeavesTheTargetUnknown) {
  CallScript call;
  call.AnsweredByPeer();
  call.Receive({.method = "ACK", .cseq = 7, .from_tag = "b", .to_tag = "a"});
  const DialogState dialog = call.Only();
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kRemoteTarget));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kSessionTimer));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kHold));
}

TEST(TargetRefresh, Rule4_6_AnUpdateInTheEarlyDialogMovesTheTarget) {
  for (const bool by_peer : {true, false}) {
    CallScript call;
    Request invite = call.Send({});
    call.Reply(invite, {.status = 183, .to_tag = "b", .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
    Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
    call.Reply(prack, {});
    if (by_peer) {
      Request update = call.Receive({.method = "UPDATE",
                                     .cseq = 3,
                                     .from_tag = "b",
                                     .to_tag = "a",
                                     .from = "<sip:bob@example.com>",
                                     .to = "<sip:alice@example.com>",
                                     .contact = "<sip:n@198.51.100.7:5090>"});
      call.Reply(update, {});
    } else {
      Request update = call.Send({.method = "UPDATE", .cseq = 3, .to_tag = "b"});
      call.Reply(update, {.contact = "<sip:n@198.51.100.7:5090>"});
    }
    EXPECT_EQ(call.Only().phase, sip::DialogPhase::kEarly);
    EXPECT_EQ(call.Only().remote_target, "sip:n@198.51.100.7:5090");
    call.Reply(invite, {.to_tag = "b", .contact = "<sip:n@198.51.100.7:5090>"});
    EXPECT_EQ(call.Only().remote_target, "sip:n@198.51.100.7:5090");
  }
}

TEST(TargetRefresh, Rule4_9_KeepsTheServersOwnContact) {
  CallScript call;
  Request invite = call.Receive({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:conf123@192.0.2.10>"});
  EXPECT_EQ(call.Only().local_target, "sip:conf123@192.0.2.10");
}

TEST(Cseq, Rule5_1_CountsEverythingButAckAndCancel) {
  CallScript call;
  Request invite = call.Send({.cseq = 7});
  call.Reply(invite, {.to_tag = "b"});
  call.Send({.method = "ACK", .cseq = 7, .to_tag = "b"});
  Request info = call.Send({.method = "INFO", .cseq = 8, .to_tag = "b"});
  call.Reply(info, {});
  EXPECT_EQ(call.Only().local_seq, 8u);
}

TEST(Cseq, Rule5_2_ARefusedRequestCounts_Rule5_3_PrackAndUpdateCount) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "b", .extra = "RSeq: 1\r\n"});
  Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
  call.Reply(prack, {});
  Request update = call.Send({.method = "UPDATE", .cseq = 3, .to_tag = "b"});
  call.Reply(update, {});
  call.Reply(invite, {.to_tag = "b"});
  call.Send({.method = "ACK", .to_tag = "b"});
  EXPECT_EQ(call.Only().local_seq, 3u);  // rule 5.13: ACK(1) is no step back
  Request info = call.Send({.method = "INFO", .cseq = 4, .to_tag = "b"});
  call.Reply(info, {.status = 407});
  EXPECT_EQ(call.Only().local_seq, 4u);
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(Cseq, Rule5_4_TheDirectionsAreIndependent_F13) {
  CallScript call;
  call.AnsweredByPeer();
  Request info = call.Receive({.method = "INFO", .cseq = 2594, .from_tag = "b", .to_tag = "a"});
  call.Reply(info, {});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_seq, 1u);
  EXPECT_EQ(dialog.remote_seq, 2594u);
}

TEST(Cseq, Rule5_5_AnAnswerAloneIsALowerBound) {
  CallScript call;
  call.AnsweredByPeer();
  Request info = call.Send({.method = "INFO", .cseq = 17, .to_tag = "b"});
  call.Reply(info, {});
  call.messages.erase(call.messages.end() - 2);
  EXPECT_EQ(call.Only().local_seq, 17u);
}

TEST(Cseq, Rule5_5_TheIdOfAReferNotificationIsALowerBound) {
  CallScript call;
  call.AnsweredByPeer();
  Request notify = call.Receive({.method = "NOTIFY",
                                 .cseq = 2,
                                 .from_tag = "b",
                                 .to_tag = "a",
                                 .extra = "Event: refer;id=93\r\n"});
  call.Reply(notify, {});
  EXPECT_EQ(call.Only().local_seq, 93u);
}

TEST(Cseq, Rule5_8_HeadRoomDependsOnTheCapture_F12_F14) {
  DialogState dialog;
  dialog.local_seq = 3;
  EXPECT_EQ(*sip::NextCseq(dialog, {}, {}), 1004u);
  EXPECT_EQ(*sip::NextCseq(dialog, {.capture_is_complete = true}, {}), 4u);
  dialog.from_stored_state = true;
  EXPECT_EQ(*sip::NextCseq(dialog, {.capture_is_complete = true}, {}), 1004u);
}

// Twenty requests within two seconds, and then a recovery by a host whose clock is a minute behind.
TEST(Cseq, F12_ABurstAndAClockThatIsBehindDoNotMakeItLower) {
  for (bool server_called : {true, false}) {
    CallScript call;
    call.step_us = 50'000;
    if (server_called) {
      call.AnsweredByPeer();
    } else {
      call.AnsweredByServer();
    }
    // As a stack numbers that starts at half of the clock's seconds.
    const unsigned start = static_cast<unsigned>(call.now_us / 1'000'000 / 2);
    for (unsigned i = 0; i < 20; ++i) {
      Request info = {.method = "INFO", .cseq = start + i, .to_tag = "b"};
      if (!server_called) {
        info = call.FromCallee(info);
      }
      call.Reply(call.Send(info), {});
    }
    const DialogState dialog = call.Only();
    ASSERT_EQ(dialog.local_seq, start + 19);
    for (const bool complete : {true, false}) {
      const auto behind = dialog.last_seen - std::chrono::seconds(60);
      const auto next = sip::NextCseq(dialog, {.capture_is_complete = complete}, behind);
      ASSERT_TRUE(next.ok());
      EXPECT_GT(*next, start + 19);
    }
  }
}

// RFC 3261 8.1.1.5: below 2^31. What cannot be read is no number.
TEST(Cseq, F17_AMessageWithAnImpossibleNumberIsNoEvidence) {
  for (const char* cseq : {"2147483648", "4294967297", "18446744073709551617", "x", "-1", ""}) {
    CallScript call;
    call.AnsweredByPeer();
    for (sip::CapturedMessage& message : call.messages) {
      const std::size_t at = message.bytes.find("CSeq: 1 ");
      ASSERT_NE(at, std::string::npos);
      message.bytes.replace(at, 8, "CSeq: " + std::string(cseq) + " ");
    }
    for (const DialogState& dialog : call.Rebuild()) {
      EXPECT_FALSE(sip::Judge(dialog).recoverable()) << cseq << sip::Explain(dialog, {});
    }
  }
}

TEST(Cseq, F14_DroppingTheLastOwnRequestsStaysWithinTheHeadRoom) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned cseq = 2; cseq <= 11; ++cseq) {
    Request info = call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {});
  }
  for (std::size_t dropped = 0; dropped <= 10; ++dropped) {
    CallScript cut = call;
    cut.messages.resize(call.messages.size() - 2 * dropped);
    const auto next = sip::NextCseq(cut.Only(), {}, {});
    ASSERT_TRUE(next.ok());
    EXPECT_GT(*next, 11u) << dropped;
  }
}

// Lower is answered 500, and equal is taken for a retransmission (RFC 3261 12.2.2).
TEST(Cseq, Rule5_6_TheNextNumberIsAboveAllThatThePeerMayHaveSeen) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned cseq = 2; cseq <= 9; ++cseq) {
    Request info = call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {.status = cseq % 2 == 0 ? 200 : 500});
  }
  for (const bool complete : {true, false}) {
    for (const std::uint32_t headroom : {0u, 1u, 1000u}) {
      const auto next =
          sip::NextCseq(call.Only(), {.headroom = headroom, .capture_is_complete = complete}, {});
      ASSERT_TRUE(next.ok());
      EXPECT_GT(*next, 9u);
    }
  }
}

TEST(Cseq, Rule5_8_AServerThatWasSendingFastGetsTwiceWhatItCouldHaveSent) {
  CallScript call;
  call.step_us = 10'000;  // an INFO and its answer: fifty a second
  call.AnsweredByPeer();
  for (unsigned cseq = 2; cseq <= 40; ++cseq) {
    Request info = call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {});
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_pace, std::chrono::microseconds(20'000));
  const sip::CaptureTime last = dialog.FindEvidence(Field::kLocalSeq)->message.time;
  EXPECT_EQ(*sip::NextCseq(dialog, {}, last), 1041u);
  EXPECT_EQ(*sip::NextCseq(dialog, {}, last + std::chrono::seconds(32)), 40u + 1 + 2 * 32 * 50);
  EXPECT_EQ(*sip::NextCseq(dialog, {.capture_is_complete = true}, last + std::chrono::seconds(32)),
            41u);
  // One that sent nothing but its INVITE has no pace.
  CallScript quiet;
  quiet.AnsweredByPeer();
  EXPECT_EQ(*sip::NextCseq(quiet.Only(), {}, last + std::chrono::hours(5)), 1002u);
}

// A capture whose clock was never set, or numbers that somebody made up, must not use them all up.
TEST(Cseq, Rule5_8_NoPaceAndNoClockUseUpTheNumbers) {
  for (const unsigned step : {1u, 4'000u}) {
    CallScript call;
    call.AnsweredByPeer();
    for (unsigned i = 1; i <= 3; ++i) {
      call.Send({.method = "INFO", .cseq = 1 + i * step, .to_tag = "b"});
    }
    const DialogState dialog = call.Only();
    ASSERT_GT(dialog.local_pace.count(), 0);
    sip::VerdictOptions options;
    options.now = dialog.last_seen + std::chrono::years(50);
    const sip::Verdict verdict = call.Judge(options);
    EXPECT_TRUE(verdict.recoverable()) << sip::Explain(dialog, verdict);
    EXPECT_GT(*sip::NextCseq(dialog, {}, options.now), *dialog.local_seq + 1000);
  }
}

TEST(Cseq, Rule5_13_AnAckIsNeitherTheHighestNumberNorAStepBack) {
  CallScript call;
  Request invite = call.Send({});
  for (unsigned rseq = 1; rseq <= 2; ++rseq) {
    call.Reply(invite, {.status = 183,
                        .to_tag = "b",
                        .extra = "Require: 100rel\r\nRSeq: " + std::to_string(rseq) + "\r\n"});
    Request prack = call.Send({.method = "PRACK", .cseq = 1 + rseq, .to_tag = "b"});
    call.Reply(prack, {});
  }
  call.Reply(invite, {.to_tag = "b"});
  call.Send({.method = "ACK", .to_tag = "b"});
  EXPECT_EQ(call.Only().local_seq, 3u);
}

TEST(Cseq, Rule5_7_RefusesAboveTheLimit_F17) {
  DialogState dialog;
  dialog.local_seq = 2147483646;
  EXPECT_EQ(sip::NextCseq(dialog, {}, {}).status().code(), absl::StatusCode::kOutOfRange);
  dialog.local_seq = sip::kMaxCseq - 1;
  EXPECT_EQ(*sip::NextCseq(dialog, {.headroom = 0}, {}), sip::kMaxCseq);
  dialog.local_seq = sip::kMaxCseq;
  EXPECT_FALSE(sip::NextCseq(dialog, {.headroom = 0}, {}).ok());
  dialog.local_seq = 0xffffffffu;
  EXPECT_FALSE(sip::NextCseq(dialog, {}, {}).ok());
  dialog.local_seq = 0;
  EXPECT_EQ(*sip::NextCseq(dialog, {.headroom = 0}, {}), 1u);
}

TEST(Cseq, Rule5_11_OnlyAcceptedRequestsRaiseTheRemoteNumber_Rule5_12) {
  CallScript call;
  call.AnsweredByPeer();
  Request five = call.Receive({.method = "INFO", .cseq = 5, .from_tag = "b", .to_tag = "a"});
  call.Reply(five, {});
  Request three = call.Receive({.method = "INFO", .cseq = 3, .from_tag = "b", .to_tag = "a"});
  call.Reply(three, {.status = 500});
  EXPECT_EQ(call.Only().remote_seq, 5u);
}

// Only the refusal is left of the re-INVITE, and of the server's first INVITE only the answer: that
// came first, so the refused one was sent within the dialog.
TEST(Cseq, Rule5_11_ARefusalLaterThanTheAnswerThatMadeTheDialogRaisesTheRemoteNumber) {
  CallScript call;
  Request invite = call.Send({});
  call.messages.pop_back();
  call.Reply(invite, {.to_tag = "b"});
  Request reinvite = call.Receive({.cseq = 64, .from_tag = "b", .to_tag = "a"});
  call.messages.pop_back();
  call.Reply(reinvite, {.status = 407});
  EXPECT_EQ(call.Only().remote_seq, 64u);
  EXPECT_EQ(call.Only().role, sip::DialogRole::kUac);
  EXPECT_EQ(call.Only().phase, sip::DialogPhase::kConfirmed);
}

// Whether the INVITE was the first or not, the server answered it under the dialog's tags.
TEST(Cseq, Rule5_11_ARefusalUnderTheDialogsTagsRaisesTheRemoteNumber) {
  CallScript call;
  Request invite = call.Receive({.cseq = 59});
  call.messages.pop_back();
  Request update = call.Send(call.FromCallee({.method = "UPDATE", .cseq = 7}));
  call.Reply(update, {});
  call.Reply(invite, {.status = 603, .to_tag = "b"});
  EXPECT_EQ(call.Only().remote_seq, 59u);
}

TEST(RemoteTarget, Rule10_9_OfSeveralContactsTheFirstIsTakenAndSaid) {
  for (const char* contact :
       {"<sip:a@198.51.100.7>, <sip:b@198.51.100.7>",
        "<sip:a@198.51.100.7>\r\nm: <sip:b@198.51.100.7>", "\"b, c\" <sip:a@198.51.100.7>"}) {
    CallScript call;
    const Request invite = call.Send({});
    call.Reply(invite, {.to_tag = "b", .contact = contact});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_target, "sip:a@198.51.100.7") << contact;
    EXPECT_EQ(dialog.warnings.size(), contact[0] == '<' ? 1u : 0u) << contact;
  }
}

// --- whether the dialog is secure (RFC 3261 12.1) ---

TEST(SecureDialog, Rule2_10_WithoutItsInviteADialogOverTlsMayBeSecure) {
  for (const char* scheme : {"sips", "sip"}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const std::string phone = "<" + std::string(scheme) + ":phone@198.51.100.7:5061>";
    const Request invite = call.Send({.contact = "<sips:asterisk@192.0.2.10:5061>"});
    call.messages.clear();
    call.Reply(invite, {.to_tag = "b", .contact = phone});
    call.Send({.method = "ACK", .to_tag = "b", .uri = phone.substr(1, phone.size() - 2)});
    // A peer that is in a secure dialog has a sips Contact.
    EXPECT_EQ(call.Only().IsMissing(sip::Field::kSecure), std::string(scheme) == "sips");
    EXPECT_FALSE(call.Only().secure);
  }
}

TEST(SecureDialog, Rule2_10_WithItsInviteItIsKnownWhetherItIsSecure) {
  for (const char* scheme : {"sips", "sip"}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const Request invite = call.Send({.uri = std::string(scheme) + ":bob@example.com",
                                      .contact = "<sips:asterisk@192.0.2.10:5061>"});
    call.Reply(invite, {.to_tag = "b", .contact = "<sips:phone@198.51.100.7:5061>"});
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kSecure));
    EXPECT_EQ(call.Only().secure, std::string(scheme) == "sips");
  }
}

// The INVITE itself was lost; a merged copy of it has the same Request-URI (rule 1.9).
TEST(SecureDialog, Rule2_10_AMergedCopyOfTheInviteShowsWhetherItIsSecure) {
  for (const bool sips : {true, false}) {
    CallScript call;
    call.transport = sip::Transport::kTls;
    const Request invite = call.Receive({.contact = "<sips:phone@198.51.100.7:5061>"});
    call.messages.clear();
    const Request merged = call.Receive({.uri = sips ? "sips:bob@example.com" : "sip:b@example.com",
                                         .contact = "<sips:phone@198.51.100.7:5061>"});
    call.Reply(merged, {.status = 482, .to_tag = "merged"});
    call.Reply(invite, {.to_tag = "b", .contact = "<sips:asterisk@192.0.2.10:5061>"});
    EXPECT_EQ(call.Only().secure, sips);
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kSecure));
  }
}

TEST(SecureDialog, Rule2_10_AnAnswerAloneShowsTheTransport) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  const Request info = call.Send({.method = "INFO", .cseq = 7, .to_tag = "b"});
  call.messages.clear();
  call.Reply(info, {});
  EXPECT_EQ(call.Only().transport, sip::Transport::kTls);
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kSecure));
}

TEST(SecureDialog, Rule2_10_AForkWhoseAnswerWasLostIsAsSecureAsTheOthers) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  const std::string phone = "sips:phone@198.51.100.7:5061";
  const Request invite =
      call.Send({.uri = "sips:bob@example.com", .contact = "<sips:s@192.0.2.10>"});
  call.Reply(invite, {.status = 180, .to_tag = "other", .contact = "<" + phone + ">"});
  const Request info = call.Send({.method = "INFO", .cseq = 2, .to_tag = "b", .uri = phone});
  call.Reply(info, {});
  const std::vector<DialogState> forks = call.Rebuild();
  ASSERT_THAT(forks, SizeIs(2));
  for (const DialogState& fork : forks) {
    EXPECT_TRUE(fork.secure) << fork.remote.tag;
    EXPECT_FALSE(fork.IsMissing(sip::Field::kSecure));
  }
}

}  // namespace
}  // namespace sipheal::testing
