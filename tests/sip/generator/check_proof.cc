// SPDX-License-Identifier: Apache-2.0
// That every field names the message which proves it, that nothing is claimed which nobody did, and
// what the first INVITE pointed to.
#include <set>
#include <utility>

#include "tests/sip/evidence.h"
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

void Evidence(LegCheck& check) {
  std::set<std::uint64_t> sequences;
  for (const Copy& copy : check.call.copies) sequences.insert(copy.message.sequence);
  if (const std::string lacks = WhatLacksEvidence(check.state, sequences); !lacks.empty()) {
    check.Fail("evidence", lacks, "one message for each field");
  }
}

// Over the last requests of the server (rule 5.8); what it sent before the dialog is not counted.
void Pace(LegCheck& check) {
  constexpr std::size_t kLast = 16;
  std::vector<std::pair<std::uint32_t, std::int64_t>> sent;
  for (const LedgerEntry& entry : check.call.ledger) {
    const bool opening = check.call.notes[static_cast<std::size_t>(entry.request)].first_invite;
    if (entry.leg != check.number || !entry.by_server || opening) continue;
    sent.emplace_back(entry.cseq, check.TimeOf(entry.request));
  }
  const std::size_t from = sent.size() > kLast ? sent.size() - kLast : 0;
  std::int64_t pace = 0;
  if (sent.size() >= 2 && sent.back().first - sent[from].first >= 2) {
    pace = (sent.back().second - sent[from].second) / (sent.back().first - sent[from].first);
  }
  check.Equal("local_pace", std::int64_t{check.state.local_pace.count()}, pace);
}

std::string Joined(const std::vector<std::string>& list) {
  std::string text;
  for (const std::string& one : list) text += '<' + one + '>';
  return text;
}

void References(LegCheck& check) {
  const sip::DialogReferences& found = check.state.references;
  const sip::DialogReferences& truth = check.call.references;
  check.Equal("references.replaces", found.replaces, truth.replaces);
  check.Equal("references.session_id", found.session_id, truth.session_id);
  check.Equal("references.charging_id", found.charging_id, truth.charging_id);
  check.Equal("references.other_call_id", found.other_call_id, truth.other_call_id);
  check.Equal("references.told", found.told.empty(), true);
  check.Equal("links", check.state.links.empty(), true);
}

// A request of the peer that the server did not take, each once; and of those that refresh, each is
// kept out of the state.
void Losers(LegCheck& check) {
  std::int64_t refused = 0;
  bool unknown_bye = false;
  std::set<std::uint32_t> unanswered;
  for (const LedgerEntry& entry : check.call.ledger) {
    if (entry.leg != check.number || entry.by_server) continue;
    if (entry.final < 0) unanswered.insert(entry.cseq);
    // From a host that the dialog never used (rule 12.2).
    unknown_bye |= entry.method == "BYE" && !check.KnowsHost(entry.hop);
    refused += !Accepted(entry) && IsRefresh(entry.method);
  }
  std::int64_t kept_out = 0;
  for (const sip::Conflict& conflict : check.state.conflicts) {
    switch (conflict.field) {
      case sip::Field::kRemoteTarget:
        kept_out += conflict.reason.find("did not accept") != std::string::npos;
        break;
      case sip::Field::kRemoteSeq:
        if (unanswered.contains(static_cast<std::uint32_t>(std::stoul(conflict.loser)))) break;
        check.Fail("conflicts", conflict.reason, "none");
        break;
      case sip::Field::kEnd:
        if (unknown_bye) {
          ++kept_out;
          break;
        }
        [[fallthrough]];
      default:
        check.Fail("conflicts", conflict.reason, "none");
    }
  }
  if (kept_out > refused + (unknown_bye ? 1 : 0)) {
    check.Fail("conflicts", std::to_string(kept_out) + " refreshes that were not accepted",
               std::to_string(refused));
  }
  check.Equal("quarantined", std::int64_t{check.state.quarantined}, kept_out);
}

}  // namespace

void CheckProof(LegCheck& check) {
  Evidence(check);
  const sip::DialogState& state = check.state;
  check.Equal("from_stored_state", state.from_stored_state, false);
  check.Equal("deadline_reason", state.deadline_reason.empty(), !state.deadline.has_value());
  if (!check.call.flooded) check.Equal("limits_reached", state.limits_reached, false);
  if (!check.lossless() || check.leg.stage == Stage::kNone) return;
  if (!check.call.flooded) References(check);
  check.Equal("record_route", Joined(state.record_route), Joined(check.leg.record_route));
  check.Equal("redirect_targets", Joined(state.redirect_targets), Joined(check.leg.redirects));
  const bool described = !check.leg.Of(Fact::kLocalSdp).empty();
  if (described || state.media_security.any()) {
    check.Equal("media_security.sdes", state.media_security.sdes,
                check.call.media_security.sdes && !check.call.media_security.dtls);
    check.Equal("media_security.dtls", state.media_security.dtls, check.call.media_security.dtls);
    check.Equal("media_security.ice", state.media_security.ice, check.call.media_security.ice);
  }
  for (const sip::Conflict& conflict : state.conflicts) {
    if (conflict.undecided) check.Fail("conflicts", "undecided: " + conflict.reason, "decided");
  }
  if (check.call.forged) return;
  Pace(check);
  check.Equal("contact_target", state.contact_target, std::string());
  std::string warnings = Joined(state.warnings);
  const std::string several = "<a message named several Contacts; the first one was taken>";
  if (check.leg.second_contact && warnings == several) warnings.clear();
  check.Equal("warnings", warnings, std::string());
  Losers(check);
}

}  // namespace sipheal::testing::generator
