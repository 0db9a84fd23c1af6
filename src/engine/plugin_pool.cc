// SPDX-License-Identifier: Apache-2.0
#include "engine/plugin_pool.h"
#include "base/thread.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// How often it is looked whether the threads get on, and how long a task may wait for its turn
// before one more thread is made.
constexpr milliseconds kLook{20};
constexpr milliseconds kLongWait{50};

struct Task {
  std::function<void()> run;
  std::chrono::steady_clock::time_point posted_at;
};

// Shared with the threads, so that one that hangs may outlive the pool.
struct State {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable ended;
  std::condition_variable closed;
  std::deque<Task> tasks;
  std::size_t taken = 0;  // tasks, ever
  std::size_t threads = 0;
  std::size_t idle = 0;
  std::size_t keep = 0;
  std::size_t most = 0;
  bool watched = false;
  bool closing = false;
};

void Work(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  for (;;) {
    if (state->tasks.empty()) {
      // Threads beyond the kept number were only for the time when all were held up.
      if (state->closing || state->threads > state->keep) break;
      ++state->idle;
      state->wake.wait(lock, [&] { return state->closing || !state->tasks.empty(); });
      --state->idle;
      continue;
    }
    std::function<void()> run = std::move(state->tasks.front().run);
    state->tasks.pop_front();
    ++state->taken;
    lock.unlock();
    run();
    run = nullptr;
    lock.lock();
  }
  --state->threads;
  state->ended.notify_all();
}

// With the lock held.
void AddThreads(const std::shared_ptr<State>& state, std::size_t number) {
  for (; number > 0 && state->threads < state->most; --number) {
    ++state->threads;
    StartThread("sipheal-plugin", [state] { Work(state); }).detach();
  }
}

// Runs while tasks wait for a thread. A burst of short tasks is best left to the kept threads; when
// these are held up, more are made: many when nothing moves at all, one now and then when it moves
// slowly.
void Watch(const std::shared_ptr<State>& state) {
  std::unique_lock lock(state->mutex);
  while (!state->closing && !state->tasks.empty()) {
    const std::size_t taken = state->taken;
    state->closed.wait_for(lock, kLook, [&] { return state->closing; });
    if (state->closing || state->tasks.empty()) break;
    if (state->taken == taken) {
      AddThreads(state, std::min(state->tasks.size(), state->threads));
    } else if (std::chrono::steady_clock::now() - state->tasks.front().posted_at > kLongWait) {
      AddThreads(state, 1);
    }
  }
  state->watched = false;
}

class PluginPool final : public Executor {
 public:
  PluginPool(std::size_t threads, std::size_t most, milliseconds grace)
      : state_(std::make_shared<State>()), grace_(grace) {
    state_->keep = std::max<std::size_t>(threads, 1);
    state_->most = std::max(state_->keep, most);
  }

  ~PluginPool() override {
    std::unique_lock lock(state_->mutex);
    state_->closing = true;
    state_->wake.notify_all();
    state_->closed.notify_all();
    state_->ended.wait_for(lock, grace_, [this] { return state_->threads == 0; });
  }

  void Post(std::function<void()> task) override {
    std::lock_guard lock(state_->mutex);
    state_->tasks.push_back({std::move(task), std::chrono::steady_clock::now()});
    if (state_->tasks.size() <= state_->idle) {
      state_->wake.notify_one();
    } else if (state_->threads < state_->keep) {
      AddThreads(state_, 1);
    } else {
      state_->wake.notify_one();
      if (!std::exchange(state_->watched, true)) {
        StartThread("sipheal-watch", [state = state_] { Watch(state); }).detach();
      }
    }
  }

 private:
  const std::shared_ptr<State> state_;
  const milliseconds grace_;
};

}  // namespace

std::shared_ptr<Executor> MakePluginPool(std::size_t threads, std::size_t most,
                                         std::chrono::milliseconds grace) {
  return std::make_shared<PluginPool>(threads, most, grace);
}

}  // namespace sipheal::inline v0_1::internal
