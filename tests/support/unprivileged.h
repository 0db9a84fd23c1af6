// SPDX-License-Identifier: Apache-2.0
// Servers that refuse to run as root, started by tests that may run as root.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace sipheal::inline v0_1::testing {

// A port of 127.0.0.1 that nobody has at this moment.
int FreePort();

// The folder belongs to the user that LaunchUnprivileged runs as; false when that cannot be.
bool GiveToUnprivileged(const std::string& folder);

// Starts a program (its whole path, then its arguments), its output in `log`, as an unprivileged
// user when this process is root's. It dies with this process.
pid_t LaunchUnprivileged(const std::vector<std::string>& command, const std::string& log);

// What a file holds; empty when it cannot be read.
std::string Contents(const std::string& path);

}  // namespace sipheal::inline v0_1::testing
