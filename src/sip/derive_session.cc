// SPDX-License-Identifier: Apache-2.0
// The session timer, what is still open, and by when somebody must have taken over.
#include <algorithm>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

// An ACK of whose INVITE nothing was captured is that of a 2xx, and not of a refusal, when it is of
// the INVITE that made the call: there was none before.
bool Derivation::MadeTheCall(const Draft& draft, const Transaction& ack) const {
  if (!draft.creating.empty()) return false;
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at == &ack || (at->method != Method::kInvite && at->method != Method::kAck)) continue;
      const MessageFact& first =
          at->has_request ? static_cast<const MessageFact&>(at->request) : at->answers.front();
      if (first.first.time_us < ack.request.first.time_us) return false;
    }
  }
  return true;
}

// An UPDATE that its side made between an INVITE and the ACK for that, which is all that is left of
// it: nobody can tell whether it failed, and took with it what was agreed (RFC 6141 3.7).
bool Derivation::IsWithinLostInvite(const Draft& draft, const Transaction& update,
                                    const MessageFact& start) const {
  if (update.method != Method::kUpdate) return false;
  const auto& of_its_side = update.sent ? draft.own : draft.theirs;
  return std::any_of(of_its_side.begin(), of_its_side.end(), [&](const Transaction* ack) {
    return ack->method == Method::kAck && ack->has_request && ack->cseq < update.cseq &&
           update.cseq - ack->cseq <= kSaneJump &&
           start.first.time_us < ack->request.first.time_us && !IsOfSeenInvite(draft, *ack) &&
           (ack->sent || MayBeOnPath(draft, ack->request)) && !MadeTheCall(draft, *ack);
  });
}

// By when the INVITE of this number had been sent: before its answers, and before any request of
// its side with a higher one.
std::int64_t Derivation::BegunBy(const Draft& draft, const Transaction& invite) const {
  std::int64_t begun = INT64_MAX;
  for (const AnswerFact& answer : invite.answers) begun = std::min(begun, answer.first.time_us);
  for (const Transaction* at : invite.sent ? draft.own : draft.theirs) {
    if (at->method == Method::kAck || at->cseq <= invite.cseq ||
        at->cseq - invite.cseq > kSaneJump) {
      continue;
    }
    if (at->has_request) begun = std::min(begun, at->request.first.time_us);
    for (const AnswerFact& answer : at->answers) begun = std::min(begun, answer.first.time_us);
  }
  return begun;
}

// An INVITE whose request was not captured: what was agreed on after this time may be a part of it.
// That takes a PRACK, so it has none when the next number is that of something else.
std::int64_t Derivation::AfterAll(const Draft& draft, const Transaction& invite) const {
  std::int64_t after = INT64_MIN;
  for (const Transaction* at : invite.sent ? draft.own : draft.theirs) {
    if (at->method == Method::kAck) continue;
    if (at->cseq == invite.cseq + 1 && at->method != Method::kPrack) return INT64_MAX;
    if (at->has_request && at->cseq < invite.cseq) {
      after = std::max(after, at->request.first.time_us);
    }
  }
  for (const AnswerFact& answer : invite.answers) after = std::min(after, answer.first.time_us);
  return after;
}

// The ACK that shows that an INVITE was refused, where the refusal was not captured: it has the
// branch of the INVITE (RFC 3261 17.1.1.3).
const Transaction* Derivation::AckOfFailure(const Transaction& invite) const {
  for (const Transaction& at : facts_.transactions) {
    if (invite.method == Method::kInvite && at.method == Method::kAck && at.has_request &&
        at.sent == invite.sent && at.cseq == invite.cseq && at.from_tag == invite.from_tag &&
        at.branch == invite.branch &&
        (!invite.has_request || at.request.peer == invite.request.peer)) {
      return &at;
    }
  }
  return nullptr;
}

// The ACK for a 2xx to this INVITE, as far as it may be believed. Where another INVITE had this
// number and is seen to have been accepted, it is the ACK of that one.
const Transaction* Derivation::AckSeen(const Draft& draft, const Transaction& invite) const {
  if (invite.method != Method::kInvite) return nullptr;
  for (const Transaction* at : invite.sent ? draft.own : draft.theirs) {
    if (at->method == Method::kAck && at->cseq == invite.cseq && at->has_request &&
        (at->sent || OnPath(draft, at->request))) {
      const AnswerFact* const final = FinalOf(draft, invite);
      const bool accepted = final != nullptr && final->status < 300;
      return accepted || !Succeeded(draft, *at) ? at : nullptr;
    }
  }
  return nullptr;
}

