// SPDX-License-Identifier: Apache-2.0
// Who the parties are, which side the server was on, and how far the sequence numbers have come.
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/party_text.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

DialogParty PartyFrom(std::string_view text, std::string_view tag) {
  const PartyText kept = SplitParty(text);
  return {std::string(kept.display), std::string(kept.uri), std::string(kept.params),
          std::string(tag)};
}

std::string AllowText(std::uint16_t allow) {
  std::string text;
  for (unsigned i = 1; i <= static_cast<unsigned>(Method::kPublish); ++i) {
    if ((allow & (1u << i)) == 0) continue;
    if (!text.empty()) text += ", ";
    text += ToString(static_cast<Method>(i));
  }
  return text;
}

bool CountsInCseq(Method method) { return method != Method::kAck && method != Method::kCancel; }

}  // namespace

const Transaction* Derivation::FirstInviteSeen(const Draft& draft) const {
  for (const Transaction& at : facts_.transactions) {
    if (at.method != Method::kInvite || !at.has_request || at.request.has_to_tag) continue;
    if (Canonical(at.from_tag) == (at.sent ? draft.local : draft.remote)) return &at;
  }
  return nullptr;
}

void Derivation::DeriveIdentity(Draft& draft) const {
  DialogState& state = draft.state;
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
  for (bool request_only : {true, false}) {
    for (auto at = draft.own.rbegin(); at != draft.own.rend(); ++at) take(*at, request_only);
    for (auto at = draft.theirs.rbegin(); at != draft.theirs.rend(); ++at) take(*at, request_only);
  }
  const std::string_view local_tag = facts_.Tag(draft.local);
  const std::string_view remote_tag = facts_.Tag(draft.remote);
  state.local.tag = local_tag;
  state.remote.tag = remote_tag;
  if (source != nullptr) {
    state.local = PartyFrom(facts_.Text(from_is_local ? source->from : source->to), local_tag);
    state.remote = PartyFrom(facts_.Text(from_is_local ? source->to : source->from), remote_tag);
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
  auto abilities = [&](const auto& fact) {
    const auto newer = [&fact](const MessageFact* than) {
      return than == nullptr || than->first.time_us < fact.first.time_us;
    };
    if (fact.supported != 0 && newer(newest_supported)) {
      newest_supported = &fact;
      state.remote_supported = facts_.Text(fact.supported);
    }
    if (fact.allow != 0 && newer(newest_allow)) {
      newest_allow = &fact;
      state.remote_allow = AllowText(fact.allow);
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
  if (newest != nullptr) Cite(draft, Field::kAbilities, *newest, Reason::kAbilities);
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
    }
  }
}

// Whether Contact or Record-Route of the peer's opening INVITE name this address.
bool Derivation::IsNamedByOpening(const Draft& draft, const IpAddress& ip) const {
  const auto names = [&](std::string_view text) {
    const std::optional<UriView> uri = UriView::Parse(text);
    return uri && IpAddress::Parse(uri->host) == ip;
  };
  const auto opened_by = [&](const Transaction& opening) {
    if (opening.sent || !opening.has_request) return false;
    if (names(facts_.Text(opening.request.contact))) return true;
    const std::vector<std::string> routes = UriList(opening.request.record_route);
    return std::any_of(routes.begin(), routes.end(), names);
  };
  // Of a merged INVITE any copy will do.
  const Transaction* first = FirstInviteSeen(draft);
  if (first != nullptr && opened_by(*first)) return true;
  for (const Transaction* opening : draft.creating) {
    if (opened_by(*opening)) return true;
  }
  return false;
}

// Hosts that stand next to the server in this dialog: those of the opening transaction, those that
// the server itself sent to, and those named by address in Contact and Record-Route (rule 12.2).
void Derivation::DeriveHops(Draft& draft) const {
  auto add = [](std::vector<IpAddress>& hosts, const IpAddress& ip) {
    if (!ip.empty() && std::find(hosts.begin(), hosts.end(), ip) == hosts.end())
      hosts.push_back(ip);
  };
  auto add_uri = [&](std::vector<IpAddress>& hosts, std::string_view text) {
    std::optional<UriView> uri = UriView::Parse(text);
    if (!uri || server_.NamesServer(uri->host, uri->port)) return;
    if (std::optional<IpAddress> ip = IpAddress::Parse(uri->host)) add(hosts, *ip);
  };
  auto seen = [&](const MessageFact& fact) {
    const IpAddress& ip = facts_.EndpointOf(fact.peer).ip;
    if (ip.IsUnspecified()) return;  // an agent that does not know
    add(draft.state.seen_hosts, ip);
    add(draft.known_hosts, ip);
  };
  auto named = [&](const MessageFact& fact, bool by_peer) {
    if (by_peer) add_uri(draft.known_hosts, facts_.Text(fact.contact));
    for (const std::string& uri : UriList(fact.record_route)) add_uri(draft.known_hosts, uri);
  };
  for (const Transaction* at : draft.creating) {
    if (at->has_request) {
      seen(at->request);
      named(at->request, !at->sent);
    }
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != AnswerTag(draft, *at)) continue;
      seen(answer);
      named(answer, at->sent);
    }
  }
  for (const Transaction* at : draft.own) {
    if (!at->has_request) continue;
    for (const AnswerFact& answer : at->answers) {
      // Where the peer moved to, told in answer to the server's own request.
      if (answer.status < 300 && Canonical(answer.to_tag) == draft.remote) {
        add_uri(draft.known_hosts, facts_.Text(answer.contact));
      }
    }
    // That nobody answers at a place shows nothing of it: such a request may be made up
    // (rule 12.6).
    const bool answered = at->method == Method::kAck || at->trying || !at->answers.empty();
    if (!answered && !draft.known_hosts.empty()) continue;
    seen(at->request);
    // Where the server itself addressed a request in the dialog to, by name of address.
    const std::vector<std::string> routes = UriList(at->request.route);
    add_uri(draft.state.seen_hosts, routes.empty() ? facts_.Text(at->request.uri) : routes.front());
  }
  for (const Transaction* at : draft.theirs) {
    const AnswerFact* final = FinalOf(draft, *at);
    if (final != nullptr && final->status < 300) {
      seen(at->has_request ? static_cast<const MessageFact&>(at->request) : *final);
    }
    if (!at->has_request) continue;
    // When the proxy that brought the INVITE left the call, the ACK is the first message from the
    // hop that the INVITE named (RFC 3261 24.2).
    bool proved = false;
    if (at->method == Method::kAck && AckIsFor2xx(*at, &proved) && proved &&
        IsNamedByOpening(draft, facts_.EndpointOf(at->request.peer).ip)) {
      seen(at->request);
    }
  }
  // The transport of the dialog, by which an unprotected message in a protected dialog shows.
  DialogState& state = draft.state;
  const MessageFact* opening = nullptr;
  if (draft.created_in != nullptr) {
    if (draft.created_in->has_request) {
      opening = &draft.created_in->request;
    } else if (!draft.created_in->answers.empty()) {
      opening = &draft.created_in->answers.front();
    }
  } else if (!draft.own.empty() && draft.own.back()->has_request) {
    opening = &draft.own.back()->request;
  } else if (!draft.theirs.empty() && draft.theirs.back()->has_request) {
    opening = &draft.theirs.back()->request;
  }
  if (opening != nullptr) {
    state.transport = opening->transport;
    if (state.transport != Transport::kUnknown) {
      Cite(draft, Field::kTransport, *opening, Reason::kCarriedIt);
    }
  }
}

