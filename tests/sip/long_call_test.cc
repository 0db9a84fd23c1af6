// SPDX-License-Identifier: Apache-2.0
// Calls that are so long that the folder no longer keeps every transaction of them.
#include <gtest/gtest.h>

#include <array>
#include <random>

#include "absl/strings/str_format.h"
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

// A random call of many requests; nothing is lost.
CallScript RandomCall(std::mt19937& random) {
  CallScript call;
  call.AnsweredByPeer();
  std::array<unsigned, 2> cseq = {1, 0};  // the server's, the peer's
  std::array<unsigned, 2> version = {1, 1};
  const std::array<std::string, 2> ip = {"192.0.2.10", "198.51.100.7"};
  for (unsigned i = 0; i < 2 * kMany; ++i) {
    call.Wait(40);
    const bool sent = random() % 2 == 0;
    const unsigned own = sent ? 0 : 1;
    const bool describes = random() % 40 == 0;
    const std::string direction = random() % 2 == 0 ? "sendrecv" : "sendonly";
    const std::string answer = direction == "sendrecv" ? "sendrecv" : "recvonly";
    Request request{.method = "UPDATE", .cseq = ++cseq[own], .to_tag = "b"};
    Answer reply;
    switch (random() % 10) {
      case 0:
        if (random() % 4 == 0) request.method = "INVITE";
        break;
      case 1:
      case 2:
      case 3:
        break;
      case 4:
        request.method = "OPTIONS";
        reply.status = random() % 2 == 0 ? 200 : 405;
        break;
      case 5:
        request.method = "MESSAGE";
        reply.status = random() % 2 == 0 ? 200 : 415;
        break;
      default:
        request.method = "INFO";
        reply.status = random() % 4 == 0 ? 500 : 200;
    }
    if (request.method == "INVITE" || request.method == "UPDATE") {
      if (random() % 8 == 0) reply.status = 488;
      if (describes || request.method == "INVITE") {
        request.sdp = Sdp(ip[own], 20000, std::to_string(++version[own]), direction);
        if (reply.status == 200) {
          reply.sdp = Sdp(ip[1 - own], 20000, std::to_string(++version[1 - own]), answer);
        }
      }
      if (!sent && random() % 16 == 0) {
        request.contact = "<sip:phone@198.51.100.7:" + std::to_string(5062 + random() % 100) + ">";
      }
      if (reply.status == 200 && random() % 2 == 0) {
        reply.extra = "Session-Expires: 1800;refresher=uac\r\n";
      }
    }
    const Request made = sent ? call.Send(request) : call.Receive(FromPeer(request));
    const bool answered = random() % 16 != 0 || request.method == "INVITE";
    if (answered) call.Reply(made, reply);
    if (made.method == "INVITE") {
      Request ack{.method = "ACK", .cseq = made.cseq, .to_tag = "b"};
      if (reply.status >= 300) ack.branch = made.branch;
      sent ? call.Send(ack) : call.Receive(FromPeer(ack));
    }
  }
  return call;
}

TEST(LongCall, EndsInTheStateInWhichItWouldEndWereAllOfItKept) {
  sip::RebuildOptions all;
  all.max_transactions_per_call = 100'000;
  for (unsigned seed = 0; seed < 60; ++seed) {
    std::mt19937 random(seed);
    const CallScript call = RandomCall(random);
    const std::vector<DialogState> whole = sip::Rebuild(call.messages, call.server, all);
    ASSERT_EQ(whole.size(), 1u);
    const DialogState& expected = whole.front();
    const DialogState dialog = call.Only();
    SCOPED_TRACE(absl::StrFormat("seed %d\n", seed) + sip::Explain(dialog, call.Judge()) +
                 sip::Explain(expected, sip::Judge(expected)));
    EXPECT_EQ(call.Judge().token, sip::Judge(expected).token);
    EXPECT_EQ(dialog.phase, expected.phase);
    EXPECT_EQ(dialog.local_seq, expected.local_seq);
    EXPECT_EQ(dialog.remote_seq, expected.remote_seq);
    EXPECT_EQ(dialog.remote_target, expected.remote_target);
    EXPECT_EQ(dialog.local_sdp, expected.local_sdp);
    EXPECT_EQ(dialog.remote_sdp, expected.remote_sdp);
    EXPECT_EQ(dialog.highest_local_sdp_version, expected.highest_local_sdp_version);
    EXPECT_EQ(dialog.held_by_local, expected.held_by_local);
    EXPECT_EQ(dialog.held_by_remote, expected.held_by_remote);
    EXPECT_EQ(dialog.session_timer, expected.session_timer);
    EXPECT_EQ(dialog.open_transactions, expected.open_transactions);
    EXPECT_EQ(dialog.deadline, expected.deadline);
    EXPECT_EQ(dialog.missing, expected.missing);
  }
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
