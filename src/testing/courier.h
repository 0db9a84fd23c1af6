// SPDX-License-Identifier: Apache-2.0
// A thread that runs tasks one at a time when a clock says that they are due: what the fakes
// deliver their events with, so that no listener is called from inside a method.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1::testing::internal {

// Thread-safe. The clock may be one that a test moves: it is looked at every millisecond while a
// task waits for it.
class Courier {
 public:
  explicit Courier(const Clock& clock);
  // Drops what has not run.
  ~Courier();

  // Tasks due at the same time run in the order of Post.
  void Post(std::chrono::nanoseconds delay, std::function<void()> task);
  // Waits for the task that runs now; returns at once on the courier's own thread.
  void Barrier();
  // Waits until no task is due, and none runs. Not from a task.
  void Drain();

 private:
  void Run();
  bool Due() const;  // mutex_ held

  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::pair<MonotonicTime, std::uint64_t>, std::function<void()>> tasks_;
  std::uint64_t posted_ = 0;
  std::uint64_t begun_ = 0;
  bool busy_ = false;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::testing::internal
