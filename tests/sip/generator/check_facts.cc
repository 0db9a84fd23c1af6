// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

using sip::DialogRole;
using sip::DialogState;
using sip::Field;

Field FieldOf(Fact fact) {
  switch (fact) {
    case Fact::kRoute:
      return Field::kRouteSet;
    case Fact::kTarget:
      return Field::kRemoteTarget;
    case Fact::kLocalSdp:
      return Field::kLocalSdp;
    case Fact::kRemoteSdp:
      return Field::kRemoteSdp;
    case Fact::kTimer:
      return Field::kSessionTimer;
    default:
      return Field::kHold;
  }
}

std::string SdpKey(const sip::SdpSummary& sdp) {
  if (sdp.empty()) return "";
  return sdp.Origin() + " port " + (sdp.media.empty() ? "" : std::to_string(sdp.media[0].port)) +
         ' ' + std::string(sip::ToString(sdp.direction));
}

std::string Found(Fact fact, const DialogState& state) {
  switch (fact) {
    case Fact::kRoute: {
      std::string text;
      for (const std::string& uri : state.route_set) text += '<' + uri + '>';
      return text;
    }
    case Fact::kTarget:
      return RequestUriOf(state.remote_target);
    case Fact::kLocalSdp:
      return SdpKey(state.local_sdp);
    case Fact::kRemoteSdp:
      return SdpKey(state.remote_sdp);
    case Fact::kHeldByLocal:
      return state.held_by_local ? "held" : "not held";
    case Fact::kHeldByRemote:
      return state.held_by_remote ? "held" : "not held";
    case Fact::kTimer:
      if (!state.session_timer.active()) return "off";
      return std::to_string(state.session_timer.interval.count()) +
             (state.session_timer.local_refreshes ? " by the server" : " by the peer");
  }
  return "";
}
std::string ValueOf(Fact fact, const Change& change) {
  return fact == Fact::kTarget ? RequestUriOf(change.value) : change.value;
}

// One of the facts that replace each other. The last one of which anything was captured has to be
// there when what was captured proves it, else it has to be missing. One of which nothing at all
// was captured cannot be known to anybody.
void Replaced(LegCheck& check, Fact fact) {
  const std::vector<Change>& changes = check.leg.Of(fact);
  if (changes.empty()) return;
  // It looks as if it were still ringing, with the route and target of that time.
  const bool looks_unanswered = check.state.confirmed_at == sip::CaptureTime{};
  if (!check.lossless() && looks_unanswered && check.leg.was_confirmed) return;
  // Of a call that was never answered, nothing is to be recovered.
  if (!check.lossless() && !check.leg.was_confirmed) return;
  const bool missing = check.state.IsMissing(FieldOf(fact));
  const std::string found = Found(fact, check.state);
  const std::string truth = ValueOf(fact, changes.back());
  const auto proved = [&](const Change& change) {
    return std::any_of(change.proofs.begin(), change.proofs.end(),
                       [&](const std::vector<int>& proof) { return check.All(proof); });
  };
  const auto shown = [&](const Change& change) {
    return check.Any(change.traces) ||
           (check.Any(change.later) && (change.success < 0 || check.Survives(change.success)));
  };
  const Change* last = nullptr;  // the last of which anything was captured
  bool doubted = false;
  bool hidden = false;
  for (auto change = changes.rbegin(); change != changes.rend() && last == nullptr; ++change) {
    if (change->back_to >= 0) {
      if (!check.Any(change->traces)) {
        hidden = true;
        continue;
      }
      doubted |= !proved(*change);
      // The last one before that is the next to be looked at.
      change = changes.rend() - change->back_to - 1;
    } else if (proved(*change)) {
      last = &*change;
    } else if (!change->dispelled_by.empty()) {
      doubted |= check.Any(change->traces) && !check.Any(change->dispelled_by);
    } else if (shown(*change)) {
      last = &*change;
    } else {
      hidden = true;
      ++check.tally->invisible_changes;
    }
  }
  if (missing) {
    ++check.tally->unknown_fields;
    if (last == nullptr || doubted || !proved(*last)) return;
    // Which of two answers is that to the first INVITE, nobody can tell without a first INVITE.
    const bool of_opening = fact == Fact::kRoute || fact == Fact::kTarget;
    if (of_opening && !check.lossless() && check.state.role == DialogRole::kUnknown) return;
    // Nor which of two branches was that of an INVITE that was lost.
    if (check.call.forged_2xx && !check.OpeningSeen(false)) return;
    // An answer from another host than before may be anybody's while its request is lost.
    const bool of_answer = fact == Fact::kTarget || fact == Fact::kTimer;
    if (of_answer && !check.lossless() && check.leg.peer_changed_host) return;
    // The two halves of hold are one field; it may be missing for the other's sake.
    if (FieldOf(fact) == Field::kHold && !check.lossless()) return;
    check.Fail(NameOf(fact), "missing", '\'' + ValueOf(fact, *last) + "', which is proved");
    return;
  }
  if (found == truth && (last != nullptr || !check.lossless())) return;
  if (last == nullptr && !check.lossless() && fact != Fact::kRoute) return;
  if (last != nullptr && found == ValueOf(fact, *last) && (hidden || proved(*last))) return;
  // Both candidates are reported.
  if (fact == Fact::kTarget && RequestUriOf(check.state.pending_remote_target) == truth) return;
  check.Fail(NameOf(fact), '\'' + found + '\'', '\'' + truth + '\'');
}

}  // namespace

const char* NameOf(Fact fact) {
  static constexpr const char* kNames[] = {"route_set",    "remote_target", "local_sdp",
                                           "remote_sdp",   "held_by_local", "held_by_remote",
                                           "session_timer"};
  return kNames[static_cast<std::size_t>(fact)];
}

void CheckFacts(LegCheck& check) {
  for (std::size_t i = 0; i < kFactCount; ++i) Replaced(check, static_cast<Fact>(i));
}

}  // namespace sipheal::testing::generator
