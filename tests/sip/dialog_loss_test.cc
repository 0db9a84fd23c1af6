// SPDX-License-Identifier: Apache-2.0
// Rules 11.x: which of several copies is the server's own, copies that are one, order and loss.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogPhase;
using sip::DialogRole;
using sip::DialogState;
using sip::FoldResult;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

// Three copies of one INVITE, with one Via more at each hop. The agents give no addresses.
TEST(CapturePoints, Rule11_2_WithoutAddressesTheCopyAtTheServerIsToldByItsAgent) {
  const std::string vias[] = {"198.51.100.7:5060", "203.0.113.1:5060", "203.0.113.2:5060"};
  CallScript call;
  call.server.agents = {"asterisk-a"};
  std::string stack;
  for (int hop = 0; hop < 3; ++hop) {
    std::vector<std::string> record_route;
    for (int i = hop; i > 0; --i) {
      record_route.push_back("<sip:" + vias[i].substr(0, vias[i].find(':')) + ";lr>");
    }
    call.agent = hop == 2 ? "asterisk-a" : "proxy-" + std::to_string(hop + 1);
    Request copy = call.Receive({.record_route = record_route,
                                 .extra = stack,
                                 .branch = "z9hG4bKhop" + std::to_string(hop),
                                 .via_host = vias[hop]});
    stack = "Via: SIP/2.0/UDP " + vias[hop] + ";branch=z9hG4bKhop" + std::to_string(hop) + "\r\n" +
            stack;
    if (hop == 2) call.Reply(copy, {.to_tag = "b", .record_route = record_route});
  }
  for (sip::CapturedMessage& message : call.messages) {
    message.source = message.destination = *sip::Endpoint::Parse("0.0.0.0:0");
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUas);
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:203.0.113.2;lr", "sip:203.0.113.1;lr"));
  EXPECT_EQ(dialog.FindEvidence(sip::Field::kRouteSet)->message.sequence, 3u);
}

// One agent that sees every hop, and gives no addresses: the most Vias are the server's copy.
TEST(CapturePoints, Rule11_2_OfCopiesOfOneAgentTheOneWithMostViasReachedTheServer) {
  const std::string vias[] = {"198.51.100.7:5060", "203.0.113.1:5060", "203.0.113.2:5060"};
  CallScript call;
  call.server.agents = {"asterisk-a"};
  call.agent = "asterisk-a";
  std::vector<Request> copies;
  std::vector<std::string> stacks(1);
  for (std::size_t hop = 0; hop < 3; ++hop) {
    std::vector<std::string> record_route;
    for (std::size_t i = hop; i > 0; --i) {
      record_route.push_back("<sip:" + vias[i].substr(0, vias[i].find(':')) + ";lr>");
    }
    const std::string branch = "z9hG4bKhop" + std::to_string(hop);
    copies.push_back(call.Receive({.record_route = record_route,
                                   .extra = stacks.back(),
                                   .branch = branch,
                                   .via_host = vias[hop]}));
    stacks.push_back("Via: SIP/2.0/UDP " + vias[hop] + ";branch=" + branch + "\r\n" +
                     stacks.back());
  }
  for (std::size_t hop = 3; hop-- > 0;) {
    call.Reply(copies[hop], {.to_tag = "b", .extra = stacks[hop]});
  }
  for (sip::CapturedMessage& message : call.messages) {
    message.source = message.destination = *sip::Endpoint::Parse("0.0.0.0:0");
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUas);
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:203.0.113.2;lr", "sip:203.0.113.1;lr"));
  EXPECT_EQ(dialog.FindEvidence(sip::Field::kRouteSet)->message.sequence, 3u);
}

