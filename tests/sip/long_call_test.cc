// SPDX-License-Identifier: Apache-2.0
// Calls that are so long that the folder no longer keeps every transaction of them.
#include <gtest/gtest.h>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using std::chrono::seconds;

// More than RebuildOptions::max_transactions_per_call.
constexpr unsigned kMany = 150;

// A request of the peer to a server that called it.
Request FromPeer(Request request) {
  request.from_tag = "b";
  request.to_tag = "a";
  std::swap(request.from, request.to);
  return request;
}

TEST(LongCall, Rule9_6_AHeldCallStaysHeldHoweverOftenItsTimerIsRefreshedWithoutADescription) {
  CallScript call;
  call.AnsweredByPeer();
  Request hold =
      call.Receive(FromPeer({.cseq = 1, .sdp = Sdp("198.51.100.7", 30002, "2", "sendonly")}));
  call.Reply(hold, {.sdp = Sdp("192.0.2.10", 20002, "2", "recvonly")});
  call.Receive(FromPeer({.method = "ACK", .cseq = 1}));
  const DialogState before = call.Only();
  ASSERT_TRUE(before.held_by_remote);
  for (unsigned i = 0; i < kMany; ++i) {
    call.Wait(45);
    Request update = call.Receive(FromPeer({.method = "UPDATE", .cseq = 2 + i}));
    call.Reply(update, {});
  }
  const DialogState dialog = call.Only();
  SCOPED_TRACE(sip::Explain(dialog, call.Judge()));
  EXPECT_TRUE(call.Judge().recoverable());
  EXPECT_TRUE(dialog.held_by_remote);
  EXPECT_EQ(dialog.local_sdp, before.local_sdp);
  EXPECT_EQ(dialog.remote_sdp, before.remote_sdp);
  EXPECT_EQ(dialog.highest_local_sdp_version, before.highest_local_sdp_version);
}

TEST(LongCall, Rule7_1_ItsByeCountsHoweverManyRequestsWereRefusedBefore) {
  for (const bool by_server : {true, false}) {
    CallScript call;
    call.AnsweredByPeer();
    for (unsigned i = 0; i < kMany; ++i) {
      call.Wait(1);
      if (by_server) {
        Request info = call.Send({.method = "INFO", .cseq = 2 + i, .to_tag = "b"});
        call.Reply(info, {.status = 415});
      } else {
        Request info = call.Receive(FromPeer({.method = "INFO", .cseq = 2 + i}));
        call.Reply(info, {.status = 415});
      }
    }
    const DialogState alive = call.Only();
    EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(alive, call.Judge());
    EXPECT_EQ(by_server ? alive.local_seq : alive.remote_seq, kMany + 1);
    Request bye = call.Receive(FromPeer({.method = "BYE", .cseq = kMany + 10}));
    call.Reply(bye, {});
    EXPECT_EQ(call.Only().phase, DialogPhase::kTerminated) << by_server;
    EXPECT_EQ(call.Only().end, DialogEnd::kByeAnswered) << by_server;
  }
}

TEST(LongCall, ManyRequestsThatNobodyAnsweredDoNotHideTheBye) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned i = 0; i < kMany; ++i) {
    call.Wait(60);
    call.Send({.method = "INFO", .cseq = 2 + i, .to_tag = "b"});
  }
  EXPECT_EQ(call.Only().local_seq, kMany + 1);
  Request bye = call.Receive(FromPeer({.method = "BYE", .cseq = 1}));
  call.Reply(bye, {});
  EXPECT_EQ(call.Only().phase, DialogPhase::kTerminated);
}

TEST(LongCall, Rule9_1_TheVersionRisesAboveAllRefusedOffersHoweverMany) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned i = 0; i < kMany; ++i) {
    call.Wait(60);
    Request reinvite = call.Send(
        {.cseq = 2 + i, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, std::to_string(2 + i))});
    call.Reply(reinvite, {.status = 488});
    call.Send({.method = "ACK", .cseq = 2 + i, .to_tag = "b", .branch = reinvite.branch});
  }
  const DialogState dialog = call.Only();
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(dialog, call.Judge());
  EXPECT_EQ(dialog.highest_local_sdp_version, std::to_string(kMany + 1));
  EXPECT_EQ(dialog.local_sdp.origin_version, "1");
  EXPECT_EQ(dialog.local_seq, kMany + 1);
  Request bye = call.Receive(FromPeer({.method = "BYE", .cseq = 1}));
  call.Reply(bye, {});
  EXPECT_EQ(call.Only().end, DialogEnd::kByeAnswered);
}

TEST(TakeoverClock, Rule13_5_NoReliableAnswerWaitsForItsPrackOnceTheCallIsUp) {
  CallScript call;
  Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
  call.Reply(invite, {.status = 183,
                      .to_tag = "b",
                      .sdp = Sdp("198.51.100.7", 30000, "1"),
                      .extra = "Require: 100rel\r\nRSeq: 7\r\n"});
  // PRACK and 2xx were not captured.
  call.Send({.method = "ACK", .to_tag = "b"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kConfirmed);
  EXPECT_EQ(call.Only().deadline, std::nullopt);
}

}  // namespace
}  // namespace sipheal::testing
