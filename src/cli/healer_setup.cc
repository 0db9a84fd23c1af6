// SPDX-License-Identifier: Apache-2.0
#include "cli/healer_setup.h"

#include "cli/fence_command.h"
#include "cli/value_rules.h"

namespace sipheal::inline v0_1::cli {

InstanceOptions ToInstanceOptions(const InstanceConfig& instance) {
  InstanceOptions options;
  options.name = instance.name;
  for (const std::string& text : instance.sip) {
    if (const auto address = ParseSipAddress(text)) options.identity.addresses.push_back(*address);
  }
  options.identity.host_names = instance.sip_names;
  options.identity.agents = instance.hep_agents;
  if (options.identity.agents.empty()) options.identity.agents.push_back(instance.name);
  options.target = instance.target;
  options.max_channels = instance.max_channels;
  return options;
}

HealerOptions ToHealerOptions(const Config& config) {
  HealerOptions options;
  options.owner = config.recovery.owner;
  for (const InstanceConfig& instance : config.instances) {
    options.instances.push_back(ToInstanceOptions(instance));
  }
  options.lease = config.recovery.lease;
  options.recovery_deadline = config.recovery.deadline;
  options.answer_timeout = config.recovery.answer_timeout;
  options.plugin_timeout = config.recovery.plugin_timeout;
  options.retry_backoff = config.recovery.retry_backoff;
  options.max_attempts = config.recovery.max_attempts;
  options.quarantine_after = config.recovery.quarantine_after;
  options.coincidence = config.recovery.coincidence;
  options.pacing.rate = config.pacing.rate;
  options.pacing.min_rate = config.pacing.min_rate;
  options.pacing.burst = config.pacing.burst;
  options.pacing.max_inviting = config.pacing.max_inviting;
  options.pacing.slow = config.pacing.slow;
  options.targets.allow_targets = config.targets.allow;
  options.targets.deny_targets = config.targets.deny;
  options.targets.only_seen_hosts = config.targets.only_seen_hosts;
  options.dry_run = config.recovery.dry_run;
  options.paused = config.recovery.paused;
  options.end_unrecoverable = config.recovery.end_unrecoverable;
  options.threads = config.recovery.threads;
  if (!config.fence.command.empty()) {
    options.fence = [fence = config.fence](const Incarnation& incarnation) {
      return RunFenceCommand(fence.command, incarnation, fence.timeout);
    };
  }
  return options;
}

}  // namespace sipheal::inline v0_1::cli