// More Vias alone make no copy: anybody can write them.
TEST(CapturePoints, Rule11_2_ARequestWithMoreViasThatTheServerDidNotTakeHidesNoOther) {
  enum class What { kIgnored, kAnotherDialog, kRefresh };
  for (const What what : {What::kIgnored, What::kAnotherDialog, What::kRefresh}) {
    CallScript call;
    call.server.agents = {"asterisk-a"};
    call.agent = "asterisk-a";
    call.AnsweredByServer();
    const bool refresh = what == What::kRefresh;
    if (refresh) {
      const Request reinvite =
          call.Receive({.cseq = 2, .to_tag = "b", .contact = "<sip:phone@203.0.113.9>"});
      call.Reply(reinvite, {});
      call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
    }
    const std::string below = "Via: SIP/2.0/UDP 6.6.6.7;branch=z9hG4bKbelow\r\n";
    const Request forged = call.Receive({.cseq = refresh ? 2u : 1u,
                                         .to_tag = refresh ? "b" : "",
                                         .contact = "<sip:evil@6.6.6.6>",
                                         .extra = below,
                                         .branch = "z9hG4bKforged",
                                         .via_host = "6.6.6.6"});
    if (what == What::kAnotherDialog) call.Reply(forged, {.to_tag = "c", .extra = below});
    for (sip::CapturedMessage& message : call.messages) {
      message.source = message.destination = *sip::Endpoint::Parse("0.0.0.0:0");
    }
    bool found = false;
    for (const DialogState& dialog : call.Rebuild()) {
      if (dialog.local.tag != "b") continue;
      found = true;
      EXPECT_EQ(dialog.remote_target,
                refresh ? "sip:phone@203.0.113.9" : "sip:phone@198.51.100.7:5060");
    }
    EXPECT_TRUE(found);
  }
}

// What the server sent has its Via on top, and the answer to that has no other.
TEST(CapturePoints, Rule11_2_CopiesOfTheServersOwnMessagesFurtherOnAreNotItsOwn) {
  CallScript call;
  call.server.agents = {"asterisk-a"};
  call.agent = "asterisk-a";
  const std::string phone = "sip:phone@198.51.100.7:5060";
  const Request invite = call.Send({});
  const std::string below =
      "Via: SIP/2.0/UDP " + std::string(kServer) + ";branch=" + invite.branch + "\r\n";
  const Request further = call.Receive(
      {.uri = phone, .extra = below, .branch = "z9hG4bKproxy", .via_host = "203.0.113.1:5060"});
  call.Reply(further, {.to_tag = "b",
                       .contact = '<' + phone + '>',
                       .record_route = {"<sip:far;lr>"},
                       .extra = below});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:near;lr>"}});
  for (sip::CapturedMessage& message : call.messages) {
    message.source = message.destination = *sip::Endpoint::Parse("0.0.0.0:0");
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUac);
  EXPECT_EQ(dialog.local.tag, "a");
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:near;lr"));
}

// RFC 3261 16.12.1.3: the proxy shows each side another Record-Route of its own.
TEST(CapturePoints, Rule3_7_ARewrittenRecordRouteCountsAsTheServerSawIt) {
  CallScript call;
  Request invite = call.Send({});
  // The same answer on the far side of the gateway, first in time.
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:gw.right;lr>"}});
  call.messages.back().source = *sip::Endpoint::Parse("203.0.113.9:5060");
  call.messages.back().destination = *sip::Endpoint::Parse("203.0.113.1:5060");
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:gw.left;lr>"}});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:gw.left;lr"));
  EXPECT_THAT(call.Only().conflicts, IsEmpty());
}

TEST(CapturePoints, Rule8_7_TheTimerIsTheOneAtTheServersHop) {
  CallScript call;
  Request far = call.Receive({.branch = "z9hG4bKfar"});
  call.messages.back().destination = *sip::Endpoint::Parse("203.0.113.1:5060");
  // A proxy inserts the header on its way.
  Request invite = call.Receive(
      {.extra = "Session-Expires: 600\r\n", .branch = "z9hG4bKnear", .peer = "203.0.113.1:5060"});
  call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 600;refresher=uac\r\n"});
  far.peer = "203.0.113.1:5060";
  call.Reply(far, {.to_tag = "b"});
  call.messages.back().source = *sip::Endpoint::Parse("203.0.113.1:5060");
  call.messages.back().destination = *sip::Endpoint::Parse(kPeer);
  EXPECT_EQ(call.Only().session_timer.interval, std::chrono::seconds(600));
  EXPECT_FALSE(call.Only().session_timer.local_refreshes);
}

