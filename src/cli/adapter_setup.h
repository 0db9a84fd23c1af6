// SPDX-License-Identifier: Apache-2.0
// What the configuration means to the adapters, for those that this build has.
#pragma once

#include "cli/config.h"
#include "cli/healer_setup.h"
#include "cli/value_rules.h"

#if SIPHEAL_CLI_HAS_ARI
#include "sipheal/adapters/ari.h"
#endif
#if SIPHEAL_CLI_HAS_HEP
#include "sipheal/adapters/hep.h"
#endif
#if SIPHEAL_CLI_HAS_HOMER
#include "sipheal/adapters/homer.h"
#endif

namespace sipheal::inline v0_1::cli {

#if SIPHEAL_CLI_HAS_ARI
inline AriInstanceOptions ToAriInstance(const InstanceConfig& instance) {
  AriInstanceOptions options;
  options.name = instance.name;
  options.url = instance.ari.url;
  options.user = instance.ari.user;
  options.password = instance.ari.password;
  options.password_file = instance.ari.password_file;
  options.pid_file = instance.ari.pid_file;
  return options;
}

inline AriOptions ToAriOptions(const Config& config) {
  AriOptions options;
  options.app = config.ari.application;
  for (const InstanceConfig& instance : config.instances) {
    options.instances.push_back(ToAriInstance(instance));
  }
  return options;
}
#endif

#if SIPHEAL_CLI_HAS_HEP
inline HepInstanceOptions ToHepInstance(const InstanceConfig& instance) {
  InstanceOptions common = ToInstanceOptions(instance);
  HepInstanceOptions options;
  options.instance = instance.name;
  options.agents = common.identity.agents;
  options.server = std::move(common.identity);
  options.allowed_sources = instance.hep_sources;
  return options;
}

inline HepOptions ToHepOptions(const Config& config) {
  HepOptions options;
  options.udp = ParseListen(config.hep.udp);
  options.tcp = ParseListen(config.hep.tcp);
  for (const InstanceConfig& instance : config.instances) {
    options.instances.push_back(ToHepInstance(instance));
  }
  options.auth_key = config.hep.auth_key;
  options.auth_key_file = config.hep.auth_key_file;
  options.forward = ParseListen(config.hep.forward);
  return options;
}
#endif

#if SIPHEAL_CLI_HAS_HOMER
// A recovered call was captured by the agents of several instances in turn, and is asked for by the
// last one's name: so each instance is given the agents of all of them.
inline HomerReadOptions ToHomerRead(const Config& config) {
  HomerReadOptions options;
  std::vector<std::string> agents;
  for (const InstanceConfig& instance : config.instances) {
    const std::vector<std::string> own = ToInstanceOptions(instance).identity.agents;
    agents.insert(agents.end(), own.begin(), own.end());
  }
  for (const InstanceConfig& instance : config.instances) {
    options.instances.push_back({.instance = instance.name, .agents = agents});
  }
  options.ingest_delay = config.homer.ingest_delay;
  options.lookback = std::chrono::hours(config.homer.lookback_hours);
  return options;
}

inline HomerOptions ToHomerOptions(const Config& config) {
  HomerOptions options;
  options.url = config.homer.url;
  options.token = config.homer.token;
  options.token_file = config.homer.token_file;
  options.user = config.homer.user;
  options.password = config.homer.password;
  options.password_file = config.homer.password_file;
  options.ca_file = config.homer.ca_file;
  options.verify_tls = config.homer.verify_tls;
  options.read = ToHomerRead(config);
  return options;
}

inline HomerSqlOptions ToHomerSqlOptions(const Config& config) {
  HomerSqlOptions options;
  options.dsn = config.homer.postgres;
  options.read = ToHomerRead(config);
  return options;
}
#endif

}  // namespace sipheal::inline v0_1::cli
