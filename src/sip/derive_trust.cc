// SPDX-License-Identifier: Apache-2.0
// What does not fit the rest of the dialog, and changes nothing: credentials that answer no
// challenge of this call (rule 12.13), and answers within the dialog under another tag (rule 6.10).
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {

// One that nobody answered, with a number far above the others, is nobody's (rules 12.5, 12.6).
bool Derivation::IsOutOfProportion(const Draft& draft, const Transaction& at) const {
  if (at.trying || !at.answers.empty() || at.method == Method::kAck) return false;
  const std::optional<std::uint32_t> known =
      at.sent ? draft.state->local_seq : draft.state->remote_seq;
  return known ? at.cseq > *known && at.cseq - *known > kSaneJump : at.cseq > kMaxCseq;
}

// A nonce may be older than the call (RFC 7616 3.3: a next request may go without a challenge), so
// this is worth a look and no more. Captured credentials are never sent again.
void Derivation::NoteForeignCredentials(Draft& draft) const {
  if (!Has(Note::kNonceUsed)) return;
  const auto issued = [&](std::string_view nonce) {
    return std::any_of(
        facts_.transactions.begin(), facts_.transactions.end(), [&](const Transaction& at) {
          return std::any_of(at.answers.begin(), at.answers.end(), [&](const AnswerFact& answer) {
            std::string_view notes = NotesOf(answer);
            Note key;
            std::string_view value;
            while (NextNote(&notes, &key, &value)) {
              if (key == Note::kNonceIssued && value == nonce) {
                return true;
              }
            }
            return false;
          });
        });
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (!at->has_request) continue;
      const std::string_view nonce = FindNote(NotesOf(at->request), Note::kNonceUsed);
      if (nonce.empty() || issued(nonce)) continue;
      Warn(*draft.state, "the credentials of a " + std::string(ToString(at->method)) +
                             " answer no challenge that was captured in this call");
    }
  }
}

// A re-INVITE does not fork: there is one final answer, and it has the dialog's own tag.
void Derivation::NoteForeignTags(Draft& draft) const {
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kInvite || !at->has_request) continue;
      for (const AnswerFact& answer : at->answers) {
        if (answer.status < 200 || answer.status >= 300 ||
            Canonical(answer.to_tag) == AnswerTag(draft, *at)) {
          continue;
        }
        ++draft.state->quarantined;
        draft.state->conflicts.push_back(
            {at->sent ? Field::kRemoteTag : Field::kLocalTag, RefOf(answer),
             std::string(facts_.Tag(answer.to_tag)),
             "a 2xx to a re-INVITE under another tag; the dialog's own tag counts (RFC 3261 14.1)",
             false});
      }
    }
  }
}

}  // namespace sipheal::inline v0_1::sip