TEST(Copies, Rule11_4_AMirroredCopyIsNoSecondMessage) {
  CallScript call;
  call.AnsweredByServer({"<sip:p1;lr>"});
  const DialogState once = call.Only();
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) {
    EXPECT_EQ(folder.Fold(message).result, FoldResult::kFolded);
    sip::CapturedMessage copy = message;
    copy.time += std::chrono::microseconds(120);
    copy.sequence += 100;
    EXPECT_EQ(folder.Fold(copy).result, FoldResult::kDuplicate);
  }
  EXPECT_THAT(folder.Snapshot(call.call_id), ElementsAre(once));
}

TEST(Copies, Rule11_5_RetransmissionsAreOneTransactionWithItsFirstTime) {
  CallScript call;
  call.AnsweredByPeer();
  Request reinvite = call.Send({.cseq = 2, .to_tag = "b"});
  const sip::CapturedMessage first = call.messages.back();
  for (int i = 0; i < 12; ++i) {
    call.messages.push_back(first);
    call.messages.back().time += std::chrono::milliseconds(500 << std::min(i, 4));
    call.messages.back().sequence = call.messages.size();
  }
  const DialogState dialog = call.Only();
  ASSERT_THAT(dialog.open_transactions, SizeIs(1));
  EXPECT_EQ(dialog.open_transactions[0].request.time, first.time);
  EXPECT_EQ(dialog.open_transactions[0].expires_at, first.time + std::chrono::seconds(32));
  EXPECT_THAT(dialog.conflicts, IsEmpty());
}

TEST(Copies, Rule11_5_AnotherTextUnderTheSameKeyIsAConflictThatTheFirstWins) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b"});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:other@203.0.113.66>"});
  const DialogState in_order = call.Only();
  EXPECT_EQ(in_order.remote_target, "sip:phone@198.51.100.7:5060");
  ASSERT_THAT(in_order.conflicts, SizeIs(1));
  EXPECT_EQ(in_order.conflicts[0].message.sequence, 3u);
  // By the time of capture, not by that of arrival.
  std::swap(call.messages[1], call.messages[2]);
  EXPECT_EQ(call.Only(), in_order);
}

TEST(Copies, Rule11_5_AnotherTextOfAnAnswerInTheDialogIsSaid) {
  CallScript call;
  call.AnsweredByPeer();
  const Request update = call.Send({.method = "UPDATE", .cseq = 2, .to_tag = "b"});
  call.Reply(update, {});
  EXPECT_THAT(call.Only().warnings, IsEmpty());
  call.Reply(update, {.contact = "<sip:other@203.0.113.66>"});
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_THAT(call.Only().warnings,
              ElementsAre("two versions of one answer to UPDATE were captured; the earlier one was "
                          "taken"));
}

// Another agent's clock is behind: the 200 is stamped before its INVITE.
TEST(Order, Rule11_7_CauseComesBeforeEffectWhateverTheClocksSay) {
  for (const bool server_called : {true, false}) {
    CallScript call;
    if (server_called) {
      call.AnsweredByPeer({"<sip:p1;lr>"});
    } else {
      call.AnsweredByServer({"<sip:p1;lr>"});
    }
    const DialogState expected = call.Only();
    for (sip::CapturedMessage& message : call.messages) {
      if (message.bytes.find("SIP/2.0 200") == 0) {
        message.time = call.messages[0].time - std::chrono::milliseconds(80);
        message.agent = "elsewhere";
      }
    }
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.role, expected.role);
    EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
    EXPECT_EQ(dialog.local, expected.local);
    EXPECT_EQ(dialog.remote, expected.remote);
    EXPECT_EQ(dialog.local_seq, expected.local_seq);
    EXPECT_EQ(dialog.remote_seq, expected.remote_seq);
    EXPECT_EQ(dialog.route_set, expected.route_set);
    EXPECT_EQ(dialog.remote_target, expected.remote_target);
    EXPECT_EQ(dialog.local_sdp, expected.local_sdp);
    EXPECT_THAT(dialog.open_transactions, IsEmpty());
  }
}

