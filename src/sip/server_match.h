// SPDX-License-Identifier: Apache-2.0
// Tells which side of the server a captured message is on (rules 11.1 to 11.3, 11.6).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {

struct Adjacency {
  // Both are true for a message that the server sent to itself: the call's two dialogs are
  // mirrored.
  bool sent = false;
  bool received = false;
  // 0: seen by the server's own agent, or no agents are known; 1: by somebody else.
  std::uint8_t rank = 0;
  // How many Vias the message has, where it is only by them that its hop can be told from others
  // (rule 11.2); else 0.
  std::uint8_t vias = 0;

  bool ours() const { return sent || received; }
};

// Not thread-safe by itself; const use is.
class ServerMatcher {
 public:
  explicit ServerMatcher(ServerIdentity identity) : identity_(std::move(identity)) {}

  const ServerIdentity& identity() const { return identity_; }
  Adjacency Classify(const CapturedMessageView& message, const MessageView& view,
                     const ViaView& top_via) const;
  // A host (name or address) and port as written in a URI or Via; port 0 stands for 5060.
  bool NamesServer(std::string_view host, std::uint16_t port) const;
  // The same for a host that was read: `ip` is its address, if it is one.
  bool NamesServer(std::string_view host, const std::optional<IpAddress>& ip,
                   std::uint16_t port) const;

 private:
  enum class Match { kNone, kHostOnly, kExact };
  // Whom a host and port mean, seen from a socket on the server's address: kNeighbour is another
  // program there.
  enum class Name { kNobody, kServer, kNeighbour };
  Match MatchEndpoint(const Endpoint& endpoint, Transport transport) const;
  Name NameOf(std::string_view host, std::uint16_t port, const Endpoint& socket) const;
  struct ViaCount {
    std::uint8_t count = 0;
    bool of_server = false;  // one of them is
  };
  ViaCount CountVias(const MessageView& view) const;
  // By the top Via, or else by the Request-URI of a request, the Contact of a response.
  Name NameIn(const MessageView& view, const ViaView& top_via, bool by_via,
              const Endpoint& socket) const;

  ServerIdentity identity_;
};

}  // namespace sipheal::inline v0_1::sip
