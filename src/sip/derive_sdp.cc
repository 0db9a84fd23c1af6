// SPDX-License-Identifier: Apache-2.0
// Which session descriptions are in force, and who holds.
#include <algorithm>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Those of one side by their numbers, which no clock can disturb; the two sides by time. What is
// equal in that stands as its transactions do, whose order is one of their contents.
void PutInOrder(std::vector<Exchange>& exchanges, std::vector<Exchange>& ordered) {
  std::sort(exchanges.begin(), exchanges.end(), [](const Exchange& a, const Exchange& b) {
    return std::tuple(a.transaction->sent, a.transaction->cseq, a.settled_us, a.transaction) <
           std::tuple(b.transaction->sent, b.transaction->cseq, b.settled_us, b.transaction);
  });
  auto theirs = exchanges.begin();
  const auto own = std::find_if(exchanges.begin(), exchanges.end(),
                                [](const Exchange& one) { return one.transaction->sent; });
  auto ours = own;
  ordered.clear();
  while (theirs != own || ours != exchanges.end()) {
    const bool take_ours =
        theirs == own || (ours != exchanges.end() && ours->settled_us < theirs->settled_us);
    ordered.push_back(take_ours ? *ours++ : *theirs++);
  }
}

// What hold takes from a description.
struct Flow {
  explicit Flow(const SdpView& sdp)
      : direction(sdp.direction()), zero_connection(sdp.zero_connection()) {}

  bool IsHold() const {
    return zero_connection || direction == SdpDirection::kSendOnly ||
           direction == SdpDirection::kInactive;
  }
  SdpDirection direction;
  bool zero_connection;
};

bool LongerDecimal(std::string_view a, std::string_view b) {
  while (a.size() > 1 && a.front() == '0') a.remove_prefix(1);
  while (b.size() > 1 && b.front() == '0') b.remove_prefix(1);
  return a.size() != b.size() ? a.size() > b.size() : a > b;
}

bool AllDigits(std::string_view text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), IsDigit);
}

}  // namespace

