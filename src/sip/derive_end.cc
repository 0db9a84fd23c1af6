// SPDX-License-Identifier: Apache-2.0
// How dialogs end (rules 1.6 to 1.8, 1.14, 6.5, 7.1 to 7.3, 12.7).
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/ending_codes.h"

namespace sipheal::inline v0_1::sip {

// The request was not captured, and the answer has the tag that the dialog has: it may have been a
// re-INVITE, and the call goes on. Who refuses the first one may use another tag, but who refuses
// one within the dialog may not (RFC 3261 8.2.6.2). A merged copy shows which it was (rule 1.9).
bool Derivation::MayRefuseReinvite(const Draft& draft, const Transaction& opening,
                                   const AnswerFact& answer) const {
  if (opening.has_request || Canonical(answer.to_tag) != AnswerTag(draft, opening) ||
      EndsCall(Method::kInvite, answer.status)) {
    return false;
  }
  return std::none_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    return at.method == Method::kInvite && at.has_request && !at.request.has_to_tag &&
           at.sent == opening.sent && at.cseq == opening.cseq && at.from_tag == opening.from_tag;
  });
}

void Derivation::DeriveEnd(Draft& draft) const {
  DialogState& state = *draft.state;
  DialogEnd end = DialogEnd::kNone;
  const MessageFact* proof = nullptr;
  EvidenceReason reason;
  // Stronger ends replace weaker ones; the order of the calls below is from weak to strong.
  auto ended = [&](DialogEnd kind, const MessageFact& fact, EvidenceReason why) {
    end = kind;
    proof = &fact;
    reason = why;
  };

  // --- the opening INVITE was cancelled, or failed ---
  for (const Transaction* opening : draft.creating) {
    if (!Has(Method::kCancel)) break;
    for (const Transaction& at : facts_.transactions) {
      if (at.method != Method::kCancel || at.sent != opening->sent || at.cseq != opening->cseq ||
          at.from_tag != opening->from_tag || at.branch != opening->branch || !at.has_request) {
        continue;
      }
      // Its To is that of its INVITE (RFC 3261 9.1), which was a re-INVITE then (rule 7.3).
      if (!opening->has_request && at.request.has_to_tag) continue;
      // Too late to cancel anything: it touched nothing but itself.
      const AnswerFact* answer = at.FinalAnswer();
      if (answer != nullptr && answer->status == 481) continue;
      // It goes where its INVITE went (RFC 3261 9.1); one from elsewhere needs the answer of the
      // side that it was for.
      const bool accepted = answer != nullptr && answer->status < 300 &&
                            (at.sent ? OnPath(draft, *answer) : answer->first.rank % 2 == 0);
      if (!OnPath(draft, at.request) && !accepted) {
        ++state.quarantined;
        state.conflicts.push_back({Field::kEnd, RefOf(at.request), "CANCEL",
                                   "a CANCEL that did not go where its INVITE went", false});
        continue;
      }
      ended(DialogEnd::kCancelled, at.request, Reason::kCancelled);
    }
  }
  if (state.phase == DialogPhase::kEarly) {
    bool untold = false;
    for (const Transaction* opening : draft.creating) {
      for (const AnswerFact& answer : opening->answers) {
        if (answer.status >= 300 && MayRefuseReinvite(draft, *opening, answer) &&
            end != DialogEnd::kCancelled) {
          untold = true;
        } else if (answer.status >= 300 && end != DialogEnd::kEarlyTerminated) {
          ended(end == DialogEnd::kCancelled ? DialogEnd::kCancelled : DialogEnd::kInviteFailed,
                answer, {Reason::kInviteFailed, Method::kInvite, answer.status});
          state.phase = DialogPhase::kTerminated;
        } else if (answer.status == 199 && Canonical(answer.to_tag) == AnswerTag(draft, *opening)) {
          ended(DialogEnd::kEarlyTerminated, answer, Reason::kEarlyTerminated);
          state.phase = DialogPhase::kTerminated;
        }
      }
    }
    if (untold && state.phase == DialogPhase::kEarly) {
      state.phase = DialogPhase::kUnknown;
      draft.proofs.Remove(Field::kPhase);
      draft.missing.Add(Field::kPhase);
      Warn(state, "an INVITE was refused of which it is not known whether it was the first one");
    }
  }

  // --- codes that end dialog or usage ---
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method == Method::kAck || at->method == Method::kCancel) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      if (final == nullptr || !EndsCall(at->method, final->status)) continue;
      // Who sent it has one answer, the 2xx: this was a copy by another way (rule 1.9), or made up.
      const bool accepted_otherwise =
          std::any_of(list->begin(), list->end(), [&](const Transaction* other) {
            if (other->cseq != at->cseq || other->method != at->method) return false;
            const AnswerFact* const its = FinalOf(draft, *other);
            return its != nullptr && its->status < 300;
          });
      if (accepted_otherwise) continue;
      // A request that came from elsewhere proves nothing by being refused.
      if (!at->sent && at->has_request && !OnPath(draft, at->request)) {
        ++state.quarantined;
        continue;
      }
      if (EndsDialog(final->status)) state.usages.clear();
      ended(DialogEnd::kRejectedInDialog, *final,
            {Reason::kRejectedInDialog, at->method, final->status});
      state.phase = DialogPhase::kTerminated;
    }
  }

  // --- BYE ---
  for (const Transaction* at : draft.theirs) {
    if (at->method != Method::kBye) continue;
    const AnswerFact* final = FinalOf(draft, *at);
    const bool answered = final != nullptr && final->status < 300;
    const MessageFact& bye =
        at->has_request ? static_cast<const MessageFact&>(at->request) : at->answers.front();
    const bool on_path = !at->has_request || OnPath(draft, at->request);
    if (answered && (on_path || final->first.rank % 2 == 0)) {
      ended(DialogEnd::kByeAnswered, *final, Reason::kPeersByeAnswered);
      state.phase = DialogPhase::kTerminated;
    } else if (on_path) {
      if (end != DialogEnd::kByeAnswered) {
        ended(DialogEnd::kByeUnanswered, bye, Reason::kPeersByeNotAnswered);
      }
    } else {
      ++state.quarantined;
      state.conflicts.push_back(
          {Field::kEnd, RefOf(bye), "BYE",
           "a BYE from a host that the dialog never used, not answered by the "
           "server",
           false});
    }
  }
  for (const Transaction* at : draft.own) {
    if (at->method != Method::kBye) continue;
    const MessageFact& bye =
        at->has_request ? static_cast<const MessageFact&>(at->request) : at->answers.front();
    // Somebody else's claim that the server sent BYE needs an answer, when its own agent saw none.
    if (bye.first.rank % 2 == 1 && FinalOf(draft, *at) == nullptr) {
      ++state.quarantined;
      state.conflicts.push_back({Field::kEnd, RefOf(bye), "BYE",
                                 "a BYE of the server that its own agent did not see", false});
      continue;
    }
    ended(DialogEnd::kByeSent, bye, Reason::kOwnBye);
    state.phase = DialogPhase::kTerminated;
  }

  state.end = end;
  if (proof != nullptr) Cite(draft, Field::kEnd, *proof, reason);
  if (state.phase == DialogPhase::kTerminated) {
    if (proof != nullptr) Cite(draft, Field::kPhase, *proof, reason);
    draft.missing.Remove(Field::kPhase);
    state.open_transactions.clear();
  }
}

