// SPDX-License-Identifier: Apache-2.0
// Whose side of the dialogs is wanted: `--server ADDR[:PORT][/TRANSPORT]`, and what a capture tells
// about the sockets of that server.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::cli {

// "192.0.2.10", "192.0.2.10:5060", "[2001:db8::1]:5060/tcp", "2001:db8::1/udp".
absl::StatusOr<sip::ServerAddress> ParseServer(const std::string& text);

// Adds to the identity what the messages show of it:
//
// - an address that only the outside of a tunnel has stands for the addresses in it;
// - where the server's own requests say that it listens (their top Via; their Contact when they
//   passed no proxy), and the datagram sockets whose requests have its Via;
// - when only names were given, the sockets whose requests have them as top Via;
// - when the port given is used by nobody, and all that the address says comes from one port, that
//   one.
//
// What other programs on the same address do over connections of their own is no evidence of the
// server: these messages go to the end, and `own` is the number of those before them.
struct ServerSearch {
  std::size_t own = 0;
  std::vector<std::string> notes;  // what a person should know about it, a sentence each
};
ServerSearch FindServer(std::vector<sip::CapturedMessage>& messages,
                        const std::vector<PcapContents::Tunnelled>& tunnelled,
                        sip::ServerIdentity& identity);

}  // namespace sipheal::inline v0_1::cli
