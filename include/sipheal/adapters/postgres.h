// SPDX-License-Identifier: Apache-2.0
// A SessionStore in PostgreSQL (12 or newer): for several controllers that share the work.
//
// What is safe against what: what a method returned OK for is on the server's disk, as far as the
// server's `synchronous_commit` and replication go. Leases end by the server's clock, so the clocks
// of the controllers do not matter. The fence is checked by the statement that writes, inside the
// database.
//
// A connection that broke is opened anew; what had not been committed is then done again on it.
// Only a call whose commit was under way when the connection broke is Unavailable although it may
// have been done: to say it again is safe for every method (session_store.h).
//
// Threads: the store starts none; the caller's thread waits, at most as long as its context says.
// Calls on one store object share up to `connections` connections; Claim and Advance go before
// waiting Puts and SaveDialogs.
//
// PgBouncer: works in transaction mode. No statement is prepared under a name and no setting
// outlives a transaction, so each call costs the server one more parse of its statement, about a
// tenth of a millisecond.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/export.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1 {

struct PostgresOptions {
  // Where the database is, in libpq's form: "host=db1 dbname=sipheal user=sipheal" or
  // "postgresql://sipheal@db1/sipheal" (PostgreSQL documentation, 34.1.1). Give the password by
  // `passfile` there or by ~/.pgpass. Without `sslmode`, a server on another host must prove who it
  // is (verify-full); with `service` give it there. libpq resolves names in the caller's thread,
  // where no deadline ends it: give `hostaddr` where the resolver may hang. Of several hosts the
  // next is tried when one refuses, not when it is silent.
  std::string dsn;
  // The schema that holds the tables; made when it is not there. 1 to 63 of a-z 0-9 _, not
  // beginning with a digit.
  std::string schema = "sipheal";
  // False: one that is not there is NotFound; nothing is made, and no older one brought up to date.
  bool make_schema = true;
  // Connections that are open at most. 1 to 64.
  int connections = 4;
  // How long one connect may take when the call's own deadline is not earlier. 100 ms to 60 s.
  std::chrono::milliseconds connect_timeout{5000};
  // How long the journal of a recovery that is over is kept. 1 h to 10 years.
  std::chrono::hours keep_journal{24 * 7};
  std::shared_ptr<LogSink> log;  // none: silent. Damaged records are told here
  const Clock* clock = nullptr;  // none: the system's; for deadlines. Must outlive the store

  // InvalidArgument names the field, what it was and what it may be; never the password.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

// Connects, and brings the schema up to date; several controllers may do so at once.
// FailedPrecondition when a newer sipheal made the schema or the server is too old,
// PermissionDenied when the role may not do what is needed, InvalidArgument when there is no such
// database, NotFound when there is no schema and none may be made, Unavailable when the server
// cannot be reached.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<SessionStore>> MakePostgresSessionStore(
    PostgresOptions options);

}  // namespace sipheal::inline v0_1
