// SPDX-License-Identifier: Apache-2.0
// A re-INVITE that takes its time: a reliable provisional answer, PRACK and UPDATE come within it
// (rules 4.3, 5.11, 6.1, 6.6, 8.1, 9.5, 11.9).
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using sip::Field;
using ::testing::SizeIs;

// The server calls, then sends re-INVITE 2 with an offer, which the peer answers in a reliable 183.
struct LongReinvite {
  CallScript call;
  Request reinvite;

  LongReinvite() {
    call.AnsweredByPeer();
    reinvite =
        call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "2", "sendonly")});
    call.Reply(reinvite, {.status = 183,
                          .sdp = Sdp("198.51.100.7", 30000, "2", "recvonly"),
                          .extra = "Require: 100rel\r\nRSeq: 7\r\n"});
    const Request prack =
        call.Send({.method = "PRACK", .cseq = 3, .to_tag = "b", .extra = "RAck: 7 2 INVITE\r\n"});
    call.Reply(prack, {});
  }
};

// The messages that `drop` does not pick, as if the others had never been captured.
template <typename Fn>
void Lose(CallScript* call, Fn&& drop) {
  std::erase_if(call->messages, [&](const sip::CapturedMessage& one) { return drop(one.bytes); });
}

bool IsRequest(const std::string& bytes, const std::string& method, int cseq) {
  return bytes.starts_with(method) &&
         bytes.find("CSeq: " + std::to_string(cseq) + ' ') != std::string::npos;
}

TEST(LongReinvite, Rule6_1_StaysOpenWhilePrackAndUpdateWithinItAreDone) {
  LongReinvite flow;
  const Request update = flow.call.Send({.method = "UPDATE", .cseq = 4, .to_tag = "b"});
  flow.call.Reply(update, {});
  const DialogState dialog = flow.call.Only();
  ASSERT_THAT(dialog.open_transactions, SizeIs(1));
  EXPECT_EQ(dialog.open_transactions[0].method, "INVITE");
  EXPECT_EQ(dialog.open_transactions[0].cseq, 2u);
  EXPECT_TRUE(dialog.open_transactions[0].provisional_seen);
}

TEST(LongReinvite, Rule6_1_IsDoneWhenItsSideSentAnotherInvite) {
  LongReinvite flow;
  flow.call.Send({.cseq = 4, .to_tag = "b"});
  ASSERT_THAT(flow.call.Only().open_transactions, SizeIs(1));
  EXPECT_EQ(flow.call.Only().open_transactions[0].cseq, 4u);
}

TEST(LongReinvite, Rule9_5_AReliableAnswerPutsTheSessionInForce) {
  LongReinvite flow;
  EXPECT_EQ(flow.call.Only().local_sdp.origin_version, "2");
  EXPECT_EQ(flow.call.Only().remote_sdp.origin_version, "2");
  EXPECT_TRUE(flow.call.Only().held_by_local);
}

// The refusal was not captured, but its ACK was, which has the branch of the INVITE.
TEST(LongReinvite, Rule6_6_TheAckOfARefusalShowsThatItFailed) {
  LongReinvite flow;
  flow.call.Send({.method = "ACK", .cseq = 2, .to_tag = "b", .branch = flow.reinvite.branch});
  const DialogState dialog = flow.call.Only();
  EXPECT_EQ(dialog.local_sdp.origin_version, "1");
  EXPECT_FALSE(dialog.held_by_local);
  EXPECT_TRUE(dialog.resync_needed);
  EXPECT_TRUE(dialog.open_transactions.empty());
}

