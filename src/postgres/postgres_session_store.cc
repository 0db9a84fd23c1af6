// SPDX-License-Identifier: Apache-2.0
#include "postgres/postgres_session_store.h"

#include <algorithm>
#include <chrono>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "model/stored_rows.h"
#include "postgres/schema.h"

namespace sipheal::inline v0_1 {
namespace internal::postgres {
namespace {

// Two transactions that are in each other's way are not twice, as a rule.
constexpr int kTries = 5;

struct OneRow {
  const Rows& rows;
  int row;

  std::string_view GetText(int column) const { return rows.GetText(row, column); }
  std::int64_t GetNumber(int column) const { return rows.GetNumber(row, column); }
  bool IsNull(int column) const { return rows.IsNull(row, column); }
};

}  // namespace

PostgresSessionStore::PostgresSessionStore(PostgresOptions options)
    : options_(std::move(options)),
      clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
      log_(options_.log != nullptr ? options_.log : NullLogSink()),
      pool_({.dsn = options_.dsn, .connect_timeout = options_.connect_timeout, .clock = &clock_},
            options_.connections) {}

absl::Status PostgresSessionStore::Open() {
  const CallContext ctx{.deadline = clock_.Monotonic() + 2 * options_.connect_timeout};
  const auto bring = options_.make_schema ? MigratePostgres : CheckPostgres;
  const auto once = [&](Connection& connection, bool* may_be_done) {
    *may_be_done = false;  // done twice, it finds its work done
    return bring(connection, ctx, options_.schema, PostgresMigrations());
  };
  return WithConnection(ctx, Turnstile::Urgency::kUrgent, "open", once);
}

std::string PostgresSessionStore::Sql(std::string_view sql) const {
  return InSchema(sql, options_.schema);
}

absl::Status PostgresSessionStore::WithConnection(
    const CallContext& ctx, Turnstile::Urgency urgency, std::string_view what,
    const std::function<absl::Status(Connection&, bool* may_be_done)>& once) {
  for (int attempt = 1;; ++attempt) {
    bool may_be_done = false;
    bool again = false;
    absl::Status status;
    {
      ABSL_ASSIGN_OR_RETURN(const ConnectionPool::Use connection, pool_.Take(ctx, urgency, what));
      status = once(*connection, &may_be_done);
      if (status.ok()) return status;
      // One that broke as soon as it was used again says nothing about the server.
      const bool stale = connection->broken() && !connection.fresh() &&
                         absl::IsUnavailable(status) && !may_be_done;
      again = stale || pq::IsSerializationFailure(status);
    }
    if (!again || attempt == kTries) return status;
    log_->Write({LogLevel::kDebug,
                 "transaction_repeated",
                 "A transaction is done again: its connection had died, or another was in its way",
                 {{"call", std::string(what)}, {"status", std::string(status.message())}}});
    ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, what));
  }
}

absl::Status PostgresSessionStore::Write(const CallContext& ctx, Turnstile::Urgency urgency,
                                         std::string_view what, const Work& work) {
  return WithConnection(ctx, urgency, what, [&](Connection& connection, bool* may_be_done) {
    Transaction transaction(connection, ctx);
    absl::Status status = work(transaction);
    if (status.ok() && !transaction.commit_sent()) status = transaction.Commit();
    *may_be_done = transaction.commit_sent();
    return status;
  });
}

absl::StatusOr<Rows> PostgresSessionStore::Read(const CallContext& ctx, std::string_view what,
                                                const std::string& sql,
                                                const Parameters& parameters) {
  Rows rows;
  const auto once = [&](Connection& connection, bool*) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(rows, connection.Run(ctx, sql, parameters));
    return absl::OkStatus();
  };
  ABSL_RETURN_IF_ERROR(WithConnection(ctx, Turnstile::Urgency::kNormal, what, once));
  return rows;
}

absl::Status PostgresSessionStore::Lock(Transaction& transaction,
                                        std::span<const SessionKey> keys) {
  std::set<std::string_view> ids;
  for (const SessionKey& key : keys) ids.insert(key.id);
  Parameters::Column column;
  for (const std::string_view id : ids) column.Text(id);
  Parameters parameters;
  parameters.Texts(column);
  return transaction.Queue(Sql("SELECT count(*) FROM (SELECT 1 FROM %s.sessions"
                               " WHERE id = ANY($1) ORDER BY id, epoch FOR UPDATE) held"),
                           parameters);
}

// -----------------------------------------------------------------------------------------

Session PostgresSessionStore::SessionOf(const Rows& rows, int row, int column) {
  return SessionInRow(OneRow{rows, row}, column, *log_);
}

JournalEntry PostgresSessionStore::EntryOf(const Rows& rows, int row, int column) {
  return EntryInRow(OneRow{rows, row}, column, *log_);
}

}  // namespace internal::postgres

absl::Status PostgresOptions::Validate() const {
  if (dsn.empty()) {
    return absl::InvalidArgumentError(
        "PostgresOptions::dsn is empty: give \"host=... dbname=... user=...\" or "
        "\"postgresql://user@host/database\"");
  }
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (schema.empty() || schema.size() > 63 || (schema[0] >= '0' && schema[0] <= '9') ||
      !std::all_of(schema.begin(), schema.end(), fits)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "PostgresOptions::schema is \"%s\": give 1 to 63 of a-z 0-9 _, not beginning with a digit",
        schema));
  }
  if (connections < 1 || connections > 64) {
    return absl::InvalidArgumentError(
        absl::StrFormat("PostgresOptions::connections is %d: give 1 to 64", connections));
  }
  if (connect_timeout < std::chrono::milliseconds(100) ||
      connect_timeout > std::chrono::minutes(1)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "PostgresOptions::connect_timeout is %d ms: give 100 to 60,000", connect_timeout.count()));
  }
  if (keep_journal < std::chrono::hours(1) || keep_journal > std::chrono::hours(24 * 366 * 10)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "PostgresOptions::keep_journal is %d h: give 1 h to 10 years", keep_journal.count()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<SessionStore>> MakePostgresSessionStore(PostgresOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  auto store = std::make_shared<internal::postgres::PostgresSessionStore>(std::move(options));
  ABSL_RETURN_IF_ERROR(store->Open());
  return store;
}

}  // namespace sipheal::inline v0_1
