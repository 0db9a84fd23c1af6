// SPDX-License-Identifier: Apache-2.0
// The session: which descriptions are in force, who holds, the session timer, what is still open,
// and by when somebody must have taken over.
#include <algorithm>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

// An offer with its answer, as far as they were captured.
struct Exchange {
  const MessageFact* offer = nullptr;
  const MessageFact* answer = nullptr;
  bool offered_by_server = false;
  // It is known to have come to its end, so what was not captured of it is in force all the same.
  bool accepted = false;
  const Transaction* transaction = nullptr;

  std::int64_t done_us() const {
    return (answer != nullptr ? answer : offer != nullptr ? offer : shown)->first.time_us;
  }
  const MessageFact* shown = nullptr;  // what was captured of it, when it is neither
  std::int64_t settled_us = 0;
  // Of an INVITE of which only the ACK was captured: by when it had been sent.
  std::int64_t begun_us = INT64_MAX;
};

// Those of one side by their numbers, which no clock can disturb; the two sides by time.
std::vector<Exchange> InOrder(std::vector<Exchange> exchanges) {
  std::sort(exchanges.begin(), exchanges.end(), [](const Exchange& a, const Exchange& b) {
    return std::tuple(a.transaction->sent, a.transaction->cseq, a.settled_us,
                      a.transaction->branch) < std::tuple(b.transaction->sent, b.transaction->cseq,
                                                          b.settled_us, b.transaction->branch);
  });
  auto theirs = exchanges.begin();
  const auto own = std::find_if(exchanges.begin(), exchanges.end(),
                                [](const Exchange& one) { return one.transaction->sent; });
  auto ours = own;
  std::vector<Exchange> ordered;
  ordered.reserve(exchanges.size());
  while (theirs != own || ours != exchanges.end()) {
    const bool take_ours =
        theirs == own || (ours != exchanges.end() && ours->settled_us < theirs->settled_us);
    ordered.push_back(take_ours ? *ours++ : *theirs++);
  }
  return ordered;
}

