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
  if (check.lossless() && !check.leg.heard_from.empty() &&
      !holds(sip::Endpoint::Parse(check.leg.heard_from)->ip)) {
    check.Fail("seen_hosts", "without " + check.leg.heard_from, "with it");
  }
  if (holds(*sip::IpAddress::Parse("6.6.6.6"))) {
    check.Fail("seen_hosts", "with that of the attacker", "without it");
  }
}

// From the first message of the dialog to its last, as far as they were captured. CANCEL, 100 and
// the ACK of a failure are no messages of the dialog, though of its call.
void Times(LegCheck& check) {
  std::int64_t first = INT64_MAX;
  std::int64_t least = 0;
  bool opens = false;
  std::int64_t within = INT64_MAX;  // the first of those after the opening
  std::set<std::int64_t> opened;    // when the first INVITE was seen, if that led to this dialog
  const auto look = [&](int id) {
    if (!check.Survives(id)) return;
    first = std::min(first, check.SeenAt(id));
    least = std::max(least, check.SeenAt(id));
  };
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number) continue;
    const std::vector<int> provisional = check.Provisional(entry);
    for (const int id : provisional) look(id);
    // That it was the first INVITE which led to this dialog, shows by an answer that makes one.
    const bool opening = check.call.notes[static_cast<std::size_t>(entry.request)].first_invite;
    const bool shown =
        !opening || !provisional.empty() || (Accepted(entry) && check.Survives(entry.final));
    opens |= opening && shown && check.Survives(entry.request);
    for (const int id : {entry.request, entry.final, entry.ack}) {
      if (!opening) within = std::min(within, check.SeenAt(id));
    }
    if (shown || Accepted(entry)) look(entry.ack);
    if (shown) {
      look(entry.request);
      look(entry.final);
    } else {
      opened.insert(check.SeenAt(entry.final));
    }
  }
  // Where it is not, one that was refused before, or a merged copy (rule 1.9), may have been it.
  for (std::size_t i = 0; !opens && i < check.call.notes.size(); ++i) {
    if (check.call.notes[i].first_invite) opened.insert(check.SeenAt(static_cast<int>(i)));
  }
  // Whose answers those to an INVITE are that was lost, only what the server does later shows (rule
  // 12.4); to some, nothing does.
  if (!opens) opened.insert(within);
  if (first == INT64_MAX) return;
  if (!opened.contains(Us(check.state.created_at))) {
    check.Equal("created_at", Us(check.state.created_at), first);
  }
  std::int64_t most = least;
  for (std::size_t i = 0; i < check.call.notes.size(); ++i) {
    const int leg = check.call.notes[i].leg;
    if (!check.Survives(static_cast<int>(i)) || (leg != check.number && leg != kAllLegs)) continue;
    most = std::max(most, check.SeenAt(static_cast<int>(i)));
  }
  const std::int64_t found = Us(check.state.last_seen);
  if (found < least || found > most) {
    check.Fail("last_seen", std::to_string(found),
               "from " + std::to_string(least) + " to " + std::to_string(most));
  }
}

// Where the newest message came from that the peer is known to have sent: an answer, a request that
// the server accepted, the ACK of its 2xx.
void ObservedSource(LegCheck& check) {
  int newest = -1;
  const auto heard = [&](int id) {
    if (!check.Survives(id) || !check.KnowsHost(check.HopOf(id))) return;
    if (newest < 0 || check.SeenAt(id) > check.SeenAt(newest)) newest = id;
  };
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number) continue;
    if (entry.by_server) {
      heard(entry.final);
      for (const int id : check.Provisional(entry)) heard(id);
      continue;
    }
    const bool opening = check.call.notes[static_cast<std::size_t>(entry.request)].first_invite;
    // That the INVITE led to a dialog at all, shows by an answer that makes one.
    const bool made = opening && (!check.Provisional(entry).empty() || Accepted(entry));
    if (made || (Accepted(entry) && check.Survives(entry.final))) heard(entry.request);
    // That it is that of a 2xx, shows beside its INVITE or an answer to that.
    const bool proved = check.Survives(entry.final) || check.Survives(entry.request) ||
                        check.Any(entry.provisional);
    if (proved) heard(entry.ack);
  }
  if (newest < 0) return;
  // Which of two branches was that of an INVITE that was lost, and so who answered, nobody can
  // tell.
  const bool contested = check.call.forged_2xx && !check.OpeningSeen(false);
  if (contested && check.state.observed_source == sip::Endpoint()) return;
  check.Equal("observed_source", check.state.observed_source.ToString(), check.HopOf(newest));
}

}  // namespace

void CheckSightings(LegCheck& check) {
  if (check.leg.stage == Stage::kNone) return;
  // Of a flood, any may be kept of those that were never answered.
  if (check.call.flooded && !check.leg.was_confirmed) return;
  if (!check.call.forged) Times(check);
  ObservedSource(check);
  SeenHosts(check);
  if (!check.lossless()) return;
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
  if (!check.leg.last_hop.empty()) {
    check.Equal("next_hop", check.state.next_hop.ToString(), check.leg.last_hop);
  } else if (!check.leg.heard_from.empty()) {
    check.Equal("next_hop", check.state.next_hop.ToString(),
                check.state.observed_source.ToString());
  }
  const bool stream = check.call.transport != sip::Transport::kUdp;
  check.Equal("flow_held_by_server", check.state.flow_held_by_server,
              stream && check.leg.server_side.route_set.empty());
}

}  // namespace sipheal::testing::generator
