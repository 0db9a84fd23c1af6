// SPDX-License-Identifier: Apache-2.0
// The daemon: a Healer over an embedded set, with the control socket, events, counters, and the
// list of instances that can change while it runs.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/config_reader.h"
#include "cli/embedded_set.h"
#include "cli/metrics.h"

namespace sipheal::inline v0_1::cli {

struct DaemonOptions {
  LoadedConfig loaded;
  std::shared_ptr<LogSink> log;
  std::shared_ptr<MemoryMetrics> metrics;
  // Gets each machine event as one line of JSON; must be quick and thread-safe. None: no events.
  std::function<void(std::string)> events;
  // Reads the configuration again, for Reload.
  std::function<absl::StatusOr<LoadedConfig>()> read_config;
};

// Thread-safe.
class Daemon {
 public:
  virtual ~Daemon() = default;

  // Composes and starts everything: when it returns OK the daemon is ready.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(DaemonOptions options,
                                                       std::unique_ptr<EmbeddedSet> set);

  // Applies the changed list of instances; an error changes nothing.
  virtual absl::Status Reload() = 0;
  // Ends everything; what is under way is taken over by the next controller. Idempotent.
  virtual void Stop() = 0;
  // What the control socket answers.
  virtual absl::StatusOr<nlohmann::ordered_json> Handle(const nlohmann::json& request) = 0;

 protected:
  Daemon() = default;
};

// All sessions of a store, page by page: those of `instance`, or all when it is empty; at most
// `limit`.
absl::StatusOr<std::vector<Session>> ListSessions(SessionStore& store, const std::string& instance,
                                                  std::size_t limit);

}  // namespace sipheal::inline v0_1::cli
