// SPDX-License-Identifier: Apache-2.0
#include "cli/open_store.h"

#include <unistd.h>

#include <filesystem>
#include <random>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"

#if SIPHEAL_CLI_HAS_SQLITE
#include "sipheal/adapters/sqlite.h"
#endif
#if SIPHEAL_CLI_HAS_POSTGRES
#include "sipheal/adapters/postgres.h"
#endif

namespace sipheal::inline v0_1::cli {
namespace {

using Store = absl::StatusOr<std::shared_ptr<SessionStore>>;

[[maybe_unused]] Store Lacks(std::string_view component, std::string_view option) {
  return absl::UnimplementedError(absl::StrFormat(
      "this build of sipheal has no component '%s', which the session store needs: build it with "
      "%s=ON",
      component, option));
}

Store OpenSqlite([[maybe_unused]] const StoreConfig& store,
                 [[maybe_unused]] std::shared_ptr<LogSink> log,
                 [[maybe_unused]] StoreMaking making) {
#if SIPHEAL_CLI_HAS_SQLITE
  std::error_code error;
  if (making == StoreMaking::kLookOnly && !std::filesystem::exists(store.sqlite, error)) {
    return absl::NotFoundError(absl::StrFormat("there is no file %s", store.sqlite));
  }
  return MakeSqliteSessionStore({.path = store.sqlite, .log = std::move(log)});
#else
  return Lacks("sqlite", "SIPHEAL_WITH_SQLITE");
#endif
}

Store OpenPostgres([[maybe_unused]] const StoreConfig& store,
                   [[maybe_unused]] std::shared_ptr<LogSink> log,
                   [[maybe_unused]] StoreMaking making) {
#if SIPHEAL_CLI_HAS_POSTGRES
  return MakePostgresSessionStore({.dsn = store.postgres,
                                   .schema = store.schema,
                                   .make_schema = making == StoreMaking::kMake,
                                   .connections = store.connections,
                                   .log = std::move(log)});
#else
  return Lacks("postgres", "SIPHEAL_WITH_POSTGRES");
#endif
}

}  // namespace

Store OpenStore(const LoadedConfig& loaded, std::shared_ptr<LogSink> log, StoreMaking making) {
  const StoreConfig& config = loaded.config.store;
  const bool sqlite = config.postgres.empty();
  Store store = sqlite ? OpenSqlite(config, std::move(log), making)
                       : OpenPostgres(config, std::move(log), making);
  if (store.ok() || absl::IsUnimplemented(store.status())) return store;
  return absl::Status(
      store.status().code(),
      absl::StrFormat("%s: %s", loaded.Where(sqlite ? "store.sqlite" : "store.postgres"),
                      std::string(store.status().message())));
}

std::string ControllerName(const Config& config) {
  if (!config.recovery.owner.empty()) return config.recovery.owner;
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("%s:%d:%08x", host, getpid(), std::random_device{}());
}

absl::StatusOr<std::shared_ptr<CrashDetector>> ShareCrashes(
    const LoadedConfig& loaded, [[maybe_unused]] const std::string& name,
    std::shared_ptr<CrashDetector> detector, [[maybe_unused]] std::shared_ptr<LogSink> log) {
  const Config& config = loaded.config;
  if (config.store.postgres.empty()) return detector;
#if SIPHEAL_CLI_HAS_POSTGRES
  PostgresCrashRelayOptions options{.dsn = config.store.postgres,
                                    .schema = config.store.schema,
                                    .owner = name,
                                    .quorum = config.detector.quorum,
                                    .window = config.detector.quorum_window,
                                    .log = std::move(log)};
  absl::StatusOr<std::shared_ptr<CrashDetector>> shared =
      MakePostgresCrashRelay(std::move(detector), std::move(options));
  if (shared.ok()) return shared;
  return absl::Status(shared.status().code(),
                      absl::StrFormat("%s: %s", loaded.Where("store.postgres"),
                                      std::string(shared.status().message())));
#else
  return Lacks("postgres", "SIPHEAL_WITH_POSTGRES").status();
#endif
}

absl::StatusOr<std::shared_ptr<KillSwitch>> OpenKillSwitch(
    const LoadedConfig& loaded, [[maybe_unused]] const std::string& name) {
  const Config& config = loaded.config;
  if (config.store.postgres.empty()) {
    if (config.recovery.kill_switch.empty()) return std::shared_ptr<KillSwitch>();
    return MakeFileKillSwitch(config.recovery.kill_switch);
  }
#if SIPHEAL_CLI_HAS_POSTGRES
  return MakePostgresKillSwitch({.dsn = config.store.postgres, .schema = config.store.schema},
                                name);
#else
  return Lacks("postgres", "SIPHEAL_WITH_POSTGRES").status();
#endif
}

std::string StoreName(const StoreConfig& store) {
  return store.postgres.empty() ? store.sqlite : "PostgreSQL, schema " + store.schema;
}

}  // namespace sipheal::inline v0_1::cli
