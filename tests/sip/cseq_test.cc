// SPDX-License-Identifier: Apache-2.0
// Rules 5.x: the numbers of both directions, and the next one.
#include <gtest/gtest.h>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;
using sip::Field;

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

}  // namespace
}  // namespace sipheal::testing
