// SPDX-License-Identifier: Apache-2.0
#include "testing/courier.h"

namespace sipheal::inline v0_1::testing::internal {

Courier::Courier(const Clock& clock) : clock_(clock), thread_([this] { Run(); }) {}

Courier::~Courier() {
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    changed_.notify_all();
  }
  thread_.join();
}

void Courier::Post(std::chrono::nanoseconds delay, std::function<void()> task) {
  const MonotonicTime due =
      clock_.Monotonic() + std::chrono::duration_cast<MonotonicTime::duration>(delay);
  const std::lock_guard lock(mutex_);
  tasks_.emplace(std::pair(due, posted_++), std::move(task));
  changed_.notify_all();
}

void Courier::Barrier() {
  if (std::this_thread::get_id() == thread_.get_id()) return;
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this, begun = begun_] { return !busy_ || begun_ != begun; });
}

void Courier::Drain() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return !busy_ && !Due(); });
}

bool Courier::Due() const {
  return !tasks_.empty() && tasks_.begin()->first.first <= clock_.Monotonic();
}

void Courier::Run() {
  std::unique_lock lock(mutex_);
  while (!ending_) {
    if (tasks_.empty()) {
      changed_.wait(lock);
    } else if (!Due()) {
      changed_.wait_for(lock, std::chrono::milliseconds(1));
    } else {
      const std::function<void()> task = std::move(tasks_.begin()->second);
      tasks_.erase(tasks_.begin());
      busy_ = true;
      ++begun_;
      lock.unlock();
      task();
      lock.lock();
      busy_ = false;
      changed_.notify_all();
    }
  }
}

}  // namespace sipheal::inline v0_1::testing::internal
