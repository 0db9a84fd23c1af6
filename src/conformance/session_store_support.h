// SPDX-License-Identifier: Apache-2.0
// What the SessionStore cases share.
#pragma once

#include <string>
#include <vector>

#include "base/status_macros.h"
#include "conformance/check.h"
#include "sipheal/conformance/session_store.h"

namespace sipheal::inline v0_1::conformance {

// Leases of the cases: long enough for a slow machine, short enough to wait for.
inline constexpr std::chrono::milliseconds kLease{2'000};

// A session with something in every kind of field.
Session ASession(const std::string& id, std::uint32_t epoch = 0);
JournalEntry AnEntry(const Lease& lease, RecoveryStage stage, const std::string& reason = "");
DialogRecord ADialog(const std::string& call_id, const std::string& bytes, int updated_at = 1);

// One-session forms of the store's methods; a failure of the call as a whole is the result.
absl::Status PutOne(SessionStore& store, const Session& session);
absl::StatusOr<Lease> ClaimOne(SessionStore& store, const SessionKey& key,
                               const std::string& owner = "owner-1");
absl::Status AdvanceOne(SessionStore& store, const JournalEntry& entry,
                        std::optional<Session> successor = std::nullopt);
// All pages.
absl::StatusOr<std::vector<Session>> ListAll(SessionStore& store,
                                             std::optional<Incarnation> incarnation = std::nullopt,
                                             std::size_t limit = 1000);

// Every method once, by name, with arguments that are good: for the clauses about all of them.
struct NamedCall {
  std::string name;
  std::function<absl::Status(SessionStore&, const CallContext&)> call;
};
const std::vector<NamedCall>& EveryMethod();

std::span<const Case<SessionStoreHarness>> SessionCases();
std::span<const Case<SessionStoreHarness>> RecoveryCases();

}  // namespace sipheal::inline v0_1::conformance
