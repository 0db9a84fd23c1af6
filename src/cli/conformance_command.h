// SPDX-License-Identifier: Apache-2.0
// `sipheal conformance`: the contract of an interface, asked of what is deployed
// (docs/conformance.md).
#pragma once

#include <string>

#include "cli/output.h"

namespace sipheal::inline v0_1::cli {

// Where the suites run. What they write is theirs alone, and is removed afterwards: a schema, or a
// file beside the one that is named.
struct ConformanceOptions {
  bool memory = false;
  std::string sqlite;          // the path of a database; it is not touched
  std::string postgres;        // libpq's DSN
  std::string homer;           // the URL of HOMER's API; read only
  std::string homer_postgres;  // libpq's DSN
  std::string token_file;      // for `homer`, or user and password_file
  std::string user;
  std::string password_file;
};

// kExitOk when no case found a broken clause; kExitFailed when one did, or nothing could be asked.
int SessionStoreConformance(const ConformanceOptions& options, const Console& console);
int SipCaptureConformance(const ConformanceOptions& options, const Console& console);

}  // namespace sipheal::inline v0_1::cli
