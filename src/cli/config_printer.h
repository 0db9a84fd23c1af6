// SPDX-License-Identifier: Apache-2.0
// Shows the effective configuration, defaults and environment included, secrets masked.
#pragma once

#include <string>
#include <vector>

#include "cli/config.h"

namespace sipheal::inline v0_1::cli {

// As YAML that `sipheal run` reads again (but for the masked secrets).
std::string ConfigToYaml(const Config& config);
// The same as one JSON object, durations written as in YAML ("800ms").
std::string ConfigToJson(const Config& config);
// Every key, as "hep.udp" and "instances[].ari.url".
std::vector<std::string> ConfigKeys();

}  // namespace sipheal::inline v0_1::cli
