// SPDX-License-Identifier: Apache-2.0
// Runs the host's fence command for an instance that is silent but perhaps alive.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/model/incarnation.h"

namespace sipheal::inline v0_1::cli {

// Runs the program `command[0]` (whole path, no shell) with the rest as its arguments, and with
// PATH, SIPHEAL_INSTANCE and SIPHEAL_LIFE as its whole environment, in a process group of its own.
// Blocks until it ends; after `timeout` the group is killed. OK when it ended with status 0; else
// the error tells the status and the first output.
absl::Status RunFenceCommand(const std::vector<std::string>& command,
                             const Incarnation& incarnation, std::chrono::milliseconds timeout);

}  // namespace sipheal::inline v0_1::cli
