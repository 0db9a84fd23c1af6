// SPDX-License-Identifier: Apache-2.0
// The tables of the SQLite session store, and how a file of an older version gets them.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "sqlite/connection.h"

namespace sipheal::inline v0_1::internal {

// The statements that bring a file from version i to i + 1, for i from 0. Only ever appended to.
std::span<const char* const> SqliteMigrations();

// Brings the file to the newest version of `migrations`: each step wholly or not at all, also when
// two processes begin at once. FailedPrecondition when the file is of a newer version, or is not
// sipheal's.
absl::Status MigrateSqlite(Connection& connection, std::span<const char* const> migrations);

}  // namespace sipheal::inline v0_1::internal