// Early dialogs that lost against another fork live 64*T1 after the first 2xx (RFC 3261 13.2.2.4).
void Derivation::EndLosingForks() {
  for (Draft& loser : drafts_) {
    if (loser.state->phase != DialogPhase::kEarly || loser.creating.empty()) continue;
    const AnswerFact* winner = nullptr;
    for (const Draft& other : drafts_) {
      if (other.created_by_2xx == nullptr || &other == &loser) continue;
      const Transaction* opening = other.created_in;
      const bool same = opening->sent == loser.creating.front()->sent &&
                        Canonical(opening->from_tag) == Canonical(loser.creating.front()->from_tag);
      if (!same) continue;
      if (winner == nullptr || other.created_by_2xx->first.Better(winner->first)) {
        winner = other.created_by_2xx;
      }
    }
    if (winner == nullptr) continue;
    DialogState& state = *loser.state;
    const CaptureTime over = TimeOf(*winner) + kT1Times64;
    if (CaptureTime(std::chrono::microseconds(facts_.newest_us)) >= over) {
      state.phase = DialogPhase::kTerminated;
      state.end = DialogEnd::kEarlyTerminated;
      state.open_transactions.clear();
      Cite(loser, Field::kEnd, *winner, Reason::kForkWonLongAgo);
      Cite(loser, Field::kPhase, *winner, Reason::kForkWon);
    } else {
      state.deadline = over;
      state.deadline_reason = ToString(Reason::kForkWonClock);
      Cite(loser, Field::kDeadline, *winner, Reason::kForkWonClock);
    }
  }
}

}  // namespace sipheal::inline v0_1::sip
