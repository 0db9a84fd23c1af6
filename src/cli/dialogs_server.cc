// SPDX-License-Identifier: Apache-2.0
#include "cli/dialogs_server.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::cli {
namespace {

using sip::Endpoint;
using sip::IpAddress;
using sip::ServerAddress;
using sip::ServerIdentity;
using sip::Transport;

// More sockets than this no server listens on; a capture that shows more is not believed.
constexpr std::size_t kMaxAddresses = 64;

bool SameText(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](unsigned char x, unsigned char y) {
    return std::tolower(x) == std::tolower(y);
  });
}

// A socket as one kind of transport uses it; the port 5060 of UDP and of TCP are two.
struct Socket {
  Endpoint endpoint;
  bool stream = false;
  friend auto operator<=>(const Socket&, const Socket&) = default;
};

// What a message says about the one whose Via is on top: the sender of a request, the receiver of a
// response.
struct Witness {
  Socket speaker;
  Endpoint sent_by;                 // of the Via; without an address when it is a name
  bool named = false;               // by one of the server's names
  std::optional<Endpoint> contact;  // of a request that passed no proxy
};

class Search {
 public:
  Search(const std::vector<sip::CapturedMessage>& messages, ServerIdentity& identity)
      : messages_(messages), identity_(identity) {}

  void Run(const std::vector<PcapContents::Tunnelled>& tunnelled) {
    for (const sip::CapturedMessage& message : messages_) {
      hosts_.insert(message.source.ip);
      hosts_.insert(message.destination.ip);
    }
    OpenTunnels(tunnelled);
    by_name_only_ = identity_.addresses.empty();
    given_ = identity_.addresses;
    for (const sip::CapturedMessage& message : messages_) Hear(message);
    // What is learned may let more be learned; honest captures need two rounds.
    for (int round = 0; round < 4 && Learn(); ++round) {
    }
    for (const ServerAddress& address : given_) Settle(address);
    for (const Witness& witness : witnesses_) {
      const Socket sent_by{witness.sent_by, witness.speaker.stream};
      if (sent_by.endpoint.ip == witness.speaker.endpoint.ip && !witness.named && !Known(sent_by) &&
          !Known(witness.speaker)) {
        neighbours_.insert(witness.speaker);
        neighbours_.insert(sent_by);
      }
    }
    TellWhatIsMissing();
  }

  std::vector<std::string> TakeNotes() { return std::move(notes_); }

  // Whether another program on the server's address had this message, and not the server.
  bool IsNeighbours(const sip::CapturedMessage& message) const {
    const bool stream = sip::IsStream(message.transport);
    bool neighbour = false;
    for (const Endpoint& end : {message.source, message.destination}) {
      if (Known({end, stream})) return false;
      neighbour |= neighbours_.contains({end, stream});
    }
    return neighbour;
  }

 private:
  bool IsServerHost(const IpAddress& ip) const {
    return std::any_of(identity_.addresses.begin(), identity_.addresses.end(),
                       [&](const ServerAddress& address) { return address.ip == ip; });
  }

  static bool Covers(const ServerAddress& address, const Socket& socket) {
    return address.ip == socket.endpoint.ip &&
           (address.port == 0 || address.port == socket.endpoint.port) &&
           (address.transport == Transport::kUnknown ||
            sip::IsStream(address.transport) == socket.stream);
  }

  bool Known(const Socket& socket) const {
    return std::any_of(identity_.addresses.begin(), identity_.addresses.end(),
                       [&](const ServerAddress& address) { return Covers(address, socket); });
  }

  bool Add(const Socket& socket) {
    if (socket.endpoint.port == 0 || identity_.addresses.size() >= kMaxAddresses) return false;
    identity_.addresses.push_back({socket.endpoint.ip, socket.endpoint.port,
                                   socket.stream ? Transport::kTcp : Transport::kUdp});
    return true;
  }

  void OpenTunnels(const std::vector<PcapContents::Tunnelled>& tunnelled) {
    std::vector<ServerAddress> found;
    for (const ServerAddress& address : identity_.addresses) {
      if (hosts_.contains(address.ip)) continue;
      std::set<IpAddress> inner;
      for (const PcapContents::Tunnelled& entry : tunnelled) {
        const sip::CapturedMessage& message = messages_[entry.message];
        if (entry.outer_source == address.ip) inner.insert(message.source.ip);
        if (entry.outer_destination == address.ip) inner.insert(message.destination.ip);
      }
      for (const IpAddress& ip : inner) {
        if (found.size() >= kMaxAddresses) break;
        outsides_.insert(address.ip);
        found.push_back({ip, address.port, address.transport});
        notes_.push_back(absl::StrFormat("%s is the outside of a tunnel: taken for %s in it",
                                         address.ip.ToString(), ip.ToString()));
      }
    }
    identity_.addresses.insert(identity_.addresses.end(), found.begin(), found.end());
  }

