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

// Requests that tell where their sender is to be reached from now on (rule 4.1).
bool RefreshesTarget(Method method) {
  return method == Method::kInvite || method == Method::kUpdate || method == Method::kSubscribe ||
         method == Method::kNotify || method == Method::kRefer;
}

}  // namespace

// Where the target started (rules 2.6, 2.7).
TargetClaim Derivation::OpeningTarget(const Draft& draft) const {
  if (draft.created_in == nullptr || draft.contested) return {};
  const Transaction& opening = *draft.created_in;
  if (!opening.sent) {
    if (!opening.has_request || opening.request.contact == 0) return {};
    return {&opening.request, &opening, opening.request.first.time_us, Reason::kContactOfInvite};
  }
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
  if (source == nullptr || source->contact == 0) return {};
  return {source, &opening, SettledAt(draft, opening, *source),
          source->status >= 200 ? Reason::kContactOf2xx : Reason::kContactOfProvisional};
}

// The server's answer that accepts a refresh of the peer, also of its target alone (rule 4.3).
const AnswerFact* Derivation::TargetAccepted(const Draft& draft, const Transaction& at) const {
  const AnswerFact* accepted = nullptr;
  for (const AnswerFact& answer : at.answers) {
    if (Canonical(answer.to_tag) != draft.local || answer.status >= 300 || !answer.reliable()) {
      continue;
    }
    if (accepted == nullptr || answer.first.Better(accepted->first)) accepted = &answer;
  }
  return accepted;
}

// What becomes of a refresh of the peer that the server is not seen to have accepted (rule 4.2).
void Derivation::JudgeOpenRefresh(Draft& draft, const Transaction& at,
                                  PeersRefreshes* refreshes) const {
  DialogState& state = *draft.state;
  const auto quarantine = [&](const char* why) {
    ++state.quarantined;
    state.conflicts.push_back({Field::kRemoteTarget, RefOf(at.request),
                               std::string(facts_.Text(at.request.contact)), why, false});
  };
  if (FinalOf(draft, at) != nullptr || !OnPath(draft, at.request)) {
    return quarantine("a refresh that the server did not accept");
  }
  const Transaction* rival = nullptr;
  for (const Transaction* other : draft.theirs) {
    if (other == &at || other->cseq != at.cseq || other->method != at.method) continue;
    // A number is used once: no other can be accepted under it (RFC 3261 12.2.2).
    if (TargetAccepted(draft, *other) != nullptr) {
      return quarantine("a refresh under the number of one that the server accepted");
    }
    if (other->has_request && other->request.contact != at.request.contact) rival = other;
  }
  if (const Transaction* ack = AckSeen(draft, at)) {
    refreshes->acknowledged = &at;
    refreshes->ack = &ack->request;
  }
  // Which of two the peer sent, nobody can tell.
  if (rival != nullptr) return quarantine("one of two refreshes under one number");
  state.pending_remote_target = facts_.Text(at.request.contact);
  Cite(draft, Field::kPendingTarget, at.request, Reason::kContactNotAnswered);
}

Derivation::PeersRefreshes Derivation::FindPeersRefreshes(Draft& draft) const {
  PeersRefreshes refreshes;
  for (const Transaction* at : draft.theirs) {
    if (!RefreshesTarget(at->method) || !at->has_request || at->request.contact == 0) continue;
    const EvidenceReason reason(Reason::kContactOfPeersRefresh, at->method);
    if (const AnswerFact* accepted = TargetAccepted(draft, *at)) {
      refreshes.latest = {&at->request, at, SettledAt(draft, *at, *accepted), reason};
      continue;
    }
    // The server used it: as good as an answer (RFC 6141 4.6).
    const std::string_view offered = facts_.Text(at->request.contact);
    const bool used = std::any_of(draft.own.begin(), draft.own.end(), [&](const Transaction* own) {
      return own->has_request && own->request.first.time_us > at->request.first.time_us &&
             !IsOutOfProportion(draft, *own) && SameUri(facts_.Text(own->request.uri), offered);
    });
    if (used) {
      refreshes.latest = {&at->request, at, at->request.first.time_us, reason};
    } else {
      JudgeOpenRefresh(draft, *at, &refreshes);
    }
  }
  return refreshes;
}