// A call with everything in it: provisional answers, refreshes of both sides, hold, INFO.
CallScript LongCall() {
  CallScript call;
  call.AnsweredByServer({"<sip:198.51.100.7;lr>"});
  const std::vector<std::string> route = {"<sip:198.51.100.7;lr>"};
  Request hold =
      call.Receive({.cseq = 2, .to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "2", "sendonly")});
  call.Reply(hold, {.sdp = Sdp("192.0.2.10", 20000, "2", "recvonly")});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
  Request info = call.Send(call.FromCallee({.method = "INFO", .cseq = 40, .route = route}));
  call.Reply(info, {});
  Request update = call.Receive(
      {.method = "UPDATE", .cseq = 3, .to_tag = "b", .contact = "<sip:phone@198.51.100.7:5070>"});
  call.Reply(update, {});
  Request reinvite = call.Send(call.FromCallee({.cseq = 41,
                                                .uri = "sip:phone@198.51.100.7:5070",
                                                .route = route,
                                                .sdp = Sdp("192.0.2.10", 20000, "3")}));
  call.Reply(reinvite,
             {.contact = "<sip:phone@198.51.100.7:5070>", .sdp = Sdp("198.51.100.7", 30000, "3")});
  call.Send(call.FromCallee(
      {.method = "ACK", .cseq = 41, .uri = "sip:phone@198.51.100.7:5070", .route = route}));
  return call;
}

TEST(Order, Rule11_8_AnyOrderAndAnyRepeatsGiveOneState) {
  const CallScript call = LongCall();
  const DialogState expected = call.Only();
  ASSERT_TRUE(call.Judge().recoverable()) << sip::Explain(expected, call.Judge());
  std::mt19937 random(11);
  for (int round = 0; round < 200; ++round) {
    CallScript mixed = call;
    for (unsigned i = 0; i < random() % 10; ++i) {
      mixed.messages.push_back(call.messages[random() % call.messages.size()]);
    }
    std::shuffle(mixed.messages.begin(), mixed.messages.end(), random);
    ASSERT_EQ(mixed.Only(), expected) << round;
  }
}

TEST(Loss, Rule11_9_WithAnyMessageLostTheStateIsEqualOrNamesWhatIsMissing) {
  const CallScript call = LongCall();
  const DialogState full = call.Only();
  const auto next = sip::NextRequest(full);
  ASSERT_TRUE(next.ok());
  for (std::size_t lost = 0; lost < call.messages.size(); ++lost) {
    CallScript rest = call;
    rest.messages.erase(rest.messages.begin() + static_cast<std::ptrdiff_t>(lost));
    const DialogState dialog = rest.Only();
    SCOPED_TRACE(call.messages[lost].bytes.substr(0, 40) + sip::Explain(dialog, rest.Judge()));
    EXPECT_EQ(dialog.call_id, full.call_id);
    EXPECT_EQ(dialog.local, full.local);
    EXPECT_EQ(dialog.remote, full.remote);
    if (!dialog.IsMissing(sip::Field::kRouteSet)) {
      EXPECT_EQ(dialog.route_set, full.route_set);
    }
    if (!dialog.IsMissing(sip::Field::kRemoteTarget)) {
      EXPECT_EQ(dialog.remote_target, full.remote_target);
    }
    EXPECT_GT(*sip::NextCseq(dialog, {}, dialog.last_seen), *full.local_seq);
    // Nothing of this was the only evidence of what has to be known.
    EXPECT_TRUE(rest.Judge().recoverable());
  }
}

// Within one direction the numbers order the refreshes, not the times.
TEST(Order, Rule11_7_RefreshesOfOneSideAreOrderedByTheirNumbers) {
  CallScript call;
  call.AnsweredByPeer();
  for (const auto& [cseq, port] : {std::pair(7u, "5097"), std::pair(6u, "5096")}) {
    Request refresh =
        call.Receive({.method = "UPDATE",
                      .cseq = cseq,
                      .from_tag = "b",
                      .to_tag = "a",
                      .from = "<sip:bob@example.com>",
                      .to = "<sip:alice@example.com>",
                      .contact = std::string("<sip:phone@198.51.100.7:") + port + ">"});
    call.Reply(refresh, {});
  }
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5097");
}

