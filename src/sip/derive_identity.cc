// SPDX-License-Identifier: Apache-2.0
// Who the parties are, which side the server was on, and how far the call has come.
#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "sip/derive_internal.h"
#include "sip/kernel/method_table.h"
#include "sip/party_text.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

void SetParty(std::string_view text, DialogParty* party) {
  const PartyText kept = SplitParty(text);
  party->display = kept.display;
  party->uri = kept.uri;
  party->params = kept.params;
}

// A method's name behind a comma, in so many bytes as can be copied at once.
struct ListedMethod {
  std::array<char, 16> text{};
  std::size_t size = 0;
};
constexpr std::size_t kMethods = static_cast<std::size_t>(Method::kPublish) + 1;
constexpr std::array<ListedMethod, kMethods> kListedMethods = [] {
  std::array<ListedMethod, kMethods> listed;
  for (const kernel::MethodName& one : kernel::kMethodNames) {
    ListedMethod& entry = listed[static_cast<std::size_t>(one.method)];
    for (const char c : {',', ' '}) entry.text[entry.size++] = c;
    for (const char c : one.name) entry.text[entry.size++] = c;
  }
  return listed;
}();

// A bit for each method that is allowed.
void WriteAllow(std::uint16_t allow, std::string* out) {
  std::array<char, kMethods * sizeof(ListedMethod::text)> text;
  char* at = text.data();
  for (std::uint32_t rest = allow & ((1u << kMethods) - 1); rest != 0; rest &= rest - 1) {
    const ListedMethod& one = kListedMethods[static_cast<std::size_t>(std::countr_zero(rest))];
    std::memcpy(at, one.text.data(), one.text.size());
    at += one.size;
  }
  // Without the first comma.
  const auto size = static_cast<std::size_t>(at - text.data());
  out->assign(text.data() + std::min<std::size_t>(size, 2), size - std::min<std::size_t>(size, 2));
}

}  // namespace

const Transaction* Derivation::FirstInviteSeen(const Draft& draft) const {
  for (const Transaction& at : facts_.transactions) {
    if (at.method != Method::kInvite || !at.has_request || at.request.has_to_tag) continue;
    if (Canonical(at.from_tag) == (at.sent ? draft.local : draft.remote)) return &at;
  }
  return nullptr;
}

