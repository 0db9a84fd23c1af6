// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/fake_clock.h"

namespace sipheal::inline v0_1::testing {

using std::chrono::microseconds;

FakeClock::FakeClock(WallTime now) : start_(now), monotonic_start_(SystemClock().Monotonic()) {}

WallTime FakeClock::Now() const {
  return start_ + microseconds(elapsed_.load()) + microseconds(stepped_.load());
}
MonotonicTime FakeClock::Monotonic() const {
  return monotonic_start_ + microseconds(elapsed_.load());
}
void FakeClock::Advance(microseconds by) { elapsed_ += by.count(); }
void FakeClock::StepWall(microseconds by) { stepped_ += by.count(); }

}  // namespace sipheal::inline v0_1::testing
