// SPDX-License-Identifier: Apache-2.0
// Tells what the Healer does: as log lines for people, and as JSON lines for machines.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "sipheal/base/log_sink.h"
#include "sipheal/healer.h"

namespace sipheal::inline v0_1::cli {

// `events` may be empty. Both are called on the Healer's loop, so they must be quick.
std::shared_ptr<HealerListener> MakeEventLog(std::shared_ptr<LogSink> log,
                                             std::function<void(std::string)> events);

}  // namespace sipheal::inline v0_1::cli
