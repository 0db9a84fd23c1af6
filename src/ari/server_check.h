// SPDX-License-Identifier: Apache-2.0
// What answers of an Asterisk mean, and whether it has the recovery module.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ari/connections.h"
#include "sipheal/base/call_context.h"

namespace sipheal::inline v0_1::internal {

inline constexpr char kRecoveryModule[] = "res_pjsip_recovery.so";
// The contract between the variables and the module; see patches/asterisk/README.md.
inline constexpr char kRecoveryVersion[] = "4";

// 200 and 204 are OK. Others become the status that MediaServerDriver's contract names, with the
// server's own words.
absl::Status ToStatus(const std::string& what, const AriReply& reply);

// OK when the recovery module is loaded and of the version that fits; FailedPrecondition with what
// to do when not; other errors when it could not be asked.
absl::Status CheckRecoveryModule(AriConnections& connections, const CallContext& ctx,
                                 const std::string& instance);

}  // namespace sipheal::inline v0_1::internal
