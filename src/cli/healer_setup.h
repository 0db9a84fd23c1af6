// SPDX-License-Identifier: Apache-2.0
// What the configuration means to the library: the options of the Healer and of the adapters.
#pragma once

#include "cli/config.h"
#include "sipheal/healer_options.h"

namespace sipheal::inline v0_1::cli {

// `config` was read without errors: every address in it can be parsed.
InstanceOptions ToInstanceOptions(const InstanceConfig& instance);
HealerOptions ToHealerOptions(const Config& config);

}  // namespace sipheal::inline v0_1::cli
