// SPDX-License-Identifier: Apache-2.0
// `sipheal dialogs FILE... --server ADDR[:PORT][/TRANSPORT]`: the dialogs of a server, rebuilt from
// capture files.
#pragma once

#include <cstdint>
#include <iosfwd>
#include <string>
#include <vector>

#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::cli {

struct DialogsOptions {
  // Read one after the other as if they were one capture; frames are counted through.
  std::vector<std::string> files;
  // As ParseServer reads it; at least one of these three lists must name the server.
  std::vector<std::string> servers;
  std::vector<std::string> server_names;  // host names in its Via, Contact, Record-Route
  std::vector<std::string> agents;        // its HEP agents, for captures that hold HEP
  // Read no further, as if the server had died then, as ParseMoment reads it. Empty: everything.
  std::string at;
  std::string format = "text";  // "text", "json", "mermaid" or "svg"
  std::string call_id;          // only this one; empty: all
  // Networks that a request may be sent to whatever they are, as in the configuration.
  std::vector<std::string> allow_targets;
};

// What was read, and up to when.
struct DialogsInput {
  std::vector<sip::CapturedMessage> messages;
  std::vector<PcapContents::Tunnelled> tunnelled;
  // When the server is taken to have died: --at, or the newest frame. Deadlines are judged by it.
  sip::CaptureTime now{};
  std::uint64_t frames = 0;
  bool damaged = false;  // something could not be read
};

// Rebuilds and prints. The identity is what the options say; the capture may tell more of it.
// Returns the notes for a person.
std::vector<std::string> PrintDialogs(const DialogsOptions& options, sip::ServerIdentity identity,
                                      DialogsInput input, std::ostream& out);

// Returns the exit status: 0 done, also when there are no dialogs; 1 a file could not be read (what
// could be is still printed); 2 wrong options. Results go to `out`, complaints to `err`.
int RunDialogs(const DialogsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace sipheal::inline v0_1::cli
