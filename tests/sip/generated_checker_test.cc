// SPDX-License-Identifier: Apache-2.0
// The checker of random dialogs can fail: whatever is falsified in a rebuilt dialog, in any of its
// fields, is noticed.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/sip/dialog_folder.h"
#include "tests/sip/generator/call.h"
#include "tests/sip/generator/checker.h"

namespace sipheal::testing {
namespace {

using generator::GeneratedCall;
using sip::DialogState;

struct Falsification {
  std::string field;
  std::function<void(DialogState&)> falsify;
};

const std::vector<Falsification>& Falsifications() {
  static const std::vector<Falsification> falsifications = {
      {"call_id", [](DialogState& state) { state.call_id += 'x'; }},
      {"local.tag", [](DialogState& state) { state.local.tag += 'x'; }},
      {"remote.tag", [](DialogState& state) { state.remote.tag += 'x'; }},
      {"local.uri", [](DialogState& state) { state.local.uri += 'x'; }},
      {"remote.uri", [](DialogState& state) { std::swap(state.remote.uri, state.local.uri); }},
      {"local.display", [](DialogState& state) { state.local.display += 'x'; }},
      {"remote.params", [](DialogState& state) { state.remote.params += ";x"; }},
      {"role",
       [](DialogState& state) {
         state.role =
             state.role == sip::DialogRole::kUac ? sip::DialogRole::kUas : sip::DialogRole::kUac;
       }},
      {"phase, too early", [](DialogState& state) { state.phase = sip::DialogPhase::kEarly; }},
      {"phase, too late", [](DialogState& state) { state.phase = sip::DialogPhase::kTerminated; }},
      {"end", [](DialogState& state) { state.end = sip::DialogEnd::kByeUnanswered; }},
      {"local_seq, too low",
       [](DialogState& state) { state.local_seq = state.local_seq ? *state.local_seq - 1 : 7; }},
      {"local_seq, too high",
       [](DialogState& state) { state.local_seq = state.local_seq.value_or(0) + 1; }},
      {"remote_seq", [](DialogState& state) { state.remote_seq = *state.remote_seq + 1; }},
      {"route_set, one more", [](DialogState& state) { state.route_set.push_back("sip:x;lr"); }},
      {"route_set, missing",
       [](DialogState& state) { state.missing.push_back(sip::Field::kRouteSet); }},
      {"remote_target", [](DialogState& state) { state.remote_target = "sip:x@192.0.2.99"; }},
      {"remote_target, missing",
       [](DialogState& state) { state.missing.push_back(sip::Field::kRemoteTarget); }},
      {"local_sdp", [](DialogState& state) { state.local_sdp.origin_version += '0'; }},
      {"local_sdp, missing",
       [](DialogState& state) { state.missing.push_back(sip::Field::kLocalSdp); }},
      {"remote_sdp", [](DialogState& state) { state.remote_sdp.origin_session_id += '0'; }},
      {"highest_local_sdp_version",
       [](DialogState& state) { state.highest_local_sdp_version = "1"; }},
      {"held_by_local", [](DialogState& state) { state.held_by_local = !state.held_by_local; }},
      {"held_by_remote", [](DialogState& state) { state.held_by_remote = !state.held_by_remote; }},
      {"hold, missing", [](DialogState& state) { state.missing.push_back(sip::Field::kHold); }},
      {"session_timer.interval",
       [](DialogState& state) { state.session_timer.interval += std::chrono::seconds(1); }},
      {"session_timer.local_refreshes",
       [](DialogState& state) {
         state.session_timer.interval = std::chrono::seconds(600);
         state.session_timer.local_refreshes = !state.session_timer.local_refreshes;
       }},
      {"secure", [](DialogState& state) { state.secure = !state.secure; }},
      {"secure, missing", [](DialogState& state) { state.missing.push_back(sip::Field::kSecure); }},
      {"local.uri, missing",
       [](DialogState& state) { state.missing.push_back(sip::Field::kLocalUri); }},
      {"usages, one more", [](DialogState& state) { state.usages.push_back({.event = "x"}); }},
      {"usages, expiry",
       [](DialogState& state) {
         if (state.usages.empty()) state.usages.emplace_back();
         state.usages.front().expires_at = state.last_seen - std::chrono::seconds(7);
       }},
      {"observed_source", [](DialogState& state) { ++state.observed_source.port; }},
      {"seen_hosts, less", [](DialogState& state) { state.seen_hosts.clear(); }},
      {"seen_hosts, more",
       [](DialogState& state) { state.seen_hosts.push_back(*sip::IpAddress::Parse("6.6.6.6")); }},
      {"created_at", [](DialogState& state) { state.created_at += std::chrono::microseconds(1); }},
      {"last_seen, too late", [](DialogState& state) { state.last_seen += std::chrono::hours(1); }},
      {"last_seen, too early", [](DialogState& state) { state.last_seen = state.created_at; }},
      {"local_pace", [](DialogState& state) { state.local_pace += std::chrono::microseconds(1); }},
      {"record_route", [](DialogState& state) { state.record_route.push_back("sip:x;lr"); }},
      {"pending_remote_target",
       [](DialogState& state) { state.pending_remote_target = "sip:x@192.0.2.99"; }},
      {"contact_target", [](DialogState& state) { state.contact_target = "sip:x@192.0.2.99"; }},
      {"local_target", [](DialogState& state) { state.local_target += 'x'; }},
      {"redirect_targets",
       [](DialogState& state) { state.redirect_targets.push_back("sip:x@192.0.2.99"); }},
      {"transport", [](DialogState& state) { state.transport = sip::Transport::kUnknown; }},
      {"next_hop", [](DialogState& state) { ++state.next_hop.port; }},
      {"flow_held_by_server",
       [](DialogState& state) { state.flow_held_by_server = !state.flow_held_by_server; }},
      {"media_security",
       [](DialogState& state) { state.media_security.ice = !state.media_security.ice; }},
      {"session_timer.since",
       [](DialogState& state) {
         state.session_timer.interval =
             std::max(state.session_timer.interval, std::chrono::seconds(1));
         state.session_timer.since += std::chrono::seconds(1);
       }},
      {"session_timer.expires_at",
       [](DialogState& state) { state.session_timer.expires_at += std::chrono::seconds(1); }},
      {"session_timer.min_interval",
       [](DialogState& state) { state.session_timer.min_interval += std::chrono::seconds(1); }},
      {"open_transactions, one more",
       [](DialogState& state) {
         state.open_transactions.push_back({.method = "INFO", .cseq = 9});
       }},
      {"resync_needed", [](DialogState& state) { state.resync_needed = !state.resync_needed; }},
      {"references", [](DialogState& state) { state.references.session_id += 'x'; }},
      {"references.told", [](DialogState& state) { state.references.told.emplace_back(); }},
      {"links", [](DialogState& state) { state.links.emplace_back(); }},
      {"remote_supported", [](DialogState& state) { state.remote_supported += ",x"; }},
      {"remote_allow", [](DialogState& state) { state.remote_allow += ",X"; }},
      {"confirmed_at",
       [](DialogState& state) { state.confirmed_at += std::chrono::microseconds(1); }},
      {"deadline",
       [](DialogState& state) {
         state.deadline = state.deadline.value_or(state.last_seen) + std::chrono::seconds(1);
         state.deadline_reason = "x";
       }},
      {"deadline_reason",
       [](DialogState& state) {
         state.deadline_reason = state.deadline_reason.empty() ? "x" : "";
       }},
      {"evidence, none", [](DialogState& state) { state.evidence.clear(); }},
      {"evidence, of no message",
       [](DialogState& state) { state.evidence.front().message.sequence = 1'000'000; }},
      {"conflicts, undecided",
       [](DialogState& state) {
         state.conflicts.push_back({.field = sip::Field::kRouteSet,
                                    .message = state.evidence.front().message,
                                    .reason = "x",
                                    .undecided = true});
       }},
      {"conflicts, none",
       [](DialogState& state) {
         state.conflicts.push_back({.field = sip::Field::kLocalSdp,
                                    .message = state.evidence.front().message,
                                    .reason = "x"});
       }},
      {"warnings", [](DialogState& state) { state.warnings.push_back("x"); }},
      {"quarantined", [](DialogState& state) { ++state.quarantined; }},
      {"limits_reached", [](DialogState& state) { state.limits_reached = true; }},
      {"from_stored_state", [](DialogState& state) { state.from_stored_state = true; }},
  };
  return falsifications;
}

// In the order of DialogState.
constexpr const char* kFields[] = {"call_id",
                                   "local",
                                   "remote",
                                   "role",
                                   "phase",
                                   "end",
                                   "local_seq",
                                   "local_pace",
                                   "remote_seq",
                                   "route_set",
                                   "record_route",
                                   "remote_target",
                                   "pending_remote_target",
                                   "contact_target",
                                   "local_target",
                                   "redirect_targets",
                                   "secure",
                                   "transport",
                                   "next_hop",
                                   "observed_source",
                                   "flow_held_by_server",
                                   "seen_hosts",
                                   "local_sdp",
                                   "remote_sdp",
                                   "highest_local_sdp_version",
                                   "held_by_local",
                                   "held_by_remote",
                                   "media_security",
                                   "session_timer",
                                   "open_transactions",
                                   "resync_needed",
                                   "usages",
                                   "references",
                                   "links",
                                   "remote_supported",
                                   "remote_allow",
                                   "created_at",
                                   "confirmed_at",
                                   "last_seen",
                                   "deadline",
                                   "deadline_reason",
                                   "evidence",
                                   "conflicts",
                                   "missing",
                                   "warnings",
                                   "quarantined",
                                   "limits_reached",
                                   "from_stored_state"};

// A new field does not compile here, and then stands in kFields, too, and above.
[[maybe_unused]] void NamesEachField(const DialogState& state) {
  [[maybe_unused]] const auto& [call_id, local, remote, role, phase, end, local_seq, local_pace, remote_seq,
               route_set, record_route, remote_target, pending_remote_target, contact_target,
               local_target, redirect_targets, secure, transport, next_hop, observed_source,
               flow_held_by_server, seen_hosts, local_sdp, remote_sdp, highest_local_sdp_version,
               held_by_local, held_by_remote, media_security, session_timer, open_transactions,
               resync_needed, usages, references, links, remote_supported, remote_allow, created_at,
               confirmed_at, last_seen, deadline, deadline_reason, evidence, conflicts, missing,
               warnings, quarantined, limits_reached, from_stored_state] = state;
}

TEST(GeneratedDialogs, EveryFieldHasAFalsification) {
  for (const std::string field : kFields) {
    const auto& all = Falsifications();
    EXPECT_TRUE(std::any_of(all.begin(), all.end(), [&](const Falsification& one) {
      const std::size_t end = one.field.find_first_of(".,");
      // That something is missing is said beside the field that is.
      return one.field.substr(0, end) == field ||
             (field == "missing" && one.field.find(", missing") != std::string::npos);
    })) << field;
  }
}

TEST(GeneratedDialogs, EveryFieldThatIsFalsifiedIsNoticed) {
  generator::Tally tally;
  int calls = 0;
  for (std::uint64_t seed = 1; calls < 20; ++seed) {
    const GeneratedCall call = generator::Generate(seed);
    const generator::Leg* leg = call.legs.size() == 1 ? call.legs.front().get() : nullptr;
    if (call.loss_percent != 0 || call.forged || !call.subscription_tags.empty() ||
        leg == nullptr || leg->stage != generator::Stage::kConfirmed ||
        leg->end != sip::DialogEnd::kNone || leg->heard_from.empty() ||
        leg->history[static_cast<std::size_t>(generator::Fact::kHeldByRemote)].empty()) {
      continue;
    }
    ++calls;
    const auto rebuilt = sip::Rebuild(call.Messages(), call.server);
    ASSERT_EQ(rebuilt.size(), 1u) << seed;
    ASSERT_TRUE(generator::Check(call, rebuilt, &tally).empty()) << seed;
    for (const Falsification& one : Falsifications()) {
      auto falsified = rebuilt;
      one.falsify(falsified.front());
      EXPECT_FALSE(generator::Check(call, falsified, &tally).empty())
          << one.field << " of seed " << seed;
    }
    EXPECT_FALSE(generator::Check(call, {}, &tally).empty()) << "no dialog of seed " << seed;
  }
}

}  // namespace
}  // namespace sipheal::testing
