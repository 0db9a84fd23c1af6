// SPDX-License-Identifier: Apache-2.0
// The exit codes of the command; docs/errors.md lists them.
#pragma once

namespace sipheal::inline v0_1::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitFailed = 1,    // it was tried, and failed; doctor found something
  kExitUsage = 2,     // wrong arguments or configuration: nothing was tried
  kExitNoDaemon = 3,  // the command needs a running sipheal, and none answers
};

}  // namespace sipheal::inline v0_1::cli
