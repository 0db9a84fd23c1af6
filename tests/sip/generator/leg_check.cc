// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {

LegCheck::LegCheck(const GeneratedCall& of, int leg_number, const sip::DialogState& rebuilt,
                   Tally* counts, std::vector<std::string>* problems)
    : call(of),
      leg(*of.legs[static_cast<std::size_t>(leg_number)]),
      number(leg_number),
      state(rebuilt),
      tally(counts),
      seen_at_(of.notes.size(), INT64_MAX),
      problems_(problems) {
  for (const Copy& copy : of.copies) {
    if (copy.note < 0) continue;
    std::int64_t& at = seen_at_[static_cast<std::size_t>(copy.note)];
    at = std::min(at, Us(copy.message.time));
  }
}

std::vector<int> LegCheck::Provisional(const LedgerEntry& entry) const {
  std::vector<int> kept;
  for (const int id : entry.provisional) {
    const auto at = static_cast<std::size_t>(id);
    if (!Survives(id) || call.statuses[at] == 100) continue;
    const auto same = std::find_if(kept.begin(), kept.end(), [&](int other) {
      const auto that = static_cast<std::size_t>(other);
      return call.statuses[that] == call.statuses[at] && !call.notes[that].reliable &&
             call.notes[that].described == call.notes[at].described;
    });
    if (call.notes[at].reliable || same == kept.end()) {
      kept.push_back(id);
    } else if (SeenAt(id) < SeenAt(*same)) {
      *same = id;
    }
  }
  return kept;
}

bool LegCheck::OpeningSeen(bool or_attempt) const {
  const auto is_attempt = [this](std::size_t id) {
    return std::any_of(call.attempts.begin(), call.attempts.end(), [id](const auto& attempt) {
      return static_cast<std::size_t>(attempt.first) == id;
    });
  };
  for (std::size_t i = 0; i < call.notes.size(); ++i) {
    if (call.notes[i].first_invite && call.survives[i] && (or_attempt || !is_attempt(i))) {
      return true;
    }
  }
  return false;
}

bool LegCheck::KnowsHost(const std::string& hop) const {
  const sip::IpAddress host = sip::Endpoint::Parse(hop)->ip;
  const auto was_at = [&](int id) {
    return Survives(id) && sip::Endpoint::Parse(HopOf(id))->ip == host;
  };
  const auto named = [&](int id) {
    if (!Survives(id) || call.statuses[static_cast<std::size_t>(id)] >= 300) return false;
    const auto& hosts = call.named_hosts[static_cast<std::size_t>(id)];
    return std::any_of(hosts.begin(), hosts.end(),
                       [&](const std::string& one) { return *sip::IpAddress::Parse(one) == host; });
  };
  for (const LedgerEntry& entry : call.ledger) {
    if (entry.leg != number) continue;
    const bool opening = call.notes[static_cast<std::size_t>(entry.request)].first_invite;
    std::vector<int> answers = entry.provisional;
    answers.push_back(entry.final);
    if (opening) {
      if (was_at(entry.request) || std::any_of(answers.begin(), answers.end(), was_at)) return true;
      const bool answered = entry.by_server && std::any_of(answers.begin(), answers.end(), named);
      if (answered || (!entry.by_server && named(entry.request))) return true;
    } else if (entry.by_server) {
      if (Any(answers) && was_at(entry.request)) return true;
      if (Survives(entry.request) && std::any_of(answers.begin(), answers.end(), named)) {
        return true;
      }
    } else if (Accepted(entry) && was_at(entry.final)) {
      return true;
    }
    if (entry.by_server && was_at(entry.ack)) return true;
  }
  return false;
}

}  // namespace sipheal::testing::generator
