// SPDX-License-Identifier: Apache-2.0
#include "cli/conformance_command.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/daemon_commands.h"
#include "cli/exit_code.h"
#include "cli/json_views.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/conformance/session_store.h"
#include "sipheal/conformance/sip_capture.h"

#if SIPHEAL_CLI_HAS_SQLITE
#include "sipheal/adapters/sqlite.h"
#endif
#if SIPHEAL_CLI_HAS_POSTGRES
#include "cli/scratch_schema.h"
#include "sipheal/adapters/postgres.h"
#endif
#if SIPHEAL_CLI_HAS_HOMER
#include "cli/scratch_schema.h"
#include "sipheal/adapters/homer.h"
#include "sipheal/sip/message_view.h"
#endif

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;
using conformance::Case;
using conformance::SessionStoreHarness;
using conformance::SipCaptureHarness;

// A clock that is ahead of the system's by what the cases let pass.
class ShiftedClock final : public Clock {
 public:
  WallTime Now() const override {
    return SystemClock().Now() + std::chrono::milliseconds(shift_.load());
  }
  MonotonicTime Monotonic() const override { return SystemClock().Monotonic(); }
  void Shift(std::chrono::milliseconds by) { shift_ += by.count(); }

 private:
  std::atomic<std::chrono::milliseconds::rep> shift_{0};
};

class MemoryStore final : public SessionStoreHarness {
 public:
  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override { return store_; }
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    clock_.Shift(by);
    return absl::OkStatus();
  }

 private:
  ShiftedClock clock_;
  const std::shared_ptr<SessionStore> store_ = MakeMemorySessionStore(&clock_);
};

class MemoryCapture final : public SipCaptureHarness {
 public:
  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override { return capture_; }
  absl::Status Feed(const std::string& call_id, const sip::CapturedMessage& message) override {
    capture_->AddMessage(call_id, message);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override {
    capture_->SetError(absl::UnavailableError("broken by the case"));
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    capture_->SetError(absl::OkStatus());
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<MemorySipCapture> capture_ = MakeMemorySipCapture();
};

#if SIPHEAL_CLI_HAS_SQLITE
// A file of its own beside the one that is named: the same disk, another database.
class SqliteStore final : public SessionStoreHarness {
 public:
  explicit SqliteStore(const std::string& beside) {
    static std::atomic<int> count{0};
    path_ = absl::StrFormat("%s.conformance-%d-%d", beside, getpid(), ++count);
  }
  ~SqliteStore() override {
    std::error_code error;
    for (const char* ending : {"", "-wal", "-shm"}) std::filesystem::remove(path_ + ending, error);
  }
  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override {
    return MakeSqliteSessionStore({.path = path_, .clock = &clock_});
  }
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    clock_.Shift(by);
    return absl::OkStatus();
  }

 private:
  std::string path_;
  ShiftedClock clock_;
};
#endif

#if SIPHEAL_CLI_HAS_POSTGRES
class PostgresStore final : public SessionStoreHarness {
 public:
  explicit PostgresStore(std::string dsn) : dsn_(std::move(dsn)) {}

  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override {
    if (schema_ == nullptr) {
      ABSL_ASSIGN_OR_RETURN(schema_, ScratchSchema::Open(dsn_, false));
    }
    return MakePostgresSessionStore({.dsn = dsn_, .schema = schema_->name()});
  }
  // Leases end by the server's clock: they are made older instead.
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    return schema_->Run(
        "UPDATE " + schema_->name() + ".sessions SET expires_at = expires_at - $1::interval",
        {absl::StrFormat("%d milliseconds", by.count())});
  }
  absl::Status BlockStorage() override {
    return schema_->Hold(schema_->name() + ".sessions, " + schema_->name() + ".dialogs");
  }
  absl::Status UnblockStorage() override {
    schema_->Release();
    return absl::OkStatus();
  }

 private:
  const std::string dsn_;
  std::unique_ptr<ScratchSchema> schema_;
};
#endif

#if SIPHEAL_CLI_HAS_HOMER
// HOMER's API as it stands: nothing can be fed to it without leaving it there.
class HomerApi final : public SipCaptureHarness {
 public:
  explicit HomerApi(HomerOptions options) : options_(std::move(options)) {}

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override { return MakeHomerCapture(options_); }
  absl::Status Feed(const std::string&, const sip::CapturedMessage&) override {
    return absl::UnimplementedError("nothing is written into a HOMER that is in use");
  }

