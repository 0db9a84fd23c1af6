// SPDX-License-Identifier: Apache-2.0
#include <set>
#include <string_view>

#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

std::set<std::string> Words(std::string_view list) {
  std::set<std::string> words;
  std::string word;
  for (const char c : list) {
    if (c != ',' && c != ' ') {
      word += c;
    } else if (!word.empty()) {
      words.insert(std::exchange(word, {}));
    }
  }
  if (!word.empty()) words.insert(word);
  return words;
}

// An attacker's address is never one of them.
void SeenHosts(LegCheck& check) {
  const auto holds = [&](const sip::IpAddress& ip) {
    return std::find(check.state.seen_hosts.begin(), check.state.seen_hosts.end(), ip) !=
           check.state.seen_hosts.end();
  };
  if (!check.leg.heard_from.empty() && !holds(sip::Endpoint::Parse(check.leg.heard_from)->ip)) {
    check.Fail("seen_hosts", "without " + check.leg.heard_from, "with it");
  }
  if (holds(*sip::IpAddress::Parse("6.6.6.6"))) {
    check.Fail("seen_hosts", "with that of the attacker", "without it");
  }
}

// From the first message of the dialog to its last. CANCEL, 100 and the ACK of a failure are no
// messages of the dialog, though of its call.
void Times(LegCheck& check) {
  std::int64_t first = INT64_MAX;
  std::int64_t least = 0;
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number) continue;
    first = std::min(first, check.TimeOf(entry.request));
    for (const int id : {entry.request, entry.final, entry.ack}) {
      if (id >= 0) least = std::max(least, check.TimeOf(id));
    }
  }
  if (first == INT64_MAX) return;
  check.Equal("created_at", Us(check.state.created_at), first);
  std::int64_t most = least;
  for (std::size_t i = 0; i < check.call.notes.size(); ++i) {
    const int leg = check.call.notes[i].leg;
    if (leg == check.number || leg == kAllLegs) most = std::max(most, check.call.times[i]);
  }
  const std::int64_t found = Us(check.state.last_seen);
  if (found < least || found > most) {
    check.Fail("last_seen", std::to_string(found),
               "from " + std::to_string(least) + " to " + std::to_string(most));
  }
}

}  // namespace

void CheckSightings(LegCheck& check) {
  if (!check.lossless() || check.leg.stage == Stage::kNone) return;
  check.Equal("transport", std::string(sip::ToString(check.state.transport)),
              std::string(sip::ToString(check.call.transport)));
  check.Equal("resync_needed", check.state.resync_needed, check.leg.resync);
  check.Equal("session_timer.min_interval",
              std::to_string(check.state.session_timer.min_interval.count()),
              std::to_string(check.leg.min_interval));
  check.Equal("remote_supported", check.state.remote_supported, check.leg.supported);
  if (Words(check.state.remote_allow) != Words(check.leg.allow)) {
    check.Fail("remote_allow", check.state.remote_allow, check.leg.allow);
  }
  check.Equal("local_target", check.state.local_target, check.leg.local_target);
  check.Equal("confirmed_at", Us(check.state.confirmed_at), check.leg.confirmed_us);
  if (!check.leg.last_hop.empty())
    check.Equal("next_hop", check.state.next_hop.ToString(), check.leg.last_hop);
  // While it rings, answers of one status are one message, of which the first counts.
  if (!check.leg.heard_from.empty() && check.leg.was_confirmed) {
    check.Equal("observed_source", check.state.observed_source.ToString(), check.leg.heard_from);
  }
  SeenHosts(check);
  if (!check.call.forged) Times(check);
  const bool stream = check.call.transport != sip::Transport::kUdp;
  check.Equal("flow_held_by_server", check.state.flow_held_by_server,
              stream && check.leg.server_side.route_set.empty());
}

}  // namespace sipheal::testing::generator
