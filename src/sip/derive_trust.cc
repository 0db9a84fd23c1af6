// SPDX-License-Identifier: Apache-2.0
// What does not fit the rest of the dialog, and changes nothing: credentials that answer no
// challenge of this call (rule 12.13), and answers within the dialog under another tag (rule 6.10).
#include <algorithm>
#include <span>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

// One that nobody answered, with a number far above the others, is nobody's (rules 12.5, 12.6).
bool Derivation::IsOutOfProportion(const Draft& draft, const Transaction& at) const {
  if (at.trying || !at.answers.empty() || at.method == Method::kAck) return false;
  const std::optional<std::uint32_t> known =
      at.sent ? draft.state->local_seq : draft.state->remote_seq;
  return known ? at.cseq > *known && at.cseq - *known > kSaneJump : at.cseq > kMaxCseq;
}

// Nobody agreed to it, and it comes from where the answers do not, or under a number that nobody
// counts on from: it shows nothing of what was there before (rules 12.1, 12.2, 12.5).
bool Derivation::MayBeMadeUp(const Transaction& request, const AnswerFact& answer) const {
  const bool agreed_to = std::any_of(request.answers.begin(), request.answers.end(),
                                     [](const AnswerFact& one) { return one.status < 300; });
  if (agreed_to || request.method == Method::kAck) return false;
  const IpAddress& from = facts_.EndpointOf(request.request.peer).ip;
  return request.cseq > kMaxCseq || from != facts_.EndpointOf(answer.peer).ip;
}

// Both sides had a part in it.
bool Derivation::IsAgreedTo(const Transaction& at) const {
  if (!at.has_request) return false;
  if (at.sent) return at.method == Method::kAck || !at.answers.empty();
  return std::any_of(at.answers.begin(), at.answers.end(),
                     [](const AnswerFact& one) { return one.status < 300; });
}

// What the server sent or agreed to later goes where these answers came from, or where they point.
bool Derivation::IsBorneOut(const Draft& draft, const Transaction& invite) const {
  const auto bears_out = [&](const Transaction& at, const AnswerFact& answer) {
    if (!IsAgreedTo(at)) return false;
    const IpAddress& ip = facts_.EndpointOf(at.request.peer).ip;
    bool names = facts_.EndpointOf(answer.peer).ip == ip;
    const auto look = [&](std::string_view uri) {
      names |= UriOf(uri).ip == ip;
      return !names;
    };
    ForEachUri(answer.record_route, look);
    if (!names) ForEachUri(answer.contact, look);
    return names || (at.sent && answer.contact != 0 &&
                     SameUserHostPort(facts_.Text(at.request.uri), facts_.Text(answer.contact)));
  };
  // An attempt before was made to where the peer may have been before it moved.
  for (const auto* list : {&draft.attempts, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      for (const AnswerFact& answer : invite.answers) {
        if (bears_out(*at, answer)) return true;
      }
    }
  }
  return false;
}

// The peer's word alone says that the server sent the request: nothing of it was captured, nor the
// ACK of an INVITE.
bool Derivation::IsUnasked(const Draft& draft, const Transaction& at) const {
  return at.sent && !at.has_request && AckSeen(draft, at) == nullptr;
}

// An answer from elsewhere to a request of the server that was not captured: anybody may have sent
// it (rules 12.2, 12.4).
bool Derivation::MayBeForged(const Draft& draft, const Transaction& at,
                             const MessageFact& answer) const {
  return at.sent && !at.has_request && !MayBeOnPath(draft, answer);
}

// To a host that had no part in the dialog before (rule 12.8).
bool Derivation::LeadsElsewhere(const Draft& draft, std::string_view target,
                                std::string_view before) const {
  const std::optional<UriView> uri = UriView::Parse(target);
  const std::optional<UriView> known = UriView::Parse(before);
  if (uri && known && EqualsIgnoreCase(uri->host, known->host)) return false;
  const std::optional<IpAddress> ip = UriOf(target).ip;
  return !ip || !MayBeHost(draft, *ip);
}

// A 100, or answers of other forks, to the same INVITE, which was lost, name another branch.
bool Derivation::HasRivalBranch(const Transaction& invite) const {
  return std::any_of(facts_.transactions.begin(), facts_.transactions.end(), [&](const auto& at) {
    return at.method == Method::kInvite && at.sent == invite.sent && at.cseq == invite.cseq &&
           at.from_tag == invite.from_tag && at.branch != invite.branch && at.trying &&
           !at.has_request;
  });
}

// What answers one INVITE of the server that was not captured, by its branches.
struct Derivation::LostInvite {
  std::span<const Transaction*> branches;
  bool accepted = false;   // under each of them
  bool opens = false;      // each passes for the INVITE that made the dialog
  bool has_rival = false;  // there is one branch, and something else names another

  bool alone() const { return branches.size() == 1; }
};

Derivation::LostInvite Derivation::ReadLostInvite(const Draft& draft,
                                                  std::span<const Transaction*> branches) const {
  LostInvite invite{.branches = branches};
  const auto of_each = [branches](auto&& holds) {
    return std::all_of(branches.begin(), branches.end(), holds);
  };
  invite.accepted = of_each([](const Transaction* at) {
    return std::any_of(at->answers.begin(), at->answers.end(),
                       [](const AnswerFact& one) { return one.status / 100 == 2; });
  });
  invite.opens =
      invite.accepted && of_each([&draft](const Transaction* at) {
        return std::find(draft.creating.begin(), draft.creating.end(), at) != draft.creating.end();
      });
  invite.has_rival = invite.alone() && HasRivalBranch(*branches.front());
  return invite;
}

