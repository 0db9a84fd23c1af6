// SPDX-License-Identifier: Apache-2.0
// Rules 7.6, 7.8 and 11.10: what dialogs say of each other.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "sip/dialog_info.h"
#include "sipheal/sip/explain.h"
#include "sipheal/sip/link_legs.h"
#include "sipheal/sip/next_request.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using sip::Field;
using sip::VerdictToken;
using std::chrono::seconds;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// Everything that was captured, as one stream and as a folder sees it.
struct Capture {
  sip::ServerIdentity server = CallScript().server;
  std::vector<sip::CapturedMessage> messages;

  void Add(const CallScript& call) {
    for (const sip::CapturedMessage& message : call.messages) {
      messages.push_back(message);
      messages.back().sequence = messages.size();
    }
  }
  // The only dialog of the call; by Rebuild and by a folder, which must agree.
  DialogState Of(const std::string& call_id) const {
    sip::DialogFolder folder(server);
    for (const sip::CapturedMessage& message : messages) folder.Fold(message);
    const std::vector<DialogState> dialogs = folder.Snapshot(call_id);
    EXPECT_THAT(dialogs, SizeIs(1));
    std::vector<DialogState> all = sip::Rebuild(messages, server);
    std::erase_if(all, [&](const DialogState& dialog) { return dialog.call_id != call_id; });
    EXPECT_EQ(all, dialogs);
    return dialogs.empty() ? DialogState() : dialogs.front();
  }
};

// --- Replaces ---

// The old call: the server called, a at the server, b at the peer.
CallScript OldCall() {
  CallScript call;
  call.call_id = "old@example.com";
  call.AnsweredByPeer();
  return call;
}

TEST(Replaces, Rule7_6_AnAcceptedInviteEndsTheDialogThatItNames) {
  for (const bool received : {true, false}) {
    for (const int status : {200, 486}) {
      CallScript next;
      next.call_id = "new@example.com";
      next.Wait(10);
      // The to-tag is that of whom the INVITE goes to.
      const std::string tags = received ? ";to-tag=a;from-tag=b" : ";from-tag=a;to-tag=b";
      const Request invite{.from_tag = "x", .extra = "Replaces: old@example.com" + tags + "\r\n"};
      const Request sent = received ? next.Receive(invite) : next.Send(invite);
      next.Reply(sent, {.status = status, .to_tag = "y"});
      Capture capture;
      capture.Add(OldCall());
      capture.Add(next);
      const DialogState old = capture.Of("old@example.com");
      if (status == 200) {
        EXPECT_EQ(old.phase, DialogPhase::kTerminated);
        EXPECT_EQ(old.end, DialogEnd::kReplaced);
        EXPECT_EQ(sip::Judge(old).token, VerdictToken::kEnded);
        EXPECT_EQ(old.FindEvidence(Field::kEnd)->message.sequence, capture.messages.size());
      } else {
        EXPECT_TRUE(sip::Judge(old).recoverable()) << sip::Explain(old, sip::Judge(old));
      }
    }
  }
}

// The call under whichever Call-ID was accepted first, however they stand and came.
TEST(Replaces, Rule11_8_OfSeveralTheFirstIsNamedWhateverCameFirst) {
  const auto replacing = [](const std::string& call_id, int after) {
    CallScript next;
    next.call_id = call_id;
    next.Wait(after);
    const Request invite = next.Receive(
        {.from_tag = "x", .extra = "Replaces: old@example.com;to-tag=a;from-tag=b\r\n"});
    next.Reply(invite, {.to_tag = "y"});
    return next;
  };
  const CallScript early = replacing("z@example.com", 10);
  const CallScript late = replacing("k@example.com", 20);
  Capture capture;
  for (const CallScript& call : {OldCall(), early, late}) capture.Add(call);
  const DialogState expected = capture.Of("old@example.com");
  EXPECT_EQ(expected.FindEvidence(Field::kEnd)->named, early.call_id);
  std::reverse(capture.messages.begin(), capture.messages.end());
  EXPECT_EQ(capture.Of("old@example.com"), expected);
}

TEST(Replaces, Rule10_2_AFoldedValueIsTheSameValue) {
  CallScript next;
  next.call_id = "new@example.com";
  next.Wait(10);
  const Request invite = next.Receive(
      {.from_tag = "x", .extra = "Replaces: old@example.com\r\n\t;to-tag=a;\r\n from-tag=b\r\n"});
  next.Reply(invite, {.to_tag = "y"});
  Capture capture;
  capture.Add(OldCall());
  capture.Add(next);
  EXPECT_EQ(capture.Of("old@example.com").end, DialogEnd::kReplaced);
}

