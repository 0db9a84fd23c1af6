// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/executor.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace sipheal::inline v0_1 {
namespace {

class Inline final : public Executor {
 public:
  void Post(std::function<void()> task) override { task(); }
};

class ThreadPool final : public Executor {
 public:
  explicit ThreadPool(std::size_t threads) {
    for (std::size_t i = 0; i < std::max<std::size_t>(threads, 1); ++i) {
      threads_.emplace_back([this] { Run(); });
    }
  }

  ~ThreadPool() override {
    {
      std::lock_guard lock(mutex_);
      closing_ = true;
    }
    wake_.notify_all();
  }  // the jthreads join as members are destroyed

  void Post(std::function<void()> task) override {
    {
      std::lock_guard lock(mutex_);
      tasks_.push_back(std::move(task));
    }
    wake_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return closing_ || !tasks_.empty(); });
      if (tasks_.empty()) return;
      std::function<void()> task = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      task();
      task = nullptr;  // what it captured is released before the lock is taken again
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> tasks_;
  bool closing_ = false;
  std::vector<std::jthread> threads_;  // last: joined first, while the rest still lives
};

}  // namespace

Executor::~Executor() = default;

std::shared_ptr<Executor> InlineExecutor() { return std::make_shared<Inline>(); }

std::shared_ptr<Executor> MakeThreadPool(std::size_t threads) {
  return std::make_shared<ThreadPool>(threads);
}

}  // namespace sipheal::inline v0_1
