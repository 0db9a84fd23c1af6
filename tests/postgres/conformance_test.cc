// SPDX-License-Identifier: Apache-2.0
// The store in PostgreSQL against the store's contract, on a real server.
#include "sipheal/conformance/gtest.h"

#include <libpq-fe.h>

#include <atomic>
#include <optional>
#include <string>

#include "sipheal/adapters/postgres.h"
#include "tests/support/pgbouncer.h"
#include "tests/support/postgres_server.h"
#include "tests/support/tcp_proxy.h"

namespace sipheal {
namespace {

using testing::PostgresServer;

class PostgresHarness final : public conformance::SessionStoreHarness {
 public:
  explicit PostgresHarness(bool through_bouncer) : through_bouncer_(through_bouncer) {}
  ~PostgresHarness() override {
    if (server_ == nullptr) return;
    PQfinish(holder_);
    server_->Query("SET client_min_messages = error; DROP SCHEMA IF EXISTS " + schema_ +
                   " CASCADE");
  }

  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override {
    if (server_ == nullptr) return absl::UnimplementedError("no PostgreSQL on this machine");
    if (!proxy_ && through_bouncer_) {
      bouncer_ = testing::PgBouncer::Make(*server_);
      if (bouncer_ == nullptr) return absl::UnimplementedError("no PgBouncer on this machine");
    }
    if (!proxy_) proxy_.emplace(bouncer_ != nullptr ? bouncer_->port() : server_->port());
    return MakePostgresSessionStore({.dsn = server_->Dsn(proxy_->port()), .schema = schema_});
  }
  // Leases end by the server's clock, which cannot be moved: they are made older instead.
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    server_->Query("UPDATE " + schema_ + ".sessions SET expires_at = expires_at - interval '" +
                   std::to_string(by.count()) + " milliseconds'");
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override {
    proxy_->Break();
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    proxy_->Mend();
    return absl::OkStatus();
  }
  // Somebody holds the tables.
  absl::Status BlockStorage() override {
    holder_ = PQconnectdb(server_->Dsn().c_str());
    PQclear(PQexec(holder_, "BEGIN"));
    const std::string tables = schema_ + ".sessions, " + schema_ + ".dialogs";
    PGresult* const result = PQexec(holder_, ("LOCK TABLE " + tables).c_str());
    const bool held = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return held ? absl::OkStatus() : absl::InternalError(PQerrorMessage(holder_));
  }
  absl::Status UnblockStorage() override {
    PQfinish(holder_);
    holder_ = nullptr;
    return absl::OkStatus();
  }

 private:
  static inline std::atomic<int> schemas_{0};
  const bool through_bouncer_;
  PostgresServer* const server_ = PostgresServer::Shared();
  std::unique_ptr<testing::PgBouncer> bouncer_;
  std::optional<testing::TcpProxy> proxy_;
  const std::string schema_ = "t" + std::to_string(++schemas_);
  PGconn* holder_ = nullptr;
};

const bool registered = [] {
  for (const bool through_bouncer : {false, true}) {
    conformance::RegisterSessionStoreConformance(
        through_bouncer ? "PostgresThroughPgBouncer" : "Postgres",
        [=] { return std::make_unique<PostgresHarness>(through_bouncer); });
  }
  return true;
}();

}  // namespace
}  // namespace sipheal