TEST(Replaces, Rule7_6_SwappedTagsOtherCallsAndEarlyOnlyEndNothing) {
  for (const char* value :
       {"old@example.com;to-tag=b;from-tag=a", "old@example.com;to-tag=a", "old@example.com",
        "other@example.com;to-tag=a;from-tag=b", "old@example.com;to-tag=a;from-tag=b;early-only",
        ";to-tag=a;from-tag=b", ""}) {
    CallScript next;
    next.call_id = "new@example.com";
    const Request invite =
        next.Receive({.from_tag = "x", .extra = std::string("Replaces: ") + value + "\r\n"});
    next.Reply(invite, {.to_tag = "y"});
    Capture capture;
    capture.Add(OldCall());
    capture.Add(next);
    EXPECT_TRUE(sip::Judge(capture.Of("old@example.com")).recoverable()) << value;
  }
}

TEST(Replaces, Rule7_6_JoinAddsADialogAndEndsNone) {
  CallScript next;
  next.call_id = "new@example.com";
  const Request invite =
      next.Receive({.from_tag = "x", .extra = "Join: old@example.com;to-tag=a;from-tag=b\r\n"});
  next.Reply(invite, {.to_tag = "y"});
  Capture capture;
  capture.Add(OldCall());
  capture.Add(next);
  EXPECT_TRUE(sip::Judge(capture.Of("old@example.com")).recoverable());
  EXPECT_TRUE(sip::Judge(capture.Of("new@example.com")).recoverable());
}

// --- the dialog package ---

CallScript Notification(const std::string& peer, int status, const std::string& body) {
  CallScript subscription;
  subscription.call_id = "subscription@example.com";
  subscription.Wait(20);
  Request notify =
      subscription.Receive({.method = "NOTIFY",
                            .cseq = 5,
                            .from_tag = "n",
                            .to_tag = "s",
                            .contact = "<sip:phone@198.51.100.7:5060>",
                            .extra = "Event: dialog\r\nSubscription-State: active;expires=600\r\n",
                            .peer = peer});
  std::string& bytes = subscription.messages.back().bytes;
  bytes.replace(bytes.find("Content-Length: 0"), 17,
                "Content-Type: application/dialog-info+xml\r\nContent-Length: " +
                    std::to_string(body.size()));
  bytes += body;
  if (status != 0) subscription.Reply(notify, {.status = status});
  return subscription;
}

std::string DialogInfo(const std::string& local_tag, const std::string& remote_tag,
                       const std::string& cseq) {
  return "<?xml version=\"1.0\"?>\r\n<dialog-info xmlns=\"urn:ietf:params:xml:ns:dialog-info\" "
         "version=\"1\" state=\"full\" entity=\"sip:b@h\">\r\n<dialog id=\"1\" "
         "call-id=\"old@example.com\" local-tag=\"" +
         local_tag + "\" remote-tag='" + remote_tag +
         "' direction=\"recipient\">\r\n<state>confirmed</state>\r\n<local><target "
         "uri=\"sip:b@h\"/><cseq>99</cseq></local>\r\n<remote><identity>sip:a@h</identity>\r\n"
         "<cseq> " +
         cseq + " </cseq></remote>\r\n</dialog></dialog-info>";
}

TEST(DialogPackage, Rule7_8_WhatThePeerTellsOfTheDialogIsALowerBound) {
  Capture capture;
  capture.Add(OldCall());
  capture.Add(Notification(kPeer, 200, DialogInfo("b", "a", "8")));
  const DialogState dialog = capture.Of("old@example.com");
  EXPECT_EQ(dialog.local_seq, 8u);
  EXPECT_THAT(dialog.FindEvidence(Field::kLocalSeq)->Why(), HasSubstr("RFC 4235"));
  EXPECT_GT(*sip::NextCseq(dialog, {.capture_is_complete = true}, {}), 8u);
  EXPECT_EQ(dialog.remote_seq, std::nullopt) << "the peer's own number proves no request";
}

