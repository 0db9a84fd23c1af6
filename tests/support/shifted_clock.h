// SPDX-License-Identifier: Apache-2.0
// The system's clock, with its wall-clock time moved ahead by a test: leases expire at once, while
// deadlines stay real.
#pragma once

#include <atomic>

#include "sipheal/base/clock.h"

namespace sipheal::tests {

class ShiftedClock final : public Clock {
 public:
  WallTime Now() const override {
    return SystemClock().Now() + std::chrono::milliseconds(shift_.load());
  }
  MonotonicTime Monotonic() const override { return SystemClock().Monotonic(); }
  void Shift(std::chrono::milliseconds by) { shift_ += by.count(); }

 private:
  std::atomic<std::chrono::milliseconds::rep> shift_{0};
};

}  // namespace sipheal::tests
