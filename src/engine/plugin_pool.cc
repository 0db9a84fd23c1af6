// SPDX-License-Identifier: Apache-2.0
#include "engine/plugin_pool.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

namespace sipheal::inline v0_1::internal {
namespace {

// Shared with the threads, so that one that hangs may outlive the pool.
struct State {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable ended;
  std::deque<std::function<void()>> tasks;
  std::size_t threads = 0;
  std::size_t idle = 0;
  std::size_t keep = 0;
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
    std::function<void()> task = std::move(state->tasks.front());
    state->tasks.pop_front();
    lock.unlock();
    task();
    task = nullptr;
    lock.lock();
  }
  --state->threads;
  state->ended.notify_all();
}

class PluginPool final : public Executor {
 public:
  PluginPool(std::size_t threads, std::size_t most, std::chrono::milliseconds grace)
      : state_(std::make_shared<State>()), most_(std::max(threads, most)), grace_(grace) {
    state_->keep = std::max<std::size_t>(threads, 1);
  }

  ~PluginPool() override {
    std::unique_lock lock(state_->mutex);
    state_->closing = true;
    state_->wake.notify_all();
    state_->ended.wait_for(lock, grace_, [this] { return state_->threads == 0; });
  }

  void Post(std::function<void()> task) override {
    std::lock_guard lock(state_->mutex);
    state_->tasks.push_back(std::move(task));
    if (state_->tasks.size() > state_->idle && state_->threads < most_) {
      ++state_->threads;
      std::thread([state = state_] { Work(state); }).detach();
    }
    state_->wake.notify_one();
  }

 private:
  const std::shared_ptr<State> state_;
  const std::size_t most_;
  const std::chrono::milliseconds grace_;
};

}  // namespace

std::shared_ptr<Executor> MakePluginPool(std::size_t threads, std::size_t most,
                                         std::chrono::milliseconds grace) {
  return std::make_shared<PluginPool>(threads, most, grace);
}

}  // namespace sipheal::inline v0_1::internal
