// SPDX-License-Identifier: Apache-2.0
// The other end of the control socket: asks a running daemon one thing.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace sipheal::inline v0_1::cli {

// The "result" of the daemon's reply. FailedPrecondition: no daemon answers there (the text says
// why); PermissionDenied: the socket is not ours; what the daemon refused comes back with its code.
absl::StatusOr<nlohmann::ordered_json> AskDaemon(
    const std::string& socket, const nlohmann::ordered_json& request,
    std::chrono::milliseconds timeout = std::chrono::seconds(15));

// Whether this is AskDaemon's "no daemon".
bool IsNoDaemon(const absl::Status& status);

}  // namespace sipheal::inline v0_1::cli
