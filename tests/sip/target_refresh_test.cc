// SPDX-License-Identifier: Apache-2.0
// Rules 4.x: what moves the target of a dialog, and what does not.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using ::testing::IsEmpty;
using ::testing::SizeIs;

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

}  // namespace
}  // namespace sipheal::testing
