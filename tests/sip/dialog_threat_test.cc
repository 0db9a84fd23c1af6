// SPDX-License-Identifier: Apache-2.0
// Rules 11.x and 12.x: several capture points, loss, forgeries, floods.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/built_reinvite.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogPhase;
using sip::DialogState;
using sip::VerdictToken;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

TEST(CapturePoints, Rule11_1_TheCopyNextToTheServerCounts) {
  CallScript call;
  Request outer = call.Receive({.branch = "z9hG4bKouter"});
  call.messages.back().destination = *sip::Endpoint::Parse("203.0.113.1:5060");  // the proxy
  Request inner = call.Receive({.record_route = {"<sip:203.0.113.1;lr>"},
                                .branch = "z9hG4bKinner",
                                .peer = "203.0.113.1:5060"});
  call.Reply(inner, {.to_tag = "b"});
  EXPECT_THAT(call.Only().route_set, ElementsAre("sip:203.0.113.1;lr"));
}

TEST(CapturePoints, Rule11_3_PortsTellProgramsOnOneAddressApart) {
  CallScript call;
  call.server.addresses[0].ip = *sip::IpAddress::Parse("127.0.0.1");
  call.AnsweredByPeer();
  for (sip::CapturedMessage& message : call.messages) {
    for (sip::Endpoint* end : {&message.source, &message.destination}) {
      const bool is_server = *end == *sip::Endpoint::Parse(kServer);
      *end = *sip::Endpoint::Parse(is_server ? "127.0.0.1:5060" : "127.0.0.1:5080");
    }
  }
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local.tag, "a");
  EXPECT_EQ(dialog.role, sip::DialogRole::kUac);
}

TEST(CapturePoints, Rule11_6_AnAgentWithoutAddressesIsReadByItsVia) {
  CallScript call;
  call.agent = "asterisk-a";
  call.server.agents = {"asterisk-a"};
  call.AnsweredByPeer();
  for (sip::CapturedMessage& message : call.messages) {
    message.source = message.destination = *sip::Endpoint::Parse("0.0.0.0:0");
  }
  call.messages[0].source = sip::Endpoint{};
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local.tag, "a");
  EXPECT_EQ(dialog.role, sip::DialogRole::kUac);
}

TEST(CapturePoints, HepMayReportAnotherPortOfTheServer) {
  CallScript call;
  call.agent = "asterisk-a";
  call.server.agents = {"asterisk-a"};
  call.server.addresses[0].port = 5070;
  call.AnsweredByPeer();
  EXPECT_EQ(call.Only().role, sip::DialogRole::kUac);
}

TEST(CapturePoints, Rule11_12_AnAnswerForSomebodyElseIsIgnored) {
  CallScript call;
  Request invite = call.Send({});
  invite.via_host = "203.0.113.255:5060";
  invite.branch = "z9hG4bKother";
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_THAT(call.Rebuild(), IsEmpty());
}