 private:
  const HomerOptions options_;
};

// HOMER's tables, made anew in a schema of the test's on the PostgreSQL that has them.
class HomerTables final : public SipCaptureHarness {
 public:
  explicit HomerTables(std::string dsn) : dsn_(std::move(dsn)) {}

  absl::StatusOr<std::shared_ptr<SipCapture>> Make() override {
    ABSL_ASSIGN_OR_RETURN(schema_, ScratchSchema::Open(dsn_, true));
    for (const char* table : {"hep_proto_1_call", "hep_proto_1_default"}) {
      ABSL_RETURN_IF_ERROR(schema_->Run(absl::StrFormat(
          "CREATE TABLE %s.%s (id bigserial NOT NULL, sid varchar NOT NULL, create_date "
          "timestamptz NOT NULL, protocol_header jsonb NOT NULL, data_header jsonb NOT NULL, raw "
          "varchar NOT NULL)",
          schema_->name(), table)));
    }
    return MakeHomerSqlCapture({.dsn = schema_->SearchPathDsn(),
                                .read = {.ingest_delay = std::chrono::milliseconds(0),
                                         .requery_interval = std::chrono::milliseconds(10)}});
  }
  absl::Status Feed(const std::string& call_id, const sip::CapturedMessage& message) override {
    const auto us = message.time.time_since_epoch().count();
    const Json header = {{"protocolFamily", message.source.ip.is_v4() ? 2 : 10},
                         {"protocol", message.transport == sip::Transport::kUdp ? 17 : 6},
                         {"srcIp", message.source.ip.ToString()},
                         {"srcPort", message.source.port},
                         {"dstIp", message.destination.ip.ToString()},
                         {"dstPort", message.destination.port},
                         {"timeSeconds", us / 1'000'000},
                         {"timeUseconds", us % 1'000'000},
                         {"payloadType", 1},
                         {"captureId", message.agent},
                         {"correlation_id", call_id}};
    return schema_->Run(
        "INSERT INTO " + schema_->name() +
            ".hep_proto_1_call (sid, create_date, protocol_header, data_header, raw) VALUES ($1, "
            "timestamptz 'epoch' + $2::text::int8 * interval '1 microsecond', $3::text::jsonb, "
            "'{}', $4)",
        {call_id, std::to_string(us), header.dump(), message.bytes});
  }
  absl::Status BlockSource() override {
    return schema_->Hold(schema_->name() + ".hep_proto_1_call");
  }
  absl::Status UnblockSource() override {
    schema_->Release();
    return absl::OkStatus();
  }

 private:
  const std::string dsn_;
  std::unique_ptr<ScratchSchema> schema_;
};
#endif

// What the suite runs on.
template <typename Harness>
struct Target {
  std::string name;
  std::function<std::unique_ptr<Harness>()> make;
};

[[maybe_unused]] absl::Status Lacks(const char* component, const char* option) {
  return absl::UnimplementedError(absl::StrFormat(
      "this build of sipheal has no component '%s': build it with %s=ON", component, option));
}

absl::StatusOr<Target<SessionStoreHarness>> StoreTarget(const ConformanceOptions& options) {
  if (!options.postgres.empty()) {
#if SIPHEAL_CLI_HAS_POSTGRES
    return Target<SessionStoreHarness>{
        "PostgreSQL", [dsn = options.postgres] { return std::make_unique<PostgresStore>(dsn); }};
#else
    return Lacks("postgres", "SIPHEAL_WITH_POSTGRES");
#endif
  }
  if (!options.sqlite.empty()) {
#if SIPHEAL_CLI_HAS_SQLITE
    return Target<SessionStoreHarness>{
        "SQLite", [path = options.sqlite] { return std::make_unique<SqliteStore>(path); }};
#else
    return Lacks("sqlite", "SIPHEAL_WITH_SQLITE");
#endif
  }
  return Target<SessionStoreHarness>{"memory", [] { return std::make_unique<MemoryStore>(); }};
}