TEST(DialogPackage, Rule7_8_WhatIsNotAcceptedOrDoesNotFitIsNotTaken) {
  struct Case {
    const char* peer;
    int status;
    std::string body;
  };
  for (const Case& c :
       {Case{kPeer, 0, DialogInfo("b", "a", "8")}, Case{kPeer, 481, DialogInfo("b", "a", "8")},
        Case{kPeer, 200, DialogInfo("a", "b", "8")},
        Case{kPeer, 200, DialogInfo("b", "a&#10;", "8")},
        Case{kPeer, 200, DialogInfo("b", "a", "x")},
        Case{kPeer, 200, DialogInfo("b", "a", "2147483000")},
        Case{"203.0.113.66:5060", 200, DialogInfo("b", "a", "8")}}) {
    Capture capture;
    capture.Add(OldCall());
    capture.Add(Notification(c.peer, c.status, c.body));
    EXPECT_EQ(capture.Of("old@example.com").local_seq, 1u) << c.body;
  }
}

TEST(DialogPackage, Rule7_8_ANumberBehindWhichNoneIsLeftTakesNoCallAway) {
  CallScript call;
  call.call_id = "old@example.com";
  call.AnsweredByServer();
  Capture capture;
  capture.Add(call);
  capture.Add(Notification(kPeer, 200, DialogInfo("a", "b", "2147483647")));
  const DialogState dialog = capture.Of("old@example.com");
  EXPECT_EQ(dialog.local_seq, std::nullopt);
  EXPECT_TRUE(sip::Judge(dialog).recoverable()) << sip::Explain(dialog, sip::Judge(dialog));
  EXPECT_THAT(dialog.conflicts, SizeIs(1));
}

TEST(DialogPackage, Rule11_8_NumbersThatRiseTogetherAreTakenInAnyOrder) {
  const auto told = [](const char* call_id, const char* cseq) {
    CallScript notification = Notification(kPeer, 200, DialogInfo("b", "a", cseq));
    for (sip::CapturedMessage& message : notification.messages) {
      const std::string name = "subscription@example.com";
      message.bytes.replace(message.bytes.find(name), name.size(), call_id);
    }
    return notification;
  };
  Capture capture;
  capture.Add(OldCall());
  capture.Add(told("s1@example.com", "1400000"));
  capture.Add(told("s2@example.com", "500000"));
  capture.Add(told("s3@example.com", "2000000000"));
  capture.Add(told("s4@example.com", "1900000000"));
  const DialogState expected = capture.Of("old@example.com");
  EXPECT_EQ(expected.local_seq, 1'400'000u);
  EXPECT_THAT(expected.conflicts, SizeIs(2));
  // The calls in the other order, but each by itself in its own: a folder takes no call from an
  // answer to a NOTIFY on.
  auto& messages = capture.messages;
  std::reverse(messages.begin(), messages.end());
  for (std::size_t i = 0; i < 8; i += 2) std::swap(messages[i], messages[i + 1]);
  EXPECT_EQ(capture.Of("old@example.com"), expected);
}

// Were the cost more than that of the bytes, this would run for hours.
TEST(DialogPackage, Rule7_8_ABodyOfBracketsCostsNoMoreThanItsBytes) {
  for (const std::string_view piece : {"<", "</", "<dialog></"}) {
    std::string body = "<dialog ";
    while (body.size() < 8'000'000) body += piece;
    std::string_view rest = body;
    sip::DialogInfoView info;
    EXPECT_FALSE(sip::NextDialogInfo(&rest, &info)) << piece;
  }
}

TEST(DialogPackage, Rule7_8_AnyPrefixOfABodyIsReadSafely) {
  const std::string body = DialogInfo("b", "a", "8");
  for (std::size_t size = 0; size < body.size(); ++size) {
    Capture capture;
    capture.Add(OldCall());
    capture.Add(Notification(kPeer, 200, body.substr(0, size)));
    const std::uint32_t seq = capture.Of("old@example.com").local_seq.value_or(0);
    EXPECT_TRUE(seq == 1 || seq == 8) << size;
  }
}

// --- legs ---

struct Legs {
  CallScript answered;
  CallScript called;

