// SPDX-License-Identifier: Apache-2.0
// `sipheal run`: the daemon with its signals.
#pragma once

#include <string>

#include "cli/config_reader.h"
#include "cli/output.h"

namespace sipheal::inline v0_1::cli {

struct RunOptions {
  std::string config_file;
  LoadedConfig loaded;
  bool events = false;  // JSON lines to standard output
};

// Runs until SIGTERM or SIGINT; SIGHUP reloads. Writes its log to standard error. Must be called
// before the process has other threads: it blocks those signals for all of them.
int RunCommand(RunOptions options, const Console& console);

}  // namespace sipheal::inline v0_1::cli
