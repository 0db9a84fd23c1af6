// SPDX-License-Identifier: Apache-2.0
// Who "the server" is in a capture: the media server whose side of the dialogs is to be rebuilt.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::sip {

// A place where the server sends from and listens.
struct ServerAddress {
  IpAddress ip;
  // 0: any port. Give the port where a proxy or phone shares the address with the server.
  std::uint16_t port = 0;
  // kUnknown: any transport.
  Transport transport = Transport::kUnknown;

  friend bool operator==(const ServerAddress&, const ServerAddress&) = default;
};

// Everything by which messages of the server are known. A call that was recovered before was
// carried by several servers in turn: then list the addresses and agents of all of them, so that
// the role is still taken from the first INVITE.
//
// Which of several copies of a message is the server's own is decided by the agent first, then by
// address and port, then by the sent-by of the top Via. A message that touches none of this is not
// evidence.
struct ServerIdentity {
  std::vector<ServerAddress> addresses;
  // Host names under which the server writes itself into Via, Contact or Record-Route; letter case
  // does not matter.
  std::vector<std::string> host_names;
  // Capture agents that run on the server and see what it itself sends and receives. When this is
  // not empty, a message from another agent is a weaker witness: it never overrules one of these,
  // and a BYE from a path that the dialog never used ends nothing on its word.
  std::vector<std::string> agents;
};

}  // namespace sipheal::inline v0_1::sip
