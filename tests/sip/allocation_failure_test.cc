// SPDX-License-Identifier: Apache-2.0
// When memory runs out within a call of the folder, it throws std::bad_alloc, and what it tells
// afterwards is what was folded: a call stays as it was, or is not known any more.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <new>
#include <string>
#include <vector>

#include "tests/sip/call_script.h"
#include "tests/sip/failing_allocations.h"

namespace sipheal::testing {
namespace {

using sip::DialogState;

// More than are open at a time.
constexpr int kCalls = 6;

std::string NameOf(int number) { return "call-" + std::to_string(number) + "@example.com"; }

// With transactions that are not in the order in which they are looked at, and answers, too.
CallScript Call(int number) {
  CallScript call;
  call.call_id = NameOf(number);
  const Request late = call.Send({.method = "INFO", .cseq = 9, .to_tag = "b"});
  call.AnsweredByPeer({"<sip:198.51.100.9;lr>"});
  call.Reply(late, {});
  for (unsigned cseq = 20; cseq > 4; --cseq) {
    const Request update = call.Send({.method = "UPDATE", .cseq = cseq, .to_tag = "b"});
    call.Reply(update, {.contact = "<sip:" + std::to_string(cseq) + "@198.51.100.7>"});
  }
  return call;
}

sip::DialogFolder Folded() {
  sip::DialogFolder folder{CallScript().server};
  for (int i = 0; i < kCalls; ++i) {
    for (const sip::CapturedMessage& message : Call(i).messages) folder.Fold(message);
  }
  return folder;
}

std::vector<DialogState> StateOf(const sip::DialogFolder& folder, int number) {
  return folder.Snapshot(NameOf(number));
}

// Runs `work` with its allocation number 0 failing, then number 1, and so on until none fails;
// `check` is called after each.
template <typename Prepare, typename Work, typename Check>
int WithEachAllocationFailing(Prepare prepare, Work work, Check check) {
  for (int failing = 0;; ++failing) {
    sip::DialogFolder folder = prepare();
    bool failed = false;
    allocations_left = failing;
    try {
      work(folder);
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    allocations_left = -1;
    check(folder, failing);
    if (!failed) return failing;
  }
}

TEST(AllocationFailure, InAFoldLosesTheCallOrNothing) {
  std::vector<std::vector<DialogState>> expected;
  {
    const sip::DialogFolder folder = Folded();
    for (int i = 0; i < kCalls; ++i) expected.push_back(StateOf(folder, i));
  }
  const std::vector<sip::CapturedMessage> messages = Call(kCalls).messages;
  // The first message of a call, one that needs room, and one for a call that is stored.
  for (const bool first : {true, false}) {
    const auto prepare = [&] {
      sip::DialogFolder folder = Folded();
      if (!first) {
        for (const sip::CapturedMessage& message : messages) folder.Fold(message);
      }
      return folder;
    };
    CallScript more = Call(first ? kCalls : 0);
    if (!first) {
      more.messages.clear();
      more.Send({.method = "UPDATE",
                 .cseq = 30,
                 .to_tag = "b",
                 .contact = "<sip:" + std::string(20000, 'x') + "@192.0.2.10>"});
    }
    std::vector<DialogState> folded;
    {
      sip::DialogFolder folder = prepare();
      folder.Fold(more.messages.front());
      folded = StateOf(folder, 0);
    }
    const int allocations = WithEachAllocationFailing(
        prepare, [&](sip::DialogFolder& folder) { folder.Fold(more.messages.front()); },
        [&](sip::DialogFolder& folder, int failing) {
          for (int i = first ? 0 : 1; i < kCalls; ++i) {
            EXPECT_EQ(StateOf(folder, i), expected[static_cast<std::size_t>(i)])
                << "call " << i << ", allocation " << failing;
          }
          const std::vector<DialogState> state = StateOf(folder, 0);
          EXPECT_TRUE(state == expected[0] || state == folded || !folder.Tracks(NameOf(0)))
              << "allocation " << failing;
          // Whatever is left takes everything anew.
          for (const sip::CapturedMessage& message : Call(0).messages) folder.Fold(message);
          if (!first) folder.Fold(more.messages.front());
          EXPECT_EQ(StateOf(folder, 0), folded) << "allocation " << failing;
        });
    EXPECT_GT(allocations, 0);
  }
}

TEST(AllocationFailure, InASnapshotChangesNothing) {
  std::vector<std::vector<DialogState>> expected;
  {
    const sip::DialogFolder folder = Folded();
    for (int i = 0; i < kCalls; ++i) expected.push_back(StateOf(folder, i));
  }
  const int allocations = WithEachAllocationFailing(
      Folded, [](sip::DialogFolder& folder) { StateOf(folder, kCalls - 1); },
      [&](sip::DialogFolder& folder, int failing) {
        folder.ForEachCall([](std::string_view) {});  // stores them all
        for (int i = 0; i < kCalls; ++i) {
          EXPECT_EQ(StateOf(folder, i), expected[static_cast<std::size_t>(i)])
              << "call " << i << ", allocation " << failing;
        }
        EXPECT_EQ(folder.call_count(), std::size_t{kCalls});
      });
  EXPECT_GT(allocations, 10);
}

TEST(AllocationFailure, InASweepLeavesEveryCallAsItWasOrSwept) {
  const auto later = Call(0).messages.back().time + std::chrono::minutes(2);
  const auto prepare = [] {
    sip::DialogFolder folder = Folded();
    CallScript ended = Call(0);
    const Request bye = ended.Send({.method = "BYE", .cseq = 40, .to_tag = "b"});
    ended.Reply(bye, {});
    for (const sip::CapturedMessage& message : ended.messages) folder.Fold(message);
    return folder;
  };
  std::vector<std::vector<DialogState>> expected;
  {
    sip::DialogFolder folder = prepare();
    EXPECT_EQ(folder.Sweep(later), 1u);
    for (int i = 0; i < kCalls; ++i) expected.push_back(StateOf(folder, i));
  }
  const int allocations = WithEachAllocationFailing(
      prepare, [&](sip::DialogFolder& folder) { folder.Sweep(later); },
      [&](sip::DialogFolder& folder, int failing) {
        folder.Sweep(later);
        for (int i = 0; i < kCalls; ++i) {
          EXPECT_EQ(StateOf(folder, i), expected[static_cast<std::size_t>(i)])
              << "call " << i << ", allocation " << failing;
        }
        EXPECT_EQ(folder.call_count(), std::size_t{kCalls - 1}) << "allocation " << failing;
        EXPECT_TRUE(folder.FindTombstone(NameOf(0)).has_value()) << "allocation " << failing;
        folder.Sweep(later + std::chrono::hours(24));
        EXPECT_EQ(folder.tombstone_count(), 0u) << "allocation " << failing;
      });
  EXPECT_GT(allocations, 10);
}

}  // namespace
}  // namespace sipheal::testing