// What the peer answered to refreshes of the server (rule 4.4).
Derivation::AnsweredRefreshes Derivation::FindAnsweredRefreshes(const Draft& draft) const {
  AnsweredRefreshes refreshes;
  const auto look = [&](const Transaction* at, bool asked) {
    if (!RefreshesTarget(at->method)) return;
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
    if (source == nullptr) return;
    const TargetClaim claim = {
        source, at, SettledAt(draft, *at, *source, true), {Reason::kContactOfAnswer, at->method}};
    const auto take = [&](TargetClaim& latest) {
      // An INVITE is answered after what was made within it.
      const bool within = latest && latest.transaction->method == Method::kInvite &&
                          at->method != Method::kInvite && claim.since < latest.since;
      if (!within) latest = claim;
    };
    take(refreshes.latest);
    if (asked || !IsUnasked(draft, *at)) take(refreshes.latest_asked);
  };
  for (const Transaction* at : draft.creating) {
    // What passes for the opening is believed without its request (rule 2.12).
    if (at->sent && at != draft.created_in && OpenedBothWays(draft)) look(at, true);
  }
  for (const Transaction* at : draft.own) look(at, false);
  return refreshes;
}

// Where an INVITE of each side passes for the opening, one was a re-INVITE.
bool Derivation::OpenedBothWays(const Draft& draft) const {
  return std::any_of(draft.creating.begin(), draft.creating.end(),
                     [&](const Transaction* at) { return at->sent != draft.created_in->sent; });
}

// Which of two claims came last; `crossed` is set when nothing tells (rule 4.5).
const TargetClaim& Derivation::LaterRefresh(const TargetClaim& by_peer,
                                            const TargetClaim& by_server, bool* crossed) {
  *crossed = false;
  if (!by_peer || !by_server) return by_peer ? by_peer : by_server;
  if (by_peer.fact->contact != by_server.fact->contact) {
    // The peer sent its request after the server's, and about when it sent the answer: either may
    // have overtaken the other. What came before the server asked was no answer to that.
    constexpr std::int64_t kCrossing = 5'000;  // us
    const std::int64_t requested = by_peer.fact->first.time_us;
    const std::int64_t answered = by_server.fact->first.time_us;
    const Transaction& asked = *by_server.transaction;
    *crossed = asked.has_request && asked.request.first.time_us < requested &&
               std::abs(requested - answered) <= kCrossing;
    // A conforming peer means its request (RFC 6141 4.8).
    if (*crossed) return by_peer;
  }
  return by_server.since > by_peer.since ? by_server : by_peer;
}

// What may have moved the target to where nothing shows: the newest such message, or nullptr.
const MessageFact* Derivation::FindBlindRefresh(const Draft& draft, const PeersRefreshes& refreshes,
                                                std::string_view target) const {
  const MessageFact* blind = nullptr;
  const auto newest = [&blind](const MessageFact& fact) {
    if (blind == nullptr || blind->first.time_us < fact.first.time_us) blind = &fact;
  };
  const auto settled_since = [&](const Transaction& at) {
    return refreshes.latest && at.cseq < refreshes.latest.transaction->cseq;
  };
  // A refresh of the peer that the server accepted, and whose request was lost (rule 11.9).
  const auto accepted_unseen = [&](const Transaction& at) {
    if (at.has_request || !RefreshesTarget(at.method) || settled_since(at)) return;
    if (const AnswerFact* accepted = TargetAccepted(draft, at)) newest(*accepted);
  };
  for (const Transaction* at : draft.theirs) accepted_unseen(*at);
  // What passes for the opening may be one, too.
  for (const Transaction* at : draft.creating) {
    if (!at->sent && (OpenedBothWays(draft) || MayBeReinvite(draft, *at))) accepted_unseen(*at);
  }
  // Of another only the ACK is left: it may have been one, too.
  for (const Transaction* at : draft.theirs) {
    if (at->method != Method::kAck || !at->has_request || settled_since(*at)) continue;
    if (MayBeOnPath(draft, at->request) && !IsOfSeenInvite(draft, *at)) newest(at->request);
  }
  // The peer acknowledges a refresh of its own, and the server's 2xx was not captured.
  if (refreshes.acknowledged != nullptr &&
      !SameUri(facts_.Text(refreshes.acknowledged->request.contact), target)) {
    newest(*refreshes.ack);
  }
  if (draft.contested_reinvite != nullptr) newest(*draft.contested_reinvite);
  return blind;
}

