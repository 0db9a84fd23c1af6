// SPDX-License-Identifier: Apache-2.0
// The commands that ask a running daemon: status, sessions, recover, pause, resume, planned-stop,
// reload. status and sessions also read the store when no daemon runs.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "cli/config_reader.h"
#include "cli/output.h"

namespace sipheal::inline v0_1::cli {

// How to reach the daemon and its store. Each prints its answer to `console` and gives the exit
// code.
struct DaemonPlace {
  std::string socket;
  std::optional<LoadedConfig> loaded;  // with it, the store can be read when no daemon answers
};

int StatusCommand(const DaemonPlace& place, const Console& console);
int SessionsCommand(const DaemonPlace& place, const std::string& instance, std::size_t limit,
                    const Console& console);
int RecoverCommand(const DaemonPlace& place, const std::string& instance, bool dry_run,
                   const Console& console);
int PauseCommand(const DaemonPlace& place, bool pause, const Console& console);
int KillSwitchCommand(const DaemonPlace& place, bool on, const std::string& reason,
                      const Console& console);
int PlannedStopCommand(const DaemonPlace& place, const std::string& instance,
                       std::chrono::seconds duration, const Console& console);
int ReloadCommand(const DaemonPlace& place, const Console& console);

// Prints an error as text to `err`, or as {"error":...} to `out`; gives the exit code for it.
int Fail(const Console& console, const absl::Status& status);

}  // namespace sipheal::inline v0_1::cli
