// SPDX-License-Identifier: Apache-2.0
#include "sqlite/sqlite_session_store.h"

#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/stored_rows.h"
#include "sqlite/schema.h"

namespace sipheal::inline v0_1 {
namespace internal {

absl::StatusOr<std::unique_ptr<Connection>> SqliteSessionStore::Connect(const char* pragmas) const {
  ABSL_ASSIGN_OR_RETURN(std::unique_ptr<Connection> connection,
                        Connection::Open({.path = options_.path,
                                          .busy_timeout = options_.busy_timeout,
                                          .clock = &clock_,
                                          .log = log_.get()}));
  ABSL_RETURN_IF_ERROR(connection->Execute(pragmas));
  return connection;
}

// Two that switch a new file at the same time stand in each other's way, and SQLite then refuses
// one of them without asking its busy handler.
absl::Status SqliteSessionStore::SwitchToWal(Connection& db) const {
  const auto until = std::chrono::steady_clock::now() + options_.busy_timeout;
  for (;;) {
    const absl::Status status = db.Execute("PRAGMA journal_mode = WAL");
    if (!absl::IsUnavailable(status) || std::chrono::steady_clock::now() >= until) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
}

absl::Status SqliteSessionStore::Open() {
  // What a power loss may not take is waited for; a claim does not pay for the check-pointing of
  // what the tracker wrote, unless that has become much.
  ABSL_ASSIGN_OR_RETURN(recovery_writer_,
                        Connect("PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 10000"));
  ABSL_RETURN_IF_ERROR(MigrateSqlite(*recovery_writer_, SqliteMigrations()));
  ABSL_RETURN_IF_ERROR(SwitchToWal(*recovery_writer_));
  ABSL_ASSIGN_OR_RETURN(tracking_writer_,
                        Connect("PRAGMA synchronous = NORMAL; PRAGMA wal_autocheckpoint = 1000"));
  ABSL_ASSIGN_OR_RETURN(reader_, Connect("PRAGMA query_only = ON"));
  return absl::OkStatus();
}

absl::Status SqliteSessionStore::Write(const CallContext& ctx, Turnstile::Urgency urgency,
                                       std::string_view what,
                                       const std::function<absl::Status(Connection&)>& work) {
  ABSL_ASSIGN_OR_RETURN(const Turnstile::Pass pass, writing_.Enter(ctx, clock_, urgency, what));
  Connection& db = urgency == Turnstile::Urgency::kUrgent ? *recovery_writer_ : *tracking_writer_;
  const Connection::Scope scope(db, ctx);
  ABSL_ASSIGN_OR_RETURN(Transaction transaction, Transaction::Begin(db, Transaction::Kind::kWrite));
  ABSL_RETURN_IF_ERROR(work(db));
  ABSL_RETURN_IF_ERROR(db.CheckScope());
  return transaction.Commit();
}

absl::Status SqliteSessionStore::Read(const CallContext& ctx, std::string_view what,
                                      const std::function<absl::Status(Connection&)>& work) {
  ABSL_ASSIGN_OR_RETURN(const Turnstile::Pass pass,
                        reading_.Enter(ctx, clock_, Turnstile::Urgency::kNormal, what));
  const Connection::Scope scope(*reader_, ctx);
  ABSL_ASSIGN_OR_RETURN(Transaction transaction,
                        Transaction::Begin(*reader_, Transaction::Kind::kRead));
  ABSL_RETURN_IF_ERROR(work(*reader_));
  return transaction.Commit();
}

// -----------------------------------------------------------------------------------------

Session SqliteSessionStore::SessionOf(const Statement& row, int column) {
  return SessionInRow(row, column, *log_);
}

JournalEntry SqliteSessionStore::EntryOf(const Statement& row, int column) {
  return EntryInRow(row, column, *log_);
}

}  // namespace internal

absl::Status SqliteOptions::Validate() const {
  if (path.empty() || path.starts_with(":memory:") || path.starts_with("file:")) {
    return absl::InvalidArgumentError(
        absl::StrFormat("SqliteOptions::path is \"%s\": give the path of a file (without one, take "
                        "MakeMemorySessionStore)",
                        path));
  }
  if (busy_timeout < std::chrono::milliseconds(0) || busy_timeout > std::chrono::minutes(1)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "SqliteOptions::busy_timeout is %d ms: give 0 to 60,000", busy_timeout.count()));
  }
  if (keep_journal < std::chrono::hours(1) || keep_journal > std::chrono::hours(24 * 366 * 10)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "SqliteOptions::keep_journal is %d h: give 1 h to 10 years", keep_journal.count()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<SessionStore>> MakeSqliteSessionStore(SqliteOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  auto store = std::make_shared<internal::SqliteSessionStore>(std::move(options));
  ABSL_RETURN_IF_ERROR(store->Open());
  return store;
}

}  // namespace sipheal::inline v0_1