// What the server itself sent to since the target was told last; nullptr: nothing. What it sent
// after a transaction of its own is told by the number, which no clock can disturb.
const Transaction* Derivation::ShownSince(const Draft& draft, std::int64_t since,
                                          const Transaction* own) const {
  const Transaction* shown = nullptr;
  for (const Transaction* at : draft.own) {
    if (!at->has_request || at->method == Method::kPrack) continue;
    if (IsOutOfProportion(draft, *at)) continue;
    if (at->method == Method::kAck && draft.state->phase != DialogPhase::kConfirmed) continue;
    bool later = at->request.first.time_us >= since;
    if (own != nullptr) {
      // What was sent while an INVITE ran has a higher number, and came before its 2xx.
      const bool within = own->method == Method::kInvite && !later;
      later = (at->cseq > own->cseq && !within) ||
              (at->method == Method::kAck && at->cseq == own->cseq);
    }
    if (!later) continue;
    if (shown == nullptr || shown->request.first.time_us <= at->request.first.time_us) shown = at;
  }
  return shown;
}

// The packet's source in place of host and port, for a direct flow through a NAT (rule 3.10); empty
// when that is not known.
std::string Derivation::RewrittenTarget(std::string_view target, const MessageFact* proof) const {
  const Endpoint& source = proof != nullptr ? facts_.EndpointOf(proof->peer) : Endpoint();
  const std::optional<UriView> uri = UriView::Parse(target);
  if (!uri || !uri->is_sip || source.ip.empty() || source.port == 0) return {};
  std::string rewritten(uri->scheme);
  rewritten += ':';
  if (!uri->user.empty()) rewritten += std::string(uri->user) + '@';
  rewritten += source.ToString();
  rewritten += uri->params;
  return rewritten;
}

