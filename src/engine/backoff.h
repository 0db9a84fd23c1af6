// SPDX-License-Identifier: Apache-2.0
// How long is waited before a plug-in that failed is asked again.
#pragma once

#include <algorithm>
#include <chrono>

namespace sipheal::inline v0_1::internal {

// `first` after the first failure (`failures` is 0 then), twice as long after each further one, two
// seconds at most.
inline std::chrono::milliseconds Backoff(std::chrono::milliseconds first, int failures) {
  return std::min(first * (1 << std::min(failures, 6)), std::chrono::milliseconds(2'000));
}

}  // namespace sipheal::inline v0_1::internal
