// SPDX-License-Identifier: Apache-2.0
// Rules 2.x: how a dialog starts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using sip::Field;
using sip::VerdictToken;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

TEST(DialogStart, Rule2_1_ReversesRecordRouteOfThe2xxForUac_F18) {
  CallScript call;
  Request invite = call.Send({.route = {"<sip:preloaded;lr>"}});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p2;lr>", "<sip:p1;lr>"}});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr", "sip:p2;lr"));
}

TEST(DialogStart, Rule2_1_NoRecordRouteOverridesAPreloadedRoute_Rule2_14) {
  CallScript call;
  Request invite = call.Send({.route = {"<sip:preloaded;lr>"}});
  call.Reply(invite, {.to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_THAT(dialog.route_set, IsEmpty());
  EXPECT_FALSE(dialog.IsMissing(Field::kRouteSet));
}

TEST(DialogStart, Rule2_2_KeepsRecordRouteInOrderForUas_F18_F23) {
  CallScript call;
  call.AnsweredByServer({"<sip:p2;lr;r2=on>", "<sip:p1;transport=tcp;lr;r2=on>"});
  EXPECT_THAT(call.Only().route_set,
              ElementsAre("sip:p2;lr;r2=on", "sip:p1;transport=tcp;lr;r2=on"));
}

TEST(DialogStart, F22_KeepsRouteSetsOfAnySize) {
  for (int count = 0; count <= 3; ++count) {
    std::vector<std::string> record_route;
    for (int i = 0; i < count; ++i) record_route.push_back("<sip:p" + std::to_string(i) + ";lr>");
    CallScript call;
    call.AnsweredByServer(record_route);
    EXPECT_THAT(call.Only().route_set, SizeIs(static_cast<std::size_t>(count)));
  }
}

TEST(DialogStart, Rule2_3_RecomputesTheRouteSetOnThe2xx) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 183, .to_tag = "A"});
  EXPECT_THAT(call.Only().route_set, IsEmpty());
  call.Reply(invite, {.to_tag = "A", .record_route = {"<sip:p1;lr>"}});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr"));
}

TEST(DialogStart, Rule2_4_LaterRecordRouteChangesNothing_F20_F21) {
  CallScript call;
  call.AnsweredByPeer({"<sip:p1;lr>"});
  Request reinvite = call.Send(
      {.cseq = 2, .to_tag = "b", .record_route = {"<sip:pX;lr>"}, .route = {"<sip:p1;lr>"}});
  call.Reply(reinvite, {.record_route = {"<sip:pX;lr>"}});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b", .route = {"<sip:p1;lr>"}});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr"));
}

TEST(DialogStart, Rule2_5_HeaderParametersAreNotPartOfTheRoute) {
  CallScript call;
  call.AnsweredByServer({"<sip:p;lr>;ftag=1", "\"x,y\" <sip:q;lr>"});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p;lr", "sip:q;lr"));
}

TEST(DialogStart, F24_CommasInRoutesSeparateOnlyOutsideOfBrackets) {
  CallScript call;
  call.AnsweredByServer({"<sip:a,b@p;lr>, \"x,y\" <sip:q;lr>"});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:a,b@p;lr", "sip:q;lr"));
}

TEST(DialogStart, Rule2_6_TheTargetIsTheContactOfWhatMadeTheDialog) {
  CallScript caller;
  Request invite = caller.Send({});
  caller.Reply(invite, {.to_tag = "b", .contact = "<sip:b@1.1.1.1>"});
  EXPECT_EQ(caller.Only().remote_target, "sip:b@1.1.1.1");
  EXPECT_EQ(caller.Only().FindEvidence(Field::kRemoteTarget)->message.sequence, 2u);
  CallScript callee;
  Request received = callee.Receive({.contact = "<sip:a@1.1.1.2>"});
  callee.Reply(received, {.to_tag = "b", .contact = "<sip:s@192.0.2.10>"});
  EXPECT_EQ(callee.Only().remote_target, "sip:a@1.1.1.2");
  EXPECT_EQ(callee.Only().FindEvidence(Field::kRemoteTarget)->message.sequence, 1u);
}

TEST(DialogStart, Rule2_7_ALaterUnreliableProvisionalDoesNotMoveTheTarget) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 180, .to_tag = "b", .contact = "<sip:x@198.51.100.7>"});
  call.Reply(invite, {.status = 183, .to_tag = "b", .contact = "<sip:y@198.51.100.7>"});
  EXPECT_EQ(call.Only().remote_target, "sip:x@198.51.100.7");
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:z@198.51.100.7>"});
  EXPECT_EQ(call.Only().remote_target, "sip:z@198.51.100.7");
}