// The peer's INVITE had opened the call, so that the server's was a re-INVITE, and the peer's
// INVITE that was answered after that was one, too; where it moved to was lost with it.
TEST(Loss, Rule11_9_AnAnswerAfterTheOtherSidesReinviteIsNotThatToTheFirstInvite) {
  CallScript call;
  call.Receive({.record_route = {"<sip:203.0.113.1;lr>"}});
  Request ours = call.FromCallee({.cseq = 70});
  ours.sent = true;
  ours.branch = "z9hG4bKours";
  call.Reply(ours, {.contact = "<sip:moved@198.51.100.7>"});
  Request theirs = {.cseq = 2, .to_tag = "b", .branch = "z9hG4bKtheirs"};
  call.Reply(theirs, {});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.role, DialogRole::kUas);
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kRemoteTarget)) << sip::Explain(dialog, call.Judge());
  EXPECT_THAT(dialog.route_set, ElementsAre("sip:203.0.113.1;lr"));
}

// A proxy brought the INVITE and left the call; without the INVITE nobody knows from where the peer
// speaks. Its ACK of a re-INVITE that was lost, too, is enough to doubt what was before.
TEST(Loss, Rule11_9_WithoutTheInviteAnAckFromElsewhereLeavesTheSessionUnknown) {
  CallScript call;
  Request invite =
      call.Receive({.sdp = Sdp("198.51.100.7", 30000, "1"), .peer = "203.0.113.1:5060"});
  call.messages.pop_back();
  call.Reply(invite, {.to_tag = "b",
                      .sdp = Sdp("192.0.2.10", 20000, "1"),
                      .extra = "Session-Expires: 3600;refresher=uac\r\n"});
  call.Receive({.method = "ACK", .cseq = 3, .to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kLocalSdp));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kRemoteSdp));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kSessionTimer));
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kRemoteTarget));
}

// Of the INVITE itself only the ACK is left; that it was running when the UPDATE was accepted,
// shows by the PRACK, whose number is higher. Its own offer was answered before (RFC 3311 5.1).
TEST(Loss, Rule11_9_WhatAnUpdateAgreedOnWhileItRangOutlivesALostOpening) {
  for (const bool prack_seen : {true, false}) {
    CallScript call;
    const Request prack = call.Send({.method = "PRACK", .cseq = 2, .to_tag = "b"});
    if (!prack_seen) call.messages.clear();
    const Request update = call.Receive({.method = "UPDATE",
                                         .cseq = 6,
                                         .from_tag = "b",
                                         .to_tag = "a",
                                         .sdp = Sdp("198.51.100.7", 30000, "2")});
    call.Reply(update, {.sdp = Sdp("192.0.2.10", 20000, "2")});
    call.Send({.method = "ACK", .cseq = 1, .to_tag = "b"});
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
    EXPECT_EQ(dialog.IsMissing(sip::Field::kLocalSdp), !prack_seen);
    EXPECT_EQ(dialog.IsMissing(sip::Field::kRemoteSdp), !prack_seen);
    // An ACK that brings an answer is another matter: that is newer.
    call.messages.pop_back();
    call.Send({.method = "ACK", .cseq = 1, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "3")});
    EXPECT_EQ(call.Only().local_sdp.origin_version, "3");
  }
}

