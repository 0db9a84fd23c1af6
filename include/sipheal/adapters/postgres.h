// SPDX-License-Identifier: Apache-2.0
// What several controllers share in PostgreSQL (12 or newer): a SessionStore, what they see of the
// media servers (MakePostgresCrashRelay), and a KillSwitch.
//
// The store. What is safe against what: what a method returned OK for is on the server's disk, as
// far as the server's `synchronous_commit` and replication go. Leases end by the server's clock, so
// the clocks of the controllers do not matter. The fence is checked by the statement that writes,
// inside the database.
//
// A connection that broke is opened anew; what had not been committed is then done again on it.
// Only a call whose commit was under way when the connection broke is Unavailable although it may
// have been done: to say it again is safe for every method (session_store.h).
//
// Threads: it starts none; the caller's thread waits, at most as long as its context says.
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
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"
#include "sipheal/kill_switch.h"
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

// A KillSwitch in the schema of the store, for all controllers that use it. What would be handed to
// the driver later than 50 ms after Throw returned is stopped; what the driver has by then may
// still leave (kill_switch.h). It is one row: UPDATE sipheal.kill_switch SET thrown = true, reason
// = 'why' throws it as well. `who` is noted with it; of `options` are used dsn, schema,
// make_schema, connect_timeout and clock. Connects with its first use.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<KillSwitch>> MakePostgresKillSwitch(
    PostgresOptions options, std::string who);

struct PostgresCrashRelayOptions {
  // As in PostgresOptions.
  std::string dsn;
  std::string schema = "sipheal";
  bool make_schema = true;
  std::chrono::milliseconds connect_timeout{5000};

  // Names this controller, and no other: two of one name count as one, which the log says. The
  // same as HealerOptions::owner. 1 to 256 bytes.
  std::string owner;
  // How many controllers must see an incarnation dead before any reports it. 1 to 64. With 1, the
  // word of one counts for all.
  int quorum = 1;
  // The word of a controller counts while it stands and was affirmed this recently, so that one
  // that is gone is not counted for ever. Proof of a death (any kind but kSilent) that was agreed
  // on counts for good. 1 s to 1 h.
  std::chrono::milliseconds window{30'000};
  // How often the table is read although no notification came; three times in each `window` at
  // least. 10 ms to 60 s.
  std::chrono::milliseconds poll{1'000};
  std::shared_ptr<LogSink> log;  // none: silent
  const Clock* clock = nullptr;  // none: the system's. Must outlive the relay

  // InvalidArgument names the field, what it was and what it may be; never the password.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

// A CrashDetector that adds to `inner` what the other controllers see: a death that one of them saw
// is reported by all, so that they share the work, and with a quorum not before enough of them saw
// it. The reports of `inner` are written to a table and the others are notified; each reads it.
//
// Kinds: of several sightings of one incarnation the report has the kind that proves most (a
// restart or the end of the process rather than silence), the evidence of all with who says it, and
// the latest sign of life. Return: what `inner` says has returned has returned, for this
// controller, at once. One that only knew by others is told when so many of them withdrew, or of a
// silence say nothing any more, that the quorum is not reached. Planned stops are announced to all controllers. Instances that
// `inner` does not know are not reported.
//
// Without the database, deaths that `inner` sees are reported when the quorum is 1, as if there
// were no relay; with a greater one nothing is as soon as what the others said is older than
// `window`, and the log says so. Nothing is lost: what was seen
// is written when the database is back.
//
// Threads: Start makes one, with one connection of its own, and Stop joins it. Through PgBouncer in
// transaction mode no notification comes: news then takes up to `poll`. The clocks of the
// controllers need to agree only for planned stops.
//
// Does not connect: InvalidArgument when the options are wrong.
SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<CrashDetector>> MakePostgresCrashRelay(
    std::shared_ptr<CrashDetector> inner, PostgresCrashRelayOptions options);

}  // namespace sipheal::inline v0_1