// The 2xx that the ACK is for was captured.
bool Derivation::Succeeded(const Draft& draft, const Transaction& ack) const {
  for (const auto* list : {&draft.creating, ack.sent ? &draft.own : &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kInvite || at->sent != ack.sent || at->cseq != ack.cseq) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      if (final != nullptr && final->status < 300) return true;
    }
  }
  return false;
}

// The most recent 2xx to an INVITE or UPDATE (rule 8.1).
struct Derivation::TimerSetting {
  const Transaction* transaction = nullptr;
  const AnswerFact* success = nullptr;
  std::int64_t settled_us = INT64_MIN;

  bool IsBefore(const Transaction& at, std::int64_t at_us) const {
    if (success == nullptr) return true;
    // Refreshes of one side follow each other; but an INVITE is answered after UPDATEs within it.
    const bool by_number = transaction->sent == at.sent && transaction->method == at.method;
    return by_number ? at.cseq > transaction->cseq : at_us > settled_us;
  }
  // uac and uas are those of this transaction. Not said: the server must refresh (rules 8.2, 8.5).
  bool local_refreshes() const {
    return success->refresher == 0 || (success->refresher == 1) == transaction->sent;
  }
};

// From the most recent 2xx to an INVITE or UPDATE alone (rules 8.1, 8.2).
void Derivation::DeriveTimer(Draft& draft) const {
  DialogState& state = *draft.state;
  TimerSetting latest;
  const bool limits = Has(Note::kMinInterval);
  auto asked = [&](const MessageFact& fact) {
    if (!limits) return;
    const std::string_view text = FindNote(NotesOf(fact), Note::kMinInterval);
    const std::chrono::seconds least(ParseUnsigned(text, 0x7fffffffu).value_or(0));
    state.session_timer.min_interval = std::max(state.session_timer.min_interval, least);
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kInvite && at->method != Method::kUpdate) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      // Of requests that the server took, and of refusals to its own (rule 8.6).
      if (at->has_request && (at->sent || final != nullptr)) asked(at->request);
      if (final != nullptr && final->status == 422) asked(*final);
      if (final == nullptr || final->status >= 300) continue;
      const std::int64_t settled = SettledAt(draft, *at, *final, true);
      if (latest.IsBefore(*at, settled)) latest = {at, final, settled};
    }
  }
  const AnswerFact* const success = latest.success;
  // A later 2xx of which only the ACK is left may have set another.
  const std::int64_t known_us = success != nullptr ? success->first.time_us : INT64_MIN;
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kAck || !at->has_request || at->request.first.time_us < known_us) {
        continue;
      }
      // Where no 2xx is left, whoever sends its ACK, there was one.
      if (!at->sent && success != nullptr && !MayBeOnPath(draft, at->request)) continue;
      if (success != nullptr && latest.transaction->sent == at->sent &&
          latest.transaction->cseq == at->cseq) {
        continue;
      }
      if (!Succeeded(draft, *at)) draft.missing.Add(Field::kSessionTimer);
    }
  }
  if (success == nullptr) return;
  if (MayBeForged(draft, *latest.transaction, *success)) {
    draft.missing.Add(Field::kSessionTimer);
    return;
  }
  if (success->session_expires == 0) return;
  const CaptureTime since = TimeOf(*success);
  const CaptureTime expires_at = since + std::chrono::seconds(success->session_expires);
  // Whoever is not refreshed SHOULD send BYE (RFC 4028 10). When nobody did, the refresh was not
  // captured, or nobody keeps the timer (rule 7.9).
  if (WentOnSince(draft, expires_at)) {
    draft.missing.Add(Field::kSessionTimer);
    Warn(state, "the session timer ran out, and both sides went on");
    return;
  }
  SessionTimer& timer = state.session_timer;
  timer.interval = std::chrono::seconds(success->session_expires);
  timer.since = since;
  timer.expires_at = expires_at;
  timer.local_refreshes = latest.local_refreshes();
  Cite(draft, Field::kSessionTimer, *success,
       {Reason::kSessionExpires, latest.transaction->method});
}

// Both sides had a part in a request within the dialog that was sent after that time.
bool Derivation::WentOnSince(const Draft& draft, CaptureTime time) const {
  const std::int64_t us = time.time_since_epoch().count();
  if (facts_.newest_us <= us) return false;
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (!at->has_request || at->request.first.time_us <= us) continue;
      const AnswerFact* const final = FinalOf(draft, *at);
      // As for floors: what the server refuses for its number, it did not take (rule 5.11).
      if (final == nullptr || (!at->sent && final->status == 500)) continue;
      if (at->sent ? MayBeOnPath(draft, *final) : OnPath(draft, at->request)) return true;
    }
  }
  return std::any_of(facts_.floors.begin(), facts_.floors.end(), [&](const Floor& floor) {
    return floor.sighting.time_us > us && IsOf(draft, floor) &&
           MayBeHost(draft, facts_.EndpointOf(floor.peer).ip);
  });
}