// Only a completed pair moves the session (rule 9.5). A failed re-INVITE leaves no trace but the
// version.
void Derivation::DeriveSdp(Draft& draft) const {
  DialogState& state = *draft.state;
  FindFailedReinvites(draft);
  const std::vector<FailedReinvite>& failed = work_.failed;
  std::vector<Exchange>& found = work_.exchanges;
  found.clear();
  const MessageFact* preview = nullptr;
  bool preview_by_server = false;
  auto pair_up = [&](const Transaction* at) {
    if (at->method != Method::kInvite && at->method != Method::kUpdate) return;
    const AnswerFact* const final = FinalOf(draft, *at);
    const bool refused = final != nullptr ? final->status >= 300 : AckOfFailure(*at) != nullptr;
    const AnswerFact* const success = refused ? nullptr : final;
    const AnswerFact* reliable = nullptr;  // the first that carries a description
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != AnswerTag(draft, *at) || !answer.has_sdp()) continue;
      if (answer.status >= 300) continue;
      if (!answer.reliable()) {
        if (preview == nullptr) {
          preview = &answer;
          preview_by_server = !at->sent;
        }
        continue;
      }
      if (reliable == nullptr || (answer.status < 200 && reliable->status >= 200) ||
          (answer.status < 200 && answer.rseq < reliable->rseq)) {
        reliable = &answer;
      }
    }
    const Transaction* const ack = AckSeen(draft, *at);
    const bool opening = draft.created_in == at;
    Exchange exchange;
    exchange.transaction = at;
    exchange.accepted =
        success != nullptr || ack != nullptr || (opening && state.phase == DialogPhase::kConfirmed);
    // A reliable provisional answer puts the session in force while the re-INVITE still runs (RFC
    // 6141 3).
    const bool executed = !refused && reliable != nullptr && reliable->status < 200;
    if (!exchange.accepted && !executed && !(opening && state.phase == DialogPhase::kEarly)) return;
    if (success == nullptr && ack != nullptr && !opening && !at->sent && !executed) {
      // The peer alone says that the server accepted (rule 12.1): enough to doubt, not to believe.
      exchange.shown = &ack->request;
      found.push_back(exchange);
      return;
    }
    if (at->has_request && at->request.has_sdp()) {
      exchange.offer = &at->request;
      exchange.answer = reliable;
      exchange.offered_by_server = at->sent;
      if (reliable == nullptr) {
        // A peer that describes itself in an unreliable 18x only, and not again in the 2xx.
        for (const AnswerFact& answer : at->answers) {
          if (answer.has_sdp() && answer.status < 200 &&
              Canonical(answer.to_tag) == AnswerTag(draft, *at)) {
            exchange.answer = &answer;
          }
        }
      }
    } else if (reliable != nullptr) {
      exchange.offer = reliable;
      exchange.offered_by_server = !at->sent;
      // The answer is in the ACK, or in the PRACK for a reliable provisional.
      const auto& followers = at->sent ? draft.own : draft.theirs;
      bool went_on = reliable->status < 200;
      for (const Transaction* follower : followers) {
        if (!follower->has_request) continue;
        const bool is_ack = follower->method == Method::kAck && follower->cseq == at->cseq &&
                            reliable->status >= 200;
        const bool is_prack = follower->method == Method::kPrack && reliable->status < 200;
        // Whoever sends another request after the 2xx, had it.
        went_on |= follower->cseq > at->cseq && follower->cseq - at->cseq <= kSaneJump &&
                   follower->method != Method::kPrack &&
                   follower->request.first.time_us > reliable->first.time_us;
        if ((is_ack || is_prack) && follower->request.has_sdp()) {
          exchange.answer = &follower->request;
        }
      }
      // So did who sent an INVITE since, of which only the ACK of its refusal is left.
      for (const Transaction& other : facts_.transactions) {
        went_on |= other.method == Method::kAck && other.sent == at->sent && other.has_request &&
                   other.cseq > at->cseq && other.cseq - at->cseq <= kSaneJump &&
                   Canonical(other.from_tag) == Canonical(at->from_tag) &&
                   Canonical(other.request.to_tag) == AnswerTag(draft, *at);
      }
      // Without the request, this may be the offer or the answer; it is what that side said last.
      // With an offer in the 2xx, nothing is settled before the ACK.
      if (at->has_request && ack == nullptr && !went_on) exchange.accepted = false;
      if (!at->has_request && !opening && ack == nullptr && at->method == Method::kInvite) {
        exchange.shown = reliable;
        exchange.offer = nullptr;
        exchange.accepted = true;
      }
    } else if (ack != nullptr && ack->request.has_sdp()) {
      exchange.answer = &ack->request;
      exchange.offered_by_server = !at->sent;
    } else if (at->method == Method::kInvite && exchange.accepted) {
      exchange.shown = success != nullptr ? static_cast<const MessageFact*>(success)
                       : ack != nullptr   ? &ack->request
                                          : nullptr;
      if (exchange.shown == nullptr) return;
      exchange.begun_us = BegunBy(draft, *at);
    } else {
      return;
    }
    // What was agreed within a re-INVITE that failed went with it (RFC 6141 3.7).
    const MessageFact& start =
        at->has_request ? static_cast<const MessageFact&>(at->request) : at->answers.front();
    for (const FailedReinvite& one : failed) {
      if (one.transaction == at || at->method != Method::kUpdate) continue;
      if (one.Covers(start)) return;
      if (one.MayCover(start)) {
        exchange.offer = exchange.answer = nullptr;
        exchange.shown = &start;
        exchange.accepted = true;
      }
    }
    if (IsWithinLostInvite(draft, *at, start)) {
      exchange.offer = exchange.answer = nullptr;
      exchange.shown = &start;
      exchange.accepted = true;
      Warn(state, "an UPDATE was made within an INVITE that may have failed");
    }
    found.push_back(exchange);
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      pair_up(at);
      // An ACK of whose INVITE nothing was captured.
      if (at->method != Method::kAck || IsOfSeenInvite(draft, *at) ||
          !(at->sent || MayBeOnPath(draft, at->request))) {
        continue;
      }
      Exchange exchange;
      exchange.transaction = at;
      exchange.accepted = true;
      exchange.shown = &at->request;
      if (at->request.has_sdp()) exchange.answer = &at->request;
      exchange.offered_by_server = !at->sent;
      found.push_back(exchange);
      if (!at->request.has_sdp() && MadeTheCall(draft, *at)) {
        found.back().begun_us = BegunBy(draft, *at);
      }
    }
  }
  for (Exchange& one : found) {
    const MessageFact& answer = one.answer != nullptr  ? *one.answer
                                : one.offer != nullptr ? *one.offer
                                                       : *one.shown;
    // While an INVITE runs, another offer is accepted only after its own was answered (RFC 3311
    // 5.1), so what was agreed since it was sent is newer than that, where its ACK describes
    // nothing.
    one.settled_us = std::min(SettledAt(draft, *one.transaction, answer), one.begun_us);
    // What the 2xx does not repeat was agreed while it rang, before anything else was (RFC
    // 3311 5.1).
    if (one.transaction == draft.created_in && one.shown != nullptr) one.settled_us = INT64_MIN;
  }
  const std::vector<Exchange>& exchanges = work_.exchanges_in_order;
  PutInOrder(found, work_.exchanges_in_order);

  // A part of a failed re-INVITE had been carried out, and no later pair set the session right.
  for (const FailedReinvite& one : failed) {
    if (one.executed == nullptr) continue;
    state.resync_needed =
        std::none_of(exchanges.begin(), exchanges.end(), [&](const Exchange& exchange) {
          return exchange.answer != nullptr && exchange.done_us() > one.until_us;
        });
    if (state.resync_needed) {
      Cite(draft, Field::kResync, *one.executed, Reason::kExecutedThenFailed);
    }
  }

  const MessageFact* local = nullptr;
  const MessageFact* remote = nullptr;
  bool local_lost = false;
  bool remote_lost = false;
  bool hold_of_local_lost = false;
  bool hold_of_remote_lost = false;
  for (const Exchange& exchange : exchanges) {
    const MessageFact* by_server = exchange.offered_by_server ? exchange.offer : exchange.answer;
    const MessageFact* by_peer = exchange.offered_by_server ? exchange.answer : exchange.offer;
    const bool complete = exchange.offer != nullptr && exchange.answer != nullptr;
    if (exchange.accepted) {
      // What was not captured of it is in force as well, so what was before is not.
      local = by_server;
      remote = by_peer;
      local_lost = by_server == nullptr;
      remote_lost = by_peer == nullptr;
    } else {
      // An offer whose answer is not known is taken only when nothing better is.
      if (by_server != nullptr && (complete || (local == nullptr && !local_lost))) {
        local = by_server;
      }
      if (by_peer != nullptr && (complete || (remote == nullptr && !remote_lost))) {
        remote = by_peer;
      }
    }
    if (!complete) {
      if (exchange.accepted) hold_of_local_lost = hold_of_remote_lost = true;
      continue;
    }
    if (!Describes(*exchange.offer) || !Describes(*exchange.answer)) continue;
    const Flow offer(SdpOf(*exchange.offer));
    const Flow answer(SdpOf(*exchange.answer));
    bool& offerer = exchange.offered_by_server ? state.held_by_local : state.held_by_remote;
    bool& answerer = exchange.offered_by_server ? state.held_by_remote : state.held_by_local;
    bool& answerer_lost = exchange.offered_by_server ? hold_of_remote_lost : hold_of_local_lost;
    (exchange.offered_by_server ? hold_of_local_lost : hold_of_remote_lost) = false;
    offerer = offer.IsHold();
    // An answer can only narrow the offer; it shows the answerer's wish where the offer left it
    // one.
    if (offer.direction == SdpDirection::kSendRecv && !offer.zero_connection) {
      answerer = answer.IsHold();
      answerer_lost = false;
    } else if (offer.direction == SdpDirection::kSendOnly &&
               answer.direction == SdpDirection::kRecvOnly) {
      answerer = false;  // it would receive, were something sent
      answerer_lost = false;
    } else if (offer.direction == SdpDirection::kRecvOnly &&
               answer.direction == SdpDirection::kSendOnly) {
      answerer = true;
      answerer_lost = false;
    }
    if (state.held_by_local || state.held_by_remote) {
      draft.proofs.Remove(Field::kHold);
      Cite(draft, Field::kHold, *exchange.offer, Reason::kHoldDirection);
    } else {
      draft.proofs.Remove(Field::kHold);
    }
  }
  if (preview != nullptr && exchanges.empty()) (preview_by_server ? local : remote) = preview;
  if (hold_of_local_lost || hold_of_remote_lost) {
    draft.missing.Add(Field::kHold);
  }

  auto describe = [&](const MessageFact* fact, Field field, SdpSummary* summary) {
    if (fact == nullptr || !Describes(*fact)) {
      *summary = {};
      draft.missing.Add(field);
      return;
    }
    const SdpView& sdp = SdpOf(*fact);
    CopyOrigin(OriginOf(*fact), summary);
    sdp.CopyTo(summary);
    const MediaSecurity& security = sdp.security();
    if (security.any()) Cite(draft, Field::kMediaSecurity, *fact, Reason::kMediaKeys);
    state.media_security.sdes |= security.sdes;
    state.media_security.dtls |= security.dtls;
    state.media_security.ice |= security.ice;
    Cite(draft, field, *fact, Reason::kLastExchange);
  };
  describe(local, Field::kLocalSdp, &state.local_sdp);
  describe(remote, Field::kRemoteSdp, &state.remote_sdp);
  DeriveSdpVersion(draft);
}

