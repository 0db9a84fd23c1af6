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

// Who a party is by the newest message that may be believed.
struct Newest {
  const MessageFact* fact = nullptr;
  TextId text = 0;
  Method method = Method::kOther;

  void Take(const MessageFact& from, TextId named, Method by) {
    if (named == 0 || (fact != nullptr && from.first.time_us < fact->first.time_us)) return;
    fact = &from;
    text = named;
    method = by;
  }
};

bool ChangesIdentity(Method method) {
  return method == Method::kInvite || method == Method::kUpdate;
}

}  // namespace

// The peer's change counts only when both sides said that they know of such changes, or when the
// server itself addressed the peer so afterwards (rule 4.8). The request that changed it may have
// been lost; its answer and all later requests repeat it.
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
  const bool both_know = server_knows && peer_knows;
  Newest local;
  Newest remote;
  Newest unproved;  // of the peer, by its own word
  for (const Transaction* at : draft.own) {
    if (at->method == Method::kAck) continue;
    const AnswerFact* final = FinalOf(draft, *at);
    if (at->has_request && !IsOutOfProportion(draft, *at)) {
      remote.Take(at->request, at->request.to, at->method);
    }
    if (ChangesIdentity(at->method)) {
      // Its From is in force when the peer has accepted it, which an ACK shows, too.
      if (final != nullptr ? final->status >= 300 : AckSeen(draft, *at) == nullptr) continue;
      if (!at->has_request && final == nullptr) continue;
      const MessageFact& said =
          at->has_request ? static_cast<const MessageFact&>(at->request) : *final;
      local.Take(said, said.from, at->method);
    } else if (at->has_request && !IsOutOfProportion(draft, *at)) {
      local.Take(at->request, at->request.from, at->method);
    }
  }
  for (const Transaction* at : draft.theirs) {
    const AnswerFact* final = FinalOf(draft, *at);
    if (final == nullptr || final->status >= 300) continue;
    const MessageFact& said =
        at->has_request ? static_cast<const MessageFact&>(at->request) : *final;
    if (both_know) {
      remote.Take(said, said.from, at->method);
      local.Take(said, said.to, at->method);
    } else if (ChangesIdentity(at->method)) {
      unproved.Take(said, said.from, at->method);
    }
  }
  const auto becomes = [&](const Newest& newest, DialogParty& party, Field field, Reason reason) {
    if (newest.fact == nullptr) return;
    const PartyText named = SplitParty(facts_.Text(newest.text));
    if (named.uri.empty() || named.uri == party.uri || party.uri.empty()) return;
    Put(named, &party);
    Cite(draft, field, *newest.fact, {reason, newest.method});
  };
  becomes(local, state.local, Field::kLocalUri, Reason::kConnectedServer);
  becomes(remote, state.remote, Field::kRemoteUri, Reason::kConnectedPeer);
  if (unproved.fact == nullptr) return;
  const PartyText claimed = SplitParty(facts_.Text(unproved.text));
  if (claimed.uri.empty() || claimed.uri == state.remote.uri || state.remote.uri.empty()) return;
  state.conflicts.push_back({Field::kRemoteUri, RefOf(*unproved.fact), std::string(claimed.uri),
                             "another From than before, and not both sides know of changes "
                             "(RFC 4916)",
                             false});
  // What they know, they may have said in what was lost of the first INVITE.
  const bool whole = draft.created_by_2xx != nullptr && draft.created_in->has_request;
  if (!whole) draft.missing.Add(Field::kRemoteUri);
}

}  // namespace sipheal::inline v0_1::sip
