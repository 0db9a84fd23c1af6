// SPDX-License-Identifier: Apache-2.0
// What capture and store know of sessions, gathered for the planner. Runs on the executor.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/planner.h"
#include "sipheal/healer.h"

namespace sipheal::inline v0_1::internal {

struct Known {
  std::map<std::string, DialogCapture> captures;            // by Call-ID
  std::map<std::string, std::vector<DialogRecord>> stored;  // by Call-ID
};

// What capture and store know of the calls of these sessions on `instance`. The store is only a
// help: without it the capture decides alone. `died`: when the instance did; empty while it lives.
absl::StatusOr<Known> FetchKnown(const HealerParts& parts, const CallContext& ctx,
                                 const std::vector<Session>& sessions, const std::string& instance,
                                 std::optional<WallTime> died);

// What the recoveries before this one sent into the dialog, by the journal. Their last requests are
// what a capture misses when the second server dies soon.
UsedUp UsedByEarlierRecoveries(SessionStore& store, const CallContext& ctx, const Session& session);

PlanInput InputFor(const Session& session, const Known& known, const sip::ServerIdentity& identity,
                   absl::Status flow, WallTime now);

// Aborted when another incarnation lives in the place of this one: it was restarted, and has none
// of its channels any more. Unavailable when it does not answer.
absl::Status StillThere(MediaServerDriver& driver, const CallContext& ctx,
                        const Incarnation& incarnation);

// Every session in the store that has no outcome; of one incarnation, or of all.
absl::StatusOr<std::vector<Session>> ListAll(SessionStore& store, const CallContext& ctx,
                                             std::optional<Incarnation> incarnation);

}  // namespace sipheal::inline v0_1::internal