TEST(CapturePoints, Rule12_12_TheServersOwnAgentOverrulesAnother) {
  CallScript call;
  call.agent = "asterisk-a";
  call.server.agents = {"asterisk-a"};
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:evil@203.0.113.66>"});
  call.messages.back().agent = "elsewhere";
  call.Reply(invite, {.to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_THAT(dialog.conflicts, Not(IsEmpty()));
}

TEST(Order, F91_EqualTimesInAnyOrderGiveOneState) {
  CallScript call;
  call.step_us = 0;
  call.AnsweredByServer({"<sip:p1;lr>"});
  const DialogState expected = call.Only();
  std::reverse(call.messages.begin(), call.messages.end());
  EXPECT_EQ(call.Only(), expected);
}

TEST(Threat, Rule12_1_ARefreshThatTheServerRefusedMovesNothing) {
  CallScript call;
  call.AnsweredByPeer();
  Request forged = call.Receive({.cseq = 3,
                                 .from_tag = "b",
                                 .to_tag = "a",
                                 .contact = "<sip:evil@203.0.113.66>",
                                 .peer = "203.0.113.66:5060"});
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(call.Only().pending_remote_target, "");
  call.Reply(forged, {.status = 481});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_THAT(dialog.conflicts, Not(IsEmpty()));
  EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
}

TEST(Threat, Rule12_2_AByeFromElsewhereEndsNothingUnlessTheServerAgreed) {
  CallScript call;
  call.AnsweredByPeer();
  Request bye = call.Receive(
      {.method = "BYE", .cseq = 2, .from_tag = "b", .to_tag = "a", .peer = "203.0.113.66:5060"});
  EXPECT_TRUE(call.Judge().recoverable());
  EXPECT_EQ(call.Only().quarantined, 1u);
  call.Reply(bye, {});
  EXPECT_EQ(call.Judge().token, VerdictToken::kEnded);
}

// Whoever can send to the server can write its own address into the packet as the source; and a
// CANCEL goes where its INVITE went (RFC 3261 9.1).
TEST(Threat, Rule12_6_ACancelThatDidNotGoWhereItsInviteWentEndsNothing) {
  for (const char* to : {kServer, "203.0.113.66:5060"}) {
    for (const bool by_server : {true, false}) {
      CallScript call;
      Request invite = by_server ? call.Send({}) : call.Receive({});
      call.Reply(invite, {.status = 180, .to_tag = "b"});
      const DialogState before = call.Only();
      Request cancel = invite;
      cancel.method = "CANCEL";
      cancel.via_host = by_server ? kServer : kPeer;
      cancel.peer = to;
      by_server ? call.Send(cancel) : call.Receive(cancel);
      const DialogState dialog = call.Only();
      EXPECT_EQ(dialog.end, sip::DialogEnd::kNone) << to;
      EXPECT_EQ(call.Judge().token, VerdictToken::kEarly) << to;
      EXPECT_EQ(dialog.quarantined, before.quarantined + 1) << to;
      // The real one, and another that somebody sent before it.
      cancel.peer = kPeer;
      by_server ? call.Send(cancel) : call.Receive(cancel);
      call.Reply(cancel, {.to_tag = "c"});
      EXPECT_EQ(call.Only().end, sip::DialogEnd::kCancelled) << to;
    }
  }
}

// The calls of two servers that are both ours have two dialogs each, one for each end.
TEST(Threat, Rule12_6_TwoServersThatCallEachOtherHaveADialogEach_F56) {
  const std::string other = "192.0.2.20:5060";
  const std::string target = "sip:asterisk@" + other;
  for (const bool invite_lost : {false, true}) {
    CallScript call;
    const sip::Endpoint endpoint = *sip::Endpoint::Parse(other);
    call.server.addresses.push_back({endpoint.ip, endpoint.port, sip::Transport::kUnknown});
    const Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1"), .peer = other});
    if (invite_lost) call.messages.clear();
    call.Reply(
        invite,
        {.to_tag = "b", .contact = '<' + target + '>', .sdp = Sdp("192.0.2.20", 30000, "1")});
    call.Send({.method = "ACK", .to_tag = "b", .uri = target, .peer = other});
    const std::vector<DialogState> dialogs = call.Rebuild();
    ASSERT_THAT(dialogs, SizeIs(2));
    for (const DialogState& dialog : dialogs) {
      const bool caller = dialog.local.tag == "a";
      EXPECT_EQ(dialog.remote.tag, caller ? "b" : "a");
      EXPECT_EQ(dialog.role, caller ? sip::DialogRole::kUac : sip::DialogRole::kUas);
      if (caller || !invite_lost) {
        EXPECT_EQ(dialog.remote_target, caller ? target : "sip:asterisk@" + std::string(kServer));
        EXPECT_TRUE(sip::Judge(dialog).recoverable()) << sip::Explain(dialog, sip::Judge(dialog));
      }
    }
    const Request bye =
        call.Receive({.method = "BYE", .cseq = 1, .from_tag = "b", .to_tag = "a", .peer = other});
    call.Reply(bye, {});
    for (const DialogState& dialog : call.Rebuild()) {
      EXPECT_EQ(dialog.end,
                dialog.local.tag == "a" ? sip::DialogEnd::kByeAnswered : sip::DialogEnd::kByeSent);
    }
  }
}

// Under that number the server cannot accept another (RFC 3261 12.2.2), and the ACK is for the one
// that it did.
TEST(Threat, Rule12_1_AReinviteUnderTheNumberOfOneThatWasAcceptedMovesNothing) {
  const Request refresh{
      .cseq = 3, .from_tag = "b", .to_tag = "a", .contact = "<sip:moved@198.51.100.7>"};
  Request forged = refresh;
  forged.contact = "<sip:evil@203.0.113.66>";
  for (const bool forged_first : {true, false}) {
    CallScript call;
    call.AnsweredByPeer();
    if (forged_first) call.Receive(forged);
    const Request real = call.Receive(refresh);
    call.Reply(real, {});
    call.Receive({.method = "ACK", .cseq = 3, .from_tag = "b", .to_tag = "a"});
    if (!forged_first) call.Receive(forged);
    const DialogState dialog = call.Only();
    EXPECT_EQ(dialog.remote_target, "sip:moved@198.51.100.7");
    EXPECT_EQ(dialog.pending_remote_target, "");
    EXPECT_THAT(dialog.open_transactions, IsEmpty());
    EXPECT_GE(dialog.quarantined, 1u);
    EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(dialog, call.Judge());
  }
}

// Of two under one number, neither of which the server is seen to have answered, nobody can tell
// which the ACK is for.
TEST(Threat, Rule12_1_OfTwoReinvitesUnderOneNumberNeitherIsTakenWithoutTheServersAnswer) {
  CallScript call;
  call.AnsweredByPeer();
  for (const char* contact : {"<sip:moved@198.51.100.7>", "<sip:evil@203.0.113.66>"}) {
    call.Receive({.cseq = 3, .from_tag = "b", .to_tag = "a", .contact = contact});
  }
  EXPECT_EQ(call.Only().pending_remote_target, "");
  EXPECT_EQ(call.Only().remote_target, "sip:phone@198.51.100.7:5060");
  call.Receive({.method = "ACK", .cseq = 3, .from_tag = "b", .to_tag = "a"});
  EXPECT_TRUE(call.Only().IsMissing(sip::Field::kRemoteTarget));
  EXPECT_EQ(call.Judge().token, VerdictToken::kIncomplete);
}

TEST(Threat, Rule12_2_APlainMessageInATlsDialogIsOffPath) {
  CallScript call;
  call.transport = sip::Transport::kTls;
  call.AnsweredByPeer({"<sip:198.51.100.7;transport=tls;lr>"});
  call.Receive({.method = "BYE", .cseq = 2, .from_tag = "b", .to_tag = "a"});
  call.messages.back().transport = sip::Transport::kUdp;
  EXPECT_TRUE(call.Judge().recoverable()) << sip::Explain(call.Only(), call.Judge());
}

TEST(Threat, Rule12_3_ASecond2xxWithOtherRoutesIsIgnored) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b"});
  call.Reply(invite, {.to_tag = "b", .record_route = {"<sip:evil;lr>"}});
  call.Send({.method = "ACK", .to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_THAT(dialog.route_set, IsEmpty());
  EXPECT_THAT(dialog.conflicts, Not(IsEmpty()));
}

TEST(Threat, Rule12_4_AnAnswerWithAnUnknownBranchIsIgnored) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite,
             {.to_tag = "x", .contact = "<sip:evil@203.0.113.66>", .branch = "z9hG4bKguess"});
  EXPECT_THAT(call.Rebuild(), IsEmpty());
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_EQ(call.Only().remote.tag, "b");
}

TEST(Threat, Rule12_5_AnUnansweredHugeCseqOfThePeerIsNotTaken) {
  CallScript call;
  call.AnsweredByPeer();
  call.Receive({.method = "INFO", .cseq = 2147483000, .from_tag = "b", .to_tag = "a"});
  EXPECT_EQ(call.Only().remote_seq, std::nullopt);
  EXPECT_THAT(call.Only().conflicts, Not(IsEmpty()));
}

TEST(Threat, Rule12_6_AnUnansweredHugeCseqOfTheServerIsFlagged) {
  CallScript call;
  call.AnsweredByPeer();
  Request info = call.Send({.method = "INFO", .cseq = 3, .to_tag = "b"});
  call.Reply(info, {});
  call.Send({.method = "INFO", .cseq = 2147483646, .to_tag = "b"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local_seq, 3u);
  EXPECT_THAT(dialog.conflicts, SizeIs(1));
  EXPECT_EQ(*sip::NextCseq(dialog, {.capture_is_complete = true}, {}), 4u);
}

TEST(Threat, Rule12_7_TrafficAfterAnOffPathByeShowsThatTheCallLives) {
  CallScript call;
  call.AnsweredByPeer();
  call.Receive(
      {.method = "BYE", .cseq = 99, .from_tag = "b", .to_tag = "a", .peer = "203.0.113.66:5060"});
  Request info = call.Receive({.method = "INFO", .cseq = 5, .from_tag = "b", .to_tag = "a"});
  call.Reply(info, {});
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(Threat, Rule12_8_TargetsOutsideOfTheDialogAreRefused_F99) {
  struct Case {
    const char* contact;
    bool allowed;
  };
  for (const Case& c :
       {Case{"<sip:x@127.0.0.1:5060>", false}, Case{"<sip:x@198.51.100.7:25>", false},
        Case{"<sip:x@224.0.0.1>", false}, Case{"<sip:x@169.254.1.1>", false},
        Case{"<sip:x@255.255.255.255>", false}, Case{"<sip:x@0.0.0.0>", false},
        Case{"<sip:x@203.0.113.66>", false}, Case{"<sip:x@198.51.100.7;maddr=127.0.0.1>", false},
        Case{"<sip:x@[::1]:5060>", false}, Case{"<sip:x@198.51.100.7:5999>", true},
        // What is no address here is one to a resolver.
        Case{"<sip:x@localhost>", false}, Case{"<sip:x@phone.LocalHost.:5060>", false},
        Case{"<sip:x@127.1>", false}, Case{"<sip:x@2130706433>", false},
        Case{"<sip:x@0x7f000001>", false}, Case{"<sip:x@phone.example.com>", true},
        Case{"<sip:x@phone.example.com;maddr=127.1>", false}, Case{"<sip:x@phone>", true}}) {
    CallScript call;
    Request invite = call.Receive({.contact = c.contact});
    call.Reply(invite, {.to_tag = "b"});
    EXPECT_EQ(call.Judge().recoverable(), c.allowed) << c.contact;
    if (!c.allowed) {
      EXPECT_EQ(call.Judge().token, VerdictToken::kRefused) << c.contact;
    }
  }
}

// RFC 3261 24.2: the proxy left the call, and the ACK comes from where the Contact said.
TEST(Threat, Rule12_8_OnlyTheAckOfTheAnsweredInviteShowsThatTheContactIsPartOfTheDialog_F99) {
  struct Case {
    const char* from;
    unsigned cseq;
    bool allowed;
  };
  for (const Case& c : {Case{"203.0.113.9:5060", 1, true}, Case{"203.0.113.66:5060", 1, false},
                        Case{"203.0.113.9:5060", 2, false}}) {
    CallScript call;
    Request invite = call.Receive({.contact = "<sip:x@203.0.113.9:5060>"});
    call.Reply(invite, {.to_tag = "b"});
    call.Receive({.method = "ACK", .cseq = c.cseq, .to_tag = "b", .peer = c.from});
    EXPECT_EQ(call.Judge().recoverable(), c.allowed) << c.from << " " << c.cseq << "\n"
                                                     << sip::Explain(call.Only(), call.Judge());
  }
}

TEST(Threat, Rule12_8_AllowTargetsOpensANetworkAndDenyTargetsClosesOne) {
  CallScript call;
  Request invite = call.Receive({.contact = "<sip:x@127.0.0.1:5070>"});
  call.Reply(invite, {.to_tag = "b"});
  sip::VerdictOptions options;
  options.targets.allow_targets = {"127.0.0.0/8"};
  EXPECT_TRUE(call.Judge(options).recoverable());
  options.targets.deny_targets = {"127.0.0.0/8"};
  EXPECT_EQ(call.Judge(options).token, VerdictToken::kRefused);
  CallScript named;
  Request other = named.Receive({.contact = "<sip:x@localhost:5070>"});
  named.Reply(other, {.to_tag = "b"});
  options.targets.deny_targets.clear();
  EXPECT_TRUE(named.Judge(options).recoverable());
}

TEST(Threat, Rule12_9_UnsafeBytesAreNoEvidence) {
  CallScript call;
  Request invite = call.Receive({.from = std::string("\"a\rRoute: evil\" <sip:a@x>")});
  call.Reply(invite, {.to_tag = "b"});
  EXPECT_THAT(call.Rebuild(), IsEmpty());
}

TEST(Threat, Rule12_9_ADisplayNameCannotPassForAUri) {
  for (const char* from : {"\"Bob\x01sip:evil@203.0.113.66\x01;x=\" <sip:alice@example.com>",
                           "Bob\x01sip:evil@203.0.113.66\x01 <sip:alice@example.com>",
                           "<sip:alice@example.com>;x=\"\x01sip:evil@203.0.113.66\x01\""}) {
    CallScript call;
    Request invite = call.Receive({.from = from});
    call.Reply(invite, {.to_tag = "b"});
    EXPECT_THAT(call.Rebuild(), IsEmpty()) << from;
  }
}

TEST(Threat, Rule12_10_AFloodOfForgedTagsLeavesTheRealDialog) {
  CallScript call;
  Request invite = call.Send({});
  sip::DialogFolder folder(call.server);
  call.Reply(invite, {.status = 180, .to_tag = "b"});
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  const std::size_t before = folder.size_bytes();
  for (int i = 0; i < 20'000; ++i) {
    CallScript flood = call;
    flood.messages.clear();
    flood.Reply(invite, {.status = 180, .to_tag = "forged" + std::to_string(i)});
    folder.Fold(flood.messages[0]);
  }
  EXPECT_LT(folder.size_bytes(), before + 96 * 1024);
  CallScript rest = call;
  rest.messages.clear();
  rest.Reply(invite, {.to_tag = "b"});
  rest.Send({.method = "ACK", .to_tag = "b"});
  for (const sip::CapturedMessage& message : rest.messages) folder.Fold(message);
  bool alive = false;
  for (const DialogState& dialog : folder.Snapshot(call.call_id)) {
    if (dialog.remote.tag == "b") alive = sip::Judge(dialog).recoverable();
  }
  EXPECT_TRUE(alive);
}

TEST(Threat, Rule12_10_AFloodOfForgedRequestsLeavesTheRealDialog) {
  CallScript call;
  call.AnsweredByServer();
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  for (unsigned i = 0; i < 5'000; ++i) {
    CallScript flood = call;
    flood.messages.clear();
    flood.Receive(
        {.method = "INFO", .cseq = 1000 + i, .to_tag = "b", .branch = "z" + std::to_string(i)});
    flood.messages[0].time += std::chrono::seconds(1);
    folder.Fold(flood.messages[0]);
  }
  EXPECT_LT(folder.size_bytes(), 256u * 1024);
  const std::vector<DialogState> dialogs = folder.Snapshot(call.call_id);
  ASSERT_THAT(dialogs, SizeIs(1));
  EXPECT_EQ(dialogs[0].remote_seq, 1u);
  EXPECT_TRUE(sip::Judge(dialogs[0]).recoverable());
}

TEST(Threat, Rule12_10_ACallThatSpeaksOfManyOthersCostsNoMoreThanItsMessages) {
  CallScript call;
  call.call_id = std::string(20'000, 'i');
  call.AnsweredByServer();
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  for (unsigned i = 0; i < 300; ++i) {
    CallScript flood = call;
    flood.messages.clear();
    const std::string n = std::to_string(i);
    flood.Receive({.method = "NOTIFY",
                   .cseq = 1000 + i,
                   .to_tag = "b",
                   .extra = "Event: dialog\r\nContent-Type: application/dialog-info+xml\r\n",
                   .branch = "z9hG4bKforged" + n});
    std::string body;
    for (int dialog = 0; dialog < 8; ++dialog) {
      body += "<dialog id=\"1\" call-id=\"" + n + "-" + std::to_string(dialog) +
              "\" local-tag=\"x\" remote-tag=\"y\"></dialog>";
    }
    std::string& bytes = flood.messages[0].bytes;
    bytes.replace(bytes.find("Content-Length: 0"), 17,
                  "Content-Length: " + std::to_string(body.size()));
    bytes += body;
    folder.Fold(flood.messages[0]);
  }
  EXPECT_LT(folder.size_bytes(), 256u * 1024);
}

TEST(Threat, Rule12_11_NewTagsAfterAnEndAreANewDialog) {
  CallScript call;
  call.AnsweredByPeer();
  Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
  call.Reply(bye, {});
  Request again = call.Send({.from_tag = "a2", .branch = "z9hG4bKagain"});
  call.Reply(again, {.to_tag = "b2"});
  const std::vector<DialogState> dialogs = call.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  EXPECT_EQ(sip::Judge(dialogs[0]).token, VerdictToken::kEnded);
  EXPECT_TRUE(sip::Judge(dialogs[1]).recoverable());
}

// An old capture under the Call-ID of a call that is up: its times show how old it is.
TEST(Threat, Rule12_11_AReplayFromYesterdayIsADialogOfItsOwnAndStale) {
  CallScript old;
  old.AnsweredByPeer();
  CallScript live;
  live.Wait(24 * 3600);
  const Request invite = live.Send({.from_tag = "a2", .branch = "z9hG4bKlive"});
  live.Reply(invite, {.to_tag = "b2"});
  const DialogState alone = live.Only();
  std::copy(old.messages.begin(), old.messages.end(), std::back_inserter(live.messages));
  const std::vector<DialogState> dialogs = live.Rebuild();
  ASSERT_THAT(dialogs, SizeIs(2));
  const sip::VerdictOptions crash{.now = alone.last_seen, .max_silence = std::chrono::hours(1)};
  EXPECT_EQ(sip::Judge(dialogs[0], crash).token, VerdictToken::kExpired);
  EXPECT_EQ(dialogs[1], alone);
  EXPECT_TRUE(sip::Judge(dialogs[1], crash).recoverable());
}

TEST(Threat, Rule12_13_CredentialsThatAnswerNoChallengeAreNoted) {
  for (const bool issued : {true, false}) {
    CallScript call;
    Request first = call.Send({});
    call.Reply(first, {.status = 407,
                       .to_tag = "p",
                       .extra = std::string("Proxy-Authenticate: Digest realm=\"a, b\", nonce=\"") +
                                (issued ? "n1" : "n2") + "\", qop=\"auth\"\r\n"});
    call.Send({.method = "ACK", .to_tag = "p", .branch = first.branch});
    Request second = call.Send(
        {.cseq = 2,
         .extra = "Proxy-Authorization: Digest username=\"alice\", realm=\"a, b\", nonce=\"n1\", "
                  "response=\"0123456789abcdef0123456789abcdef\"\r\n"});
    call.Reply(second, {.to_tag = "b"});
    call.Send({.method = "ACK", .cseq = 2, .to_tag = "b"});
    EXPECT_THAT(call.Only().warnings, SizeIs(issued ? 0 : 1));
    EXPECT_TRUE(call.Judge().recoverable());
    // What was captured is not sent again.
    const auto text =
        BuildReinvite(call.Only(), {.contact = "sip:n@192.0.2.11", .via_sent_by = "192.0.2.11"});
    ASSERT_TRUE(text.ok());
    EXPECT_THAT(*text, Not(::testing::HasSubstr("uthorization")));
  }
}

TEST(Threat, Rule12_14_WhatAMaliciousPeerPointsToIsNotFollowed) {
  CallScript call;
  call.AnsweredByPeer();
  const DialogState before = call.Only();
  Request refer = call.Receive({.method = "REFER",
                                .cseq = 2,
                                .from_tag = "b",
                                .to_tag = "a",
                                .extra = "Refer-To: <sip:evil@203.0.113.66?Replaces=x%40y>\r\n"});
  call.Reply(refer, {.status = 202});
  Request takeover = call.Send({.cseq = 1002, .to_tag = "b"});
  call.Reply(takeover, {.status = 302, .extra = "Contact: <sip:evil@203.0.113.66>\r\n"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.remote_target, before.remote_target);
  EXPECT_THAT(dialog.redirect_targets, ElementsAre("sip:evil@203.0.113.66"));
  const auto text =
      BuildReinvite(dialog, {.contact = "sip:n@192.0.2.11", .via_sent_by = "192.0.2.11"});
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text, Not(::testing::HasSubstr("evil")));
  EXPECT_THAT(dialog.seen_hosts, Not(::testing::Contains(*sip::IpAddress::Parse("203.0.113.66"))));
}

// Keys, digests and nonces are in the messages; they are not in what is kept, stored or told.
TEST(Threat, Rule12_15_NoSecretOfAMessageIsKeptOrTold) {
  const std::string key = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
  const std::string response = "6629fae49393a05397450978507c4ef1";
  const std::string nonce = "dcd98b7102dd2f0e8b11d0f600bfb0c093";
  CallScript call;
  Request first = call.Send({});
  call.Reply(first, {.status = 401,
                     .to_tag = "p",
                     .extra = "WWW-Authenticate: Digest realm=\"r\", nonce=\"" + nonce + "\"\r\n"});
  Request invite = call.Send({.cseq = 2,
                              .sdp = Sdp("192.0.2.10", 20000, "1") +
                                     "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key + "\r\n",
                              .extra = "Authorization: Digest username=\"u\", nonce=\"" + nonce +
                                       "\", response=\"" + response + "\"\r\n"});
  call.Reply(invite,
             {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1") + "a=ice-pwd:" + key + "\r\n"});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b"});
  const DialogState dialog = call.Only();
  ASSERT_TRUE(dialog.media_security.sdes);
  const std::string told = sip::Explain(dialog, call.Judge()) +
                           sip::Ladder(call.messages, call.server) + sip::EncodeDialog(dialog);
  for (const std::string& secret : {key, response, nonce}) {
    EXPECT_THAT(told, Not(::testing::HasSubstr(secret)));
  }
  for (const std::string& reason : call.Judge().reasons) {
    EXPECT_THAT(reason, Not(::testing::HasSubstr("alice"))) << "no parties in what is logged";
  }
}

TEST(Folder, AnEndedCallLeavesATombstoneThatALateMessageDoesNotRaise) {
  CallScript call;
  call.AnsweredByPeer();
  Request bye = call.Send({.method = "BYE", .cseq = 2, .to_tag = "b"});
  call.Reply(bye, {});
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) {
    EXPECT_EQ(folder.Fold(message).result, sip::FoldResult::kFolded);
    EXPECT_EQ(folder.Fold(message).result, sip::FoldResult::kDuplicate);
  }
  const sip::CaptureTime end = call.messages.back().time;
  EXPECT_EQ(folder.Sweep(end + std::chrono::seconds(10)), 0u);
  EXPECT_EQ(folder.Sweep(end + std::chrono::seconds(40)), 1u);
  EXPECT_THAT(folder.Snapshot(call.call_id), IsEmpty());
  ASSERT_TRUE(folder.FindTombstone(call.call_id).has_value());
  EXPECT_EQ(folder.FindTombstone(call.call_id)->end, sip::DialogEnd::kByeSent);
  EXPECT_EQ(folder.Fold(call.messages[3]).result, sip::FoldResult::kTombstone);
  folder.Sweep(end + std::chrono::seconds(1000));
  EXPECT_EQ(folder.tombstone_count(), 0u);
}

TEST(Folder, IgnoresWhatIsNoCall) {
  CallScript call;
  sip::DialogFolder folder(call.server);
  Request options = call.Send({.method = "OPTIONS"});
  call.Reply(options, {.to_tag = "x"});
  Request registration = call.Receive({.method = "REGISTER", .from_tag = "r"});
  call.Reply(registration, {.to_tag = "y"});
  for (const sip::CapturedMessage& message : call.messages) {
    EXPECT_EQ(folder.Fold(message).result, sip::FoldResult::kIgnored);
  }
  EXPECT_EQ(folder.call_count(), 0u);
}

TEST(Folder, AQuietCallShrinksAndKeepsItsState) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned cseq = 2; cseq < 60; ++cseq) {
    Request info =
        call.Send({.method = cseq % 3 == 0 ? "INVITE" : "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {});
    if (cseq % 3 == 0) call.Send({.method = "ACK", .cseq = cseq, .to_tag = "b"});
  }
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  const std::vector<DialogState> before = folder.Snapshot(call.call_id);
  const std::size_t size = folder.size_bytes();
  folder.Sweep(call.messages.back().time + std::chrono::seconds(60));
  const std::vector<DialogState> after = folder.Snapshot(call.call_id);
  ASSERT_THAT(before, SizeIs(1));
  ASSERT_THAT(after, SizeIs(1));
  EXPECT_LT(folder.size_bytes(), size / 2);
  EXPECT_EQ(after[0].local_seq, before[0].local_seq);
  EXPECT_EQ(after[0].remote_target, before[0].remote_target);
  EXPECT_EQ(after[0].route_set, before[0].route_set);
  EXPECT_EQ(sip::Judge(after[0]).token, sip::Judge(before[0]).token);
  // A late copy of something that was dropped changes nothing.
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  const std::vector<DialogState> late = folder.Snapshot(call.call_id);
  ASSERT_THAT(late, SizeIs(1));
  EXPECT_EQ(late[0].local_seq, before[0].local_seq);
  EXPECT_EQ(late[0].remote_target, before[0].remote_target);
}

// Rule 1.6: each fork is a dialog of its own.
TEST(Folder, Rule1_6_WhatOneForkDidDoesNotMakeAnotherSeenLaterWhenTheCallShrinks) {
  CallScript call;
  Request invite = call.Send({});
  call.Reply(invite, {.to_tag = "b"});
  call.Reply(invite, {.to_tag = "c"});
  call.Send({.method = "ACK", .to_tag = "b"});
  call.Send({.method = "ACK", .to_tag = "c"});
  for (unsigned cseq = 2; cseq < 60; ++cseq) {
    call.Reply(call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"}), {});
  }
  sip::DialogFolder folder(call.server);
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  const auto last_seen = [&] {
    std::map<std::string, sip::CaptureTime> times;
    for (const DialogState& dialog : folder.Snapshot(call.call_id)) {
      times[dialog.remote.tag] = dialog.last_seen;
    }
    return times;
  };
  const auto before = last_seen();
  ASSERT_THAT(before, SizeIs(2));
  ASSERT_EQ(folder.Sweep(call.messages.back().time + std::chrono::seconds(60)), 0u);
  EXPECT_EQ(last_seen(), before);
}

TEST(Threats, Rule12_6_AForgedFirstRequestOfTheServerUsesUpNoNumbers) {
  CallScript call;
  call.AnsweredByServer();
  call.Send(call.FromCallee({.method = "INFO", .cseq = 2147483646}));
  const sip::DialogState dialog = call.Only();
  EXPECT_FALSE(dialog.local_seq.has_value());
  EXPECT_TRUE(call.Judge().recoverable());
}

TEST(Threats, Rule12_2_AForgedRequestOfTheServerMakesNoPathForAForgedBye) {
  CallScript call;
  call.AnsweredByServer();
  Request forged = call.FromCallee({.method = "INFO", .cseq = 2});
  forged.peer = "6.6.6.6:5060";
  call.Send(forged);
  call.Receive({.method = "BYE", .cseq = 9, .to_tag = "b", .peer = "6.6.6.6:5060"});
  EXPECT_EQ(call.Only().end, sip::DialogEnd::kNone);
  EXPECT_TRUE(call.Judge().recoverable());
}

// What nobody answered and has a number far above the others, from either side, is no clock, no
// word of the server on the target or the hop, and no sign that somebody went on.
TEST(Threats, Rule12_6_AForgedRequestWithAHugeNumberHidesNoAckAndMovesNothing) {
  CallScript call;
  const Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
  call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1")});
  const DialogState before = call.Only();
  ASSERT_THAT(before.open_transactions, SizeIs(1));
  call.Send({.method = "INFO", .cseq = 2'147'400'000, .to_tag = "b", .uri = "sip:evil@6.6.6.6"});
  call.Receive({.method = "INFO", .cseq = 2'147'483'000, .from_tag = "b", .to_tag = "a"});
  // It makes another forged message no better, either.
  call.Receive({.cseq = 7,
                .from_tag = "b",
                .to_tag = "a",
                .contact = "<sip:evil@6.6.6.6>",
                .peer = "6.6.6.6:5060"});
  call.Send({.method = "INFO",
             .cseq = 2'147'400'001,
             .to_tag = "b",
             .uri = "sip:evil@6.6.6.6",
             .peer = "6.6.6.6:5060"});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.open_transactions, before.open_transactions);
  EXPECT_EQ(dialog.deadline, before.deadline);
  EXPECT_EQ(dialog.remote_target, before.remote_target);
  EXPECT_EQ(dialog.next_hop, before.next_hop);
}

}  // namespace
}  // namespace sipheal::testing
