// SPDX-License-Identifier: Apache-2.0
// The command line of `sipheal`: subcommands, options, help.
#pragma once

#include <string>
#include <vector>

#include "cli/output.h"

namespace sipheal::inline v0_1::cli {

// Carries out one command line, `arguments` without the program's name; gives the exit code. The
// console's format and colour are set by the options.
int RunCommandLine(std::vector<std::string> arguments, Console console);

}  // namespace sipheal::inline v0_1::cli
