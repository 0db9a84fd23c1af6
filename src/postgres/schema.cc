// SPDX-License-Identifier: Apache-2.0
#include "postgres/schema.h"

#include <cstdint>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal::postgres {
namespace {

// Version 1.
//
// `sessions` keeps one row for each session and epoch. A claim and an outcome are written into that
// row, so that whoever has locked it knows all that decides about it; one with an outcome loses its
// record and stays for a while, so that late news of its channel finds the door shut. No index has
// `expires_at`, and pages have room: a lease that is extended costs no index an entry.
//
// What comes from media servers and from the wire is bytea: it need not be text in the database's
// encoding. `*_readable` shows it to people.
constexpr const char* kVersion1[] = {
    R"sql(CREATE SEQUENCE %s.fences)sql",
    R"sql(
CREATE TABLE %s.sessions (
  id         text   COLLATE "C" NOT NULL,
  epoch      bigint NOT NULL,
  instance   bytea  NOT NULL,
  life       bytea  NOT NULL,
  record     bytea  NOT NULL,
  fence      bigint NOT NULL DEFAULT 0,  -- 0: its recovery has not begun
  owner      bytea,
  claimed_at timestamptz,
  expires_at timestamptz,
  outcome     text,
  finished_at timestamptz,
  PRIMARY KEY (id, epoch)
) WITH (fillfactor = 70))sql",
    R"sql(
CREATE INDEX sessions_by_incarnation ON %s.sessions (instance, life, id, epoch)
  WHERE outcome IS NULL)sql",
    R"sql(
CREATE INDEX sessions_unfinished ON %s.sessions (id, epoch)
  WHERE outcome IS NULL AND fence > 0)sql",
    R"sql(
CREATE INDEX sessions_over ON %s.sessions (finished_at) WHERE outcome IS NOT NULL)sql",
    R"sql(
CREATE TABLE %s.journal (
  seq             bigint GENERATED ALWAYS AS IDENTITY,
  id              text   COLLATE "C" NOT NULL,
  epoch           bigint NOT NULL,
  fence           bigint NOT NULL,
  stage           text   NOT NULL,
  attempt         bigint NOT NULL,
  target_instance bytea  NOT NULL,
  target_life     bytea  NOT NULL,
  channel_id      bytea  NOT NULL,
  cseq            bigint NOT NULL,
  deaths          bigint NOT NULL,
  reason          bytea  NOT NULL,
  outcome         text,
  at_us           bigint NOT NULL,       -- microseconds since 1970, by the controller's clock
  taken_instance  bytea  NOT NULL,
  taken_life      bytea  NOT NULL,
  taken_channel   bytea  NOT NULL,       -- empty: nothing was taken
  PRIMARY KEY (id, epoch, seq)
))sql",
    R"sql(
CREATE INDEX journal_taken ON %s.journal (taken_instance, taken_life, taken_channel)
  WHERE taken_channel <> '')sql",
    R"sql(
CREATE TABLE %s.dialogs (
  call_id    bytea  NOT NULL,
  instance   bytea  NOT NULL,
  local_tag  bytea  NOT NULL,
  remote_tag bytea  NOT NULL,
  updated_us bigint NOT NULL,
  bytes      bytea  NOT NULL
))sql",
    // An index entry has at most 2,704 bytes, and a phone may choose a longer Call-ID or tag.
    R"sql(
CREATE UNIQUE INDEX dialogs_by_name ON %s.dialogs
  (sha256(call_id), sha256(instance), sha256(local_tag), sha256(remote_tag)))sql",
    R"sql(
CREATE VIEW %s.sessions_readable AS
SELECT id, epoch, encode(instance, 'escape') AS instance, encode(life, 'escape') AS life, fence,
       encode(owner, 'escape') AS owner, claimed_at, expires_at, outcome
FROM %s.sessions)sql",
    R"sql(
CREATE VIEW %s.journal_readable AS
SELECT seq, to_timestamp(at_us / 1e6) AS at, id, epoch, fence, stage, attempt,
       encode(target_instance, 'escape') AS target, encode(channel_id, 'escape') AS channel_id,
       cseq, deaths, encode(reason, 'escape') AS reason, outcome
FROM %s.journal)sql",
};

// Version 2: what controllers tell each other.
//
// `sightings` has one row for each incarnation and controller that saw it die. A row stands until
// its controller saw the incarnation live again; `seq` tells a second death from the first. While
// nothing is agreed, and a silence for as long as it lasts, the controller affirms its row
// (`seen_at`), so that the word of one that is gone is worth nothing after a while.
constexpr const char* kVersion2[] = {
    R"sql(CREATE SEQUENCE %s.sightings_seq)sql",
    R"sql(
CREATE TABLE %s.sightings (
  instance      bytea  NOT NULL,
  life          bytea  NOT NULL,
  observer      bytea  NOT NULL,
  seq           bigint NOT NULL DEFAULT nextval('%s.sightings_seq'),
  kind          text   NOT NULL,
  last_alive_us bigint NOT NULL,         -- microseconds since 1970, by the observer's clock
  detected_us   bigint NOT NULL,
  detector      bytea  NOT NULL,
  evidence      bytea  NOT NULL,         -- one sentence on each line
  seen_at       timestamptz NOT NULL DEFAULT clock_timestamp(),
  agreed        boolean NOT NULL DEFAULT false,  -- enough controllers saw it: it does not lapse
  withdrawn     boolean NOT NULL DEFAULT false,  -- the observer saw it live again
  PRIMARY KEY (instance, life, observer)
))sql",
    R"sql(
CREATE TABLE %s.planned_stops (
  instance     bytea  PRIMARY KEY,
  until_us     bigint NOT NULL,          -- microseconds since 1970
  announced_at timestamptz NOT NULL DEFAULT clock_timestamp()
))sql",
    R"sql(
