// SPDX-License-Identifier: Apache-2.0
// The store in PostgreSQL against the store's contract, and the relay of crashes against that of
// the detector, on a real server.
#include "sipheal/conformance/gtest.h"

#include <libpq-fe.h>

#include <atomic>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "sipheal/adapters/postgres.h"
#include "sipheal/testing/fake_clock.h"
#include "sipheal/testing/fake_crash_detector.h"
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

// A detector that shares what it hears; with a quorum of two there is a second controller that sees
// the same.
class RelayHarness final : public conformance::CrashDetectorHarness {
 public:
  explicit RelayHarness(int quorum) : quorum_(quorum) {
    for (int i = 0; i < quorum; ++i) {
      eyes_.push_back(std::make_shared<testing::FakeCrashDetector>(&clock_, kSilence));
    }
  }
  ~RelayHarness() override {
    peer_.reset();
    if (server_ == nullptr) return;
    server_->Query("SET client_min_messages = error; DROP SCHEMA IF EXISTS " + schema_ +
                   " CASCADE");
  }

  absl::StatusOr<Incarnation> AddInstance(const std::string& name) override {
    for (const auto& eyes : eyes_) eyes->AddInstance({name, "life1"});
    return Incarnation{name, "life1"};
  }
  absl::StatusOr<std::shared_ptr<CrashDetector>> Make() override {
    if (server_ == nullptr) return absl::UnimplementedError("no PostgreSQL on this machine");
    if (quorum_ > 1) {
      auto peer = MakeRelay(1);
      if (!peer.ok()) return peer.status();
      peer_ = *std::move(peer);
      const absl::Status started = peer_->Start(std::make_shared<Deaf>());
      if (!started.ok()) return started;
      AwaitReading();
    }
    return MakeRelay(0);
  }
  absl::Status Kill(const std::string& name) override {
    for (const auto& eyes : eyes_) eyes->Kill(name);
    return absl::OkStatus();
  }
  absl::StatusOr<Incarnation> Restart(const std::string& name) override {
    for (const auto& eyes : eyes_) eyes->Restart({name, "life2"});
    return Incarnation{name, "life2"};
  }
  absl::Status Stall(const std::string& name) override {
    for (const auto& eyes : eyes_) eyes->Stall(name);
    Settle();
    return absl::OkStatus();
  }
  absl::Status Wake(const std::string& name) override {
    Settle();
    for (const auto& eyes : eyes_) eyes->Wake(name);
    return absl::OkStatus();
  }
  std::chrono::milliseconds silence() const override { return kSilence; }
  absl::Status Pass(std::chrono::milliseconds time) override {
    clock_.Advance(time);
    Settle();
    return absl::OkStatus();
  }
  WallTime Now() const override { return clock_.Now(); }
  void Settle() override {
    for (const auto& eyes : eyes_) eyes->Drain();
  }

 private:
  class Deaf final : public CrashListener {
    void OnCrash(const CrashEvent&) override {}
    void OnReturned(const ReturnEvent&) override {}
  };

  // Until the peer has read the table once: what stands in it before is old to one that is not told
  // to expect anything.
  void AwaitReading() {
    const std::string query =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sipheal' AND query LIKE"
        " 'SELECT instance, until_us%' AND query LIKE '%" +
        schema_ + "%'";
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (server_->Query(query) == "0" && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
  }

  absl::StatusOr<std::shared_ptr<CrashDetector>> MakeRelay(std::size_t who) {
    return MakePostgresCrashRelay(eyes_[who], {.dsn = server_->Dsn(),
                                               .schema = schema_,
                                               .owner = "controller-" + std::to_string(who),
                                               .quorum = quorum_,
                                               .poll = std::chrono::milliseconds(20),
                                               .clock = &clock_});
  }

  static constexpr std::chrono::milliseconds kSilence{400};
  static inline std::atomic<int> schemas_{0};
  const int quorum_;
  PostgresServer* const server_ = PostgresServer::Shared();
  const std::string schema_ = "r" + std::to_string(++schemas_);
  testing::FakeClock clock_;
  std::vector<std::shared_ptr<testing::FakeCrashDetector>> eyes_;
  std::shared_ptr<CrashDetector> peer_;
};

const bool registered = [] {
  for (const int quorum : {1, 2}) {
    conformance::RegisterCrashDetectorConformance(
        quorum == 1 ? "PostgresCrashRelay" : "PostgresCrashRelayWithAQuorum",
        [=] { return std::make_unique<RelayHarness>(quorum); });
  }
  for (const bool through_bouncer : {false, true}) {
    conformance::RegisterSessionStoreConformance(
        through_bouncer ? "PostgresThroughPgBouncer" : "Postgres",
        [=] { return std::make_unique<PostgresHarness>(through_bouncer); });
  }
  return true;
}();

}  // namespace
}  // namespace sipheal
