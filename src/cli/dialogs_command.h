// SPDX-License-Identifier: Apache-2.0
// `sipheal dialogs FILE... --server ADDR[:PORT][/TRANSPORT]`: the dialogs of a server, rebuilt from
// capture files.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

namespace sipheal::inline v0_1::cli {

struct DialogsOptions {
  // Read one after the other as if they were one capture; frames are counted through.
  std::vector<std::string> files;
  // "192.0.2.10", "192.0.2.10:5060", "[2001:db8::1]:5060/tcp"; at least one of these three lists
  // must name the server.
  std::vector<std::string> servers;
  std::vector<std::string> server_names;  // host names in its Via, Contact, Record-Route
  std::vector<std::string> agents;        // its HEP agents, for captures that hold HEP
  // Read no further, as if the server had died then: a frame number, or a time as
  // "2026-07-01T12:00:00Z", with up to six decimals. Empty: everything.
  std::string at;
  std::string format = "text";  // "text" or "json"
  std::string call_id;          // only this one; empty: all
  // Networks that a request may be sent to whatever they are, as in the configuration.
  std::vector<std::string> allow_targets;
};

// Returns the exit status: 0 done, 1 a file could not be read (what could be is still printed), 2
// wrong options. Results go to `out`, complaints to `err`.
int RunDialogs(const DialogsOptions& options, std::ostream& out, std::ostream& err);

}  // namespace sipheal::inline v0_1::cli