CREATE TABLE %s.kill_switch (
  one       boolean PRIMARY KEY DEFAULT true CHECK (one),
  thrown    boolean NOT NULL DEFAULT false,
  reason    bytea   NOT NULL DEFAULT '',
  thrown_by bytea   NOT NULL DEFAULT '',
  thrown_at timestamptz
))sql",
    R"sql(INSERT INTO %s.kill_switch DEFAULT VALUES)sql",
    R"sql(
CREATE VIEW %s.sightings_readable AS
SELECT encode(instance, 'escape') AS instance, encode(life, 'escape') AS life,
       encode(observer, 'escape') AS observer, kind, to_timestamp(detected_us / 1e6) AS detected_at,
       encode(evidence, 'escape') AS evidence, seen_at, agreed, withdrawn
FROM %s.sightings)sql",
};

constexpr Migration kMigrations[] = {kVersion1, kVersion2};

// "SIPH": a lock of this number is nobody else's.
constexpr std::int64_t kLock = 0x53495048;

absl::StatusOr<std::int64_t> VersionOf(Transaction& transaction, const std::string& schema) {
  pq::Parameters name;
  name.Text(schema);
  ABSL_ASSIGN_OR_RETURN(
      const pq::Rows found,
      transaction.Run("SELECT n.oid IS NOT NULL, v.oid IS NOT NULL,"
                      "  (SELECT count(*) FROM pg_class c WHERE c.relnamespace = n.oid)"
                      " FROM (SELECT 1) one"
                      " LEFT JOIN pg_namespace n ON n.nspname = $1"
                      " LEFT JOIN pg_class v ON v.relnamespace = n.oid"
                      "  AND v.relname = 'sipheal_version'",
                      name));
  if (!found.GetBool(0, 0)) return -1;
  if (!found.GetBool(0, 1)) {
    if (found.GetNumber(0, 2) == 0) return 0;
    return absl::FailedPreconditionError(absl::StrFormat(
        "session store: the schema %s holds other tables: name another one", schema));
  }
  ABSL_ASSIGN_OR_RETURN(const pq::Rows version,
                        transaction.Run(InSchema(
                            "SELECT coalesce(max(version), 0) FROM %s.sipheal_version", schema)));
  return version.GetNumber(0, 0);
}

absl::Status NotNewer(const std::string& schema, std::int64_t version, std::int64_t newest) {
  if (version <= newest) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "session store: the schema %s has version %d, this sipheal knows up to %d: run the newer "
      "sipheal that made it, or name another schema",
      schema, version, newest));
}

}  // namespace

std::span<const Migration> PostgresMigrations() { return kMigrations; }

std::string InSchema(std::string_view sql, std::string_view schema) {
  std::string text;
  for (std::size_t at = 0;;) {
    const std::size_t place = sql.find("%s", at);
    text += sql.substr(at, place - at);
    if (place == sql.npos) return text;
    text += '"';
    text += schema;
    text += '"';
    at = place + 2;
  }
}

absl::Status MigratePostgres(Connection& connection, const CallContext& ctx,
                             const std::string& schema, std::span<const Migration> migrations) {
  const auto newest = static_cast<std::int64_t>(migrations.size());
  Transaction transaction(connection, ctx);
  ABSL_ASSIGN_OR_RETURN(std::int64_t version, VersionOf(transaction, schema));
  if (version < newest) {
    // One controller at a time; whoever waited finds the work done.
    pq::Parameters lock;
    lock.Number(kLock);
    ABSL_RETURN_IF_ERROR(transaction.Run("SELECT pg_advisory_xact_lock($1)", lock).status());
    ABSL_ASSIGN_OR_RETURN(version, VersionOf(transaction, schema));
  }
  ABSL_RETURN_IF_ERROR(NotNewer(schema, version, newest));
  if (version < 0) {
    ABSL_RETURN_IF_ERROR(transaction.Run(InSchema("CREATE SCHEMA %s", schema)).status());
  }
  if (version <= 0) {
    ABSL_RETURN_IF_ERROR(
        transaction
            .Run(InSchema("CREATE TABLE IF NOT EXISTS %s.sipheal_version (version bigint PRIMARY "
                          "KEY, made_at timestamptz NOT NULL DEFAULT now())",
                          schema))
            .status());
    version = 0;
  }
  for (; version < newest; ++version) {
    for (const char* const statement : migrations[static_cast<std::size_t>(version)]) {
      ABSL_RETURN_IF_ERROR(transaction.Run(InSchema(statement, schema)).status());
    }
    pq::Parameters made;
    made.Number(version + 1);
    ABSL_RETURN_IF_ERROR(
        transaction
            .Run(InSchema("INSERT INTO %s.sipheal_version (version) VALUES ($1)", schema), made)
            .status());
  }
  return transaction.Commit();
}

absl::Status CheckPostgres(Connection& connection, const CallContext& ctx,
                           const std::string& schema, std::span<const Migration> migrations) {
  const auto newest = static_cast<std::int64_t>(migrations.size());
  Transaction transaction(connection, ctx);
  ABSL_ASSIGN_OR_RETURN(const std::int64_t version, VersionOf(transaction, schema));
  if (version <= 0) {
    return absl::NotFoundError(absl::StrFormat(
        "session store: there is no schema %s yet: 'sipheal run' makes it", schema));
  }
  ABSL_RETURN_IF_ERROR(NotNewer(schema, version, newest));
  if (version == newest) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrFormat(
      "session store: the schema %s has version %d, this sipheal needs %d: 'sipheal run' brings it "
      "up to date",
      schema, version, newest));
}

}  // namespace sipheal::inline v0_1::internal::postgres
