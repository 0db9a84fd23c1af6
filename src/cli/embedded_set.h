// SPDX-License-Identifier: Apache-2.0
// The embedded set: the parts that `sipheal run` composes a Healer of. Real ones are ARI (driver,
// detector, tracker, flow resumer), the HEP receiver and SQLite; tests bring fakes.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/config.h"
#include "cli/config_reader.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/base/telemetry_sink.h"
#include "sipheal/healer.h"

namespace sipheal::inline v0_1::cli {

class EmbeddedSet {
 public:
  virtual ~EmbeddedSet() = default;
  virtual HealerParts parts() = 0;
  // What the parts call this controller before others; none: recovery.owner says it.
  virtual std::string controller_name() const { return {}; }
  // Opens the ports, before the Healer starts. Errors name file, line and key.
  virtual absl::Status StartCapture() = 0;
  // Begins to fill the store, after the Healer has started.
  virtual absl::Status StartTracking() = 0;
  // Opens what others ask the Healer over, before it starts; it is then used until StopServing,
  // which comes before it stops. Idempotent.
  virtual absl::Status StartServing(Healer& healer) {
    static_cast<void>(healer);
    return absl::OkStatus();
  }
  virtual void StopServing() {}
  // After the Healer has stopped; idempotent.
  virtual void Stop() = 0;
  virtual absl::Status AddInstance(const InstanceConfig& instance) = 0;
  virtual absl::Status RemoveInstance(const std::string& name) = 0;
  // {"hep":{...},"instances":{"pbx1":{...}}}, for `status`. Does no I/O.
  virtual nlohmann::ordered_json Status() = 0;
};

// The real one. Unimplemented names the component that this build lacks.
absl::StatusOr<std::unique_ptr<EmbeddedSet>> ComposeEmbeddedSet(
    const LoadedConfig& loaded, std::shared_ptr<LogSink> log,
    std::shared_ptr<TelemetrySink> telemetry);

// The components of this build, in order: "core", "ari", ...
std::vector<std::string> BuiltComponents();

}  // namespace sipheal::inline v0_1::cli