void Derivation::DeriveOpen(Draft& draft) const {
  DialogState& state = *draft.state;
  const std::int64_t now = facts_.newest_us;
  const std::int64_t limit_us = std::chrono::microseconds(kT1Times64).count();
  auto highest_done = [&](bool sent) {
    std::uint32_t best = 0;
    for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
      for (const Transaction* at : *list) {
        if (at->sent == sent && FinalOf(draft, *at) != nullptr) best = std::max(best, at->cseq);
      }
    }
    return best;
  };
  auto newest_invite = [&](bool sent) {
    std::uint32_t newest = 0;
    for (const Transaction* at : sent ? draft.own : draft.theirs) {
      const bool believed = !at->has_request || at->sent || OnPath(draft, at->request);
      // An ACK shows an INVITE of its number, too. The peer's may be made up, unless the server had
      // a part in that INVITE.
      bool shown = at->method == Method::kInvite || (at->method == Method::kAck && at->sent);
      if (at->method == Method::kAck && !shown) AckIsFor2xx(*at, &shown);
      if (shown && believed) newest = std::max(newest, at->cseq);
    }
    // One that was sent anew, whatever became of it.
    for (const Transaction& at : facts_.transactions) {
      if (at.method == Method::kInvite && at.sent == sent && at.has_request &&
          !at.request.has_to_tag && Canonical(at.from_tag) == (sent ? draft.local : draft.remote) &&
          (sent || OnPath(draft, at.request))) {
        newest = std::max(newest, at.cseq);
      }
    }
    return newest;
  };
  auto look = [&](const Transaction* at) {
    if (at->method == Method::kAck || at->method == Method::kCancel) return;
    const AnswerFact* final = FinalOf(draft, *at);
    const MessageFact* start =
        at->has_request ? static_cast<const MessageFact*>(&at->request) : final;
    if (start == nullptr) {
      if (at->answers.empty()) return;
      start = &at->answers.front();
    }
    const auto add = [&](bool awaits_ack, bool provisional, std::optional<CaptureTime> expires_at) {
      // Of one INVITE that answers name several branches of, one is the server's.
      const bool listed =
          draft.contested && at->method == Method::kInvite &&
          std::any_of(state.open_transactions.begin(), state.open_transactions.end(),
                      [&](const OpenTransaction& open) {
                        return open.awaits_ack && open.cseq == at->cseq &&
                               open.sent_by_server == at->sent && open.method == "INVITE";
                      });
      if (listed) return;
      OpenTransaction& open = state.open_transactions.emplace_back();
      open.method =
          at->method == Method::kOther ? facts_.Text(at->method_text) : ToString(at->method);
      open.cseq = at->cseq;
      open.sent_by_server = at->sent;
      open.awaits_ack = awaits_ack;
      open.provisional_seen = provisional;
      open.request = RefOf(*start);
      open.expires_at = expires_at;
    };
    const auto provisional_seen = [&] {
      return at->trying ||
             std::any_of(at->answers.begin(), at->answers.end(),
                         [](const AnswerFact& answer) { return answer.status < 200; });
    };
    // An ACK in the dialog is one for a 2xx, also when that was lost (rule 6.9).
    const auto& of_its_side = at->sent ? draft.own : draft.theirs;
    const bool acked =
        std::any_of(of_its_side.begin(), of_its_side.end(), [&](const Transaction* ack) {
          return at->method == Method::kInvite && ack->method == Method::kAck &&
                 ack->cseq == at->cseq && ack->has_request &&
                 (ack->sent || MayBeOnPath(draft, ack->request));
        });
    if (final == nullptr && (acked || AckOfFailure(*at) != nullptr)) return;
    if (IsOutOfProportion(draft, *at)) return;
    if (final == nullptr) {
      // A later request of the same side is done, and the time for this one is over: it is dead.
      const std::uint32_t done = highest_done(at->sent);
      if (at->cseq < done && now - start->first.time_us > limit_us) return;
      if (at->method == Method::kInvite && at->cseq < newest_invite(at->sent)) {
        return;  // there is one at a time (RFC 3261 14.1)
      }
      if (!at->sent && !MayBeOnPath(draft, *start)) return;
      const bool provisional = provisional_seen();
      std::optional<CaptureTime> expires_at;
      if (!provisional || at->method != Method::kInvite) expires_at = TimeOf(*start) + kT1Times64;
      add(false, provisional, expires_at);
      return;
    }
    if (at->method != Method::kInvite || final->status >= 300) return;
    // Whoever sent a later request in the dialog had the 2xx; a lost ACK is then no matter.
    const bool went_on =
        std::any_of(of_its_side.begin(), of_its_side.end(), [&](const Transaction* other) {
          return other->method != Method::kPrack && other->cseq > at->cseq && other->has_request &&
                 other->request.first.time_us > final->first.time_us &&
                 !IsOutOfProportion(draft, *other) &&
                 (other->sent || OnPath(draft, other->request));
        });
    if (acked || went_on || now - final->first.time_us > limit_us) return;
    add(true, provisional_seen(), TimeOf(*final) + kT1Times64);
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) look(at);
  }
  std::sort(state.open_transactions.begin(), state.open_transactions.end(),
            [](const OpenTransaction& a, const OpenTransaction& b) {
              return std::tie(a.request.time, a.request.sequence, a.cseq, a.method) <
                     std::tie(b.request.time, b.request.sequence, b.cseq, b.method);
            });
}