bool IsHold(const ParsedSdp& sdp) {
  return sdp.zero_connection || sdp.summary.direction == SdpDirection::kSendOnly ||
         sdp.summary.direction == SdpDirection::kInactive;
}

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
  DialogState& state = draft.state;
  const std::vector<FailedReinvite> failed = FailedReinvites(draft);
  std::vector<Exchange> exchanges;
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
      exchanges.push_back(exchange);
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
    exchanges.push_back(exchange);
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
      exchanges.push_back(exchange);
      if (!at->request.has_sdp() && MadeTheCall(draft, *at)) {
        exchanges.back().begun_us = BegunBy(draft, *at);
      }
    }
  }
  for (Exchange& one : exchanges) {
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
  exchanges = InOrder(std::move(exchanges));

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
  // The last pair, read: what is described below is mostly one of them.
  const MessageFact* offer_of = nullptr;
  const MessageFact* answer_of = nullptr;
  std::optional<ParsedSdp> offer_sdp;
  std::optional<ParsedSdp> answer_sdp;
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
    offer_of = exchange.offer;
    answer_of = exchange.answer;
    offer_sdp = ParseSdp(facts_.SdpText(*offer_of));
    answer_sdp = ParseSdp(facts_.SdpText(*answer_of));
    if (!offer_sdp || !answer_sdp) continue;
    bool& offerer = exchange.offered_by_server ? state.held_by_local : state.held_by_remote;
    bool& answerer = exchange.offered_by_server ? state.held_by_remote : state.held_by_local;
    bool& answerer_lost = exchange.offered_by_server ? hold_of_remote_lost : hold_of_local_lost;
    (exchange.offered_by_server ? hold_of_local_lost : hold_of_remote_lost) = false;
    offerer = IsHold(*offer_sdp);
    // An answer can only narrow the offer; it shows the answerer's wish where the offer left it
    // one.
    if (offer_sdp->summary.direction == SdpDirection::kSendRecv && !offer_sdp->zero_connection) {
      answerer = IsHold(*answer_sdp);
      answerer_lost = false;
    } else if (offer_sdp->summary.direction == SdpDirection::kSendOnly &&
               answer_sdp->summary.direction == SdpDirection::kRecvOnly) {
      answerer = false;  // it would receive, were something sent
      answerer_lost = false;
    } else if (offer_sdp->summary.direction == SdpDirection::kRecvOnly &&
               answer_sdp->summary.direction == SdpDirection::kSendOnly) {
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
    std::optional<ParsedSdp> sdp;
    if (fact != nullptr && fact == offer_of) {
      sdp = std::move(offer_sdp);
    } else if (fact != nullptr && fact == answer_of) {
      sdp = std::move(answer_sdp);
    } else if (fact != nullptr) {
      sdp = ParseSdp(facts_.SdpText(*fact));
    }
    if (!sdp) {
      draft.missing.Add(field);
      return;
    }
    *summary = std::move(sdp->summary);
    if (sdp->security.any()) {
      Cite(draft, Field::kMediaSecurity, *fact, Reason::kMediaKeys);
    }
    state.media_security.sdes |= sdp->security.sdes;
    state.media_security.dtls |= sdp->security.dtls;
    state.media_security.ice |= sdp->security.ice;
    Cite(draft, field, *fact, Reason::kLastExchange);
  };
  describe(local, Field::kLocalSdp, &state.local_sdp);
  describe(remote, Field::kRemoteSdp, &state.remote_sdp);

  // The version must rise above all that the server ever wrote, refused offers included (F40).
  std::string session_id = state.local_sdp.origin_session_id;
  std::int64_t session_us = INT64_MIN;
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
  if (state.local_sdp.empty()) {
    // What is in force is not known, but what the server wrote last is of the same session.
    written([&](const MessageFact& fact) {
      std::optional<ParsedSdp> sdp = ParseSdp(facts_.SdpText(fact));
      if (!sdp || fact.first.time_us < session_us) return;
      session_us = fact.first.time_us;
      session_id = sdp->summary.origin_session_id;
    });
  }
  written([&](const MessageFact& fact) {
    // Its o= line is apart when it stands first, as it must.
    const std::optional<ParsedSdp> sdp = fact.sdp_origin != 0
                                             ? ParseSdp(facts_.Text(fact.sdp_origin))
                                             : ParseSdp(facts_.SdpText(fact));
    if (!sdp || !AllDigits(sdp->summary.origin_version)) return;
    if (sdp->summary.origin_session_id != session_id) return;
    if (LongerDecimal(sdp->summary.origin_version, state.highest_local_sdp_version)) {
      state.highest_local_sdp_version = sdp->summary.origin_version;
    }
  });
}

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