bool Derivation::OnPath(const Draft& draft, const MessageFact& fact) const {
  if (IsSecure(draft.state.transport) && fact.transport == Transport::kUdp) return false;
  const IpAddress& ip = facts_.EndpointOf(fact.peer).ip;
  // An agent that gives no usable address cannot show another path.
  if (ip.empty() || ip.IsUnspecified()) return true;
  const std::vector<IpAddress>& hosts = draft.known_hosts;
  return hosts.empty() || std::find(hosts.begin(), hosts.end(), ip) != hosts.end();
}

void Derivation::DerivePhase(Draft& draft) const {
  DialogState& state = draft.state;
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
    }
  } else {
    draft.missing.Add(Field::kPhase);
  }
  if (!draft.proved && state.phase != DialogPhase::kEarly) {
    draft.missing.Add(Field::kInviteUsage);
  }
  if (proof != nullptr) Cite(draft, Field::kInviteUsage, *proof, Reason::kBothHeldTheCall);
}

void Derivation::DeriveSequence(Draft& draft) const {
  DialogState& state = draft.state;
  // --- the server's numbers: everything that it sent counts, answered or not (rules 5.1, 5.2, 5.5)
  // ---
  struct Claim {
    std::uint32_t cseq;
    const MessageFact* fact;
    Reason reason;
    bool answered;
  };
  std::vector<Claim> claims;
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
  std::sort(claims.begin(), claims.end(), [](const Claim& a, const Claim& b) {
    if (a.cseq != b.cseq) return a.cseq < b.cseq;
    if (a.answered != b.answered) return a.answered;
    return a.fact->first.Better(b.fact->first);
  });
  std::optional<std::uint32_t> sure;
  for (const Claim& claim : claims) {
    if (claim.answered) sure = std::max(sure.value_or(0), claim.cseq);
  }
  const Claim* best = nullptr;
  const bool has_agents = !server_.identity().agents.empty();
  for (const Claim& claim : claims) {
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
  std::vector<std::pair<std::uint32_t, std::int64_t>> sent;  // CSeq and time
  for (const Transaction* at : draft.own) {
    if (at->has_request && CountsInCseq(at->method) && draft.state.local_seq &&
        at->cseq <= *draft.state.local_seq) {
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
  draft.state.local_pace = std::chrono::microseconds(span / (sent.back().first - sent[from].first));
}

}  // namespace sipheal::inline v0_1::sip