// The version must rise above all that the server ever wrote, refused offers included (F40).
void Derivation::DeriveSdpVersion(Draft& draft) const {
  DialogState& state = *draft.state;
  auto written = [&](auto&& use) {
    for (const auto* list : {&draft.attempts, &draft.creating, &draft.own, &draft.theirs}) {
      for (const Transaction* at : *list) {
        if (at->sent && at->has_request && at->request.has_sdp()) use(at->request);
        if (at->sent) continue;
        for (const AnswerFact& answer : at->answers) {
          if (answer.has_sdp() && Canonical(answer.to_tag) == draft.local) use(answer);
        }
      }
    }
  };
  std::string_view session_id = state.local_sdp.origin_session_id;
  std::int64_t session_us = INT64_MIN;
  if (state.local_sdp.empty()) {
    // What is in force is not known, but what the server wrote last is of the same session.
    written([&](const MessageFact& fact) {
      if (!Describes(fact) || fact.first.time_us < session_us) return;
      session_us = fact.first.time_us;
      session_id = OriginOf(fact).session_id;
    });
  }
  TextId last = 0;
  written([&](const MessageFact& fact) {
    if (fact.sdp_origin != 0 && fact.sdp_origin == last) return;
    last = fact.sdp_origin;
    const SdpOrigin origin = OriginOf(fact);
    if (!AllDigits(origin.version) || origin.session_id != session_id) return;
    if (LongerDecimal(origin.version, state.highest_local_sdp_version)) {
      state.highest_local_sdp_version = origin.version;
    }
  });
}

