// SPDX-License-Identifier: Apache-2.0
// Clock is where sipheal reads time. Hosts may give their own; tests give testing::FakeClock.
//
// Two readings: Now() is wall-clock time, comparable with capture time stamps and stored in
// records; Monotonic() never goes back and is what deadlines and time-outs are made of.
#pragma once

#include <chrono>

#include "sipheal/export.h"

namespace sipheal::inline v0_1 {

// Wall-clock time in microseconds since 1970-01-01 UTC, the unit of captures and of the journal.
using WallTime = std::chrono::sys_time<std::chrono::microseconds>;
// A point on a clock that never goes back. Only differences mean something, and only in this
// process.
using MonotonicTime = std::chrono::steady_clock::time_point;

// Thread-safe.
class SIPHEAL_EXPORT Clock {
 public:
  Clock(const Clock&) = delete;
  Clock& operator=(const Clock&) = delete;
  virtual ~Clock();

  virtual WallTime Now() const = 0;
  virtual MonotonicTime Monotonic() const = 0;

 protected:
  Clock() = default;
};

// The clock of the operating system. Never destroyed; may be used at any time.
SIPHEAL_EXPORT const Clock& SystemClock();

}  // namespace sipheal::inline v0_1
