// SPDX-License-Identifier: Apache-2.0
// What a folder keeps of calls and what it lets go: sweeps, limits, and what one call says of
// another that outlives it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

using sip::DialogEnd;
using sip::DialogPhase;
using sip::DialogState;
using sip::VerdictToken;
using std::chrono::hours;
using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;

sip::DialogFolder Folder() { return sip::DialogFolder(CallScript().server); }

void Fold(const CallScript& call, sip::DialogFolder& folder) {
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
}

DialogState Only(const sip::DialogFolder& folder, const std::string& call_id) {
  const std::vector<DialogState> dialogs = folder.Snapshot(call_id);
  EXPECT_THAT(dialogs, SizeIs(1)) << call_id;
  return dialogs.empty() ? DialogState() : dialogs.front();
}

// --- subscriptions ---

TEST(Subscriptions, Rule7_5_ADialogWithoutACallGoesWhenItIsSilent) {
  CallScript subscription;
  for (unsigned cseq = 1; cseq < 40; ++cseq) {
    const Request notify = subscription.Receive(
        {.method = "NOTIFY",
         .cseq = cseq,
         .to_tag = "b",
         .extra = "Event: presence\r\nSubscription-State: active;expires=600\r\n"});
    subscription.Reply(notify, {});
  }
  CallScript call;
  call.call_id = "call-2@example.com";
  call.AnsweredByPeer();
  const Request notify =
      call.Receive({.method = "NOTIFY",
                    .cseq = 7,
                    .from_tag = "b",
                    .to_tag = "a",
                    .extra = "Event: presence\r\nSubscription-State: active;expires=600\r\n"});
  call.Reply(notify, {});
  sip::DialogFolder folder = Folder();
  Fold(subscription, folder);
  Fold(call, folder);
  const auto last = subscription.messages.back().time;
  folder.Sweep(last + minutes(50));
  EXPECT_TRUE(folder.Tracks(subscription.call_id));
  folder.Sweep(last + minutes(70));
  EXPECT_FALSE(folder.Tracks(subscription.call_id));
  EXPECT_TRUE(folder.Tracks(call.call_id)) << "there is a call in it";
  // What comes later is taken: it may be of a call that nobody saw the beginning of.
  EXPECT_EQ(folder.tombstone_count(), 0u);
  EXPECT_EQ(folder.Fold(subscription.messages.front()).result, sip::FoldResult::kFolded);
}

TEST(Subscriptions, Rule7_5_TheNotifiersRouteAndTargetAreThoseOfItsOwnNotify) {
  CallScript call;
  // The SUBSCRIBE is outside of any dialog, and is not needed.
  const Request subscribe = call.Receive({.method = "SUBSCRIBE",
                                          .cseq = 3,
                                          .record_route = {"<sip:p1;lr>"},
                                          .extra = "Event: presence\r\nExpires: 600\r\n"});
  call.Reply(subscribe, {.to_tag = "b", .extra = "Expires: 600\r\n"});
  const Request notify = call.Send(
      call.FromCallee({.method = "NOTIFY",
                       .cseq = 5,
                       .uri = "sip:phone@198.51.100.7:5060",
                       .route = {"<sip:p1;lr>"},
                       .extra = "Event: presence\r\nSubscription-State: active;expires=60\r\n"}));
  call.Reply(notify, {});
  const DialogState dialog = call.Only();
  EXPECT_EQ(dialog.local.tag, "b");
  EXPECT_THAT(dialog.route_set, ::testing::ElementsAre("sip:p1;lr"));
  EXPECT_EQ(dialog.remote_target, "sip:phone@198.51.100.7:5060");
  EXPECT_EQ(dialog.local_seq, 5u);
  ASSERT_THAT(dialog.usages, SizeIs(1));
  EXPECT_FALSE(dialog.usages[0].server_subscribes);
  EXPECT_EQ(sip::Judge(dialog).token, VerdictToken::kIncomplete);
}

// --- what is shrunk ---