// Nothing tells which of the answers are to what the server sent: what they agreed on is not known,
// and one within the dialog may have moved the target.
void Derivation::Contest(Draft& draft, const LostInvite& invite) {
  draft.contested = true;
  const auto opening =
      std::find(draft.creating.begin(), draft.creating.end(), invite.branches.front());
  if (opening == draft.creating.end()) {
    draft.contested_reinvite = &invite.branches.front()->answers.front();
    for (const Transaction* at : invite.branches) {
      for (const AnswerFact& answer : at->answers) {
        if (answer.first.time_us < draft.contested_reinvite->first.time_us) {
          draft.contested_reinvite = &answer;
        }
      }
    }
  }
  for (const Field field :
       {Field::kLocalSdp, Field::kRemoteSdp, Field::kHold, Field::kSessionTimer}) {
    draft.missing.Add(field);
  }
}

void Derivation::SetAside(Draft& draft, const Transaction& at, const char* why) const {
  for (const AnswerFact& answer : at.answers) {
    if (Canonical(answer.to_tag) != draft.remote) continue;
    ++draft.state->quarantined;
    draft.state->conflicts.push_back({Field::kRemoteTarget, RefOf(answer),
                                      std::string(facts_.Text(answer.contact)), why, false});
  }
}

// One INVITE has one branch. Where it was lost, and answers name several, that one is the server's
// which its own later messages bear out, and the others are somebody's invention (rule 12.4). When
// nothing tells, the choice is nobody's.
void Derivation::ChooseBranch(Draft& draft) const {
  std::vector<const Transaction*> lost;
  for (const auto* list : {&draft.creating, &draft.own}) {
    for (const Transaction* at : *list) {
      if (at->sent && at->method == Method::kInvite && !at->has_request) lost.push_back(at);
    }
  }
  if (lost.empty()) return;
  const bool shown_elsewhere =
      std::any_of(draft.own.begin(), draft.own.end(),
                  [this](const Transaction* at) { return IsAgreedTo(*at); });
  std::stable_sort(lost.begin(), lost.end(),
                   [](const Transaction* a, const Transaction* b) { return a->cseq < b->cseq; });
  for (auto first = lost.begin(), last = first; first != lost.end(); first = last) {
    last = std::find_if(first, lost.end(),
                        [&](const Transaction* at) { return at->cseq != (*first)->cseq; });
    const LostInvite invite = ReadLostInvite(draft, {first, last});
    // A re-INVITE that was lost, and answered from where the peer has moved to, is nothing to
    // doubt: only another branch under its number is.
    const bool doubtful =
        invite.accepted && (invite.has_rival || (invite.opens && shown_elsewhere));
    if (invite.alone() && !doubtful) continue;
    const auto wrong = std::stable_partition(
        first, last, [&](const Transaction* at) { return IsBorneOut(draft, *at); });
    if (invite.alone() && wrong != first) continue;
    // None of them, where the server itself speaks to others.
    const bool none =
        wrong == first && invite.accepted && (invite.opens || invite.has_rival) && shown_elsewhere;
    const bool chosen = wrong - first == 1 || none;
    if (!chosen) Contest(draft, invite);
    for (auto at = chosen ? wrong : first; at != last; ++at) {
      std::erase(draft.own, *at);
      if (chosen) std::erase(draft.creating, *at);
      SetAside(draft, **at,
               chosen ? "an answer with a branch that the server never used"
                      : "answers to one INVITE with several branches; nothing tells the server's");
    }
  }
}

// The server does not call itself in a dialog with somebody else: from outside, someone wrote its
// address into the packet (rule 12.6).
void Derivation::DropSentToItself(Draft& draft) const {
  const auto is_server = [this](const Endpoint& peer) {
    return peer.port != 0 && server_.NamesServer({}, peer.ip, peer.port);
  };
  if (std::none_of(facts_.endpoints.begin(), facts_.endpoints.end(), is_server)) return;
  const auto to_itself = [&](const MessageFact& fact) {
    return is_server(facts_.EndpointOf(fact.peer));
  };
  // Where the opening was lost, what both sides had a part in shows who the peer is.
  if (draft.creating.empty() &&
      std::none_of(
          draft.own.begin(), draft.own.end(),
          [&](const Transaction* at) { return IsAgreedTo(*at) && !to_itself(at->request); }) &&
      std::none_of(draft.theirs.begin(), draft.theirs.end(), [&](const Transaction* at) {
        return IsAgreedTo(*at) && !to_itself(at->request);
      })) {
    return;
  }
  for (const Transaction* at : draft.creating) {
    if (at->has_request && to_itself(at->request)) return;
    for (const AnswerFact& answer : at->answers) {
      if (to_itself(answer)) return;
    }
  }
  std::erase_if(draft.own, [&](const Transaction* at) {
    if (!at->has_request || !to_itself(at->request)) return false;
    ++draft.state->quarantined;
    draft.state->conflicts.push_back({Field::kLocalSeq, RefOf(at->request),
                                      std::to_string(at->cseq), "a request of the server to itself",
                                      false});
    return true;
  });
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
