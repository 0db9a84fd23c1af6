// SPDX-License-Identifier: Apache-2.0
// The tables of the PostgreSQL session store, and how an older schema gets them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "pq/connection.h"

namespace sipheal::inline v0_1::internal::postgres {

using pq::Connection;
using pq::Transaction;

// The statements that bring a schema from version i to i + 1, for i from 0. Only ever appended to.
// "%s" stands for the schema's name.
using Migration = std::span<const char* const>;
std::span<const Migration> PostgresMigrations();

// `sql` with the schema's name, quoted, in each place of "%s".
std::string InSchema(std::string_view sql, std::string_view schema);

// Brings the schema to the newest version of `migrations`, wholly or not at all, also when several
// controllers begin at once. FailedPrecondition when it is of a newer version, or was not made by
// sipheal.
absl::Status MigratePostgres(Connection& connection, const CallContext& ctx,
                             const std::string& schema, std::span<const Migration> migrations);

// Changes nothing. NotFound when the schema is not there, FailedPrecondition when it is of another
// version, or was not made by sipheal.
absl::Status CheckPostgres(Connection& connection, const CallContext& ctx,
                           const std::string& schema, std::span<const Migration> migrations);

}  // namespace sipheal::inline v0_1::internal::postgres