// Of the server's re-INVITE only the ACK is left: it may have failed, and what an UPDATE within it
// agreed on went with it (RFC 6141 3.7). An UPDATE after it is in force.
TEST(Loss, Rule11_9_WhatAnUpdateAgreedOnWithinAReinviteOfWhichOnlyTheAckIsLeftIsUnknown) {
  for (const bool within : {true, false}) {
    CallScript call;
    call.AnsweredByServer();
    const auto acknowledge = [&call] {
      call.Send(call.FromCallee({.method = "ACK", .cseq = 41, .branch = "z9hG4bKlost"}));
    };
    if (!within) acknowledge();
    const Request update = call.Send(
        call.FromCallee({.method = "UPDATE", .cseq = 43, .sdp = Sdp("192.0.2.10", 20000, "3")}));
    call.Reply(update, {.sdp = Sdp("198.51.100.7", 30000, "3")});
    if (within) acknowledge();
    const DialogState dialog = call.Only();
    SCOPED_TRACE(sip::Explain(dialog, call.Judge()));
    EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
    EXPECT_EQ(dialog.IsMissing(sip::Field::kLocalSdp), within);
    EXPECT_EQ(dialog.IsMissing(sip::Field::kRemoteSdp), within);
    EXPECT_EQ(dialog.IsMissing(sip::Field::kHold), within);
    EXPECT_EQ(dialog.warnings.empty(), !within);
    // Its version was written all the same.
    EXPECT_EQ(dialog.highest_local_sdp_version, "3");
  }
}

// Of an INVITE only the answers are left, under the dialog's own tags: it may have been a
// re-INVITE, and the call goes on. A code that ends either is another matter, and so is another
// tag.
TEST(Loss, Rule11_9_ARefusalWithoutItsInviteMayLeaveTheCallAlive) {
  struct Case {
    int status;
    const char* tag;
    DialogPhase phase;
  };
  for (const bool by_server : {true, false}) {
    for (const Case& one :
         {Case{488, "b", DialogPhase::kUnknown}, Case{404, "b", DialogPhase::kTerminated},
          Case{488, "other", DialogPhase::kTerminated}}) {
      CallScript call;
      const Request invite = {.sent = by_server, .branch = "z9hG4bKlost"};
      call.Reply(invite, {.status = 180, .to_tag = "b"});
      call.Reply(invite, {.status = one.status, .to_tag = one.tag});
      const DialogState dialog = call.Only();
      SCOPED_TRACE(sip::Explain(dialog, call.Judge()));
      EXPECT_EQ(dialog.phase, one.phase);
      const bool unknown = one.phase == DialogPhase::kUnknown;
      EXPECT_EQ(dialog.IsMissing(sip::Field::kPhase), unknown);
      EXPECT_EQ(dialog.end, unknown ? sip::DialogEnd::kNone : sip::DialogEnd::kInviteFailed);
      EXPECT_EQ(dialog.warnings.empty(), !unknown);
    }
  }
}

// The same of a cancelled one: CANCEL has the To of its INVITE (rule 7.3).
TEST(Loss, Rule7_3_ACancelWithinTheDialogEndsNothingWithoutItsInvite) {
  for (const bool within : {true, false}) {
    CallScript call;
    const Request invite = {.cseq = 7, .sent = true, .branch = "z9hG4bKlost"};
    call.Reply(invite, {.status = 180, .to_tag = "b"});
    call.Send({.method = "CANCEL",
               .cseq = 7,
               .to_tag = within ? "b" : "",
               .contact = "-",
               .branch = "z9hG4bKlost"});
    EXPECT_EQ(call.Only().end, within ? sip::DialogEnd::kNone : sip::DialogEnd::kCancelled);
  }
}

// The first INVITE may have been answered, or refused and sent anew: the only 2xx that was captured
// may be that to a re-INVITE, whose Record-Route is none of the dialog's (rule 2.4).
TEST(Loss, Rule11_9_ARecordRouteThatMayBeThatOfAReinviteIsNotBelieved) {
  CallScript call;
  const Request invite = call.Receive({.record_route = {"<sip:p2;lr>", "<sip:p1;lr>"}});
  call.Reply(invite, {.status = 100});
  CallScript lost;
  Request reinvite = lost.Receive({.cseq = 2, .to_tag = "b"});
  reinvite.branch = "z9hG4bKlost";
  call.Reply(reinvite, {.record_route = {"<sip:p1;lr>"}});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kRouteSet));
  // The server's own word says what it is, also when nobody answered.
  const std::vector<sip::CapturedMessage> messages = call.messages;
  call.Send(call.FromCallee({.cseq = 5, .route = {"<sip:p2;lr>", "<sip:p1;lr>"}}));
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p2;lr", "sip:p1;lr"));
  EXPECT_FALSE(call.Only().IsMissing(sip::Field::kRouteSet));
  // Nor is there a doubt when the first one is known to have been refused.
  call.messages = messages;
  call.Receive({.method = "ACK", .to_tag = "refused", .branch = invite.branch});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:p1;lr"));
  // An answer to the first one shows it as well as its request does.
  for (const int status : {100, 183}) {
    call.messages.clear();
    call.Reply(invite, {.status = status, .to_tag = status == 100 ? "" : "b"});
    call.Reply(reinvite, {.record_route = {"<sip:p1;lr>"}});
    EXPECT_TRUE(call.Only().IsMissing(sip::Field::kRouteSet)) << status;
  }
}

