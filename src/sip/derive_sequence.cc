// SPDX-License-Identifier: Apache-2.0
// How far the sequence numbers of both sides have come, and how fast the server counts.
#include <algorithm>

#include "sip/derive_internal.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

bool CountsInCseq(Method method) { return method != Method::kAck && method != Method::kCancel; }

}  // namespace

void Derivation::DeriveSequence(Draft& draft) const {
  DialogState& state = *draft.state;
  // --- the server's numbers: everything that it sent counts, answered or not (rules 5.1, 5.2, 5.5)
  // ---
  std::vector<CseqClaim>& claims = work_.claims;
  claims.clear();
  auto claim_own = [&](const Transaction* at) {
    const MessageFact* fact = nullptr;
    if (at->has_request) {
      fact = &at->request;
    } else if (!at->answers.empty()) {
      fact = &at->answers.front();
    }
    if (fact == nullptr) return;
    const bool answered = at->trying || !at->answers.empty();
    if (CountsInCseq(at->method)) {
      claims.push_back({at->cseq, fact,
                        at->has_request ? Reason::kCseqOfOwnRequest : Reason::kCseqOfAnswer,
                        answered});
    } else if (at->method == Method::kAck) {
      // It repeats its INVITE's number, so that INVITE was sent.
      claims.push_back({at->cseq, fact, Reason::kCseqOfOwnAck, true});
    }
  };
  for (const auto* list : {&draft.creating, &draft.attempts, &draft.own}) {
    for (const Transaction* at : *list) {
      if (at->sent) claim_own(at);
    }
  }
  for (const Transaction* at : draft.theirs) {
    if (at->cseq_bound != 0) {
      claims.push_back({at->cseq_bound, &at->request, Reason::kCseqOfEventId, true});
    }
  }
  std::sort(claims.begin(), claims.end(), [](const CseqClaim& a, const CseqClaim& b) {
    if (a.cseq != b.cseq) return a.cseq < b.cseq;
    if (a.answered != b.answered) return a.answered;
    return a.fact->first.Better(b.fact->first);
  });
  std::optional<std::uint32_t> sure;
  for (const CseqClaim& claim : claims) {
    if (claim.answered) sure = std::max(sure.value_or(0), claim.cseq);
  }
  const CseqClaim* best = nullptr;
  const bool has_agents = !server_.identity().agents.empty();
  for (const CseqClaim& claim : claims) {
    const bool own_witness = has_agents && claim.fact->first.rank % 2 == 0;
    // The first number is anybody's choice, but no stack begins where it could not count on.
    const bool first_ever = !sure && best == nullptr && claim.cseq <= kMaxCseq;
    if (!claim.answered && !own_witness && !first_ever) {
      const std::uint32_t base = std::max(sure.value_or(0), best != nullptr ? best->cseq : 0);
      if (claim.cseq > base && claim.cseq - base > kSaneJump) {
        ++state.quarantined;
        state.conflicts.push_back(
            {Field::kLocalSeq, RefOf(*claim.fact), std::to_string(claim.cseq),
             "a request of the server that nobody answered, far above the others", false});
        continue;
      }
    }
    if (best == nullptr || claim.cseq > best->cseq) best = &claim;
  }
  if (best != nullptr) {
    state.local_seq = best->cseq;
    Cite(draft, Field::kLocalSeq, *best->fact, best->reason);
  }
  for (const Floor& floor : facts_.floors) {
    if (!IsOf(draft, floor)) continue;
    MessageFact fact;
    fact.first = floor.sighting;
    std::optional<std::uint32_t>& seq = floor.sent ? state.local_seq : state.remote_seq;
    if (seq.value_or(0) >= floor.cseq && seq) continue;
    seq = floor.cseq;
    const Field field = floor.sent ? Field::kLocalSeq : Field::kRemoteSeq;
    draft.proofs.Remove(field);
    Cite(draft, field, fact, Reason::kCseqOfEarlierRequest);
  }

  DerivePace(draft);

  // --- the peer's numbers: only what the server took (rules 5.11, 12.1, 12.5) ---
  const MessageFact* proof = nullptr;
  std::uint32_t remote_seq = 0;
  auto take = [&](std::uint32_t cseq, const MessageFact& fact) {
    if (proof == nullptr || cseq > remote_seq) {
      remote_seq = cseq;
      proof = &fact;
    }
  };
  for (const auto* list : {&draft.creating, &draft.refused, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->sent) continue;
      if (at->method == Method::kAck) {
        bool proved = false;
        AckIsFor2xx(*at, &proved);
        if (proved && at->has_request) take(at->cseq, at->request);
        continue;
      }
      const AnswerFact* answer = FinalOf(draft, *at);
      // One that is refused for its number is refused at once (RFC 3261 12.2.2).
      if (answer == nullptr || answer->status == 500) {
        for (const AnswerFact& one : at->answers) {
          if (one.status < 200 && Canonical(one.to_tag) == draft.local) answer = &one;
        }
      }
      if (answer != nullptr && answer->status != 500) {
        take(at->cseq, at->has_request ? static_cast<const MessageFact&>(at->request) : *answer);
      } else if (answer == nullptr && !at->trying && at->method != Method::kBye) {
        state.conflicts.push_back({Field::kRemoteSeq, RefOf(at->request), std::to_string(at->cseq),
                                   "a request of the peer that the server did not answer", false});
      }
    }
  }
  if (proof != nullptr && (!state.remote_seq || *state.remote_seq < remote_seq)) {
    state.remote_seq = remote_seq;
    draft.proofs.Remove(Field::kRemoteSeq);
    Cite(draft, Field::kRemoteSeq, *proof, Reason::kCseqAccepted);
  }
}

// Over the last requests of the server, whatever their numbers: those between were sent, too.
void Derivation::DerivePace(Draft& draft) const {
  constexpr std::size_t kLast = 16;
  std::vector<std::pair<std::uint32_t, std::int64_t>>& sent = work_.sent;
  sent.clear();
  for (const Transaction* at : draft.own) {
    if (at->has_request && CountsInCseq(at->method) && draft.state->local_seq &&
        at->cseq <= *draft.state->local_seq) {
      sent.emplace_back(at->cseq, at->request.first.time_us);
    }
  }
  for (const Floor& floor : facts_.floors) {
    if (floor.sent && IsOf(draft, floor)) {
      sent.emplace_back(floor.cseq, floor.sighting.time_us);
    }
  }
  std::sort(sent.begin(), sent.end());
  const std::size_t from = sent.size() > kLast ? sent.size() - kLast : 0;
  if (sent.size() < 2 || sent.back().first - sent[from].first < 2) return;
  const std::int64_t span = sent.back().second - sent[from].second;
  if (span <= 0) return;
  draft.state->local_pace =
      std::chrono::microseconds(span / (sent.back().first - sent[from].first));
}

}  // namespace sipheal::inline v0_1::sip
