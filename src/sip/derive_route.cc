// SPDX-License-Identifier: Apache-2.0
// The route set: what RFC 3261 predicts, checked against what the server itself did.
#include <algorithm>

#include "sip/derive_internal.h"

namespace sipheal::inline v0_1::sip {
namespace {

bool SameRoutes(const std::vector<std::string_view>& a, const std::vector<std::string_view>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), SameUri);
}

std::string Join(const std::vector<std::string_view>& uris) {
  std::string text;
  for (std::string_view uri : uris) {
    if (!text.empty()) text += ',';
    text += '<';
    text += uri;
    text += '>';
  }
  return text;
}

}  // namespace

// True for a Contact that the peer gave in this dialog.
bool Derivation::IsContactOfPeer(const Draft& draft, std::string_view uri) const {
  const auto names = [&](const MessageFact& fact) {
    return fact.contact != 0 && SameUserHostPort(facts_.Text(fact.contact), uri);
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (!at->sent && at->has_request && names(at->request)) return true;
      if (!at->sent) continue;
      for (const AnswerFact& answer : at->answers) {
        if (Canonical(answer.to_tag) == draft.remote && names(answer)) return true;
      }
    }
  }
  return false;
}

// Undoes RFC 3261 12.2.1.1. A strict first route became the Request-URI, and the target went to the
// end (rule 3.6); where loose ones follow, that looks like a request to the strict router by their
// way, and only what is known besides can tell.
const WireAddress* Derivation::ReadWire(const Draft& draft, const RequestFact& request,
                                        const std::vector<std::string_view>& predicted) const {
  const std::string_view uri = facts_.Text(request.uri);
  WireAddress& loose = work_.loose;
  ReadUriList(request.route, &loose.route_set);
  loose.target = uri;
  if (loose.route_set.empty()) return &loose;
  const bool strict_first = !UriOf(loose.route_set.front()).loose;
  if (!strict_first && (UriOf(uri).loose || SameRoutes(loose.route_set, predicted))) return &loose;
  WireAddress& strict = work_.strict;
  strict.target = loose.route_set.back();
  strict.route_set.assign(loose.route_set.begin(), loose.route_set.end() - 1);
  strict.route_set.insert(strict.route_set.begin(), uri);
  if (strict_first || SameRoutes(strict.route_set, predicted)) return &strict;
  if (IsContactOfPeer(draft, loose.target) || UriOf(strict.target).loose) return &loose;
  if (IsContactOfPeer(draft, strict.target)) return &strict;
  // A loose route is sent to its first entry, a strict one to the Request-URI.
  const IpAddress& hop = facts_.EndpointOf(request.peer).ip;
  const bool to_route = !hop.empty() && UriOf(loose.route_set.front()).ip == hop;
  const bool to_uri = !hop.empty() && UriOf(uri).ip == hop;
  if (to_route != to_uri) return to_route ? &loose : &strict;
  return nullptr;
}

// An INVITE of which only the answer was captured, where an earlier one, be it known by its own
// answers only, may have made the dialog: nothing shows that it was refused. Its Record-Route then
// counts for nothing (rule 2.4).
bool Derivation::MayBeReinvite(const Draft& draft, const Transaction& opening) const {
  if (opening.has_request) return false;
  const TagId from = opening.sent ? draft.local : draft.remote;
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    if (at.method != Method::kInvite || at.sent != opening.sent ||
        (at.has_request && at.request.has_to_tag) || at.cseq >= opening.cseq ||
        Canonical(at.from_tag) != from || at.FinalAnswer() != nullptr) {
      return false;
    }
    // The ACK of a refusal has the branch of its INVITE (RFC 3261 17.1.1.3).
    return std::none_of(facts_.transactions.begin(), facts_.transactions.end(),
                        [&](const auto& ack) {
                          return ack.method == Method::kAck && ack.sent == at.sent &&
                                 ack.cseq == at.cseq && ack.branch == at.branch;
                        });
  });
}

