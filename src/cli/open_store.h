// SPDX-License-Identifier: Apache-2.0
// The session store that the configuration names, and what controllers share through it.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "cli/config_reader.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/crash_detector.h"
#include "sipheal/kill_switch.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::cli {

enum class StoreMaking {
  kMake,      // makes it when it is not there
  kLookOnly,  // NotFound when it is not there
};

// Errors name file, line and key; Unimplemented when this build lacks the component. `log` may be
// null.
absl::StatusOr<std::shared_ptr<SessionStore>> OpenStore(const LoadedConfig& loaded,
                                                        std::shared_ptr<LogSink> log,
                                                        StoreMaking making = StoreMaking::kMake);

// recovery.owner, or one that is made up: each time another, so that it is asked once.
std::string ControllerName(const Config& config);

// `detector`, and what the other controllers on store.postgres see; as it is without one.
absl::StatusOr<std::shared_ptr<CrashDetector>> ShareCrashes(const LoadedConfig& loaded,
                                                            const std::string& name,
                                                            std::shared_ptr<CrashDetector> detector,
                                                            std::shared_ptr<LogSink> log);

// That of store.postgres, or the file recovery.kill_switch; null when there is neither.
absl::StatusOr<std::shared_ptr<KillSwitch>> OpenKillSwitch(const LoadedConfig& loaded,
                                                           const std::string& name);

// For people: the path of the file, or which schema; never a password.
std::string StoreName(const StoreConfig& store);

}  // namespace sipheal::inline v0_1::cli
