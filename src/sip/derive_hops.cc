// SPDX-License-Identifier: Apache-2.0
// Which hosts stand next to the server in a dialog, and by which transport it began.
#include <algorithm>

#include "sip/derive_internal.h"
#include "sip/same_address.h"

namespace sipheal::inline v0_1::sip {
namespace {

bool Holds(const std::vector<TextId>& list, TextId value) {
  return std::find(list.begin(), list.end(), value) != list.end();
}
bool Holds(const std::vector<IpAddress>& list, const IpAddress& value) {
  for (const IpAddress& known : list) {
    if (SameAddress(known, value)) return true;
  }
  return false;
}
template <typename T>
void AddOnce(std::vector<T>& list, const T& value) {
  if (!Holds(list, value)) list.push_back(value);
}

}  // namespace

// Whether Contact or Record-Route of the peer's opening INVITE name this address.
bool Derivation::IsNamedByOpening(const Draft& draft, const IpAddress& ip) const {
  const auto opened_by = [&](const Transaction& opening) {
    if (opening.sent || !opening.has_request) return false;
    bool found = false;
    const auto look = [&](std::string_view uri) {
      found = UriOf(uri).ip == ip;
      return !found;
    };
    ForEachUri(opening.request.contact, look);
    if (!found) ForEachUri(opening.request.record_route, look);
    return found;
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
  KnownHosts& known = draft.known_hosts;
  std::vector<IpAddress>& seen_hosts = draft.state->seen_hosts;
  auto seen = [&](const MessageFact& fact) {
    const IpAddress& ip = facts_.EndpointOf(fact.peer).ip;
    if (ip.empty() || ip.IsUnspecified()) return;  // an agent that does not know
    AddOnce(seen_hosts, ip);
    AddOnce(known.hosts, ip);
  };
  auto named = [&](TextId uris) {
    if (uris != 0) AddOnce(known.named, uris);
  };
  // Without the INVITE, a peer that answers itself, and answers with routes, show who stays in the
  // call; the hop that brought another answer need not.
  draft.path_shown = !draft.assumed;
  for (const Transaction* at : draft.creating) {
    if (at->has_request) {
      seen(at->request);
      if (!at->sent) named(at->request.contact);
      named(at->request.record_route);
    }
    for (const AnswerFact& answer : at->answers) {
      if (Canonical(answer.to_tag) != AnswerTag(draft, *at)) continue;
      if (IsContested(draft, *at)) continue;
      seen(answer);
      if (at->sent) named(answer.contact);
      named(answer.record_route);
      draft.path_shown |=
          at->sent && (answer.record_route != 0 || answer.status >= 200 ||
                       UriOf(facts_.Text(answer.contact)).ip == facts_.EndpointOf(answer.peer).ip);
    }
  }
  TextId sent_by = 0;
  for (const Transaction* at : draft.own) {
    if (!at->has_request) continue;
    for (const AnswerFact& answer : at->answers) {
      // Where the peer moved to, told in answer to the server's own request.
      if (answer.status < 300 && Canonical(answer.to_tag) == draft.remote) {
        named(answer.contact);
      }
    }
    // That nobody answers at a place shows nothing of it: such a request may be made up
    // (rule 12.6).
    const bool answered = at->method == Method::kAck || at->trying || !at->answers.empty();
    draft.path_shown |= answered;
    if (!answered) {
      if (IsOutOfProportion(draft, *at)) continue;
      ReadNamedHosts(draft);
      if (!known.hosts.empty()) continue;
    }
    seen(at->request);
    // Where the server itself addressed a request in the dialog to, by name of address.
    const TextId by = at->request.route != 0 ? at->request.route : at->request.uri;
    if (by == sent_by) continue;
    sent_by = by;
    ForEachUri(by, [&](std::string_view first) {
      const KnownUri& uri = UriOf(first);
      if (uri.ip && !uri.of_server && !uri.ip->empty()) AddOnce(seen_hosts, *uri.ip);
      return false;
    });
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
    const IpAddress& ip = facts_.EndpointOf(at->request.peer).ip;
    if (at->method == Method::kAck && !(Holds(known.hosts, ip) && Holds(seen_hosts, ip)) &&
        AckIsFor2xx(*at, &proved) && proved && IsNamedByOpening(draft, ip)) {
      seen(at->request);
    }
  }
  // The transport of the dialog, by which an unprotected message in a protected dialog shows.
  DialogState& state = *draft.state;
  const MessageFact* opening = nullptr;
  const auto take = [&](const Transaction& at) {
    if (at.has_request) {
      opening = &at.request;
    } else if (!at.answers.empty()) {
      opening = &at.answers.front();
    }
  };
  if (draft.created_in != nullptr) {
    take(*draft.created_in);
  } else if (!draft.own.empty()) {
    take(*draft.own.back());
  } else if (!draft.theirs.empty()) {
    take(*draft.theirs.back());
  }
  if (opening != nullptr) {
    state.transport = opening->transport;
    if (state.transport != Transport::kUnknown) {
      Cite(draft, Field::kTransport, *opening, Reason::kCarriedIt);
    }
  }
}

// RFC 3261 12.1: the dialog is secure when TLS carried a request to a sips: URI. Without that
// request, one over TLS may be, unless a party has a Contact that is no sips: URI (12.1.1, 12.1.2).
void Derivation::DeriveSecure(Draft& draft) const {
  DialogState& state = *draft.state;
  const auto is_sips = [this](std::string_view text) {
    const std::optional<UriView>& uri = UriOf(text).view;
    return uri && uri->is_sips;
  };
  bool seen = false;
  const auto look = [&](const Transaction& at) {
    seen |= at.has_request;
    if (!at.has_request || !IsSecure(at.request.transport)) return;
    if (is_sips(facts_.Text(at.request.uri))) {
      state.secure = true;
      Cite(draft, Field::kSecure, at.request, Reason::kTlsAndSips);
    }
  };
  for (const Transaction* at : draft.creating) look(*at);
  if (draft.assumed && IsSecure(state.transport)) {
    // A merged copy of the INVITE that was lost has its Request-URI (rule 1.9).
    const Transaction& opening = *draft.created_in;
    for (const Transaction& at : facts_.transactions) {
      if (at.method == Method::kInvite && at.has_request && !at.request.has_to_tag &&
          at.sent == opening.sent && at.cseq == opening.cseq && at.from_tag == opening.from_tag) {
        look(at);
      }
    }
  }
  if (draft.creating.empty() && IsSecure(state.transport)) {
    // What it answered was lost, but other forks answered the INVITE that began them all.
    for (const Transaction& at : facts_.transactions) {
      const bool forked =
          at.method == Method::kInvite && at.sent && at.has_request && !at.request.has_to_tag &&
          Canonical(at.from_tag) == draft.local &&
          std::any_of(at.answers.begin(), at.answers.end(), [](const AnswerFact& answer) {
            return answer.status > 100 && answer.status < 300;
          });
      if (forked) look(at);
    }
  }
  if (seen || !IsSecure(state.transport)) return;
  for (const std::string* contact : {&state.local_target, &state.remote_target}) {
    if (!contact->empty() && !is_sips(*contact)) return;
  }
  draft.missing.Add(Field::kSecure);
}

bool Derivation::OnPath(const Draft& draft, const MessageFact& fact) const {
  if (IsSecure(draft.state->transport) && fact.transport == Transport::kUdp) return false;
  const IpAddress& ip = facts_.EndpointOf(fact.peer).ip;
  // An agent that gives no usable address cannot show another path.
  if (ip.empty() || ip.IsUnspecified()) return true;
  return MayBeHost(draft, ip);
}

bool Derivation::MayBeHost(const Draft& draft, const IpAddress& ip) const {
  const std::vector<IpAddress>& hosts = draft.known_hosts.hosts;
  if (Holds(hosts, ip)) return true;
  ReadNamedHosts(draft);
  return hosts.empty() || Holds(hosts, ip);
}

void Derivation::ReadNamedHosts(const Draft& draft) const {
  KnownHosts& known = draft.known_hosts;
  for (; known.unread < known.named.size(); ++known.unread) {
    ForEachUri(known.named[known.unread], [&](std::string_view text) {
      const KnownUri& uri = UriOf(text);
      if (uri.ip && !uri.of_server && !uri.ip->empty()) AddOnce(known.hosts, *uri.ip);
      return true;
    });
  }
}

}  // namespace sipheal::inline v0_1::sip