void Derivation::DeriveRoute(Draft& draft) const {
  DialogState& state = *draft.state;
  bool known = false;
  const MessageFact* proof = nullptr;
  EvidenceReason reason;
  if (draft.created_in != nullptr && state.role != DialogRole::kUnknown && !draft.contested) {
    const Transaction& opening = *draft.created_in;
    if (opening.sent) {
      // UAC: from the 2xx, which overrules any provisional answer (RFC 3261 13.2.2.4).
      const AnswerFact* source = draft.created_by_2xx;
      if (source == nullptr) {
        for (const AnswerFact& answer : opening.answers) {
          if (Canonical(answer.to_tag) != draft.remote || answer.status >= 300) continue;
          if (source == nullptr || answer.first.Better(source->first)) source = &answer;
        }
        // Of a confirmed dialog, a provisional answer proves nothing here: the 2xx may differ.
        if (state.phase == DialogPhase::kConfirmed) source = nullptr;
      }
      if (source != nullptr) {
        ReadUriList(source->record_route, &draft.record_route);
        draft.route_set.assign(draft.record_route.rbegin(), draft.record_route.rend());
        known = true;
        proof = source;
        reason = state.phase == DialogPhase::kConfirmed ? Reason::kRoutesOf2xx
                                                        : Reason::kRoutesOfProvisional;
      }
    } else {
      // UAS: from the INVITE as the server received it, in order; its own answer mirrors it.
      const MessageFact* mirror = draft.created_by_2xx;
      for (const AnswerFact& answer : opening.answers) {
        if (mirror == nullptr && Canonical(answer.to_tag) == draft.local &&
            answer.record_route != 0) {
          mirror = &answer;
        }
      }
      const MessageFact* source =
          opening.has_request ? static_cast<const MessageFact*>(&opening.request) : mirror;
      if (source != nullptr) {
        ReadUriList(source->record_route, &draft.record_route);
        draft.route_set = draft.record_route;
        known = true;
        proof = source;
        reason = opening.has_request ? Reason::kRoutesOfInvite : Reason::kRoutesMirrored;
      }
    }
    // Without the INVITE this may have been a re-INVITE, whose answer need not repeat the routes.
    // Routes that are there, are right; that there are none, is proved only by a peer that answers
    // itself.
    if (known && !opening.has_request && draft.route_set.empty()) {
      const IpAddress& peer = facts_.EndpointOf(proof->peer).ip;
      const std::optional<IpAddress>& host = UriOf(facts_.Text(proof->contact)).ip;
      const bool direct = opening.sent && host && *host == peer;
      if (!direct) known = false;
    }
    if (known && MayBeReinvite(draft, opening)) known = false;
  }
  if (const Transaction* notify = OpeningNotify(draft); notify != nullptr && !notify->sent) {
    // The subscriber is the UAS of the NOTIFY, and takes its routes from nowhere else.
    ReadUriList(notify->request.record_route, &draft.record_route);
    draft.route_set = draft.record_route;
    known = true;
    proof = &notify->request;
    reason = Reason::kRoutesOfNotify;
  }
  if (known) {
    // The server's own entries at the front are consumed, not sent (rule 2.15).
    std::size_t own = 0;
    while (own < draft.route_set.size()) {
      if (!UriOf(draft.route_set[own]).of_server) break;
      ++own;
    }
    if (own > 0) {
      draft.route_set.erase(draft.route_set.begin(),
                            draft.route_set.begin() + static_cast<std::ptrdiff_t>(own));
      reason.without_own_entry = true;
    }
  }

  // What the server itself put on the wire is the best witness (rule 2.13); but while it rang, the
  // route was that of the provisional answer (RFC 3261 13.2.2.4).
  const auto while_ringing = [&](const Transaction& at) {
    return state.role != DialogRole::kUas && state.phase == DialogPhase::kConfirmed &&
           (at.method == Method::kPrack || at.method == Method::kUpdate) &&
           TimeOf(at.request) < state.confirmed_at;
  };
  const Transaction* shown = nullptr;
  for (const Transaction* at : draft.own) {
    if (!at->has_request) continue;
    const AnswerFact* final = FinalOf(draft, *at);
    const bool worked = at->method == Method::kAck || (final != nullptr && final->status < 300);
    if (!worked) continue;
    if (while_ringing(*at)) continue;
    if (at->method == Method::kAck) {
      bool proved = false;
      AckIsFor2xx(*at, &proved);
      if (!proved && known) continue;
    }
    if (shown == nullptr || shown->request.first.time_us <= at->request.first.time_us) shown = at;
  }
  if (shown == nullptr && !known) {
    // A request that nobody answered is still the server's word, when there is nothing else.
    for (const Transaction* at : draft.own) {
      if (!at->has_request || while_ringing(*at) || IsOutOfProportion(draft, *at)) continue;
      shown = at;
    }
  }
  if (shown != nullptr) {
    const WireAddress* const wire = ReadWire(draft, shown->request, draft.route_set);
    if (wire != nullptr && (!known || !SameRoutes(wire->route_set, draft.route_set))) {
      if (known) {
        state.conflicts.push_back({Field::kRouteSet, RefOf(*proof), Join(draft.route_set),
                                   "the server used another route in the dialog", false});
      }
      draft.route_set = wire->route_set;
      known = true;
      proof = &shown->request;
      reason = {Reason::kRouteOfOwnRequest, shown->method};
    }
  }
  if (known && proof != nullptr) {
    Cite(draft, Field::kRouteSet, *proof, reason);
  } else {
    draft.route_set.clear();
    draft.missing.Add(Field::kRouteSet);
  }
}

}  // namespace sipheal::inline v0_1::sip