// All of it at one moment, so that nothing but the messages themselves can tell their order.
TEST(QuietCalls, Rule11_8_OfOneMomentAreShrunkToTheSameInAnyOrder) {
  CallScript call;
  call.AnsweredByPeer({"<sip:198.51.100.9;lr>"});
  call.step_us = 0;
  for (unsigned cseq = 2; cseq < 30; ++cseq) {
    const std::string to = std::to_string(cseq % 5);
    const Request info = call.Send({.method = cseq % 2 == 0 ? "INFO" : "UPDATE",
                                    .cseq = cseq,
                                    .to_tag = "b",
                                    .uri = "sip:phone@198.51.100.7:506" + to,
                                    .route = {"<sip:198.51.100.9;lr>"}});
    call.Reply(info, {.contact = "<sip:phone@198.51.100.7:506" + to + ">"});
    const Request theirs =
        call.Receive(call.FromCallee({.method = cseq % 3 == 0 ? "UPDATE" : "INFO",
                                      .cseq = cseq,
                                      .contact = "<sip:phone@198.51.100.7:506" + to + ">"}));
    call.Reply(theirs, {});
  }
  const auto later = call.messages.back().time + minutes(5);
  std::vector<DialogState> first;
  std::mt19937 random(7);
  for (int round = 0; round < 60; ++round) {
    sip::DialogFolder folder = Folder();
    Fold(call, folder);
    folder.Sweep(later);
    const std::vector<DialogState> state = folder.Snapshot(call.call_id);
    if (round == 0) first = state;
    ASSERT_EQ(state, first) << "round " << round;
    std::shuffle(call.messages.begin(), call.messages.end(), random);
  }
  EXPECT_THAT(first, SizeIs(1));
}

// The other version of a message is kept, however many there were of messages that are dropped.
TEST(QuietCalls, Rule11_5_VersionsOfDroppedMessagesLeaveRoomForOthers) {
  CallScript call;
  call.AnsweredByPeer();
  for (unsigned cseq = 2; cseq < 1300; ++cseq) {
    const Request info = call.Send({.method = "INFO", .cseq = cseq, .to_tag = "b"});
    call.Reply(info, {});
    call.Reply(info, {.extra = "X-Other: yes\r\n"});
  }
  const sip::CapturedMessage accepted = call.messages[3];
  ASSERT_THAT(accepted.bytes, HasSubstr("SIP/2.0 200"));
  call.messages.push_back(accepted);
  call.messages.back().bytes.insert(accepted.bytes.find("From:"), "X-Other: yes\r\n");
  call.messages.back().time += seconds(60);
  sip::DialogFolder folder = Folder();
  Fold(call, folder);
  EXPECT_THAT(Only(folder, call.call_id).conflicts,
              Contains(Field(&sip::Conflict::reason, HasSubstr("another version"))));
}

TEST(QuietCalls, Rule7_9_WhatShowsThatACallWentOnBehindItsTimerIsKept) {
  for (const bool by_server : {true, false}) {
    for (const int silence : {60, 82, 200}) {
      CallScript call;
      const Request invite = call.Send({});
      call.Reply(invite, {.to_tag = "b", .extra = "Session-Expires: 90;refresher=uas\r\n"});
      call.Send({.method = "ACK", .to_tag = "b"});
      call.Wait(silence);
      for (unsigned cseq = 2; cseq < 20; ++cseq) {
        Request info{.method = "INFO", .cseq = cseq, .to_tag = "b"};
        if (!by_server) info = call.FromCallee(info);
        call.Reply(by_server ? call.Send(info) : call.Receive(info), {});
      }
      sip::DialogFolder folder = Folder();
      Fold(call, folder);
      const DialogState before = Only(folder, call.call_id);
      folder.Sweep(call.messages.back().time + minutes(10));
      const DialogState after = Only(folder, call.call_id);
      EXPECT_EQ(after.deadline, before.deadline) << silence;
      EXPECT_EQ(after.session_timer, before.session_timer) << silence;
      EXPECT_EQ(after.missing, before.missing) << silence;
      EXPECT_EQ(sip::Judge(after).token, sip::Judge(before).token) << silence;
    }
  }
}

// --- branches ---

// One whose words were chosen to wipe out what stands before them, were the keys of the hash known.
TEST(Branches, Rule11_5_ThatDifferAreTwoTransactionsWhateverTheirBytes) {
  std::string wiping = "\x4e\xeb\xd4\x27\x3d\xae\xb2\xc2";  // the second key, but for its last bit
  const auto branch = [&](const char* begin) {
    return begin + wiping + "12345678" + "0123456789abcdef";
  };
  CallScript call;
  const Request invite = call.Receive({.branch = branch("z9hG4bK-aaaaaaaa")});
  const Request other = call.Receive({.branch = branch("z9hG4bK-bbbbbbbb")});
  call.Reply(invite, {.to_tag = "b"});
  call.Reply(other, {.status = 482, .to_tag = "c"});
  EXPECT_THAT(call.Only().conflicts, IsEmpty());
}

