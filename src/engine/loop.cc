// SPDX-License-Identifier: Apache-2.0
#include "engine/loop.h"

namespace sipheal::inline v0_1::internal {

void Loop::Post(Task task) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(task));
  }
  wake_.notify_one();
}

Loop::TimerId Loop::At(MonotonicTime when, Task task) {
  const TimerId id{when, next_timer_++};
  timers_.emplace(id, std::move(task));
  return id;
}

bool Loop::RunReady() {
  bool ran = false;
  for (;;) {
    std::deque<Task> tasks;
    {
      std::lock_guard lock(mutex_);
      tasks.swap(posted_);
    }
    for (Task& task : tasks) task();
    bool timer_ran = false;
    while (!timers_.empty() && timers_.begin()->first.first <= clock_.Monotonic()) {
      auto due = timers_.extract(timers_.begin());
      due.mapped()();
      timer_ran = true;
    }
    if (tasks.empty() && !timer_ran) return ran;
    ran = true;
  }
}

void Loop::Run() {
  for (;;) {
    RunReady();
    std::unique_lock lock(mutex_);
    const auto awake = [this] { return quit_ || !posted_.empty(); };
    if (timers_.empty()) {
      wake_.wait(lock, awake);
    } else {
      wake_.wait_until(lock, timers_.begin()->first.first, awake);
    }
    if (quit_ && posted_.empty()) return;
  }
}

void Loop::Quit() {
  {
    std::lock_guard lock(mutex_);
    quit_ = true;
  }
  wake_.notify_one();
}

}  // namespace sipheal::inline v0_1::internal
