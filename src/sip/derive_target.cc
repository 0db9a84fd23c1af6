// SPDX-License-Identifier: Apache-2.0
// The remote target and the next hop: what RFC 3261 predicts, checked against what the server
// itself did.
#include <algorithm>
#include <cstdlib>

#include "sip/blind_refresh.h"
#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Of those of one moment, one is taken whatever their order.
bool IsNewer(const MessageFact& fact, const MessageFact* than) {
  if (than == nullptr) return true;
  if (fact.first.time_us != than->first.time_us) return fact.first.time_us > than->first.time_us;
  return fact.first.hash < than->first.hash;
}

}  // namespace

void Derivation::DeriveTarget(Draft& draft) const {
  DialogState& state = *draft.state;
  TextId target = 0;
  const MessageFact* proof = nullptr;
  EvidenceReason reason;
  std::int64_t since = INT64_MIN;  // when the target became that
  // The server's own transaction that made it so, if one did: what the server sent later is told by
  // the number, which no clock can disturb.
  bool since_is_own = false;
  std::uint32_t since_cseq = 0;
  Method since_method = Method::kInvite;

  // --- where it started (rules 2.6, 2.7) ---
  if (draft.created_in != nullptr && !draft.contested) {
    const Transaction& opening = *draft.created_in;
    if (!opening.sent) {
      if (opening.has_request && opening.request.contact != 0) {
        target = opening.request.contact;
        proof = &opening.request;
        reason = Reason::kContactOfInvite;
        since = opening.request.first.time_us;
      }
    } else {
      const AnswerFact* source = draft.created_by_2xx;
      if (source == nullptr || source->contact == 0) {
        // The first provisional answer opens the dialog; a later one counts only when reliable.
        const AnswerFact* first = nullptr;
        const AnswerFact* reliable = nullptr;
        for (const AnswerFact& answer : opening.answers) {
          if (answer.status >= 200 || Canonical(answer.to_tag) != draft.remote) continue;
          if (answer.contact == 0) continue;
          if (first == nullptr || answer.first.Better(first->first)) first = &answer;
          if (answer.rseq != 0 && (reliable == nullptr || answer.rseq > reliable->rseq)) {
            reliable = &answer;
          }
        }
        source = reliable != nullptr ? reliable : first;
      }
      if (source != nullptr && source->contact != 0) {
        target = source->contact;
        proof = source;
        reason = source->status >= 200 ? Reason::kContactOf2xx : Reason::kContactOfProvisional;
        since = SettledAt(draft, opening, *source);
        since_is_own = true;
        since_cseq = opening.cseq;
      }
    }
  }

  // --- refreshes (rules 4.1 to 4.5) ---
  auto refreshes = [](Method method) {
    return method == Method::kInvite || method == Method::kUpdate || method == Method::kSubscribe ||
           method == Method::kNotify || method == Method::kRefer;
  };
  struct Refresh {
    const MessageFact* fact = nullptr;  // whose Contact
    std::int64_t at = INT64_MIN;        // when it took effect
    Method method = Method::kOther;
    std::uint32_t cseq = 0;
    std::int64_t asked = INT64_MAX;  // when its request was captured
  };
  Refresh by_peer;
  Refresh by_server;
  // A refresh of the peer that it acknowledges, while the server's 2xx was not captured.
  std::pair<const Transaction*, const MessageFact*> unproved;
  for (const Transaction* at : draft.theirs) {
    if (!refreshes(at->method) || !at->has_request || at->request.contact == 0) continue;
    const AnswerFact* accepted = nullptr;
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != draft.local || answer.status >= 300 || !answer.reliable()) {
        continue;
      }
      if (accepted == nullptr || answer.first.Better(accepted->first)) accepted = &answer;
    }
    if (accepted != nullptr) {
      by_peer = {&at->request, SettledAt(draft, *at, *accepted), at->method, at->cseq};
      continue;
    }
    const std::string_view offered = facts_.Text(at->request.contact);
    // The server used it: as good as an answer (RFC 6141 4.6).
    const bool used = std::any_of(draft.own.begin(), draft.own.end(), [&](const Transaction* own) {
      return own->has_request && own->request.first.time_us > at->request.first.time_us &&
             !IsOutOfProportion(draft, *own) && SameUri(facts_.Text(own->request.uri), offered);
    });
    if (used) {
      by_peer = {&at->request, at->request.first.time_us, at->method, at->cseq};
    } else if (FinalOf(draft, *at) == nullptr && OnPath(draft, at->request)) {
      state.pending_remote_target = offered;
      if (const Transaction* ack = AckSeen(draft, *at)) unproved = {at, &ack->request};
      Cite(draft, Field::kPendingTarget, at->request, Reason::kContactNotAnswered);
    } else {
      ++state.quarantined;
      state.conflicts.push_back({Field::kRemoteTarget, RefOf(at->request), std::string(offered),
                                 "a refresh that the server did not accept", false});
    }
  }
  const auto answered_by_peer = [&](const Transaction* at) {
    if (!refreshes(at->method)) return;
    const AnswerFact* source = nullptr;
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != draft.remote || answer.status >= 300 || answer.contact == 0 ||
          !answer.reliable()) {
        continue;
      }
      // The 2xx over a reliable 1xx, else the later reliable 1xx.
      if (source == nullptr || answer.status >= 200 ||
          (source->status < 200 && answer.rseq > source->rseq)) {
        source = &answer;
      }
    }
    if (source != nullptr) {
      const std::int64_t settled = SettledAt(draft, *at, *source, true);
      // An INVITE is answered after what was made within it.
      if (by_server.fact != nullptr && by_server.method == Method::kInvite &&
          at->method != Method::kInvite && settled < by_server.at) {
        return;
      }
      by_server = {source, settled, at->method, at->cseq,
                   at->has_request ? at->request.first.time_us : INT64_MAX};
    }
  };
  // Where an INVITE of each side passes for the opening, one was a re-INVITE.
  const bool both_ways =
      std::any_of(draft.creating.begin(), draft.creating.end(),
                  [&](const Transaction* at) { return at->sent != draft.created_in->sent; });
  for (const Transaction* at : draft.creating) {
    if (both_ways && at->sent && at != draft.created_in) answered_by_peer(at);
  }
  for (const Transaction* at : draft.own) answered_by_peer(at);
  const Refresh* latest = by_peer.fact != nullptr ? &by_peer : nullptr;
  if (by_server.fact != nullptr && (latest == nullptr || by_server.at > by_peer.at)) {
    latest = &by_server;
  }
  if (by_peer.fact != nullptr && by_server.fact != nullptr &&
      by_peer.fact->contact != by_server.fact->contact) {
    // The peer sent its request after the server's, and about when it sent the answer: either may
    // have overtaken the other. What came before the server asked was no answer to that.
    constexpr std::int64_t kCrossing = 5'000;  // us
    const std::int64_t requested = by_peer.fact->first.time_us;
    const std::int64_t answered = by_server.fact->first.time_us;
    if (by_server.asked < requested && std::abs(requested - answered) <= kCrossing) {
      // They crossed; a conforming peer means its request (RFC 6141 4.8).
      latest = &by_peer;
      state.conflicts.push_back({Field::kRemoteTarget, RefOf(*by_server.fact),
                                 std::string(facts_.Text(by_server.fact->contact)),
                                 "two refreshes crossed; the peer's request was taken", false});
    }
  }
  // The answer to the first INVITE came after what was refreshed while it rang.
  if (latest != nullptr && draft.created_by_2xx != nullptr && draft.created_in->sent &&
      draft.created_by_2xx->contact != 0 && latest->at < since) {
    latest = nullptr;
  }
  if (latest != nullptr) {
    target = latest->fact->contact;
    proof = latest->fact;
    since = latest->at;
    since_is_own = latest == &by_server;
    since_cseq = latest->cseq;
    since_method = latest->method;
    reason = {latest == &by_peer ? Reason::kContactOfPeersRefresh : Reason::kContactOfAnswer,
              latest->method};
  }
  // A refresh of the peer that the server accepted, and whose request was lost: the target may be
  // another since then, unless the server shows it (rule 11.9).
  const MessageFact* blind = nullptr;
  // So may be the answer, from where the peer never spoke, to a request that was not captured: from
  // there anybody may have sent it (rules 12.2, 12.4).
  const bool off_path =
      latest == &by_server && by_server.asked == INT64_MAX && !MayBeOnPath(draft, *by_server.fact);
  if (off_path) blind = by_server.fact;
  const auto accepted_unseen = [&](const Transaction& at) {
    if (at.has_request || !refreshes(at.method)) return;
    if (by_peer.fact != nullptr && at.cseq < by_peer.cseq) return;
    // A reliable provisional answer accepts the target, whatever comes of the rest (rule 4.3).
    const AnswerFact* accepted = nullptr;
    for (const AnswerFact& answer : at.answers) {
      if (Canonical(answer.to_tag) != draft.local || answer.status >= 300 || !answer.reliable()) {
        continue;
      }
      if (accepted == nullptr || answer.first.time_us < accepted->first.time_us) accepted = &answer;
    }
    if (accepted == nullptr) return;
    if (blind == nullptr || blind->first.time_us < accepted->first.time_us) blind = accepted;
  };
  for (const Transaction* at : draft.theirs) accepted_unseen(*at);
  // What passes for the opening may be one, too.
  for (const Transaction* at : draft.creating) {
    if (!at->sent && (both_ways || MayBeReinvite(draft, *at))) accepted_unseen(*at);
  }
  // Of another only the ACK is left: it may have been one, too.
  for (const Transaction* at : draft.theirs) {
    if (at->method != Method::kAck || !at->has_request || !MayBeOnPath(draft, at->request))
      continue;
    if (IsOfSeenInvite(draft, *at)) continue;
    if (by_peer.fact != nullptr && at->cseq < by_peer.cseq) continue;
    if (blind == nullptr || blind->first.time_us < at->request.first.time_us) blind = &at->request;
  }
  if (unproved.first != nullptr &&
      !SameUri(facts_.Text(unproved.first->request.contact), facts_.Text(target)) &&
      (blind == nullptr || blind->first.time_us < unproved.second->first.time_us)) {
    blind = unproved.second;
  }
  if (draft.contested_reinvite != nullptr &&
      (blind == nullptr || blind->first.time_us < draft.contested_reinvite->first.time_us)) {
    blind = draft.contested_reinvite;
  }
  if (blind != nullptr && blind->first.time_us < since) blind = nullptr;
  if (blind != nullptr) {
    since = blind->first.time_us;
    since_is_own = false;
  }
  if (target != 0) {
    state.remote_target = facts_.Text(target);
    state.contact_target = state.remote_target;
  }
  const MessageFact* const contact_proof = proof;
  if (proof != nullptr && Has(Note::kSeveralContacts) &&
      HasNote(NotesOf(*proof), Note::kSeveralContacts)) {
    Warn(state, "a message named several Contacts; the first one was taken");
  }

  // --- what the server itself sent to (rules 2.13, 3.10, 3.11) ---
  const Transaction* shown = nullptr;
  for (const Transaction* at : draft.own) {
    if (!at->has_request || at->method == Method::kPrack) continue;
    if (IsOutOfProportion(draft, *at)) continue;
    if (at->method == Method::kAck && state.phase != DialogPhase::kConfirmed) continue;
    // What was sent while an INVITE ran has a higher number, and came before its 2xx.
    const bool within = since_method == Method::kInvite && at->request.first.time_us < since;
    const bool later = since_is_own ? (at->cseq > since_cseq && !within) ||
                                          (at->method == Method::kAck && at->cseq == since_cseq)
                                    : at->request.first.time_us >= since;
    if (!later) continue;
    if (shown == nullptr || shown->request.first.time_us <= at->request.first.time_us) shown = at;
  }
  if (shown != nullptr) {
    const WireAddress* const wire = ReadWire(draft, shown->request, draft.route_set);
    // Parameters that an old stack left out are kept; another host or port was on purpose.
    if (wire != nullptr && wire->target != state.remote_target && UriOf(wire->target).view &&
        !SameUserHostPort(wire->target, state.remote_target)) {
      state.remote_target = wire->target;
      proof = &shown->request;
      reason = {target == 0 ? Reason::kOwnRequestUri : Reason::kNotTheContact, shown->method};
    }
  } else if (options_.contact_rewrite == ContactRewrite::kAlways && draft.route_set.empty() &&
             !state.remote_target.empty()) {
    // A direct flow through a NAT: the packet's source replaces host and port.
    const Endpoint& source = proof != nullptr ? facts_.EndpointOf(proof->peer) : Endpoint();
    std::optional<UriView> uri = UriView::Parse(state.remote_target);
    if (uri && uri->is_sip && !source.ip.empty() && source.port != 0) {
      std::string rewritten(uri->scheme);
      rewritten += ':';
      if (!uri->user.empty()) rewritten += std::string(uri->user) + '@';
      rewritten += source.ToString();
      rewritten += uri->params;
      if (!SameUri(rewritten, state.remote_target)) {
        state.remote_target = rewritten;
        reason = Reason::kContactRewrite;
      }
    }
  }
  if (SameUri(state.contact_target, state.remote_target)) state.contact_target.clear();
  if (!state.contact_target.empty() && contact_proof != nullptr) {
    Cite(draft, Field::kContactTarget, *contact_proof, Reason::kContactNotUsed);
  }
  if (state.remote_target.empty() || (blind != nullptr && shown == nullptr)) {
    draft.missing.Add(Field::kRemoteTarget);
    if (blind != nullptr && off_path && blind == by_server.fact) {
      Warn(state, std::string(kOwnRefreshNotCaptured));
    } else if (blind != nullptr && blind != draft.contested_reinvite) {
      Warn(state, std::string(kPeersRefreshNotCaptured));
    }
  } else if (proof != nullptr) {
    Cite(draft, Field::kRemoteTarget, *proof, reason);
  }

  // --- where a 3xx to the server's last re-INVITE pointed (rule 6.12) ---
  for (const Transaction* at : draft.own) {
    if (at->method != Method::kInvite) continue;
    state.redirect_targets.clear();
    draft.proofs.Remove(Field::kRedirectTargets);
    const AnswerFact* final = FinalOf(draft, *at);
    if (final == nullptr || final->status / 100 != 3) continue;
    std::string_view notes = NotesOf(*final);
    Note key;
    std::string_view value;
    while (NextNote(&notes, &key, &value)) {
      if (key == Note::kAlternative) state.redirect_targets.emplace_back(value);
    }
    if (!state.redirect_targets.empty()) {
      Cite(draft, Field::kRedirectTargets, *final, Reason::kRedirected);
    }
  }

  // --- the server's own Contact (rule 4.9) ---
  const MessageFact* local = nullptr;
  auto consider = [&](const MessageFact& fact) {
    if (fact.contact != 0 && IsNewer(fact, local)) local = &fact;
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (!refreshes(at->method)) continue;
      if (at->sent && at->has_request) consider(at->request);
      if (at->sent) continue;
      for (const AnswerFact& answer : at->answers) {
        if (answer.status < 300 && Canonical(answer.to_tag) == draft.local) consider(answer);
      }
    }
  }
  if (local != nullptr) {
    state.local_target = facts_.Text(local->contact);
    Cite(draft, Field::kLocalTarget, *local, Reason::kOwnLastContact);
  }
}

