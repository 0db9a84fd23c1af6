// SPDX-License-Identifier: Apache-2.0
// The calls that messages came for last are open and not yet stored (tracked_calls.h): nobody may
// be able to tell.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>
#include <vector>

#include "sipheal/sip/dialog_codec.h"
#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

// More than are open at a time.
constexpr int kCalls = 11;

std::string NameOf(int number) { return "call-" + std::to_string(number) + "@example.com"; }

CallScript Call(int number) {
  CallScript script;
  script.call_id = NameOf(number);
  if (number % 2 == 0) {
    script.AnsweredByPeer({"<sip:198.51.100.9;lr>"});
    const Request info = script.Receive(script.FromCallee({.method = "INFO", .cseq = 7}));
    const Request other = script.Send({.method = "INFO", .cseq = 4, .to_tag = "b"});
    script.Reply(other, {});
    script.Reply(info, {});
  } else {
    script.AnsweredByServer();
    const Request update = script.Receive({.method = "UPDATE", .cseq = 9, .to_tag = "b"});
    script.Reply(update, {});
  }
  return script;
}

sip::DialogFolder Folder(sip::RebuildOptions options = {}) {
  return sip::DialogFolder(CallScript().server, options);
}

std::vector<std::string> StatesOf(const sip::DialogFolder& folder) {
  std::vector<std::string> states;
  for (int i = 0; i < kCalls; ++i) {
    for (const sip::DialogState& dialog : folder.Snapshot(NameOf(i))) {
      states.push_back(sip::EncodeDialog(dialog));
    }
  }
  return states;
}

TEST(OpenCalls, HoweverMessagesOfCallsMixTheStatesAreTheSame) {
  std::vector<std::vector<sip::CapturedMessage>> calls;
  sip::DialogFolder apart = Folder();
  for (int i = 0; i < kCalls; ++i) {
    calls.push_back(Call(i).messages);
    for (const sip::CapturedMessage& message : calls.back()) apart.Fold(message);
  }
  const std::vector<std::string> expected = StatesOf(apart);
  ASSERT_EQ(expected.size(), std::size_t{kCalls});
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    std::vector<const sip::CapturedMessage*> messages;
    for (const auto& call : calls) {
      for (const sip::CapturedMessage& message : call) messages.push_back(&message);
    }
    std::shuffle(messages.begin(), messages.end(), random);
    sip::DialogFolder mixed = Folder();
    for (const sip::CapturedMessage* message : messages) {
      const std::string call_id(mixed.Fold(*message).call_id);
      // Looking at a call opens it, and puts its facts into another order.
      if (random() % 2 == 0) mixed.Snapshot(call_id);
      if (random() % 3 == 0) mixed.Snapshot(NameOf(static_cast<int>(random() % kCalls)));
      if (random() % 3 == 0) mixed.Fold(*messages[random() % messages.size()]);
    }
    for (const sip::CapturedMessage* message : messages) mixed.Fold(*message);
    EXPECT_EQ(mixed.call_count(), std::size_t{kCalls});
    EXPECT_EQ(StatesOf(mixed), expected) << "seed " << seed;
  }
}

TEST(OpenCalls, AreCountedListedAndFoundFromTheFirstMessageOn) {
  sip::DialogFolder folder = Folder();
  std::vector<std::string> expected;
  for (int i = 0; i < kCalls; ++i) {
    EXPECT_FALSE(folder.Tracks(NameOf(i)));
    const CallScript call = Call(i);
    folder.Fold(call.messages.front());
    EXPECT_TRUE(folder.Tracks(NameOf(i)));
    EXPECT_EQ(folder.call_count(), static_cast<std::size_t>(i) + 1);
    expected.push_back(NameOf(i));
  }
  EXPECT_FALSE(folder.Tracks(""));
  std::vector<std::string> listed;
  folder.ForEachCall([&](std::string_view call_id) {
    listed.emplace_back(call_id);
    folder.Snapshot(call_id);  // does not change the folder
  });
  EXPECT_THAT(listed, ::testing::UnorderedElementsAreArray(expected));
}

TEST(OpenCalls, TakeTheBytesThatTheyTakeWhenStored) {
  sip::DialogFolder folder = Folder();
  std::size_t before = folder.size_bytes();
  for (int i = 0; i < kCalls; ++i) {
    for (const sip::CapturedMessage& message : Call(i).messages) folder.Fold(message);
    const std::size_t open = folder.size_bytes();
    EXPECT_GT(open, before + 500) << "call " << i;
    folder.ForEachCall([](std::string_view) {});  // stores them all
    // The table may have grown.
    EXPECT_GE(folder.size_bytes(), open);
    EXPECT_LE(folder.size_bytes(), open + 1024);
    before = folder.size_bytes();
  }
}

TEST(OpenCalls, CountAgainstTheLimitOfCalls) {
  sip::DialogFolder folder = Folder({.max_calls = 2});
  EXPECT_EQ(folder.Fold(Call(0).messages.front()).result, sip::FoldResult::kFolded);
  EXPECT_EQ(folder.Fold(Call(1).messages.front()).result, sip::FoldResult::kFolded);
  EXPECT_EQ(folder.Fold(Call(2).messages.front()).result, sip::FoldResult::kLimit);
  EXPECT_TRUE(folder.Forget(NameOf(0)));
  EXPECT_EQ(folder.Fold(Call(2).messages.front()).result, sip::FoldResult::kFolded);
}

