// SPDX-License-Identifier: Apache-2.0
// A clock that moves only when the test says so.
#pragma once

#include <atomic>
#include <chrono>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe. Both readings move together; Monotonic() begins where the system's clock is, so that
// a deadline made with CallContext::WithTimeout lies in its future.
class SIPHEAL_EXPORT FakeClock final : public Clock {
 public:
  // 2026-01-01 00:00:00 UTC when not given.
  explicit FakeClock(WallTime now = WallTime(std::chrono::seconds(1'767'225'600)));

  WallTime Now() const override;
  MonotonicTime Monotonic() const override;

  // Moves both readings ahead.
  void Advance(std::chrono::microseconds by);
  // Moves wall-clock time alone, also back: what an operator or NTP does.
  void StepWall(std::chrono::microseconds by);

 private:
  const WallTime start_;
  const MonotonicTime monotonic_start_;
  std::atomic<std::chrono::microseconds::rep> elapsed_{0};
  std::atomic<std::chrono::microseconds::rep> stepped_{0};
};

}  // namespace sipheal::inline v0_1::testing
