// SPDX-License-Identifier: Apache-2.0
#include "sip/server_match.h"

#include <algorithm>
#include <optional>

#include "sip/same_address.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

ServerMatcher::Match ServerMatcher::MatchEndpoint(const Endpoint& endpoint,
                                                  Transport transport) const {
  Match best = Match::kNone;
  for (const ServerAddress& address : identity_.addresses) {
    if (!SameAddress(address.ip, endpoint.ip)) continue;
    // A capture may call every connection TCP, so only datagram against connection tells.
    const bool transport_fits = address.transport == Transport::kUnknown ||
                                transport == Transport::kUnknown ||
                                IsStream(address.transport) == IsStream(transport);
    if (!transport_fits) continue;
    if (address.port == 0 || endpoint.port == 0 || address.port == endpoint.port) {
      return Match::kExact;
    }
    best = Match::kHostOnly;
  }
  return best;
}

bool ServerMatcher::NamesServer(std::string_view host, std::uint16_t port) const {
  return NamesServer(host, IpAddress::Parse(host), port);
}

bool ServerMatcher::NamesServer(std::string_view host, const std::optional<IpAddress>& ip,
                                std::uint16_t port) const {
  if (port == 0) port = 5060;
  for (const std::string& name : identity_.host_names) {
    if (EqualsIgnoreCase(name, host)) return true;
  }
  if (!ip) return false;
  return std::any_of(identity_.addresses.begin(), identity_.addresses.end(),
                     [&](const ServerAddress& address) {
                       return address.ip == *ip && (address.port == 0 || address.port == port);
                     });
}

ServerMatcher::Name ServerMatcher::NameOf(std::string_view host, std::uint16_t port,
                                          const Endpoint& socket) const {
  if (NamesServer(host, port)) return Name::kServer;
  const std::optional<IpAddress> ip = IpAddress::Parse(host);
  if (!ip || *ip != socket.ip || port == socket.port) return Name::kNobody;
  // Without a port the default counts, which is another one with TLS.
  if (port == 0 && NamesServer(host, 5061)) return Name::kServer;
  return Name::kNeighbour;
}

ServerMatcher::Name ServerMatcher::NameIn(const MessageView& view, const ViaView& top_via,
                                          bool by_via, const Endpoint& socket) const {
  if (by_via) return NameOf(top_via.host, top_via.port, socket);
  std::string_view target = view.request_uri();
  if (!view.is_request()) {
    std::string_view contacts = view.Get(HeaderId::kContact);
    NameAddrView contact;
    if (NextNameAddr(&contacts, &contact) == ListStep::kValue) target = contact.uri;
  }
  const std::optional<UriView> uri = UriView::Parse(target);
  return uri ? NameOf(uri->host, uri->port, socket) : Name::kNobody;
}

ServerMatcher::ViaCount ServerMatcher::CountVias(const MessageView& view) const {
  ViaCount vias;
  view.ForEach(HeaderId::kVia, [&](std::string_view row) {
    ViaView via;
    while (NextVia(&row, &via) == ListStep::kValue) {
      vias.of_server = vias.of_server || NamesServer(via.host, via.port);
      if (vias.count < UINT8_MAX) ++vias.count;
    }
  });
  return vias;
}

Adjacency ServerMatcher::Classify(const CapturedMessageView& message, const MessageView& view,
                                  const ViaView& top_via) const {
  Adjacency result;
  const bool own_agent =
      !message.agent.empty() &&
      std::any_of(identity_.agents.begin(), identity_.agents.end(), [&](const std::string& agent) {
        return std::string_view(agent) == message.agent;
      });
  result.rank = identity_.agents.empty() || own_agent ? 0 : 1;
  const Match source = MatchEndpoint(message.source, message.transport);
  const Match destination = MatchEndpoint(message.destination, message.transport);

  if (source == Match::kExact || destination == Match::kExact) {
    result.sent = source == Match::kExact;
    result.received = destination == Match::kExact;
    return result;
  }
  // The port does not fit. It may be the ephemeral port of a connection, or an agent that reports
  // the first port of its transport whichever was used.
  const bool stream = IsStream(message.transport);
  if ((own_agent || stream) && source != destination) {
    const bool sent = source == Match::kHostOnly;
    // On a connection another program of the same host may speak, and then says so: the top Via of
    // a request is its sender's, of a response its receiver's; the Request-URI names the receiver,
    // the Contact of a response its sender.
    if (!own_agent && NameIn(view, top_via, sent == view.is_request(),
                             sent ? message.source : message.destination) == Name::kNeighbour) {
      return result;
    }
    result.sent = sent;
    result.received = !sent;
    return result;
  }
  if (!own_agent && !(stream && source == Match::kHostOnly)) return result;  // not the server's
  // Addresses do not tell: the message itself does.
  if (NameIn(view, top_via, true, {}) == Name::kServer) {
    (view.is_request() ? result.sent : result.received) = true;
    return result;
  }
  // Several programs on one address: the other end must be named, too.
  const bool named = NameIn(view, top_via, false, {}) == Name::kServer;
  if (!named && !own_agent) return result;
  const ViaCount vias = CountVias(view);
  // A request that the server sent, or the answer to one, further on.
  if (!named && vias.of_server) return result;
  result.vias = vias.count;
  (view.is_request() ? result.received : result.sent) = true;
  return result;
}

}  // namespace sipheal::inline v0_1::sip