// The same without the INVITE: by the PRACK it was running when the UPDATE was accepted.
TEST(LongReinvite, Rule6_6_WhatWasAgreedWithinAFailedOneIsUndoneWithoutItsRequestToo) {
  LongReinvite flow;
  const Request update = flow.call.Send(
      {.method = "UPDATE", .cseq = 4, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "3")});
  flow.call.Reply(update, {.sdp = Sdp("198.51.100.7", 30000, "3")});
  flow.call.Reply(flow.reinvite, {.status = 488});
  EXPECT_EQ(flow.call.Only().local_sdp.origin_version, "1");
  Lose(&flow.call, [](const std::string& bytes) {
    return IsRequest(bytes, "INVITE", 2) || bytes.starts_with("SIP/2.0 183");
  });
  EXPECT_EQ(flow.call.Only().local_sdp.origin_version, "1");
  // Without the PRACK, too, it may have come before.
  Lose(&flow.call,
       [](const std::string& bytes) { return bytes.find(" PRACK\r\n") != std::string::npos; });
  EXPECT_TRUE(flow.call.Only().IsMissing(Field::kLocalSdp));
  EXPECT_TRUE(flow.call.Only().IsMissing(Field::kHold));
}

// The peer's one: its request and its refusal were lost; the ACK has the branch of the INVITE. By
// the provisional answer it was running when the server's UPDATE was accepted.
TEST(LongReinvite, Rule6_6_AnUpdateOfTheServerIsUndoneWithTheFailedOneOfThePeer) {
  CallScript call;
  call.AnsweredByServer();
  const Request reinvite = {.cseq = 2, .to_tag = "b", .branch = "z9hG4bKlost"};
  call.Reply(reinvite, {.status = 100});
  call.Reply(reinvite, {.status = 183,
                        .sdp = Sdp("192.0.2.10", 20000, "2"),
                        .extra = "Require: 100rel\r\nRSeq: 7\r\n"});
  const Request update = call.Send(
      call.FromCallee({.method = "UPDATE", .cseq = 50, .sdp = Sdp("192.0.2.10", 20000, "3")}));
  call.Reply(update, {.sdp = Sdp("198.51.100.7", 30000, "3")});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b", .branch = "z9hG4bKlost"});
  EXPECT_EQ(call.Only().local_sdp.origin_version, "1");
  EXPECT_EQ(call.Only().remote_sdp.origin_version, "1");
  EXPECT_TRUE(call.Only().resync_needed);
}

TEST(LongReinvite, Rule8_1_Its2xxIsLaterThanThatToAnUpdateWithinIt) {
  LongReinvite flow;
  const Request update = flow.call.Send({.method = "UPDATE", .cseq = 4, .to_tag = "b"});
  flow.call.Reply(update, {.extra = "Session-Expires: 600;refresher=uac\r\n"});
  flow.call.Reply(flow.reinvite, {.extra = "Session-Expires: 1800;refresher=uas\r\n"});
  EXPECT_EQ(flow.call.Only().session_timer.interval, std::chrono::seconds(1800));
}

// Of the peer's re-INVITE only the server's answer is left.
TEST(LongReinvite, Rule11_9_AReliableAnswerWithoutItsRequestLeavesTargetAndSessionUnknown) {
  CallScript call;
  call.AnsweredByPeer();
  const Request reinvite = call.Receive({.cseq = 5,
                                         .from_tag = "b",
                                         .to_tag = "a",
                                         .contact = "<sip:moved@198.51.100.7>",
                                         .sdp = Sdp("198.51.100.7", 30000, "2")});
  call.messages.pop_back();
  call.Reply(reinvite, {.status = 183,
                        .sdp = Sdp("192.0.2.10", 20000, "2"),
                        .extra = "Require: 100rel\r\nRSeq: 1\r\n"});
  EXPECT_TRUE(call.Only().IsMissing(Field::kRemoteTarget));
  EXPECT_TRUE(call.Only().IsMissing(Field::kRemoteSdp));
  EXPECT_TRUE(call.Only().IsMissing(Field::kHold));
  // What the server answers 500 after that had a number that it took (rule 5.11).
  call.Reply(reinvite, {.status = 500});
  EXPECT_EQ(call.Only().remote_seq, 5u);
}

}  // namespace
}  // namespace sipheal::testing