TEST(OpenCalls, StayForgotten) {
  for (const bool stored : {false, true}) {
    sip::DialogFolder folder = Folder();
    for (const sip::CapturedMessage& message : Call(0).messages) folder.Fold(message);
    if (stored) folder.ForEachCall([](std::string_view) {});
    folder.Snapshot(NameOf(0));
    EXPECT_TRUE(folder.Forget(NameOf(0)));
    EXPECT_FALSE(folder.Forget(NameOf(0)));
    for (int i = 1; i < kCalls; ++i) folder.Fold(Call(i).messages.front());
    EXPECT_FALSE(folder.Tracks(NameOf(0)));
    EXPECT_EQ(folder.call_count(), std::size_t{kCalls - 1});
    // And begin anew with nothing of what was.
    folder.Fold(Call(0).messages.front());
    EXPECT_TRUE(folder.Snapshot(NameOf(0)).empty());
  }
}

TEST(OpenCalls, EndInASweepLikeOthers) {
  CallScript ended = Call(1);
  const Request bye = ended.Receive({.method = "BYE", .cseq = 20, .to_tag = "b"});
  ended.Reply(bye, {});
  const auto later = ended.messages.back().time + std::chrono::minutes(2);
  std::vector<sip::DialogState> alive;
  for (const bool stored : {true, false}) {
    sip::DialogFolder folder = Folder();
    for (const sip::CapturedMessage& message : ended.messages) folder.Fold(message);
    for (const sip::CapturedMessage& message : Call(0).messages) folder.Fold(message);
    if (stored) folder.ForEachCall([](std::string_view) {});
    EXPECT_EQ(folder.Sweep(later), 1u);
    EXPECT_FALSE(folder.Tracks(NameOf(1)));
    EXPECT_TRUE(folder.FindTombstone(NameOf(1)).has_value());
    EXPECT_EQ(folder.Fold(ended.messages.back()).result, sip::FoldResult::kTombstone);
    EXPECT_EQ(folder.call_count(), 1u);
    if (stored) alive = folder.Snapshot(NameOf(0));
    EXPECT_EQ(folder.Snapshot(NameOf(0)), alive);
    // A message after the sweep opens it again.
    EXPECT_EQ(folder.Fold(Call(0).messages.front()).result, sip::FoldResult::kDuplicate);
    EXPECT_EQ(folder.Snapshot(NameOf(0)), alive);
  }
  EXPECT_EQ(alive.size(), 1u);
}

// In a call that is full, what the server says makes room for itself. Said again, it must not: what
// an open call loses so would be there again once it was stored and loaded.
TEST(OpenCalls, LoseNothingToARepetitionWhenTheyAreFull) {
  CallScript script;
  const Request invite =
      script.Send({.contact = "<sip:" + std::string(1500, 'a') + "@192.0.2.10>"});
  script.Reply(invite, {.to_tag = "b"});
  script.Send({.method = "ACK", .to_tag = "b"});
  for (unsigned i = 0; i < 70; ++i) {
    script.Receive(script.FromCallee(
        {.method = "UPDATE",
         .cseq = 10 + i,
         .contact = "<sip:" + std::string(900, 'x') + std::to_string(i) + "@198.51.100.7>"}));
  }
  sip::DialogFolder folder = Folder();
  for (const sip::CapturedMessage& message : script.messages) folder.Fold(message);
  const std::vector<sip::DialogState> full = folder.Snapshot(script.call_id);
  ASSERT_EQ(full.size(), 1u);
  ASSERT_TRUE(full.front().limits_reached);
  EXPECT_EQ(folder.Fold(script.messages.front()).result, sip::FoldResult::kDuplicate);
  EXPECT_EQ(folder.Snapshot(script.call_id), full);
}

// Nobody need keep the Call-ID apart from the dialogs that are written over.
TEST(OpenCalls, AreLookedAtByACallIdOfTheDialogsThatAreWrittenOver) {
  sip::DialogFolder folder = Folder();
  for (int i = 0; i < 2; ++i) {
    for (const sip::CapturedMessage& message : Call(i).messages) folder.Fold(message);
  }
  std::vector<sip::DialogState> dialogs = folder.Snapshot(NameOf(0));
  const std::vector<sip::DialogState> other = folder.Snapshot(NameOf(1));
  dialogs.push_back(other.front());
  folder.Snapshot(dialogs.back().call_id, &dialogs);
  EXPECT_EQ(dialogs, other);
}

TEST(OpenCalls, MoveWithTheFolder) {
  sip::DialogFolder folder = Folder();
  for (const sip::CapturedMessage& message : Call(0).messages) folder.Fold(message);
  const std::vector<sip::DialogState> before = folder.Snapshot(NameOf(0));
  sip::DialogFolder moved = std::move(folder);
  EXPECT_EQ(moved.Snapshot(NameOf(0)), before);
  folder = Folder();
  EXPECT_EQ(folder.call_count(), 0u);
  folder = std::move(moved);
  EXPECT_EQ(folder.Snapshot(NameOf(0)), before);
}

}  // namespace
}  // namespace sipheal::testing
