// SPDX-License-Identifier: Apache-2.0
// PluginPool runs calls into plug-ins when the host gave no executor. It grows while all its
// threads are held up, so that a plug-in that hangs for one session does not hold up the others,
// and its end does not wait for a hung one.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "sipheal/base/executor.h"

namespace sipheal::inline v0_1::internal {

// Starts with no thread, keeps up to `threads`, and grows to `most` while these are held up: within
// 20 ms when none of them moves, slowly while tasks wait longer than 50 ms. At destruction it waits
// up to `grace` for running tasks; threads that hang longer are left behind (they keep what they
// use alive).
std::shared_ptr<Executor> MakePluginPool(std::size_t threads, std::size_t most,
                                         std::chrono::milliseconds grace);

}  // namespace sipheal::inline v0_1::internal
