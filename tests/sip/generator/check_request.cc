// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

using sip::Field;

// What is not followed through losses.
void Whole(LegCheck& check) {
  if (!check.lossless()) return;
  if (check.leg.stage == Stage::kConfirmed || check.leg.stage == Stage::kEarly) {
    for (const Field field : check.state.missing) {
      // Before the answer there need be no session.
      if (check.leg.stage == Stage::kEarly &&
          (field == Field::kLocalSdp || field == Field::kRemoteSdp)) {
        continue;
      }
      if (field == Field::kLocalSdp && check.leg.Of(Fact::kLocalSdp).empty()) continue;
      if (field == Field::kRemoteSdp && check.leg.Of(Fact::kRemoteSdp).empty()) continue;
      check.Fail(std::string(sip::ToString(field)), "missing", "known: nothing was lost");
    }
  }
  if (!check.call.forged && !check.leg.pending_target.empty() &&
      check.state.pending_remote_target.empty() &&
      check.leg.pending_target.find(check.leg.server_side.target) == std::string::npos &&
      check.leg.pending_target.find("198.51.100.1") == std::string::npos &&
      check.leg.pending_target.find("198.51.100.2") == std::string::npos) {
    check.Fail("pending_remote_target", "empty", check.leg.pending_target);
  }
  const sip::SessionTimer& timer = check.state.session_timer;
  if (timer.expires_at != (timer.active() ? timer.since + timer.interval : sip::CaptureTime{})) {
    check.Fail("session_timer.expires_at", "another time", "an interval later");
  }
  const std::string& pending = check.state.pending_remote_target;
  const bool pends = std::any_of(
      check.call.ledger.begin(), check.call.ledger.end(), [&](const LedgerEntry& entry) {
        return entry.leg == check.number && !entry.by_server && entry.final < 0 &&
               IsRefresh(entry.method) && entry.contact == pending;
      });
  if (!pends && !pending.empty()) check.Fail("pending_remote_target", pending, "of a request");
  if (check.state.session_timer.active() &&
      check.state.session_timer.since.time_since_epoch().count() != check.leg.timer_since) {
    check.Fail("session_timer.since", "another time", "that of the last 2xx");
  }
  const auto request = sip::NextRequest(check.state);
  if (check.leg.Of(Fact::kTarget).empty()) return;
  if (!request.ok()) {
    check.Fail("next request", std::string(request.status().message()), "one");
    return;
  }
  Message expected;
  check.leg.server_side.Address(&expected);
  check.Equal("next Request-URI", request->request_uri, expected.uri);
  check.Equal("number of Route values", std::to_string(request->route.size()),
              std::to_string(expected.route.size()));
  for (std::size_t i = 0; i < std::min(request->route.size(), expected.route.size()); ++i) {
    check.Equal("Route value", request->route[i], expected.route[i]);
  }
}

// Known by the first INVITE alone; but what is not known to be secure must not be taken for
// plain.
void Secure(LegCheck& check) {
  // Nor is it known which INVITE that was, when no answer to it was captured.
  bool answered = check.leg.early_id >= 0 && check.Survives(check.leg.early_id);
  for (std::size_t i = 0; i < check.call.times.size(); ++i) {
    answered |= check.call.times[i] == check.leg.confirmed_us && check.call.survives[i];
  }
  const bool known = check.OpeningSeen(false) && answered && check.leg.was_confirmed;
  if (check.state.IsMissing(Field::kSecure) && !known) return;
  check.Equal("secure", check.state.secure, check.call.secure);
}

void Verdict(LegCheck& check) {
  const sip::Verdict verdict = sip::Judge(check.state, Anywhere());
  if (verdict.recoverable()) ++check.tally->recoverable;
  bool over = check.leg.stage == Stage::kNone;
  for (std::size_t i = 0; i < check.call.notes.size(); ++i) {
    const Note& note = check.call.notes[i];
    const bool of_leg =
        note.leg == check.number || (note.leg == kAllLegs && check.leg.stage != Stage::kConfirmed);
    // From a host that the dialog never used, nothing ends it (rule 12.2).
    const bool believed = note.sent || check.KnowsHost(check.call.hops[i]);
    over |= note.over && check.call.survives[i] && of_leg && believed;
  }
  if (verdict.recoverable() && over)
    check.Fail("verdict", "recoverable", "that of a call that is over");
  if (verdict.recoverable() && check.leg.stage == Stage::kEarly) {
    check.Fail("verdict", "recoverable", "early");
  }
  // The connection to a phone that no proxy stands before died with the server
  // (rules 3.12, 3.13).
  const bool flow_died = check.leg.server_side.route_set.empty() &&
                         check.call.transport != sip::Transport::kUdp &&
                         check.call.transport != sip::Transport::kTcp;
  if (verdict.recoverable() && flow_died)
    check.Fail("verdict", "recoverable", "that of a flow that died");
  // Over TCP the phone listens where its Contact says, unless it says that it does not (RFC 5626).
  // Who connected where it has spoken from that port itself, is not kept.
  // Nor whether there is a proxy between, as long as all went through one that then leaves.
  const sip::IpAddress peer = sip::Endpoint::Parse(check.leg.peer.address())->ip;
  const bool met =
      std::any_of(check.call.hops.begin(), check.call.hops.end(),
                  [&](const std::string& hop) { return sip::Endpoint::Parse(hop)->ip == peer; });
  const bool spoke_from_there =
      check.state.observed_source.port == sip::Endpoint::Parse(check.leg.peer.address())->port;
  const bool listens = check.call.transport == sip::Transport::kTcp && check.call.connects && met &&
                       !spoke_from_there &&
                       check.leg.server_side.target.find(";ob") == std::string::npos;
  const bool reachable = check.call.transport == sip::Transport::kUdp || listens ||
                         !check.leg.server_side.route_set.empty();
  if (check.lossless() && flow_died && check.leg.stage == Stage::kConfirmed &&
      check.leg.end == sip::DialogEnd::kNone) {
    check.Equal("verdict", std::string(sip::ToString(verdict.token)), "needs_new_flow");
  }
  if (check.lossless() && reachable && check.leg.stage == Stage::kConfirmed &&
      check.leg.end == sip::DialogEnd::kNone && !verdict.recoverable()) {
    check.Fail("verdict",
               std::string(sip::ToString(verdict.token)) + " (" + verdict.reasons.front() + ')',
               "recoverable");
  }
}

}  // namespace

void CheckRequest(LegCheck& check) {
  Whole(check);
  Secure(check);
  Verdict(check);
}

}  // namespace sipheal::testing::generator
