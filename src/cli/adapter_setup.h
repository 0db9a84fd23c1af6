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
  return options;
}
#endif

#if SIPHEAL_CLI_HAS_HOMER
inline HomerReadOptions ToHomerRead(const HomerConfig& config) {
  HomerReadOptions options;
  options.ingest_delay = config.ingest_delay;
  options.lookback = std::chrono::hours(config.lookback_hours);
  return options;
}

inline HomerOptions ToHomerOptions(const HomerConfig& config) {
  HomerOptions options;
  options.url = config.url;
  options.token = config.token;
  options.token_file = config.token_file;
  options.user = config.user;
  options.password = config.password;
  options.password_file = config.password_file;
  options.ca_file = config.ca_file;
  options.verify_tls = config.verify_tls;
  options.read = ToHomerRead(config);
  return options;
}

inline HomerSqlOptions ToHomerSqlOptions(const HomerConfig& config) {
  HomerSqlOptions options;
  options.dsn = config.postgres;
  options.read = ToHomerRead(config);
  return options;
}
#endif

}  // namespace sipheal::inline v0_1::cli