void Derivation::DeriveTarget(Draft& draft) const {
  DialogState& state = *draft.state;
  const TargetClaim opening = OpeningTarget(draft);
  const PeersRefreshes by_peer = FindPeersRefreshes(draft);
  const AnsweredRefreshes answered = FindAnsweredRefreshes(draft);
  bool crossed = false;
  const auto last_of = [&](const TargetClaim& by_server) {
    const TargetClaim& latest = LaterRefresh(by_peer.latest, by_server, &crossed);
    // The answer to the first INVITE came after what was refreshed while it rang.
    const bool before_2xx = latest && draft.created_by_2xx != nullptr && draft.created_in->sent &&
                            draft.created_by_2xx->contact != 0 && latest.since < opening.since;
    return latest && !before_2xx ? &latest : &opening;
  };
  const TargetClaim& claim = *last_of(answered.latest);
  if (crossed) {
    const MessageFact& other = *answered.latest.fact;
    state.conflicts.push_back({Field::kRemoteTarget, RefOf(other),
                               std::string(facts_.Text(other.contact)),
                               "two refreshes crossed; the peer's request was taken", false});
  }
  const std::string_view target = claim ? facts_.Text(claim.fact->contact) : std::string_view();

  const MessageFact* blind = FindBlindRefresh(draft, by_peer, target);
  if (&claim == &answered.latest && !claim.transaction->has_request &&
      (blind == nullptr || blind->first.time_us <= claim.fact->first.time_us)) {
    // The peer's own address can be forged, too: by the answer alone, the call does not go to a
    // host that it never knew (rule 12.1).
    const TargetClaim& asked = *last_of(answered.latest_asked);
    const bool unasked = asked && claim.fact->contact != asked.fact->contact &&
                         LeadsElsewhere(draft, target, facts_.Text(asked.fact->contact));
    if (unasked || MayBeForged(draft, *claim.transaction, *claim.fact)) blind = claim.fact;
  }
  if (blind != nullptr && blind->first.time_us < claim.since) blind = nullptr;

  if (claim) {
    state.remote_target = target;
    state.contact_target = target;
    if (Has(Note::kSeveralContacts) && HasNote(NotesOf(*claim.fact), Note::kSeveralContacts)) {
      Warn(state, "a message named several Contacts; the first one was taken");
    }
  }
  // What the server itself sent to is the best witness (rules 2.13, 3.10, 3.11).
  const MessageFact* proof = claim.fact;
  EvidenceReason reason = claim.reason;
  const bool own = blind == nullptr && claim && claim.transaction->sent;
  const Transaction* const shown =
      ShownSince(draft, blind != nullptr ? blind->first.time_us : claim.since,
                 own ? claim.transaction : nullptr);
  if (shown != nullptr) {
    const WireAddress* const wire = ReadWire(draft, shown->request, draft.route_set);
    // Parameters that an old stack left out are kept; another host or port was on purpose.
    if (wire != nullptr && wire->target != state.remote_target && UriOf(wire->target).view &&
        !SameUserHostPort(wire->target, state.remote_target)) {
      state.remote_target = wire->target;
      proof = &shown->request;
      reason = {claim ? Reason::kNotTheContact : Reason::kOwnRequestUri, shown->method};
    }
  } else if (options_.contact_rewrite == ContactRewrite::kAlways && draft.route_set.empty() &&
             !state.remote_target.empty()) {
    const std::string rewritten = RewrittenTarget(state.remote_target, proof);
    if (!rewritten.empty() && !SameUri(rewritten, state.remote_target)) {
      state.remote_target = rewritten;
      reason = Reason::kContactRewrite;
    }
  }
  if (SameUri(state.contact_target, state.remote_target)) state.contact_target.clear();
  if (!state.contact_target.empty()) {
    Cite(draft, Field::kContactTarget, *claim.fact, Reason::kContactNotUsed);
  }
  if (state.remote_target.empty() || (blind != nullptr && shown == nullptr)) {
    draft.missing.Add(Field::kRemoteTarget);
    if (blind != nullptr && blind == claim.fact) {
      Warn(state, std::string(kOwnRefreshNotCaptured));
    } else if (blind != nullptr && blind != draft.contested_reinvite) {
      Warn(state, std::string(kPeersRefreshNotCaptured));
    }
  } else if (proof != nullptr) {
    Cite(draft, Field::kRemoteTarget, *proof, reason);
  }
  DeriveRedirect(draft);
  DeriveLocalTarget(draft);
}

// Where a 3xx to the server's last re-INVITE pointed (rule 6.12).
void Derivation::DeriveRedirect(Draft& draft) const {
  DialogState& state = *draft.state;
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
}

// The server's own last Contact (rule 4.9).
void Derivation::DeriveLocalTarget(Draft& draft) const {
  const MessageFact* local = nullptr;
  auto consider = [&](const MessageFact& fact) {
    if (fact.contact != 0 && IsNewer(fact, local)) local = &fact;
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (!RefreshesTarget(at->method)) continue;
      if (at->sent && at->has_request) consider(at->request);
      if (at->sent) continue;
      for (const AnswerFact& answer : at->answers) {
        if (answer.status < 300 && Canonical(answer.to_tag) == draft.local) consider(answer);
      }
    }
  }
  if (local == nullptr) return;
  draft.state->local_target = facts_.Text(local->contact);
  Cite(draft, Field::kLocalTarget, *local, Reason::kOwnLastContact);
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