void Derivation::DeriveIdentity(Draft& draft) const {
  DialogState& state = *draft.state;
  if (tags_differ_in_case_) {
    for (std::size_t i = 1; i < canonical_.size(); ++i) {
      const bool echo = canonical_[i] != i;
      if (echo && (canonical_[i] == draft.local || canonical_[i] == draft.remote)) {
        Warn(state, "a tag was seen in another letter case; its owner's spelling is used");
      }
    }
  }
  // The opening transaction shows the parties best; then what the server itself wrote; then
  // anything.
  const MessageFact* source = nullptr;
  bool from_is_local = true;
  auto take = [&](const Transaction* at, bool request_only) {
    if (source != nullptr) return;
    if (at->has_request) {
      source = &at->request;
    } else if (!request_only) {
      for (const AnswerFact& answer : at->answers) {
        if (Canonical(answer.to_tag) == AnswerTag(draft, *at)) source = &answer;
      }
    }
    from_is_local = at->sent;
  };
  for (bool request_only : {true, false}) {
    for (const Transaction* at : draft.creating) take(at, request_only);
  }
  // What the server wants to be called from now on is not in force before the peer accepted it.
  const auto is_wish = [&](const Transaction* at) {
    if (at->method != Method::kInvite && at->method != Method::kUpdate) return false;
    const AnswerFact* final = FinalOf(draft, *at);
    return final == nullptr || final->status >= 300;
  };
  for (bool or_wish : {false, true}) {
    for (bool request_only : {true, false}) {
      if (source != nullptr) break;
      for (auto at = draft.own.rbegin(); at != draft.own.rend(); ++at) {
        if (or_wish || !is_wish(*at)) take(*at, request_only);
      }
      for (auto at = draft.theirs.rbegin(); at != draft.theirs.rend(); ++at) {
        take(*at, request_only);
      }
    }
  }
  const std::string_view local_tag = facts_.Tag(draft.local);
  const std::string_view remote_tag = facts_.Tag(draft.remote);
  state.local.tag = local_tag;
  state.remote.tag = remote_tag;
  if (source != nullptr) {
    SetParty(facts_.Text(from_is_local ? source->from : source->to), &state.local);
    SetParty(facts_.Text(from_is_local ? source->to : source->from), &state.remote);
    Cite(draft, Field::kCallId, *source, Reason::kCallId);
    Cite(draft, Field::kLocalUri, *source, from_is_local ? Reason::kItsFrom : Reason::kItsTo);
    Cite(draft, Field::kRemoteUri, *source, from_is_local ? Reason::kItsTo : Reason::kItsFrom);
  }
  if (state.local.tag.empty()) draft.missing.Add(Field::kLocalTag);
  if (state.remote.tag.empty()) draft.missing.Add(Field::kRemoteTag);
  if (state.local.uri.empty()) draft.missing.Add(Field::kLocalUri);
  if (state.remote.uri.empty()) draft.missing.Add(Field::kRemoteUri);

  // Answers without their request may be those of a later INVITE; a first INVITE that was seen says
  // more, since its From tag was minted by who sent it.
  const Transaction* first_invite = FirstInviteSeen(draft);
  if (draft.creating.empty()) {
    if (first_invite == nullptr) {
      draft.missing.Add(Field::kRole);
    } else {
      state.role = first_invite->sent ? DialogRole::kUac : DialogRole::kUas;
      Cite(draft, Field::kRole, first_invite->request,
           first_invite->sent ? Reason::kSentFirstInvite : Reason::kGotFirstInvite);
    }
  } else {
    const Transaction& opening = first_invite != nullptr ? *first_invite : *draft.creating.front();
    const bool both_ways =
        std::any_of(draft.creating.begin(), draft.creating.end(),
                    [&](const Transaction* at) { return at->sent != opening.sent; });
    if (draft.assumed && first_invite == nullptr && both_ways) {
      draft.missing.Add(Field::kRole);
    } else {
      state.role = opening.sent ? DialogRole::kUac : DialogRole::kUas;
      const MessageFact& fact = opening.has_request
                                    ? static_cast<const MessageFact&>(opening.request)
                                    : opening.answers.front();
      Cite(draft, Field::kRole, fact,
           opening.sent ? Reason::kSentFirstInvite : Reason::kAnsweredFirstInvite);
    }
    for (const Transaction* at : draft.creating) {
      for (const AnswerFact& answer : at->answers) {
        if (Canonical(answer.to_tag) != AnswerTag(draft, *at) || answer.status < 200 ||
            answer.status >= 300) {
          continue;
        }
        if (draft.created_by_2xx == nullptr) {
          draft.created_by_2xx = &answer;
          draft.created_in = at;
        } else if (draft.created_in == at) {
          state.conflicts.push_back({Field::kRouteSet, RefOf(answer),
                                     std::string(facts_.Text(answer.contact)),
                                     "a second 2xx of another kind to the same INVITE", false});
        }
      }
    }
    if (draft.created_in == nullptr) draft.created_in = draft.creating.front();
    const MessageFact* opened = nullptr;
    for (const AnswerFact& answer : draft.created_in->answers) {
      if (Canonical(answer.to_tag) != AnswerTag(draft, *draft.created_in)) continue;
      if (opened == nullptr || answer.first.Better(opened->first)) opened = &answer;
    }
    if (draft.created_by_2xx != nullptr) opened = draft.created_by_2xx;
    const MessageFact* invite = draft.created_in->has_request ? &draft.created_in->request : opened;
    const MessageFact* local_source = draft.created_in->sent ? invite : opened;
    const MessageFact* remote_source = draft.created_in->sent ? opened : invite;
    if (local_source != nullptr && !state.local.tag.empty()) {
      Cite(draft, Field::kLocalTag, *local_source,
           draft.created_in->sent ? Reason::kFromTagOfOwnInvite : Reason::kToTagOfOwnAnswer);
    }
    if (remote_source != nullptr && !state.remote.tag.empty()) {
      Cite(draft, Field::kRemoteTag, *remote_source,
           draft.created_in->sent ? Reason::kToTagOfPeersAnswer : Reason::kFromTagOfPeersInvite);
    }
  }
  if (draft.proofs.Find(Field::kLocalTag) == nullptr && source != nullptr) {
    Cite(draft, Field::kLocalTag, *source, Reason::kTagOnOwnSide);
  }
  if (draft.proofs.Find(Field::kRemoteTag) == nullptr && source != nullptr) {
    Cite(draft, Field::kRemoteTag, *source, Reason::kTagOnPeersSide);
  }
  // Two versions of one message: the first was taken; say so.
  auto contradicted = [&](const MessageFact& fact, Field field, const char* what) {
    if (fact.rival == 0) return;
    const Sighting& rival = facts_.rivals[fact.rival - 1u];
    const bool same_time = rival.time_us == fact.first.time_us && rival.rank == fact.first.rank;
    state.conflicts.push_back(
        {field,
         {rival.sequence, CaptureTime(std::chrono::microseconds(rival.time_us))},
         "",
         std::string("another version of the same ") + what + "; the earlier one was taken",
         // Nothing decides between two versions that a trusted witness saw at one time.
         same_time});
  };
  for (const Transaction* at : draft.creating) {
    if (at->has_request) contradicted(at->request, Field::kRouteSet, "INVITE");
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) == AnswerTag(draft, *at) && answer.status >= 200) {
        contradicted(answer, Field::kRouteSet, "answer to the INVITE");
      }
    }
  }

  // Times, and what the peer says it can do.
  std::int64_t first = INT64_MAX;
  std::int64_t last = 0;
  // A message without Supported or Allow says nothing of it (RFC 3261 20.5).
  const MessageFact* newest_supported = nullptr;
  const MessageFact* newest_allow = nullptr;
  TextId supported = 0;
  std::uint16_t allow = 0;
  auto abilities = [&](const auto& fact) {
    const auto newer = [&fact](const MessageFact* than) {
      return than == nullptr || than->first.time_us < fact.first.time_us;
    };
    if (fact.supported != 0 && newer(newest_supported)) {
      newest_supported = &fact;
      supported = fact.supported;
    }
    if (fact.allow != 0 && newer(newest_allow)) {
      newest_allow = &fact;
      allow = fact.allow;
    }
  };
  auto look = [&](const Transaction* at) {
    auto times = [&](const MessageFact& fact) {
      first = std::min(first, fact.first.time_us);
      last = std::max(last, fact.first.time_us);
    };
    if (at->has_request) {
      times(at->request);
      if (!at->sent) abilities(at->request);
    }
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != AnswerTag(draft, *at)) continue;
      times(answer);
      if (at->sent) abilities(answer);
    }
  };
  for (const auto* list : {&draft.creating, &draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) look(at);
  }
  const MessageFact* newest = newest_supported;
  if (newest == nullptr ||
      (newest_allow != nullptr && newest->first.time_us < newest_allow->first.time_us)) {
    newest = newest_allow;
  }
  if (newest != nullptr) {
    state.remote_supported = facts_.Text(supported);
    WriteAllow(allow, &state.remote_allow);
    Cite(draft, Field::kAbilities, *newest, Reason::kAbilities);
  }
  for (const Floor& floor : facts_.floors) {
    if (IsOf(draft, floor)) last = std::max(last, floor.sighting.time_us);
  }
  if (first == INT64_MAX) first = facts_.first_us;
  state.created_at = CaptureTime(std::chrono::microseconds(first));
  state.last_seen = CaptureTime(std::chrono::microseconds(last));
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->has_request && at->request.rival != 0 && at->method != Method::kAck) {
        Warn(state, std::string("two versions of one ") + std::string(ToString(at->method)) +
                        " were captured; the earlier one was taken");
      }
      for (const AnswerFact& answer : at->answers) {
        if (answer.rival == 0 || Canonical(answer.to_tag) != AnswerTag(draft, *at)) continue;
        Warn(state, std::string("two versions of one answer to ") +
                        std::string(ToString(at->method)) +
                        " were captured; the earlier one was taken");
      }
    }
  }
}

