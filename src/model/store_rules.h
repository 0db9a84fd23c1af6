// SPDX-License-Identifier: Apache-2.0
// The rules of session_store.h that need no storage: what a valid argument is, and what a page
// token looks like. Every SessionStore of sipheal checks its arguments here, so that they cannot
// differ.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/model/session.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::internal {

inline constexpr std::size_t kMaxHostData = 64 * 1024;
inline constexpr std::size_t kMaxDialogBytes = 64 * 1024;
inline constexpr std::size_t kMaxPageSize = 10'000;

// Cancelled or DeadlineExceeded when the context is over; `what` names the call.
SIPHEAL_EXPORT absl::Status CheckContext(const CallContext& ctx, const Clock& clock,
                                         std::string_view what);

// InvalidArgument that names the session and the field.
SIPHEAL_EXPORT absl::Status ValidateKey(const SessionKey& key);
SIPHEAL_EXPORT absl::Status ValidateSession(const Session& session);
SIPHEAL_EXPORT absl::Status ValidateClaim(const SessionStore::ClaimParams& params);
SIPHEAL_EXPORT absl::Status ValidateLease(std::chrono::milliseconds lease);
// The step alone: outcome and successor fit stage and session.
SIPHEAL_EXPORT absl::Status ValidateStep(const SessionStore::AdvanceParams::Step& step);
SIPHEAL_EXPORT absl::Status ValidateDialog(const DialogRecord& record);
SIPHEAL_EXPORT absl::Status ValidatePage(const SessionStore::ListParams& params);

// The position after `key` in the order of id, then epoch.
SIPHEAL_EXPORT std::string MakePageToken(const SessionKey& key);
// The key that the token was made of; InvalidArgument when it was made by something else.
SIPHEAL_EXPORT absl::StatusOr<SessionKey> ParsePageToken(std::string_view token);

// What a session has whose controller died between claim and first step: a journal entry that says
// no more than that it was claimed.
SIPHEAL_EXPORT JournalEntry ClaimedEntry(const SessionKey& key, std::uint64_t fence, WallTime at);

// The status texts that all stores share.
SIPHEAL_EXPORT absl::Status UnknownSession(std::string_view what, const SessionKey& key);
SIPHEAL_EXPORT absl::Status HeldByAnother(const SessionKey& key, std::string_view owner);
SIPHEAL_EXPORT absl::Status AlreadyFinished(const SessionKey& key, std::string_view outcome);
SIPHEAL_EXPORT absl::Status NeverClaimed(const SessionKey& key);
SIPHEAL_EXPORT absl::Status LostLease(const SessionKey& key, std::uint64_t fence,
                                      std::uint64_t newest, std::optional<Outcome> outcome);

}  // namespace sipheal::inline v0_1::internal
