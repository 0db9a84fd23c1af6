// SPDX-License-Identifier: Apache-2.0
// Random dialogs whose truth is known (generator/): what is rebuilt is equal to it, or said to be
// unknown where what was lost was the only evidence; never wrong.
//
//   SIPHEAL_LONG=1           ten times as many (a million dialogs)
//   SIPHEAL_DIALOG_SEED=N    this one alone, with all of it printed
//   SIPHEAL_DIALOG_SEEDS=N-M the calls of these seeds
//   SIPHEAL_DIALOG_FAILURES  after how many wrong ones to stop; else five
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/call_script.h"
#include "tests/sip/generator/call.h"
#include "tests/sip/generator/checker.h"

namespace sipheal::testing {
namespace {

using generator::GeneratedCall;

// A sanitizer looks for faults of memory, which the first thousands show; that no dialog is wrong
// is for the plain build to show, which takes a fortieth of the time.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

std::size_t InFull(std::size_t plain) {
  const char* const longer = std::getenv("SIPHEAL_LONG");
  const bool full = longer != nullptr && std::string(longer) == "1";
  return (full ? plain * 10 : plain) / (kSanitized ? 20 : 1);
}

int Most() {
  const char* const most = std::getenv("SIPHEAL_DIALOG_FAILURES");
  return most != nullptr ? std::stoi(most) : 5;
}

TEST(GeneratedDialogs, AreEqualToTheTruthOrUnknownForWantOfEvidence) {
  generator::Tally tally;
  if (const char* seed = std::getenv("SIPHEAL_DIALOG_SEED"); seed != nullptr) {
    const GeneratedCall call = generator::Generate(std::stoull(seed));
    const auto rebuilt = sip::Rebuild(call.Messages(), call.server);
    const auto problems = generator::Check(call, rebuilt, &tally);
    std::cout << generator::Report(call, rebuilt);
    for (const std::string& problem : problems) ADD_FAILURE() << problem;
    return;
  }
  const std::size_t wanted = InFull(100'000);
  std::uint64_t first = 1;
  std::uint64_t last = UINT64_MAX;
  if (const char* seeds = std::getenv("SIPHEAL_DIALOG_SEEDS"); seeds != nullptr) {
    const std::string text(seeds);
    first = std::stoull(text);
    last = std::stoull(text.substr(text.find('-') + 1));
  }
  const bool counted = last == UINT64_MAX;
  int failures = 0;
  std::uint64_t seed = first - 1;
  while ((counted ? tally.dialogs < wanted : seed < last) && failures < Most()) {
    const GeneratedCall call = generator::Generate(++seed);
    const auto rebuilt = sip::Rebuild(call.Messages(), call.server);
    const auto problems = generator::Check(call, rebuilt, &tally);
    if (problems.empty()) continue;
    ++failures;
    std::string text;
    for (const std::string& problem : problems) text += problem + '\n';
    ADD_FAILURE() << text << "replay with SIPHEAL_DIALOG_SEED=" << seed << '\n'
                  << generator::Report(call, rebuilt);
  }
  std::cout << (kSanitized ? "under a sanitizer, so a twentieth of them only: " : "")
            << tally.dialogs << " dialogs of " << seed - first + 1 << " calls, " << tally.lossless
            << " without loss; " << tally.recoverable << " recoverable; " << tally.unknown_fields
            << " fields unknown after losses; " << tally.invisible_changes
            << " changes of which nothing was captured\n";
}

// The same messages in another order, or twice, are the same call; folded one by one it is the same
// at every prefix as when it is rebuilt at once.
TEST(GeneratedDialogs, Rule11_8_OrderRepeatsAndPiecesMakeNoDifference) {
  generator::Dice dice(20261123);
  std::vector<sip::DialogState> used;
  for (std::uint64_t seed = 1; seed <= InFull(2000); ++seed) {
    const GeneratedCall call = generator::Generate(seed);
    if (call.flooded) continue;  // what is kept of a flood depends on what came first
    const std::vector<sip::CapturedMessage> messages = call.Messages();
    const auto expected = sip::Rebuild(messages, call.server);
    std::vector<sip::CapturedMessage> shuffled = messages;
    shuffled.insert(shuffled.end(), messages.begin(), messages.end());
    dice.Shuffle(shuffled);
    ASSERT_EQ(sip::Rebuild(shuffled, call.server), expected)
        << "seed " << seed << '\n'
        << generator::Report(call, sip::Rebuild(shuffled, call.server));
    std::vector<sip::CapturedMessage> in_order = messages;
    std::erase_if(in_order, [&](const auto& message) {
      return message.bytes.find(call.call_id) == std::string::npos;
    });
    std::stable_sort(in_order.begin(), in_order.end(),
                     [](const auto& a, const auto& b) { return a.time < b.time; });
    // An answer to an OPTIONS, NOTIFY or the like starts nothing in a folder, which would otherwise
    // keep an entry for each keep-alive; so the first message here is an INVITE.
    in_order.erase(in_order.begin(),
                   std::find_if(in_order.begin(), in_order.end(), [](const auto& message) {
                     return message.bytes.starts_with("INVITE ");
                   }));
    sip::DialogFolder folder(call.server);
    for (std::size_t i = 0; i < in_order.size(); ++i) {
      folder.Fold(in_order[i]);
      const auto at_once = sip::Rebuild(std::span(in_order).first(i + 1), call.server);
      ASSERT_EQ(folder.Snapshot(call.call_id), at_once) << "seed " << seed << " after " << i + 1;
      folder.Snapshot(call.call_id, &used);
      ASSERT_EQ(used, at_once) << "over another state, seed " << seed << " after " << i + 1;
    }
  }
}

// The capture of a direct call, read as that of the other side: the mirrored dialog (rule 1.1).
TEST(GeneratedDialogs, Rule1_1_TheOtherSideOfADirectCallIsItsMirror) {
  int calls = 0;
  int recoverable = 0;
  for (std::uint64_t seed = 1; seed <= InFull(2000); ++seed) {
    const GeneratedCall call = generator::Generate(seed);
    const generator::Leg* leg = call.legs.size() == 1 ? call.legs.front().get() : nullptr;
    if (leg == nullptr || call.loss_percent != 0 || call.forged || leg->peer_changed_host ||
        leg->peer.ip != leg->first_ip || !leg->chain.proxies.empty()) {
      continue;
    }
    sip::ServerIdentity peer;
    peer.addresses.push_back({sip::Endpoint::Parse(leg->peer.address())->ip});
    // It may have moved, or have tried to.
    for (const sip::CapturedMessage& message : call.Messages()) {
      for (const sip::IpAddress& ip : {message.source.ip, message.destination.ip}) {
        const auto is_it = [&](const sip::ServerAddress& one) { return one.ip == ip; };
        if (std::none_of(call.server.addresses.begin(), call.server.addresses.end(), is_it) &&
            std::none_of(peer.addresses.begin(), peer.addresses.end(), is_it)) {
          peer.addresses.push_back({ip});
        }
      }
    }
    const auto ours = sip::Rebuild(call.Messages(), call.server);
    const auto theirs = sip::Rebuild(call.Messages(), peer);
    SCOPED_TRACE("seed " + std::to_string(seed));
    ASSERT_EQ(ours.size(), theirs.size()) << generator::Report(call, theirs);
    if (ours.size() != 1) continue;
    ++calls;
    const sip::DialogState& a = ours.front();
    const sip::DialogState& b = theirs.front();
    SCOPED_TRACE(generator::Report(call, theirs));
    ASSERT_EQ(b.local, a.remote);
    ASSERT_EQ(b.remote, a.local);
    ASSERT_EQ(a.role == sip::DialogRole::kUac, b.role == sip::DialogRole::kUas);
    // Whoever sent BYE has no dialog any more, answered or not (RFC 3261 15.1.1).
    const bool ending =
        a.end == sip::DialogEnd::kByeUnanswered || b.end == sip::DialogEnd::kByeUnanswered;
    if (!ending) {
      ASSERT_EQ(a.phase, b.phase);
    }
    ASSERT_EQ(a.local_sdp, b.remote_sdp);
    ASSERT_EQ(a.remote_sdp, b.local_sdp);
    ASSERT_EQ(a.held_by_local, b.held_by_remote);
    ASSERT_EQ(a.held_by_remote, b.held_by_local);
    ASSERT_EQ(a.session_timer.interval, b.session_timer.interval);
    ASSERT_EQ(a.transport, b.transport);
    ASSERT_EQ(a.secure, b.secure);
    if (a.session_timer.active()) {
      const bool mirrored = a.session_timer.local_refreshes != b.session_timer.local_refreshes;
      // Nobody named: whoever asks had better refresh (rule 8.5).
      ASSERT_TRUE(mirrored || a.session_timer.local_refreshes);
    }
    if (a.phase != sip::DialogPhase::kConfirmed || a.end != sip::DialogEnd::kNone) continue;
    ++recoverable;
    // What one side proved to have used is no less than what the other accepted of it.
    ASSERT_LE(b.remote_seq.value_or(0), a.local_seq.value_or(0));
    ASSERT_LE(a.remote_seq.value_or(0), b.local_seq.value_or(0));
    // What is not answered yet is in force for whoever sent it.
    if (!a.open_transactions.empty() || !b.open_transactions.empty()) continue;
    ASSERT_EQ(a.remote_target, leg->server_side.target);
    ASSERT_EQ(b.remote_target, leg->peer_side.target);
    ASSERT_EQ(a.usages.size(), b.usages.size());
    for (const sip::DialogUsage& usage : a.usages) {
      ASSERT_TRUE(std::any_of(b.usages.begin(), b.usages.end(), [&](const sip::DialogUsage& other) {
        return other.event == usage.event && other.id == usage.id &&
               other.server_subscribes != usage.server_subscribes && other.active == usage.active;
      })) << usage.event;
    }
  }
  EXPECT_GT(calls, static_cast<int>(InFull(2000)) / 16);
  EXPECT_GT(recoverable, static_cast<int>(InFull(2000)) / 40);
}

// Without one message nothing is known better, and what may be sent is the same (rule 11.9).
TEST(GeneratedDialogs, Rule11_9_OneMessageLessIsEqualOrSaidToBeMissing) {
  for (std::uint64_t seed = 1; seed <= InFull(2000); ++seed) {
    GeneratedCall call = generator::Generate(seed);
    if (call.loss_percent != 0 || call.forged) continue;
    // As a call of which this one message was lost, it is checked against its truth.
    call.loss_percent = 1;
    const std::vector<generator::Copy> all = call.copies;
    generator::Tally tally;
    for (std::size_t lost = 0; lost < call.notes.size(); ++lost) {
      call.copies = all;
      std::erase_if(call.copies, [&](const generator::Copy& copy) {
        return copy.note == static_cast<int>(lost);
      });
      call.survives.assign(call.notes.size(), true);
      call.survives[lost] = false;
      const auto rebuilt = sip::Rebuild(call.Messages(), call.server);
      for (const std::string& problem : generator::Check(call, rebuilt, &tally)) {
        FAIL() << problem << " without message " << lost << '\n'
               << generator::Report(call, rebuilt);
      }
    }
  }
}

// A flood of forged tags, before the real answer and after it, in order and backwards: the real
// dialog survives, and the memory is bounded (rule 12.10).
TEST(GeneratedDialogs, Rule12_10_AFloodOfForgedTagsTakesNoMemoryAndNoDialog) {
  const int flood = static_cast<int>(InFull(100'000));
  for (const bool backwards : {false, true}) {
    CallScript call;
    sip::DialogFolder folder(call.server);
    const Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
    folder.Fold(call.messages.back());
    Request forged_request = invite;
    forged_request.peer = "6.6.6.6:5060";
    std::size_t most = 0;
    const auto pour = [&](int count) {
      for (int i = 0; i < count; ++i) {
        CallScript forger;
        forger.now_us = call.now_us + (backwards ? count - i : i);
        forger.Reply(forged_request, {.status = 180,
                                      .to_tag = "forged" + std::to_string(i * 2 + backwards),
                                      .contact = "<sip:evil@6.6.6.6>"});
        folder.Fold(forger.messages.back());
        if (i % 1024 == 0) most = std::max(most, folder.size_bytes());
      }
    };
    pour(flood / 2);
    call.Wait(1);
    call.Reply(invite, {.to_tag = "b", .sdp = Sdp("198.51.100.7", 30000, "1")});
    folder.Fold(call.messages.back());
    call.Send({.method = "ACK", .to_tag = "b"});
    folder.Fold(call.messages.back());
    pour(flood / 2);
    const auto dialogs = folder.Snapshot(call.call_id);
    const auto real = std::find_if(dialogs.begin(), dialogs.end(),
                                   [](const auto& dialog) { return dialog.remote.tag == "b"; });
    ASSERT_NE(real, dialogs.end());
    EXPECT_TRUE(real->limits_reached);
    EXPECT_EQ(real->remote_target, "sip:phone@198.51.100.7:5060");
    EXPECT_TRUE(sip::Judge(*real).recoverable());
    EXPECT_LT(most, 256u * 1024);
  }
}

}  // namespace
}  // namespace sipheal::testing