  // Notes what the message witnesses, when it may be of the server.
  void Hear(const sip::CapturedMessage& message) {
    const bool stream = sip::IsStream(message.transport);
    for (const Endpoint& end : {message.source, message.destination}) {
      if (IsServerHost(end.ip)) sockets_.insert({end, stream});
    }
    if (!by_name_only_ && !IsServerHost(message.source.ip) &&
        !IsServerHost(message.destination.ip)) {
      return;
    }
    if (!view_.Parse(std::string_view(message.bytes)).ok()) return;
    std::string_view vias = view_.Get(sip::HeaderId::kVia);
    sip::ViaView via;
    if (sip::NextVia(&vias, &via) != sip::ListStep::kValue) return;
    Witness witness;
    witness.speaker = {view_.is_request() ? message.source : message.destination, stream};
    witness.named = std::any_of(identity_.host_names.begin(), identity_.host_names.end(),
                                [&](const std::string& name) { return SameText(name, via.host); });
    if (by_name_only_ ? !witness.named : !IsServerHost(witness.speaker.endpoint.ip)) return;
    if (const std::optional<IpAddress> ip = IpAddress::Parse(via.host)) {
      const bool tls = via.transport == Transport::kTls || via.transport == Transport::kWss;
      witness.sent_by = {*ip,
                         via.port != 0 ? via.port : static_cast<std::uint16_t>(tls ? 5061 : 5060)};
    }
    int rows = 0;
    view_.ForEach(sip::HeaderId::kVia, [&](std::string_view) { ++rows; });
    sip::ViaView second;
    const bool one_hop = rows == 1 && sip::NextVia(&vias, &second) == sip::ListStep::kEnd;
    if (view_.is_request() && one_hop) witness.contact = ContactOf(view_);
    witnesses_.insert(std::move(witness));
  }

  static std::optional<Endpoint> ContactOf(const sip::MessageView& view) {
    std::string_view contacts = view.Get(sip::HeaderId::kContact);
    sip::NameAddrView contact;
    if (sip::NextNameAddr(&contacts, &contact) != sip::ListStep::kValue) return std::nullopt;
    const std::optional<sip::UriView> uri = sip::UriView::Parse(contact.uri);
    if (!uri) return std::nullopt;
    const std::optional<IpAddress> ip = IpAddress::Parse(uri->host);
    if (!ip) return std::nullopt;
    return Endpoint{*ip, uri->port != 0 ? uri->port : std::uint16_t{5060}};
  }

  // True when it learned something.
  bool Learn() {
    bool learned = false;
    for (const Witness& witness : witnesses_) {
      const Socket& speaker = witness.speaker;
      const Socket sent_by{witness.sent_by, speaker.stream};
      if (Known(speaker)) {
        const bool own_via = sent_by.endpoint.ip == speaker.endpoint.ip;
        if (own_via && !Known(sent_by)) learned |= Add(sent_by);
        const bool own_contact = witness.contact && witness.contact->ip == speaker.endpoint.ip;
        if (own_contact && !Known({*witness.contact, speaker.stream})) {
          learned |= Add({*witness.contact, speaker.stream});
        }
      } else if (witness.named ||
                 (!speaker.stream && sent_by.endpoint.port != 0 && Known(sent_by))) {
        learned |= Add(speaker);
      }
    }
    return learned;
  }

  // When nobody uses the port that was given, whose may be meant?
  void Settle(const ServerAddress& address) {
    if (!hosts_.contains(address.ip)) return;
    const auto fits = [&](bool stream) {
      return address.transport == Transport::kUnknown || sip::IsStream(address.transport) == stream;
    };
    const bool heard = std::any_of(sockets_.begin(), sockets_.end(), [&](const Socket& socket) {
      return socket.endpoint.ip == address.ip && fits(socket.stream);
    });
    if (!heard) {
      notes_.push_back(absl::StrFormat("%s: nothing came from or went to it over %s",
                                       address.ip.ToString(),
                                       std::string(sip::ToString(address.transport))));
    }
    if (!heard || address.port == 0) return;
    std::set<std::uint16_t> ports;  // where programs of this address listen, or send datagrams from
    for (const Socket& socket : sockets_) {
      if (Covers(address, socket)) return;
      if (socket.endpoint.ip == address.ip && !socket.stream && fits(false)) {
        ports.insert(socket.endpoint.port);
      }
    }
    for (const Witness& witness : witnesses_) {
      if (witness.speaker.stream && witness.sent_by.ip == address.ip && fits(true)) {
        ports.insert(witness.sent_by.port);
      }
    }
    // Connections from ports of the moment, which speak of the right one or of none.
    if (ports.empty() || ports.contains(address.port)) return;
    std::string list;
    for (const std::uint16_t port : ports) {
      list += (list.empty() ? "" : ", ") + absl::StrFormat("%d", port);
      if (list.size() > 60) break;
    }
    if (ports.size() > 1) {
      notes_.push_back(absl::StrFormat(
          "%s: nothing came from or went to port %d; give one of those that it uses: %s",
          address.ip.ToString(), address.port, list));
      return;
    }
    notes_.push_back(absl::StrFormat(
        "%s: nothing came from or went to port %d; taken for the only one that it uses: %s",
        address.ip.ToString(), address.port, list));
    if (identity_.addresses.size() < kMaxAddresses) {
      identity_.addresses.push_back({address.ip, 0, address.transport});
    }
  }

