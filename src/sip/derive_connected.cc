// SPDX-License-Identifier: Apache-2.0
// Connected identity (RFC 4916): the URI of a party may change in mid-dialog, its tag may not.
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/party_text.h"

namespace sipheal::inline v0_1::sip {
namespace {

void Put(const PartyText& text, DialogParty* party) {
  party->display = text.display;
  party->uri = text.uri;
  party->params = text.params;
}

}  // namespace

// Only requests that the other side accepted count, and the peer's only when both sides said that
// they know of such changes, or when the server itself addressed the peer so afterwards (rule 4.8).
void Derivation::DeriveConnectedIdentity(Draft& draft) const {
  DialogState& state = *draft.state;
  bool server_knows = false;
  bool peer_knows = false;
  const bool any_knows = Has(Note::kFromChange);
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    if (!any_knows) break;
    for (const Transaction* at : *list) {
      if (at->has_request && HasNote(NotesOf(at->request), Note::kFromChange)) {
        (at->sent ? server_knows : peer_knows) = true;
      }
      for (const AnswerFact& answer : at->answers) {
        if (Canonical(answer.to_tag) == AnswerTag(draft, *at) &&
            HasNote(NotesOf(answer), Note::kFromChange)) {
          (at->sent ? peer_knows : server_knows) = true;
        }
      }
    }
  }
  const auto server_wrote = [&](std::string_view uri, std::int64_t since) {
    return std::any_of(draft.own.begin(), draft.own.end(), [&](const Transaction* own) {
      return own->has_request && own->request.first.time_us > since &&
             SplitParty(facts_.Text(own->request.to)).uri == uri;
    });
  };
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if ((at->method != Method::kInvite && at->method != Method::kUpdate) || !at->has_request) {
        continue;
      }
      const AnswerFact* final = FinalOf(draft, *at);
      if (final == nullptr || final->status >= 300) continue;
      DialogParty& party = at->sent ? state.local : state.remote;
      const PartyText from = SplitParty(facts_.Text(at->request.from));
      if (from.uri.empty() || from.uri == party.uri || party.uri.empty()) continue;
      const Field field = at->sent ? Field::kLocalUri : Field::kRemoteUri;
      const bool taken = at->sent || (server_knows && peer_knows) ||
                         server_wrote(from.uri, at->request.first.time_us);
      if (!taken) {
        state.conflicts.push_back({field, RefOf(at->request), std::string(from.uri),
                                   "another From than before, and not both sides know of changes "
                                   "(RFC 4916)",
                                   false});
        continue;
      }
      Put(from, &party);
      Cite(draft, field, at->request,
           {at->sent ? Reason::kConnectedServer : Reason::kConnectedPeer, at->method});
    }
  }
}

}  // namespace sipheal::inline v0_1::sip