absl::StatusOr<Target<SipCaptureHarness>> CaptureTarget(const ConformanceOptions& options) {
  if (!options.homer.empty() || !options.homer_postgres.empty()) {
#if SIPHEAL_CLI_HAS_HOMER
    if (options.homer.empty()) {
      return Target<SipCaptureHarness>{"HOMER's tables", [dsn = options.homer_postgres] {
                                         return std::make_unique<HomerTables>(dsn);
                                       }};
    }
    HomerOptions homer;
    homer.url = options.homer;
    homer.token_file = options.token_file;
    homer.user = options.user;
    homer.password_file = options.password_file;
    ABSL_RETURN_IF_ERROR(homer.Validate());
    return Target<SipCaptureHarness>{"HOMER",
                                     [homer] { return std::make_unique<HomerApi>(homer); }};
#else
    return Lacks("homer", "SIPHEAL_WITH_HOMER");
#endif
  }
  return Target<SipCaptureHarness>{"memory", [] { return std::make_unique<MemoryCapture>(); }};
}

struct Result {
  std::string_view id;
  std::string_view name;
  std::string_view requirement;
  absl::Status status;
};

std::string_view WordOf(const absl::Status& status) {
  if (status.ok()) return "ok";
  return absl::IsUnimplemented(status) ? "skipped" : "broken";
}

int Report(std::string_view suite, const std::string& target, const std::vector<Result>& results,
           const Console& console) {
  const auto count = [&](std::string_view word) {
    return std::count_if(results.begin(), results.end(),
                         [&](const Result& one) { return WordOf(one.status) == word; });
  };
  const auto broken = count("broken");
  if (console.format == OutputFormat::kJson) {
    Json out{{"suite", suite},    {"target", target},
             {"ok", count("ok")}, {"skipped", count("skipped")},
             {"broken", broken},  {"cases", Json::array()}};
    for (const Result& one : results) {
      Json entry{{"id", one.id}, {"name", one.name}, {"result", WordOf(one.status)}};
      if (!one.status.ok()) entry["detail"] = std::string(one.status.message());
      out["cases"].push_back(std::move(entry));
    }
    console.out << out.dump(-1, ' ', false, Json::error_handler_t::replace) << "\n";
  } else {
    for (const Result& one : results) {
      const std::string_view word = WordOf(one.status);
      const std::string padded = absl::StrFormat("%-7s", std::string(word));
      console.out << (word == "ok"       ? console.Green(padded)
                      : word == "broken" ? console.Red(padded)
                                         : console.Dim(padded))
                  << "  " << one.id << " " << one.name << "\n";
      if (!one.status.ok()) console.out << "         " << std::string(one.status.message()) << "\n";
    }
    console.out << absl::StrFormat("%s on %s: %d held, %d skipped, %d broken\n", std::string(suite),
                                   target, count("ok"), count("skipped"), broken);
  }
  // With nothing but skipped cases nothing was shown.
  return broken == 0 && count("ok") > 0 ? kExitOk : kExitFailed;
}

template <typename Harness>
int RunSuite(std::string_view suite, const absl::StatusOr<Target<Harness>>& target,
             std::span<const Case<Harness>> cases, const Console& console) {
  if (!target.ok()) return Fail(console, target.status());
  std::vector<Result> results;
  for (const Case<Harness>& one : cases) {
    console.Progress(
        absl::StrFormat("%d of %d: %s", results.size() + 1, cases.size(), std::string(one.name)));
    const std::unique_ptr<Harness> harness = target->make();
    // Whether it can be reached at all is a question of its own, and needs to be asked once only.
    if (results.empty()) {
      if (const absl::Status made = target->make()->Make().status(); !made.ok()) {
        console.Progress("");
        return Fail(console, made);
      }
    }
    results.push_back({one.id, one.name, one.requirement, one.run(*harness)});
  }
  console.Progress("");
  return Report(suite, target->name, results, console);
}

}  // namespace

int SessionStoreConformance(const ConformanceOptions& options, const Console& console) {
  return RunSuite("session-store", StoreTarget(options), conformance::SessionStoreCases(), console);
}

int SipCaptureConformance(const ConformanceOptions& options, const Console& console) {
  return RunSuite("sip-capture", CaptureTarget(options), conformance::SipCaptureCases(), console);
}

}  // namespace sipheal::inline v0_1::cli
