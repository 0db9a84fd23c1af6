// SPDX-License-Identifier: Apache-2.0
// How the model's values look as JSON: the events of `run --events`, the replies of the control
// socket, and `--format json`. Field names are stable across patch versions; docs/config.md lists
// them. Times are integers, microseconds since 1970-01-01 UTC.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/metrics.h"
#include "sipheal/healer.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::cli {

nlohmann::ordered_json EventJson(const HealerEvent& event);
nlohmann::ordered_json CrashJson(const CrashEvent& crash);
nlohmann::ordered_json SessionJson(const Session& session);
nlohmann::ordered_json ReportJson(const SessionReport& report);
nlohmann::ordered_json PlanJson(const RecoveryPlan& plan);
nlohmann::ordered_json MetricsJson(const std::vector<MetricValue>& metrics);

// One line, no line break; bytes that are no UTF-8 are replaced.
std::string Dump(const nlohmann::ordered_json& value);

}  // namespace sipheal::inline v0_1::cli