// --- Replaces ---

CallScript OldCall() {
  CallScript call;
  call.call_id = "old@example.com";
  call.AnsweredByPeer();
  return call;
}

CallScript Replacing(const std::string& call_id, bool accepted = true) {
  CallScript call;
  call.call_id = call_id;
  call.Wait(10);
  const Request invite =
      call.Receive({.from_tag = "x", .extra = "Replaces: old@example.com;to-tag=a;from-tag=b\r\n"});
  if (accepted) {
    call.Reply(invite, {.to_tag = "y"});
    call.Receive({.method = "ACK", .from_tag = "x", .to_tag = "y"});
  }
  return call;
}

TEST(Replaces, Rule7_6_WhatWasReplacedStaysSoWhenTheCallThatTookItsPlaceIsOver) {
  CallScript next = Replacing("new@example.com");
  const Request bye = next.Receive({.method = "BYE", .cseq = 2, .from_tag = "x", .to_tag = "y"});
  next.Reply(bye, {});
  sip::DialogFolder folder = Folder();
  Fold(OldCall(), folder);
  Fold(next, folder);
  const DialogState before = Only(folder, "old@example.com");
  EXPECT_EQ(before.end, DialogEnd::kReplaced);
  EXPECT_EQ(folder.Sweep(next.messages.back().time + minutes(2)), 1u);
  EXPECT_FALSE(folder.Tracks("new@example.com"));
  EXPECT_EQ(Only(folder, "old@example.com"), before);
  folder.Sweep(next.messages.back().time + minutes(4));
  EXPECT_EQ(Only(folder, "old@example.com"), before);
}

TEST(Replaces, Rule12_7_ADialogInWhichBothSidesGoOnLongAfterWasNotReplaced) {
  for (const int wait : {5, 60}) {
    CallScript old = OldCall();
    old.Wait(10 + wait);
    const Request info = old.Receive({.method = "INFO", .cseq = 5, .from_tag = "b", .to_tag = "a"});
    old.Reply(info, {});
    sip::DialogFolder folder = Folder();
    Fold(old, folder);
    Fold(Replacing("new@example.com"), folder);
    const DialogState dialog = Only(folder, "old@example.com");
    if (wait == 60) {
      EXPECT_EQ(dialog.phase, DialogPhase::kConfirmed);
      EXPECT_TRUE(sip::Judge(dialog).recoverable());
      EXPECT_THAT(dialog.conflicts, Contains(Field(&sip::Conflict::reason, HasSubstr("RFC 3891"))));
    } else {
      EXPECT_EQ(dialog.end, DialogEnd::kReplaced) << "its BYE may be on its way";
    }
  }
}

TEST(Replaces, Rule12_10_InvitesThatNobodyAcceptedHideNoneThatWas) {
  sip::DialogFolder folder = Folder();
  Fold(OldCall(), folder);
  for (int i = 0; i < 20; ++i) Fold(Replacing("forged-" + std::to_string(i), false), folder);
  Fold(Replacing("new@example.com"), folder);
  EXPECT_EQ(Only(folder, "old@example.com").end, DialogEnd::kReplaced);
}

TEST(Replaces, Rule12_10_NamesOfCallsThatAreNotHideNoneThatIs) {
  sip::DialogFolder folder = Folder();
  Fold(OldCall(), folder);
  // Each call names as many others as it has room for.
  constexpr int kPerCall = 90;
  for (int i = 0; i < 70'000 / kPerCall; ++i) {
    CallScript flood;
    flood.call_id = "flood-" + std::to_string(i);
    for (unsigned j = 1; j <= kPerCall; ++j) {
      flood.Receive({.cseq = j,
                     .extra = "Replaces: none-" + std::to_string(i) + "-" + std::to_string(j) +
                              ";to-tag=a;from-tag=b\r\n"});
    }
    Fold(flood, folder);
  }
  Fold(Replacing("new@example.com"), folder);
  EXPECT_EQ(Only(folder, "old@example.com").end, DialogEnd::kReplaced);
}

}  // namespace
}  // namespace sipheal::testing
