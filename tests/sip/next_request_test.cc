// SPDX-License-Identifier: Apache-2.0
// Rules 3.x: Request-URI and Route of the next request.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
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

// The proxy that brought the answer did not stay, and the phone has not been heard without it
// since.
TEST(NextRequest, ATcpPhoneBehindAProxyThatLeftIsWhereTheServerSpokeToIt) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  const Request invite = call.Send({.peer = "203.0.113.1:5060"});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:u@198.51.100.7:5070;transport=tcp>"});
  call.Send({.method = "ACK",
             .to_tag = "b",
             .uri = "sip:u@198.51.100.7:5070;transport=tcp",
             .peer = "198.51.100.7:5070"});
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
}

// Its ACK is the first message that came without the proxy.
TEST(NextRequest, Rule3_8_AfterTheAckThePeerIsWhereThatCameFrom) {
  CallScript call;
  const Request invite =
      call.Receive({.contact = "<sip:u@198.51.100.7:5070>", .peer = "203.0.113.1:5060"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().next_hop.ToString(), "203.0.113.1:5060");
  call.Receive({.method = "ACK", .to_tag = "b", .peer = "198.51.100.7:5070"});
  EXPECT_EQ(call.Only().next_hop.ToString(), "198.51.100.7:5070");
  EXPECT_EQ(call.Only().observed_source.ToString(), "198.51.100.7:5070");
}

// Somebody who has seen the tags, but is nowhere in the dialog (rule 12.2).
TEST(NextRequest, Rule3_8_AnAckFromAHostThatTheDialogNeverNamedShowsNoHop) {
  CallScript call;
  const Request invite = call.Receive({});
  call.Reply(invite, {.to_tag = "b"});
  call.Receive({.method = "ACK", .to_tag = "b", .peer = "6.6.6.6:5060"});
  EXPECT_EQ(call.Only().next_hop.ToString(), kPeer);
  EXPECT_EQ(call.Only().observed_source.ToString(), kPeer);
}

TEST(NextRequest, ATcpPhoneThatSpeaksFromElsewhereThanItsContactNeedsANewFlow) {
  CallScript call;
  call.transport = sip::Transport::kTcp;
  const Request invite = call.Receive(
      {.contact = "<sip:u@10.0.0.7:5060;transport=tcp>", .peer = "198.51.100.7:41000"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Judge().token, VerdictToken::kNeedsNewFlow);
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

}  // namespace
}  // namespace sipheal::testing