  Legs() {
    answered.call_id = "leg-a@example.com";
    called.call_id = "leg-b@example.com";
    called.now_us += 200'000;
  }
  void Run(const std::string& extra_a, const std::string& extra_b, const std::string& sdp_a = "",
           const std::string& sdp_b = "") {
    const Request first = answered.Receive({.sdp = sdp_a, .extra = extra_a});
    const Request second = called.Send({.from_tag = "c",
                                        .from = "<sip:alice@pbx.example.com>",
                                        .to = "<sip:bob@phones.example.com>",
                                        .sdp = sdp_a.empty() ? "" : Sdp("192.0.2.10", 20002, "1"),
                                        .extra = extra_b});
    called.Reply(second, {.to_tag = "d", .sdp = sdp_b});
    answered.Reply(first, {.to_tag = "b", .sdp = sdp_b});
  }
  std::vector<DialogState> Linked() const {
    std::vector<sip::CapturedMessage> messages = answered.messages;
    messages.insert(messages.end(), called.messages.begin(), called.messages.end());
    std::vector<DialogState> dialogs = sip::Rebuild(messages, answered.server);
    sip::LinkLegs(dialogs);
    return dialogs;
  }
  void ExpectLinkedBy(const std::string& reason) const {
    const std::vector<DialogState> dialogs = Linked();
    ASSERT_THAT(dialogs, SizeIs(2));
    for (const DialogState& dialog : dialogs) {
      const DialogState& other = &dialog == &dialogs[0] ? dialogs[1] : dialogs[0];
      ASSERT_THAT(dialog.links, SizeIs(1)) << reason;
      EXPECT_EQ(dialog.links[0].call_id, other.call_id);
      EXPECT_EQ(dialog.links[0].local_tag, other.local.tag);
      EXPECT_EQ(dialog.links[0].remote_tag, other.remote.tag);
      EXPECT_THAT(dialog.links[0].reason, HasSubstr(reason));
      EXPECT_THAT(sip::Explain(dialog, sip::Judge(dialog)), HasSubstr(other.call_id));
    }
  }
};

TEST(Legs, Rule11_10_AreLinkedByWhatIsCarriedThroughTheServer) {
  struct Case {
    std::string a;
    std::string b;
    const char* reason;
  };
  const std::string uuid = "ab30317f1a784dc48ff824d0d3715d86";
  for (const Case& c :
       {Case{"Session-ID: " + uuid + ";remote=00000000000000000000000000000000\r\n",
             "Session-ID: " + uuid + "\r\n", "Session-ID"},
        Case{"P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.6.8\r\n",
             "P-Charging-Vector: orig-ioi=h; icid-value=1234bc9876e\r\n", "charging"},
        Case{"", "X-CID: leg-a@example.com\r\n", "Call-ID"},
        Case{"X-Call-ID: leg-b@example.com\r\n", "", "Call-ID"}}) {
    Legs legs;
    legs.called.now_us += 5'000'000;  // not by time
    legs.Run(c.a, c.b);
    legs.ExpectLinkedBy(c.reason);
  }
}

TEST(Legs, Rule11_10_AreLinkedByMediaThatIsPassedOn) {
  Legs legs;
  legs.called.now_us += 5'000'000;
  legs.Run("", "", Sdp("198.51.100.7", 30000, "1"), Sdp("198.51.100.9", 40000, "1"));
  legs.ExpectLinkedBy("media");
}

TEST(Legs, Rule11_10_AreLinkedByUsersAndTimeWhenOnlyOneFits) {
  Legs legs;
  legs.Run("", "");
  legs.ExpectLinkedBy("within a second");
  // Another call of the same user at the same time: nobody can tell.
  CallScript same;
  same.call_id = "leg-c@example.com";
  const Request invite = same.Receive({});
  same.Reply(invite, {.to_tag = "e"});
  legs.answered.messages.insert(legs.answered.messages.end(), same.messages.begin(),
                                same.messages.end());
  for (const DialogState& dialog : legs.Linked()) EXPECT_THAT(dialog.links, IsEmpty());
}

TEST(Legs, Rule11_10_AreNotLinkedWithoutCause) {
  for (const std::int64_t later : {-1, 2}) {
    Legs legs;
    legs.called.now_us += later * 1'000'000;
    legs.Run("Session-ID: 00000000000000000000000000000000\r\n",
             "Session-ID: 00000000000000000000000000000000\r\n");
    for (const DialogState& dialog : legs.Linked()) EXPECT_THAT(dialog.links, IsEmpty()) << later;
  }
}

TEST(Legs, Rule11_10_ManyLegsWithOneKeyCostNoMoreThanTheyAre) {
  std::vector<DialogState> dialogs(20'000);
  for (std::size_t i = 0; i < dialogs.size(); ++i) {
    dialogs[i].call_id = std::to_string(i);
    dialogs[i].role = i % 2 == 0 ? sip::DialogRole::kUas : sip::DialogRole::kUac;
    dialogs[i].references.charging_id = "forged";
  }
  sip::LinkLegs(dialogs);
  for (const DialogState& dialog : dialogs) EXPECT_LE(dialog.links.size(), 32u);
}

}  // namespace
}  // namespace sipheal::testing