// In that case it may have moved the target, too: what the server sent before shows the older one.
TEST(Loss, Rule11_9_ARequestBeforeAnAnswerThatMayBeThatOfAReinviteProvesNoTarget) {
  for (const int status : {200, 183}) {
    CallScript call;
    const Request invite = call.Receive({});
    call.Reply(invite, {.status = 100});
    call.Send(call.FromCallee({.method = "UPDATE", .cseq = 40}));
    const Request reinvite = {.cseq = 3, .to_tag = "b", .branch = "z9hG4bKlost"};
    call.Reply(reinvite, {.status = status, .extra = status == 183 ? "RSeq: 1\r\n" : ""});
    EXPECT_TRUE(call.Only().IsMissing(sip::Field::kRemoteTarget))
        << status << '\n'
        << sip::Explain(call.Only(), call.Judge());
    // What it sent afterwards shows the one that holds.
    const std::vector<sip::CapturedMessage> messages = call.messages;
    call.Send(call.FromCallee({.method = "INFO", .cseq = 41, .uri = "sip:moved@198.51.100.7"}));
    EXPECT_EQ(call.Only().remote_target, "sip:moved@198.51.100.7");
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kRemoteTarget));
    // Nor is there a doubt when the first one is known to have been refused.
    call.messages = messages;
    call.Receive({.method = "ACK", .to_tag = "refused", .branch = invite.branch});
    EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
    EXPECT_FALSE(call.Only().IsMissing(sip::Field::kRemoteTarget));
  }
}

// Each side answered an INVITE, and the requests of both were lost: one of them was a re-INVITE,
// and may have moved the target.
TEST(Loss, Rule11_9_OfTwoAnsweredInvitesWithoutTheirRequestsEitherMayHaveMovedTheTarget) {
  for (const bool server_last : {true, false}) {
    CallScript call;
    const Request ours = {.cseq = 20, .sent = true, .branch = "z9hG4bKours"};
    const Request theirs = {.cseq = 3, .from_tag = "b", .to_tag = "a", .branch = "z9hG4bKtheirs"};
    const Request update = call.Send({.method = "UPDATE", .cseq = 21, .to_tag = "b"});
    call.Reply(update, {});
    if (!server_last) call.Reply(theirs, {});
    call.Reply(ours, {.to_tag = "b", .contact = "<sip:moved@198.51.100.7>"});
    if (server_last) call.Reply(theirs, {});
    const DialogState dialog = call.Only();
    SCOPED_TRACE(sip::Explain(dialog, call.Judge()));
    EXPECT_TRUE(dialog.IsMissing(sip::Field::kRole));
    EXPECT_EQ(dialog.IsMissing(sip::Field::kRemoteTarget), server_last);
    EXPECT_EQ(dialog.remote_target, "sip:moved@198.51.100.7");
  }
}

