// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1 {
namespace {

class OsClock final : public Clock {
 public:
  WallTime Now() const override {
    return std::chrono::time_point_cast<std::chrono::microseconds>(
        std::chrono::system_clock::now());
  }
  MonotonicTime Monotonic() const override { return std::chrono::steady_clock::now(); }
};

}  // namespace

Clock::~Clock() = default;

const Clock& SystemClock() {
  // Leaked on purpose: a detached user at process exit must still find it.
  static const Clock* const clock = new OsClock;
  return *clock;
}

}  // namespace sipheal::inline v0_1