const SdpView& Derivation::SdpOf(const MessageFact& fact) const {
  for (const Workspace::ReadSdp& read : work_.sdps) {
    if (read.text == fact.sdp && fact.sdp != 0) return read.view;
  }
  Workspace::ReadSdp& read = work_.sdps[work_.next_sdp++ % work_.sdps.size()];
  read.text = fact.sdp;
  read.view.Read(facts_.Text(fact.sdp));
  return read.view;
}

bool Derivation::Describes(const MessageFact& fact) const {
  if (fact.sdp_origin != 0) return true;
  const SdpView& sdp = SdpOf(fact);
  return sdp.has_origin() || !sdp.media().empty();
}

// The o= line is apart when it stands first, as it must.
SdpOrigin Derivation::OriginOf(const MessageFact& fact) const {
  if (fact.sdp_origin == 0) return ReadOrigin(SdpOf(fact).origin());
  std::string_view line = facts_.Text(fact.sdp_origin).substr(2);
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.remove_suffix(1);
  return ReadOrigin(line);
}

// Re-INVITEs that were refused, by either side (rule 6.6).
void Derivation::FindFailedReinvites(const Draft& draft) const {
  std::vector<FailedReinvite>& failed = work_.failed;
  failed.clear();
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kInvite) continue;
      if (!at->sent && at->has_request && !OnPath(draft, at->request)) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      const Transaction* const ack = final == nullptr ? AckOfFailure(*at) : nullptr;
      if (final == nullptr ? ack == nullptr : final->status < 300) continue;
      FailedReinvite& one = failed.emplace_back();
      one.transaction = at;
      one.from_us = at->has_request ? at->request.first.time_us : BegunBy(draft, *at);
      one.after_us = one.from_us;
      if (!at->has_request && (final == nullptr || final->status != 491)) {
        one.after_us = AfterAll(draft, *at);
      }
      one.until_us =
          (final != nullptr ? static_cast<const MessageFact&>(*final) : ack->request).first.time_us;
      for (const AnswerFact& answer : at->answers) {
        if (answer.status < 200 && answer.rseq != 0 && answer.has_sdp()) one.executed = &answer;
      }
    }
  }
  // Of some only the ACK is left, and the 100, which tells by the branch what it was for.
  for (const Transaction& at : facts_.transactions) {
    bool proved = false;
    if (at.method != Method::kAck || !at.has_request ||
        Canonical(at.from_tag) != (at.sent ? draft.local : draft.remote) ||
        Canonical(at.request.to_tag) != AnswerTag(draft, at) || AckIsFor2xx(at, &proved) ||
        (!at.sent && !OnPath(draft, at.request)) || IsOfSeenInvite(draft, at)) {
      continue;
    }
    FailedReinvite& one = failed.emplace_back();
    one.transaction = &at;
    one.from_us = one.after_us = BegunBy(draft, at);
    one.until_us = at.request.first.time_us;
  }
  for (FailedReinvite& one : failed) {
    for (const auto* list : {&draft.own, &draft.theirs}) {
      for (const Transaction* at : *list) {
        const AnswerFact* final = FinalOf(draft, *at);
        if (at->method != Method::kUpdate || final == nullptr || final->status >= 300) continue;
        const MessageFact& start =
            at->has_request ? static_cast<const MessageFact&>(at->request) : *final;
        if ((start.has_sdp() || final->has_sdp()) && one.Covers(start)) one.executed = &start;
      }
    }
  }
  std::sort(failed.begin(), failed.end(), [](const FailedReinvite& a, const FailedReinvite& b) {
    return std::tie(a.until_us, a.from_us) < std::tie(b.until_us, b.from_us);
  });
}

}  // namespace sipheal::inline v0_1::sip