// Section 13 of the rules: the first clock that ends the call at the peer.
void Derivation::DeriveDeadline(Draft& draft) const {
  DialogState& state = *draft.state;
  if (state.phase == DialogPhase::kTerminated) return;
  auto clock = [&](CaptureTime at, const MessageRef& message, Reason reason) {
    if (state.deadline && *state.deadline <= at) return;
    state.deadline = at;
    state.deadline_reason = ToString(reason);
    draft.proofs.Set(Field::kDeadline, message, reason);
  };
  for (const OpenTransaction& open : state.open_transactions) {
    if (!open.expires_at) continue;
    if (open.awaits_ack) {
      if (open.sent_by_server) clock(*open.expires_at, open.request, Reason::kAckAwaited);
    } else if (!open.sent_by_server) {
      clock(
          *open.expires_at, open.request,
          IsStream(state.transport) ? Reason::kAnswerAwaitedOnConnection : Reason::kAnswerAwaited);
    }
  }
  // A reliable provisional answer of the peer that nobody acknowledged (RFC 3262 3).
  for (const auto* list : {&draft.creating, &draft.own}) {
    for (const Transaction* at : *list) {
      if (!at->sent || at->method != Method::kInvite || FinalOf(draft, *at) != nullptr) continue;
      // It was answered since, though that was not captured.
      if (AckSeen(draft, *at) != nullptr ||
          (list == &draft.creating && state.phase == DialogPhase::kConfirmed)) {
        continue;
      }
      for (const AnswerFact& answer : at->answers) {
        if (answer.rseq == 0 || Canonical(answer.to_tag) != draft.remote) continue;
        // A later one is not sent before the earlier was acknowledged (RFC 3262 3).
        const bool acknowledged =
            std::any_of(draft.own.begin(), draft.own.end(),
                        [&](const Transaction* own) {
                          if (own->method != Method::kPrack || own->cseq <= at->cseq) return false;
                          if (!own->has_request) {
                            return own->answers.front().first.time_us > answer.first.time_us;
                          }
                          const std::string_view rack =
                              FindNote(NotesOf(own->request), Note::kRack);
                          return ParseUnsigned(rack, 0xffffffffu).value_or(0) >= answer.rseq;
                        }) ||
            std::any_of(at->answers.begin(), at->answers.end(), [&](const AnswerFact& later) {
              return later.rseq > answer.rseq && Canonical(later.to_tag) == draft.remote;
            });
        if (!acknowledged) {
          clock(TimeOf(answer) + kT1Times64, RefOf(answer), Reason::kPrackAwaited);
        }
      }
    }
  }
  const SessionTimer& timer = state.session_timer;
  const Proofs::Proof* const set = draft.proofs.Find(Field::kSessionTimer);
  if (timer.active() && set != nullptr) {
    const MessageRef message = set->message;
    using std::chrono::seconds;
    const seconds margin = std::min(seconds(32), timer.interval / 3);
    CaptureTime at = timer.local_refreshes ? timer.expires_at - margin
                                           : timer.since + timer.interval / 2 + seconds(32);
    // Who went on by then has more time than he might have taken.
    if (WentOnSince(draft, at)) at = std::max(at, timer.expires_at);
    clock(at, message,
          timer.local_refreshes ? Reason::kServerHadToRefresh : Reason::kPeerRefreshes);
  }
}

}  // namespace sipheal::inline v0_1::sip
