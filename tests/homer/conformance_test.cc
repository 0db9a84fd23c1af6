// SPDX-License-Identifier: Apache-2.0
// The captures from HOMER against the contract of captures.
#include "sipheal/conformance/gtest.h"

#include <gtest/gtest.h>
#include <libpq-fe.h>

#include <optional>
#include <string>
#include <utility>

#include "sipheal/adapters/homer.h"
#include "sipheal/testing/fake_homer.h"
#include "tests/homer/homer_tables.h"
#include "tests/support/postgres_server.h"
#include "tests/support/tcp_proxy.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using testing::FakeHomer;

class HomerHarness final : public conformance::SipCaptureHarness {
 public:
  explicit HomerHarness(FakeHomer::Version version)
      : homer_(*FakeHomer::Start({.version = version})) {
    // A HOMER that is in use: one that shows nothing at all is not believed.
    sip::CapturedMessage other;
    other.bytes =
        "OPTIONS sip:192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.2;branch=z9hG4bKo\r\n"
        "From: <sip:a@example.invalid>;tag=a\r\nTo: <sip:b@example.invalid>\r\n"
        "Call-ID: other@192.0.2.2\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n";
    other.time = SystemClock().Now();
    homer_->Add({.message = other, .profile = "1_call"});
  }

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override {
    return MakeHomerCapture(
        {.url = homer_->url(),
         .user = "admin",
         .password = "sipcapture",
         .read = {.ingest_delay = milliseconds(0), .requery_interval = milliseconds(10)}});
  }
  absl::Status Feed(const std::string&, const sip::CapturedMessage& message) override {
    homer_->Add(message);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override {
    homer_->RefuseConnections(true);
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    homer_->RefuseConnections(false);
    return absl::OkStatus();
  }
  absl::Status BlockSource() override {
    homer_->Freeze(true);
    return absl::OkStatus();
  }
  absl::Status UnblockSource() override {
    homer_->Freeze(false);
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<FakeHomer> homer_;
};

// HOMER's own tables on a real server.
class HomerSqlHarness final : public conformance::SipCaptureHarness {
 public:
  ~HomerSqlHarness() override { PQfinish(holder_); }

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override {
    if (server_ == nullptr) return absl::UnimplementedError("no PostgreSQL on this machine");
    tables_.emplace(*server_);
    proxy_.emplace(server_->port());
    return MakeHomerSqlCapture(
        {.dsn = tables_->Dsn(proxy_->port()),
         .read = {.ingest_delay = milliseconds(0), .requery_interval = milliseconds(10)}});
  }
  absl::Status Feed(const std::string&, const sip::CapturedMessage& message) override {
    tables_->Add(message);
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
  absl::Status BlockSource() override {
    holder_ = PQconnectdb(tables_->Dsn().c_str());
    PQclear(PQexec(holder_, "BEGIN"));
    PGresult* const result = PQexec(holder_, "LOCK TABLE hep_proto_1_call");
    const bool held = PQresultStatus(result) == PGRES_COMMAND_OK;
    PQclear(result);
    return held ? absl::OkStatus() : absl::InternalError(PQerrorMessage(holder_));
  }
  absl::Status UnblockSource() override {
    PQfinish(holder_);
    holder_ = nullptr;
    return absl::OkStatus();
  }

 private:
  testing::PostgresServer* const server_ = testing::PostgresServer::Shared();
  std::optional<testing::HomerTables> tables_;
  std::optional<testing::TcpProxy> proxy_;
  PGconn* holder_ = nullptr;
};

const bool registered = [] {
  conformance::RegisterSipCaptureConformance("HomerSql",
                                             [] { return std::make_unique<HomerSqlHarness>(); });
  const std::pair<const char*, FakeHomer::Version> versions[] = {
      {"HomerApp1515", FakeHomer::Version::kHomerApp1_5_15},
      {"HomerApp1520", FakeHomer::Version::kHomerApp1_5_20},
      {"Homer11", FakeHomer::Version::kHomer11}};
  for (const auto& [name, version] : versions) {
    conformance::RegisterSipCaptureConformance(
        name, [version = version] { return std::make_unique<HomerHarness>(version); });
  }
  return true;
}();

}  // namespace
}  // namespace sipheal