// By when the INVITE of this number had been sent: before any request of its side with a higher
// one.
std::int64_t Derivation::BegunBy(const Draft& draft, const Transaction& invite) const {
  std::int64_t begun = INT64_MAX;
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

// The ACK for a 2xx to this INVITE, as far as it may be believed.
const Transaction* Derivation::AckSeen(const Draft& draft, const Transaction& invite) const {
  if (invite.method != Method::kInvite) return nullptr;
  for (const Transaction* at : invite.sent ? draft.own : draft.theirs) {
    if (at->method == Method::kAck && at->cseq == invite.cseq && at->has_request &&
        (at->sent || OnPath(draft, at->request))) {
      return at;
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

// Re-INVITEs that were refused, by either side (rule 6.6).
std::vector<Derivation::FailedReinvite> Derivation::FailedReinvites(const Draft& draft) const {
  std::vector<FailedReinvite> failed;
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
      if (!at->has_request && final != nullptr && final->status != 491) {
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
  return failed;
}

// From the most recent 2xx to an INVITE or UPDATE alone (rules 8.1, 8.2).
void Derivation::DeriveTimer(Draft& draft) const {
  DialogState& state = draft.state;
  const Transaction* latest = nullptr;
  const AnswerFact* success = nullptr;
  std::int64_t latest_us = INT64_MIN;
  auto asked = [&](const MessageFact& fact) {
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
      // Refreshes of one side follow each other; but an INVITE is answered after UPDATEs within it.
      const bool by_number =
          success != nullptr && latest->sent == at->sent && latest->method == at->method;
      const std::int64_t settled = SettledAt(draft, *at, *final, true);
      const bool newer =
          success == nullptr || (by_number ? at->cseq > latest->cseq : settled > latest_us);
      if (newer) latest_us = settled;
      if (newer) {
        latest = at;
        success = final;
      }
    }
  }
  // A later 2xx of which only the ACK is left may have set another.
  const std::int64_t known_us = success != nullptr ? success->first.time_us : INT64_MIN;
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kAck || !at->has_request || at->request.first.time_us < known_us) {
        continue;
      }
      if (!at->sent && !MayBeOnPath(draft, at->request)) continue;
      if (latest != nullptr && latest->sent == at->sent && latest->cseq == at->cseq) continue;
      if (!Succeeded(draft, *at)) draft.missing.Add(Field::kSessionTimer);
    }
  }
  if (success == nullptr || success->session_expires == 0) return;
  SessionTimer& timer = state.session_timer;
  timer.interval = std::chrono::seconds(success->session_expires);
  timer.since = TimeOf(*success);
  timer.expires_at = timer.since + timer.interval;
  // uac and uas are those of this transaction. Not said: the server must refresh (rule 8.5).
  timer.local_refreshes = success->refresher == 0 || (success->refresher == 1) == latest->sent;
  Cite(draft, Field::kSessionTimer, *success, {Reason::kSessionExpires, latest->method});
}

void Derivation::DeriveOpen(Draft& draft) const {
  DialogState& state = draft.state;
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
  const std::uint32_t done_sent = highest_done(true);
  const std::uint32_t done_theirs = highest_done(false);
  auto newest_invite = [&](bool sent) {
    std::uint32_t newest = 0;
    for (const Transaction* at : sent ? draft.own : draft.theirs) {
      const bool believed = !at->has_request || at->sent || OnPath(draft, at->request);
      if (at->method == Method::kInvite && believed) newest = std::max(newest, at->cseq);
    }
    return newest;
  };
  const std::uint32_t newest_sent = newest_invite(true);
  const std::uint32_t newest_theirs = newest_invite(false);
  auto look = [&](const Transaction* at) {
    if (at->method == Method::kAck || at->method == Method::kCancel) return;
    const AnswerFact* final = FinalOf(draft, *at);
    const MessageFact* start =
        at->has_request ? static_cast<const MessageFact*>(&at->request) : final;
    if (start == nullptr) {
      if (at->answers.empty()) return;
      start = &at->answers.front();
    }
    OpenTransaction open;
    open.method = at->method == Method::kOther ? std::string(facts_.Text(at->method_text))
                                               : std::string(ToString(at->method));
    open.cseq = at->cseq;
    open.sent_by_server = at->sent;
    open.request = RefOf(*start);
    open.provisional_seen =
        at->trying || std::any_of(at->answers.begin(), at->answers.end(),
                                  [](const AnswerFact& answer) { return answer.status < 200; });
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
      const std::uint32_t done = at->sent ? done_sent : done_theirs;
      if (at->cseq < done && now - start->first.time_us > limit_us) return;
      if (at->method == Method::kInvite && at->cseq < (at->sent ? newest_sent : newest_theirs)) {
        return;  // there is one at a time (RFC 3261 14.1)
      }
      if (!open.provisional_seen || at->method != Method::kInvite) {
        open.expires_at = TimeOf(*start) + kT1Times64;
      }
      if (!at->sent && !MayBeOnPath(draft, *start)) return;
      state.open_transactions.push_back(std::move(open));
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
    open.awaits_ack = true;
    open.expires_at = TimeOf(*final) + kT1Times64;
    state.open_transactions.push_back(std::move(open));
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
  DialogState& state = draft.state;
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
    if (timer.local_refreshes) {
      const seconds margin = std::min(seconds(32), timer.interval / 3);
      clock(timer.expires_at - margin, message, Reason::kServerHadToRefresh);
    } else {
      clock(timer.since + timer.interval / 2 + seconds(32), message, Reason::kPeerRefreshes);
    }
  }
}

}  // namespace sipheal::inline v0_1::sip
