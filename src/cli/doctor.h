// SPDX-License-Identifier: Apache-2.0
// What `doctor` finds, apart from how it is found: findings, and the rules that judge what was
// seen. Pure, so that each is tested without a media server.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "cli/config.h"
#include "cli/output.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::cli {

enum class FindingLevel {
  kOk,
  kNote,  // worth knowing; not a failure
  kFail,
};

struct Finding {
  FindingLevel level = FindingLevel::kOk;
  std::string subject;  // an instance, "store", "hep", "control"
  std::string check;    // "ari", "rights", "module", ...: stable, for machines
  std::string seen;     // one sentence
  std::string fix;      // what to do; empty when OK
};

// The answer to GET /ari/asterisk/info, or why there was none.
Finding JudgeAri(const InstanceConfig& instance, const absl::Status& reached, int http_status,
                 const std::string& server_version);
// The answer to a DELETE of a channel that does not exist.
Finding JudgeRights(const InstanceConfig& instance, int http_status);
// Whether the event socket opened.
Finding JudgeEvents(const InstanceConfig& instance, bool opened);
Finding JudgeModule(const InstanceConfig& instance, const InstanceStatus& status);
// `heard_ago` is empty when nothing came from the instance's agent at all.
Finding JudgeHep(const InstanceConfig& instance, const Config& config,
                 std::optional<std::chrono::milliseconds> heard_ago, bool options_answered);
Finding JudgeClock(const InstanceConfig& instance, std::chrono::microseconds offset);
// Endpoints by instance: calls of an endpoint are only recovered where it exists.
std::vector<Finding> JudgeEndpoints(const std::map<std::string, std::set<std::string>>& endpoints);
// Rules on the configuration itself that are no errors.
std::vector<Finding> JudgeConfig(const Config& config);

// Prints one line for each, with the fix below; gives the exit code.
int PrintFindings(const std::vector<Finding>& findings, const Console& console);

}  // namespace sipheal::inline v0_1::cli
