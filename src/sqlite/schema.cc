// SPDX-License-Identifier: Apache-2.0
#include "sqlite/schema.h"

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

// "SIPH", in the header of the file: `file` and `sqlite3` show whose it is.
constexpr std::int64_t kApplicationId = 0x53495048;

// Version 1.
//
// `sessions` holds those that live or wait for their recovery; a recovery's end takes the row away
// (and puts its successor), so that what is listed is what is there. `recoveries` keeps one small
// row for each session ever claimed: a claim writes there, not over the record.
constexpr char kVersion1[] = R"sql(
CREATE TABLE sessions (
  id       TEXT    NOT NULL,
  epoch    INTEGER NOT NULL,
  instance TEXT    NOT NULL,
  life     TEXT    NOT NULL,
  record   BLOB    NOT NULL,
  PRIMARY KEY (id, epoch)
);
CREATE INDEX sessions_by_incarnation ON sessions (instance, life, id, epoch);

CREATE TABLE recoveries (
  id         TEXT    NOT NULL,
  epoch      INTEGER NOT NULL,
  fence      INTEGER NOT NULL,
  owner      TEXT    NOT NULL,
  claimed_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  outcome    TEXT,
  PRIMARY KEY (id, epoch)
) WITHOUT ROWID;
CREATE INDEX recoveries_unfinished ON recoveries (expires_at) WHERE outcome IS NULL;

CREATE TABLE journal (
  seq             INTEGER PRIMARY KEY AUTOINCREMENT,
  id              TEXT    NOT NULL,
  epoch           INTEGER NOT NULL,
  fence           INTEGER NOT NULL,
  stage           TEXT    NOT NULL,
  attempt         INTEGER NOT NULL,
  target_instance TEXT    NOT NULL,
  target_life     TEXT    NOT NULL,
  channel_id      TEXT    NOT NULL,
  cseq            INTEGER NOT NULL,
  deaths          INTEGER NOT NULL,
  reason          TEXT    NOT NULL,
  outcome         TEXT,
  at              INTEGER NOT NULL
);
CREATE INDEX journal_by_session ON journal (id, epoch, seq);

CREATE TABLE dialogs (
  call_id    BLOB    NOT NULL,
  instance   TEXT    NOT NULL,
  local_tag  BLOB    NOT NULL,
  remote_tag BLOB    NOT NULL,
  bytes      BLOB    NOT NULL,
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (call_id, instance, local_tag, remote_tag)
);
)sql";

// Version 2: what a step takes from a server that may be alive. Few steps do, so the index is
// small.
constexpr char kVersion2[] = R"sql(
ALTER TABLE journal ADD COLUMN taken_instance TEXT NOT NULL DEFAULT '';
ALTER TABLE journal ADD COLUMN taken_life     TEXT NOT NULL DEFAULT '';
ALTER TABLE journal ADD COLUMN taken_channel  TEXT NOT NULL DEFAULT '';
CREATE INDEX journal_taken ON journal (taken_instance, taken_life, taken_channel)
  WHERE taken_channel != '';
)sql";

constexpr const char* kMigrations[] = {kVersion1, kVersion2};

absl::Status CheckOwner(Connection& connection) {
  // In this order: another process that makes the schema between the two commits both at once.
  ABSL_ASSIGN_OR_RETURN(const std::int64_t tables,
                        connection.QueryNumber("SELECT count(*) FROM sqlite_schema"));
  ABSL_ASSIGN_OR_RETURN(const std::int64_t application,
                        connection.QueryNumber("PRAGMA application_id"));
  if (application == kApplicationId) return absl::OkStatus();
  if (application == 0 && tables == 0) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "session store %s: it is the database of another application (it has %d tables and indices): "
      "name another file",
      connection.path(), tables));
}

absl::Status CheckVersion(Connection& connection, std::int64_t version, std::int64_t newest) {
  if (version <= newest) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "session store %s: its schema has version %d, this sipheal knows up to %d: run the newer "
      "sipheal that wrote it, or name another file",
      connection.path(), version, newest));
}

}  // namespace

std::span<const char* const> SqliteMigrations() { return kMigrations; }

absl::Status MigrateSqlite(Connection& connection, std::span<const char* const> migrations) {
  const auto newest = static_cast<std::int64_t>(migrations.size());
  ABSL_RETURN_IF_ERROR(CheckOwner(connection));
  ABSL_ASSIGN_OR_RETURN(std::int64_t version, connection.QueryNumber("PRAGMA user_version"));
  ABSL_RETURN_IF_ERROR(CheckVersion(connection, version, newest));
  if (version == newest) return absl::OkStatus();
  ABSL_ASSIGN_OR_RETURN(Transaction transaction,
                        Transaction::Begin(connection, Transaction::Kind::kWrite));
  // Another process may have been faster.
  ABSL_RETURN_IF_ERROR(CheckOwner(connection));
  ABSL_ASSIGN_OR_RETURN(version, connection.QueryNumber("PRAGMA user_version"));
  ABSL_RETURN_IF_ERROR(CheckVersion(connection, version, newest));
  for (; version < newest; ++version) {
    ABSL_RETURN_IF_ERROR(connection.Execute(migrations[static_cast<std::size_t>(version)]));
  }
  ABSL_RETURN_IF_ERROR(
      connection.Execute(absl::StrFormat("PRAGMA application_id = %d; PRAGMA user_version = %d",
                                         kApplicationId, newest)
                             .c_str()));
  return transaction.Commit();
}

}  // namespace sipheal::inline v0_1::internal
