// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "postgres/schema.h"
#include "pq/pool.h"
#include "sipheal/adapters/postgres.h"

namespace sipheal::inline v0_1 {
namespace internal::postgres {
namespace {

// A thousand sends a second must not ask a thousand times.
constexpr std::chrono::milliseconds kGoodFor{50};

class PostgresKillSwitch final : public KillSwitch {
 public:
  PostgresKillSwitch(PostgresOptions options, std::string who)
      : options_(std::move(options)),
        who_(std::move(who)),
        clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
        pool_({.dsn = options_.dsn, .connect_timeout = options_.connect_timeout, .clock = &clock_},
              /*places=*/1) {}

  absl::Status Check(const CallContext& ctx) override {
    if (const auto known = Known()) return *known;
    absl::Status state;
    const auto read = [&](pq::Connection& connection) -> absl::Status {
      // Whoever waited for the connection has the answer of the one before.
      if (const auto known = Known()) {
        state = *known;
        return absl::OkStatus();
      }
      const MonotonicTime asked_at = clock_.Monotonic();
      ABSL_ASSIGN_OR_RETURN(
          const pq::Rows row,
          connection.Run(ctx, InSchema("SELECT thrown, reason, thrown_by FROM %s.kill_switch",
                                       options_.schema)));
      state = StateOf(row);
      const std::lock_guard lock(mutex_);
      state_ = state;
      good_until_ = asked_at + kGoodFor;
      return absl::OkStatus();
    };
    ABSL_RETURN_IF_ERROR(With(ctx, read));
    return state;
  }

  absl::Status Throw(const CallContext& ctx, const std::string& reason) override {
    pq::Parameters parameters;
    parameters.Blob(reason).Blob(who_);
    return Set(ctx, "thrown = true, reason = $1, thrown_by = $2, thrown_at = clock_timestamp()",
               parameters);
  }

  absl::Status Clear(const CallContext& ctx) override {
    // Whoever throws it by SQL next is not taken for the one who did it before.
    return Set(ctx, "thrown = false, reason = '', thrown_by = '', thrown_at = NULL", {});
  }

 private:
  std::optional<absl::Status> Known() {
    const std::lock_guard lock(mutex_);
    if (clock_.Monotonic() >= good_until_) return std::nullopt;
    return state_;
  }

  static absl::Status StateOf(const pq::Rows& row) {
    if (row.count() == 1 && !row.GetBool(0, 0)) return absl::OkStatus();
    if (row.count() == 0) {
      return absl::DataLossError(
          "the row of the kill switch is gone: INSERT INTO kill_switch DEFAULT VALUES");
    }
    const std::string_view who = row.GetText(0, 2).empty() ? "hand" : row.GetText(0, 2);
    const std::string_view why = row.GetText(0, 1).empty() ? "no reason given" : row.GetText(0, 1);
    return absl::FailedPreconditionError(
        absl::StrFormat("the kill switch was thrown by %s: %s: 'sipheal kill-switch off' clears it",
                        AbslView(who), AbslView(why)));
  }

  absl::Status Set(const CallContext& ctx, const char* what, const pq::Parameters& parameters) {
    {
      const std::lock_guard lock(mutex_);
      good_until_ = {};
    }
    return With(ctx, [&](pq::Connection& connection) {
      return connection
          .Run(ctx,
               InSchema(absl::StrFormat("UPDATE %%s.kill_switch SET %s", what), options_.schema),
               parameters)
          .status();
    });
  }

  // Once more with a new connection when an idle one turns out to be dead: every statement here may
  // be said twice.
  template <typename Work>
  absl::Status With(const CallContext& ctx, const Work& work) {
    for (;;) {
      ABSL_ASSIGN_OR_RETURN(const pq::ConnectionPool::Use connection,
                            pool_.Take(ctx, Turnstile::Urgency::kUrgent, "kill switch"));
      if (!made_) {
        const auto bring = options_.make_schema ? MigratePostgres : CheckPostgres;
        ABSL_RETURN_IF_ERROR(bring(*connection, ctx, options_.schema, PostgresMigrations()));
        made_ = true;
      }
      const absl::Status status = work(*connection);
      if (status.ok() || connection.fresh() || !connection->broken() ||
          !absl::IsUnavailable(status)) {
        return status;
      }
    }
  }

  const PostgresOptions options_;
  const std::string who_;
  const Clock& clock_;
  pq::ConnectionPool pool_;
  bool made_ = false;  // of whoever has the pool's only place
  std::mutex mutex_;
  absl::Status state_;  // guarded by mutex_, as is good_until_
  MonotonicTime good_until_{};
};

}  // namespace
}  // namespace internal::postgres

absl::StatusOr<std::shared_ptr<KillSwitch>> MakePostgresKillSwitch(PostgresOptions options,
                                                                   std::string who) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  return std::make_shared<internal::postgres::PostgresKillSwitch>(std::move(options),
                                                                  std::move(who));
}

}  // namespace sipheal::inline v0_1