void Derivation::DeriveNextHop(Draft& draft) const {
  DialogState& state = *draft.state;
  const MessageFact* sent = nullptr;
  const MessageFact* heard = nullptr;
  auto newest = [](const MessageFact*& best, const MessageFact& fact) {
    if (fact.peer != 0 && IsNewer(fact, best)) best = &fact;
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      const AnswerFact* final = FinalOf(draft, *at);
      // An unanswered request from elsewhere is not where the peer is. The ACK of a 2xx needs none.
      bool proved = false;
      const bool accepted = (final != nullptr && final->status < 300) ||
                            (at->method == Method::kAck && AckIsFor2xx(*at, &proved) && proved);
      const bool believed = accepted || list == &draft.creating;
      if (at->has_request) {
        if (at->sent) {
          if (!IsOutOfProportion(draft, *at)) newest(sent, at->request);
        } else if (believed && OnPath(draft, at->request)) {
          newest(heard, at->request);
        }
      }
      if (!at->sent || IsContested(draft, *at)) continue;
      for (const AnswerFact& answer : at->answers) {
        if (Canonical(answer.to_tag) == draft.remote && OnPath(draft, answer))
          newest(heard, answer);
      }
    }
  }
  if (heard != nullptr) {
    state.observed_source = facts_.EndpointOf(heard->peer);
    Cite(draft, Field::kObservedSource, *heard, Reason::kPeersLastMessage);
  }
  // An initial INVITE may have gone through an outbound proxy that did not stay in the path, so
  // what the server sent within the dialog is better, then where the peer was heard from.
  const MessageFact* hop = nullptr;
  for (const Transaction* at : draft.own) {
    if (at->has_request && !IsOutOfProportion(draft, *at)) newest(hop, at->request);
  }
  Reason reason = Reason::kOwnLastRequest;
  if (hop == nullptr) {
    hop = heard != nullptr ? heard : sent;
    reason = heard != nullptr ? Reason::kPeerLastHeard : Reason::kInviteSentTo;
  }
  if (hop != nullptr) {
    state.next_hop = facts_.EndpointOf(hop->peer);
    Cite(draft, Field::kNextHop, *hop, reason);
  }
  state.flow_held_by_server =
      IsStream(state.transport) && draft.route_set.empty() && !draft.missing.Has(Field::kRouteSet);
}

}  // namespace sipheal::inline v0_1::sip