// Another fork answered the server's INVITE under the From tag that the server now answers under:
// so the server made the call, and the peer's INVITE was a re-INVITE, whose Record-Route is none of
// the dialog's (rule 2.4).
TEST(Loss, Rule11_9_AnotherForkShowsThatTheServerMadeTheCall) {
  CallScript lost;
  const Request invite = lost.Send({});
  const Request reinvite =
      lost.Receive({.cseq = 12, .from_tag = "b", .to_tag = "a", .branch = "z9hG4bKtheirs"});
  for (const bool fork_seen : {true, false}) {
    CallScript call;
    if (fork_seen) {
      call.Reply(invite, {.status = 180, .to_tag = "fork", .record_route = {"<sip:p1;lr>"}});
    }
    call.Reply(reinvite, {.record_route = {"<sip:p2;lr>"}});
    const std::vector<DialogState> dialogs = call.Rebuild();
    const auto dialog = std::find_if(dialogs.begin(), dialogs.end(),
                                     [](const DialogState& one) { return one.remote.tag == "b"; });
    ASSERT_NE(dialog, dialogs.end());
    EXPECT_EQ(dialog->phase, DialogPhase::kConfirmed);
    EXPECT_EQ(dialog->role != DialogRole::kUas, fork_seen);
    EXPECT_EQ(dialog->IsMissing(sip::Field::kRouteSet), fork_seen);
  }
}

// Of the INVITE that was sent anew only the ACK is left. There is one at a time (RFC 3261 14.1), so
// the one before is over, though what refused it was lost.
TEST(Loss, Rule11_9_AnInviteIsOverWhenALaterOneWasAcknowledged) {
  CallScript call;
  const Request refused = call.Send({});
  call.Reply(refused, {.status = 100});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kConfirmed);
  EXPECT_THAT(call.Only().open_transactions, IsEmpty());
}

// The same with the peer as caller, whose ACK counts where the server had a part in its INVITE:
// anybody may send an ACK.
TEST(Loss, Rule11_9_AnInviteOfThePeerIsOverWhenALaterOneThatTheServerTookWasAcknowledged) {
  CallScript call;
  const Request refused = call.Receive({});
  call.Reply(refused, {.status = 100});
  call.Reply({.cseq = 2, .branch = "z9hG4bKlost"}, {.status = 100});
  call.Receive({.method = "ACK", .cseq = 2, .to_tag = "b"});
  EXPECT_EQ(call.Only().phase, DialogPhase::kConfirmed);
  EXPECT_THAT(call.Only().open_transactions, IsEmpty());
}

// The peer sent it anew, which was refused as well; the one that was answered was lost.
TEST(Loss, Rule11_9_AnInviteIsOverWhenItWasSentAnew) {
  CallScript call;
  const Request first = call.Receive({});
  call.Reply(first, {.status = 100});
  const Request second = call.Receive({.cseq = 2});
  call.Reply(second, {.status = 302, .to_tag = "refused"});
  const Request info = call.Receive({.method = "INFO", .cseq = 4, .to_tag = "b"});
  call.Reply(info, {});
  EXPECT_THAT(call.Only().open_transactions, IsEmpty());
}

// A copy of the INVITE came by another path and was refused for that (rule 1.9). The ACK has
// neither the branch nor the To tag of the refusal, so it is not for it.
TEST(Loss, Rule1_9_AnAckIsNotThatOfAMergedCopyWithAnotherTag) {
  CallScript call;
  const Request merged = call.Receive({});
  call.Reply(merged, {.status = 482, .to_tag = "merged"});
  call.Receive({.method = "ACK", .to_tag = "b"});
  const Request bye = call.Send(call.FromCallee({.method = "INFO", .cseq = 9}));
  call.Reply(bye, {});
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kSessionTimer));
}

// The phone speaks for itself for the first time, behind a proxy that left, and gave no address.
TEST(LostMessages, Rule8_1_AnAckFromAHostThatNothingNamesLeavesTheTimerOfALost2xxUnknown) {
  CallScript call;
  const Request invite =
      call.Receive({.contact = "<sip:phone@phone.example.net>", .peer = "203.0.113.1:5060"});
  call.Reply(invite, {.status = 180, .to_tag = "b"});
  call.Receive({.method = "ACK", .to_tag = "b", .branch = "z9hG4bKack"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
  EXPECT_TRUE(dialog.IsMissing(sip::Field::kSessionTimer));
}

}  // namespace
}  // namespace sipheal::testing