// Where no answer to the INVITE was captured, what was sent in the dialog shows that it rang.
void Derivation::CiteWhatRang(Draft& draft) const {
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      const Reason reason = at->sent ? Reason::kTagOnPeersSide : Reason::kTagOnOwnSide;
      if (at->has_request && at->request.has_to_tag) {
        return Cite(draft, Field::kPhase, at->request, reason);
      }
      if (!at->answers.empty()) return Cite(draft, Field::kPhase, at->answers.front(), reason);
    }
  }
}

void Derivation::DerivePhase(Draft& draft) const {
  DialogState& state = *draft.state;
  const MessageFact* confirmed = nullptr;
  EvidenceReason reason;
  auto confirm = [&](const MessageFact& fact, Reason why) {
    if (confirmed != nullptr) return;
    confirmed = &fact;
    reason = why;
  };
  const MessageFact* proof = nullptr;
  auto prove = [&](const MessageFact& fact) {
    draft.proved = true;
    if (proof == nullptr) proof = &fact;
  };
  if (draft.created_by_2xx != nullptr) {
    confirm(*draft.created_by_2xx, Reason::kAcceptedInvite);
    // The peer's 2xx counts with the server's INVITE, or when the server went on in the dialog; the
    // server's own 2xx is its word.
    prove(*draft.created_by_2xx);
  }
  for (const Transaction* at : draft.own) {
    const AnswerFact* final = FinalOf(draft, *at);
    const bool accepted = final != nullptr && final->status < 300;
    if (at->method == Method::kAck) {
      bool proved = false;
      AckIsFor2xx(*at, &proved);
      if (at->has_request) confirm(at->request, Reason::kOwnAck);
      if (proved) prove(at->request);
    } else if (at->method == Method::kInvite) {
      if (at->has_request) confirm(at->request, Reason::kOwnReinvite);
      if (accepted) {
        confirm(*final, Reason::kAcceptedOwnReinvite);
        prove(*final);
      }
    } else if (accepted && at->method == Method::kInfo) {
      confirm(*final, Reason::kAcceptedOwnInfo);
      prove(*final);
    } else if (at->method == Method::kBye && at->has_request) {
      confirm(at->request, Reason::kOwnBye);
    } else if (accepted && (at->method == Method::kUpdate)) {
      prove(*final);
    }
  }
  for (const Transaction* at : draft.theirs) {
    const AnswerFact* final = FinalOf(draft, *at);
    const bool accepted = final != nullptr && final->status < 300;
    if (at->method == Method::kAck) {
      bool proved = false;
      AckIsFor2xx(*at, &proved);
      if (proved && at->has_request) {
        confirm(at->request, Reason::kPeersAck);
        prove(at->request);
      }
    } else if (accepted && (at->method == Method::kInvite || at->method == Method::kInfo)) {
      confirm(*final, Reason::kAcceptedByServer);
      prove(*final);
    } else if (accepted && at->method == Method::kUpdate) {
      prove(*final);
    }
  }
  if (confirmed != nullptr) {
    state.phase = DialogPhase::kConfirmed;
    state.confirmed_at = TimeOf(*confirmed);
    Cite(draft, Field::kPhase, *confirmed, reason);
  } else if (!draft.creating.empty()) {
    state.phase = DialogPhase::kEarly;
    const MessageFact* ringing = nullptr;
    for (const Transaction* at : draft.creating) {
      for (const AnswerFact& answer : at->answers) {
        if (ringing == nullptr && Canonical(answer.to_tag) == AnswerTag(draft, *at)) {
          ringing = &answer;
        }
      }
    }
    if (ringing != nullptr) {
      Cite(draft, Field::kPhase, *ringing, Reason::kProvisional);
    } else {
      CiteWhatRang(draft);
    }
  } else {
    draft.missing.Add(Field::kPhase);
  }
  if (!draft.proved && state.phase != DialogPhase::kEarly) {
    draft.missing.Add(Field::kInviteUsage);
  }
  if (proof != nullptr) Cite(draft, Field::kInviteUsage, *proof, Reason::kBothHeldTheCall);
}

}  // namespace sipheal::inline v0_1::sip