TEST(DialogStart, Rule2_8_LocalSeqOfASilentUasIsEmpty_Rule5_10) {
  CallScript call;
  call.AnsweredByServer();
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_seq, std::nullopt);
  EXPECT_EQ(dialog.remote_seq, 1u);
  const auto cseq =
      sip::NextCseq(dialog, {}, sip::CaptureTime(std::chrono::seconds(1'700'000'000)));
  ASSERT_TRUE(cseq.ok());
  EXPECT_EQ(*cseq, 850'000'001u);
}

TEST(DialogStart, Rule2_9_CopiesPartiesWhole) {
  CallScript call;
  Request invite =
      call.Receive({.from = "\"A, \\\"B\\\"\" <sip:a@x;p=1>;x=7", .to = "Bob <sip:b@y>;q=2"});
  call.Reply(invite, {.to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote.display, "\"A, \\\"B\\\"\"");
  EXPECT_EQ(dialog.remote.uri, "sip:a@x;p=1");
  EXPECT_EQ(dialog.remote.params, ";x=7");
  EXPECT_EQ(dialog.local.display, "Bob");
  EXPECT_EQ(dialog.local.params, ";q=2");
}

TEST(DialogStart, Rule2_10_OnlyTlsWithSipsIsSecure) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  Request invite = call.Send({.uri = "sip:bob@198.51.100.7"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_FALSE(call.Only().secure);
  CallScript sips;
  sips.transport = sip::Transport::kTls;
  Request secure = sips.Send({.uri = "sips:bob@198.51.100.7"});
  sips.Reply(secure, {.to_tag = "b", .contact = "<sips:bob@198.51.100.7>"});
  EXPECT_TRUE(sips.Only().secure);
}

TEST(DialogStart, Rule2_11_WithoutContactTheTargetIsMissing) {
  CallScript call;
  Request invite = call.Receive({.contact = "-"});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_TRUE(call.Only().IsMissing(Field::kRemoteTarget));
  EXPECT_EQ(call.Judge().token, VerdictToken::kIncomplete);
}

TEST(DialogStart, Rule2_12_A2xxAloneGivesTheUacDialog) {
  CallScript call;
  Request invite = call.Send({.cseq = 7});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p2;lr>", "<sip:p1;lr>"}});
  call.messages.erase(call.messages.begin());
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUac);
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1;lr", "sip:p2;lr"));
  EXPECT_EQ(dialog.local_seq, 7u);
}

TEST(DialogStart, Rule2_12_TheServersOwn2xxShowsTheRouteSetButNoTarget) {
  CallScript call;
  Request invite = call.Receive({.record_route = {"<sip:p2;lr>", "<sip:p1;lr>"}});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:p2;lr>", "<sip:p1;lr>"}});
  call.messages.erase(call.messages.begin());
  const DialogState dialog = call.Only();
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p2;lr", "sip:p1;lr"));
  EXPECT_TRUE(dialog.IsMissing(Field::kRemoteTarget));
  EXPECT_EQ(sip::Judge(dialog).token, VerdictToken::kIncomplete);
}

TEST(DialogStart, Rule2_13_TheServersAckShowsTargetAndRoute) {
  CallScript call;
  call.Send({.method = "ACK", .to_tag = "b", .uri = "sip:b@h", .route = {"<sip:p1;lr>"}});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:b@h");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1;lr"));
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
  // An ACK for a failure looks the same, so nothing is sent on its word alone.
  EXPECT_EQ(sip::Judge(dialog).token, VerdictToken::kIncomplete);
}

TEST(DialogStart, Rule6_9_AnAckShowsALost2xx) {
  for (bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:p1;lr>"});
    } else {
      call.AnsweredByServer({"<sip:p1;lr>"});
    }
    // INVITE and ACK are left.
    call.messages.erase(call.messages.begin() + 1, call.messages.begin() + 4);
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
    EXPECT_THAT(dialog.open_transactions, IsEmpty());
    EXPECT_EQ(dialog.deadline, std::nullopt);
    EXPECT_EQ(dialog.role, server_called ? DialogRole::kUac : DialogRole::kUas);
    EXPECT_EQ(dialog.local.tag, server_called ? "a" : "b");
    EXPECT_THAT(dialog.route_set, ElementsAre("sip:p1;lr"));
    EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  }
}

TEST(DialogStart, AnAckForAFailureMakesNoDialog) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.status = 486, .to_tag = "x"});
  call.Send({.method = "ACK", .to_tag = "x", .branch = invite.branch});
  EXPECT_THAT(call.Rebuild(), IsEmpty());
  // Without the 486 nobody can tell, and nothing is sent.
  call.messages.erase(call.messages.begin() + 1);
  for (const DialogState& dialog : call.Rebuild()) {
    EXPECT_NE(sip::Judge(dialog).token, VerdictToken::kRecoverable);
  }
}

TEST(DialogStart, Rule2_15_TheServersOwnRouteEntryIsNotSent) {
  CallScript call;
  Request invite = call.Receive({.record_route = {"<sip:192.0.2.10;lr>", "<sip:p2;lr>"}});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p2;lr"));
}

}  // namespace
}  // namespace sipheal::testing
