// SPDX-License-Identifier: Apache-2.0
// Loop: the one thread that owns the engine's state. Whatever happens elsewhere (a plug-in's
// answer, an event, a timer) becomes a task here, so that the state needs no lock and a test can
// run it step by step.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1::internal {

class Loop {
 public:
  using Task = std::function<void()>;
  using TimerId = std::pair<MonotonicTime, std::uint64_t>;

  explicit Loop(const Clock& clock) : clock_(clock) {}

  // From any thread. Tasks run in the order of Post.
  void Post(Task task);
  // On the loop only: runs `task` once, not before `when`.
  TimerId At(MonotonicTime when, Task task);
  TimerId After(MonotonicTime::duration delay, Task task) {
    return At(clock_.Monotonic() + delay, std::move(task));
  }
  void Cancel(const TimerId& id) { timers_.erase(id); }

  // Runs what is due now, until nothing is; false when there was nothing. For tests and for Run.
  bool RunReady();
  // Runs until Quit was called. Tasks posted before Quit are run.
  void Run();
  void Quit();

 private:
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Task> posted_;
  bool quit_ = false;
  // Owned by the loop's thread.
  std::map<TimerId, Task> timers_;
  std::uint64_t next_timer_ = 0;
};

}  // namespace sipheal::inline v0_1::internal