  void TellWhatIsMissing() {
    if (messages_.empty()) return;
    if (by_name_only_ && identity_.addresses.empty()) {
      notes_.push_back(absl::StrFormat(
          "%s: no request has this name in its top Via: give --server ADDR; there are %s",
          identity_.host_names.front(), BusiestHosts()));
    }
    for (const ServerAddress& address : given_) {
      if (hosts_.contains(address.ip) || outsides_.contains(address.ip)) continue;
      notes_.push_back(absl::StrFormat("%s: no SIP message came from or went to it; there are %s",
                                       address.ip.ToString(), BusiestHosts()));
    }
  }

  std::string BusiestHosts() const {
    std::map<IpAddress, std::size_t> counts;
    for (const sip::CapturedMessage& message : messages_) {
      ++counts[message.source.ip];
      ++counts[message.destination.ip];
    }
    std::vector<std::pair<std::size_t, IpAddress>> order;
    for (const auto& [ip, count] : counts) order.emplace_back(count, ip);
    std::sort(order.rbegin(), order.rend());
    std::string text;
    for (std::size_t i = 0; i < order.size() && i < 5; ++i) {
      text += (i == 0 ? "" : ", ") + order[i].second.ToString();
    }
    return text + (order.size() > 5 ? ", ..." : "");
  }

  struct WitnessLess {
    bool operator()(const Witness& a, const Witness& b) const {
      return std::tie(a.speaker, a.sent_by, a.named, a.contact) <
             std::tie(b.speaker, b.sent_by, b.named, b.contact);
    }
  };

  const std::vector<sip::CapturedMessage>& messages_;
  ServerIdentity& identity_;
  sip::MessageView view_;
  bool by_name_only_ = false;
  std::set<IpAddress> hosts_;
  std::set<IpAddress> outsides_;  // of tunnels, that were given as the server
  std::set<Socket> neighbours_;
  std::vector<ServerAddress> given_;
  std::set<Socket> sockets_;  // on the server's addresses
  std::set<Witness, WitnessLess> witnesses_;
  std::vector<std::string> notes_;
};

}  // namespace

absl::StatusOr<ServerAddress> ParseServer(const std::string& text) {
  ServerAddress server;
  const std::size_t slash = text.find('/');
  if (slash != std::string::npos) {
    server.transport = sip::TransportFromString(text.substr(slash + 1));
    if (server.transport == Transport::kUnknown) {
      return absl::InvalidArgumentError(
          absl::StrFormat("--server %s: \"%s\" is no transport: udp, tcp, tls, ws or wss", text,
                          text.substr(slash + 1)));
    }
  }
  const std::optional<Endpoint> endpoint = Endpoint::Parse(text.substr(0, slash));
  if (!endpoint.has_value()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "--server %s: is no address: write 192.0.2.10, 192.0.2.10:5060, 192.0.2.10:5060/tcp or "
        "[2001:db8::1]:5060; for a host name use --server-name",
        text));
  }
  server.ip = endpoint->ip;
  server.port = endpoint->port;
  return server;
}

ServerSearch FindServer(std::vector<sip::CapturedMessage>& messages,
                        const std::vector<PcapContents::Tunnelled>& tunnelled,
                        ServerIdentity& identity) {
  ServerSearch result;
  result.own = messages.size();
  // Agents alone tell it all.
  if (identity.addresses.empty() && identity.host_names.empty()) return result;
  Search search(messages, identity);
  search.Run(tunnelled);
  result.notes = search.TakeNotes();
  const auto foreign = std::stable_partition(
      messages.begin(), messages.end(),
      [&](const sip::CapturedMessage& message) { return !search.IsNeighbours(message); });
  result.own = static_cast<std::size_t>(foreign - messages.begin());
  return result;
}

}  // namespace sipheal::inline v0_1::cli
