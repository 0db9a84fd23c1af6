// SPDX-License-Identifier: Apache-2.0
#include "sipheal/healer_options.h"

#include <set>
#include <string_view>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1 {
namespace {

using std::chrono::milliseconds;

absl::Status InRange(const char* field, double value, double least, double most, const char* unit) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("HealerOptions::%s is %g%s: set it from %g%s to %g%s", field, value, unit,
                      least, unit, most, unit));
}

absl::Status InRange(const char* field, milliseconds value, milliseconds least, milliseconds most) {
  return InRange(field, static_cast<double>(value.count()), static_cast<double>(least.count()),
                 static_cast<double>(most.count()), " ms");
}

}  // namespace

absl::Status HealerOptions::Validate() const {
  std::set<std::string_view> names;
  for (const InstanceOptions& instance : instances) {
    if (instance.name.empty() || instance.name.size() > 64) {
      return absl::InvalidArgumentError(
          "HealerOptions::instances has a name that is empty or longer than 64 characters: "
          "give each instance a short name");
    }
    if (!names.insert(instance.name).second) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "HealerOptions::instances names '%s' twice: give each instance its own name",
          instance.name));
    }
    if (instance.max_channels < 0) {
      return absl::InvalidArgumentError(
          absl::StrFormat("HealerOptions::instances['%s'].max_channels is %d: use 0 for no limit, "
                          "or a positive number",
                          instance.name, instance.max_channels));
    }
  }
  ABSL_RETURN_IF_ERROR(InRange("lease", lease, milliseconds(1'000), milliseconds(600'000)));
  ABSL_RETURN_IF_ERROR(InRange("recovery_deadline", recovery_deadline, milliseconds(1'000),
                               milliseconds(3'600'000)));
  ABSL_RETURN_IF_ERROR(
      InRange("answer_timeout", answer_timeout, milliseconds(100), milliseconds(32'000)));
  ABSL_RETURN_IF_ERROR(
      InRange("plugin_timeout", plugin_timeout, milliseconds(10), milliseconds(600'000)));
  ABSL_RETURN_IF_ERROR(
      InRange("retry_backoff", retry_backoff, milliseconds(1), milliseconds(60'000)));
  ABSL_RETURN_IF_ERROR(InRange("max_attempts", max_attempts, 1, 100, ""));
  ABSL_RETURN_IF_ERROR(InRange("quarantine_after", quarantine_after, 1, 100, ""));
  ABSL_RETURN_IF_ERROR(InRange("coincidence", coincidence, milliseconds(0), milliseconds(60'000)));
  ABSL_RETURN_IF_ERROR(InRange("pacing.rate", pacing.rate, 0.1, 100'000, "/s"));
  ABSL_RETURN_IF_ERROR(InRange("pacing.min_rate", pacing.min_rate, 0.1, pacing.rate, "/s"));
  ABSL_RETURN_IF_ERROR(InRange("pacing.burst", pacing.burst, 1, 100'000, ""));
  ABSL_RETURN_IF_ERROR(InRange("pacing.max_inviting", pacing.max_inviting, 1, 100'000, ""));
  ABSL_RETURN_IF_ERROR(InRange("pacing.slow", pacing.slow, milliseconds(1), milliseconds(60'000)));
  ABSL_RETURN_IF_ERROR(InRange("threads", threads, 1, 256, ""));
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1
