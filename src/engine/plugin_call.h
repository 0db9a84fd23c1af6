// SPDX-License-Identifier: Apache-2.0
// Calls into plug-ins: on the executor, with a deadline, with every exception turned into Internal,
// and with an answer on the loop even when the plug-in never comes back.
#pragma once

#include <chrono>
#include <condition_variable>
#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "engine/loop.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/executor.h"

namespace sipheal::inline v0_1::internal {

// Runs `call`; an exception becomes Internal with its text.
template <typename Result>
Result Guarded(const char* what, const std::function<Result()>& call) {
  try {
    return call();
  } catch (const std::exception& error) {
    return absl::InternalError(
        absl::StrFormat("%s threw: %s: a plug-in must return a Status", what, error.what()));
  } catch (...) {
    return absl::InternalError(absl::StrFormat("%s threw: a plug-in must return a Status", what));
  }
}

class PluginCalls {
 public:
  PluginCalls(std::shared_ptr<Loop> loop, std::shared_ptr<Executor> executor, const Clock& clock)
      : loop_(std::move(loop)), executor_(std::move(executor)), clock_(clock) {}

  // On the loop only. `done` is called on the loop, once: with the answer, or with DeadlineExceeded
  // when there is none `kGrace` after the deadline; a later answer is dropped.
  template <typename Result>
  void Call(const char* what, MonotonicTime::duration timeout,
            std::function<Result(const CallContext&)> call, std::function<void(Result)> done) {
    struct Pending {
      std::function<void(Result)> done;
      Loop::TimerId timer;
    };
    auto pending = std::make_shared<Pending>();
    pending->done = std::move(done);
    pending->timer = loop_->After(timeout + kGrace, [what, pending] {
      if (!pending->done) return;
      auto finish = std::exchange(pending->done, nullptr);
      finish(absl::DeadlineExceededError(absl::StrFormat("%s did not return in time", what)));
    });
    CallContext context;
    context.deadline = clock_.Monotonic() + timeout;
    context.stop = stop_.get_token();
    executor_->Post(
        [what, context, call = std::move(call), pending, loop = loop_, running = running_] {
          const Running::Scope scope(*running);
          // Once stopping, none begins: who waits for quiet can rely on it.
          auto result = std::make_shared<Result>(
              context.stop.stop_requested()
                  ? Result(absl::CancelledError(absl::StrFormat("%s: the Healer stops", what)))
                  : Guarded<Result>(what, [&] { return call(context); }));
          // By pointer: the loop owns what is posted to it, and a late answer may never be run.
          loop->Post([pending, result, loop = loop.get()] {
            if (!pending->done) return;  // gave up on it already
            loop->Cancel(pending->timer);
            auto finish = std::exchange(pending->done, nullptr);
            finish(std::move(*result));
          });
        });
  }

  // Asks everything that runs to end. No call begins after this.
  void RequestStop() { stop_.request_stop(); }
  // After RequestStop: waits until no call runs; false when one still does after `grace`.
  bool AwaitQuiet(std::chrono::milliseconds grace) {
    std::unique_lock lock(running_->mutex);
    return running_->none.wait_for(lock, grace, [this] { return running_->count == 0; });
  }

 private:
  // Shared with calls that may outlive this.
  struct Running {
    std::mutex mutex;
    std::condition_variable none;
    int count = 0;  // guarded by mutex

    class Scope {
     public:
      explicit Scope(Running& running) : running_(running) {
        const std::lock_guard lock(running_.mutex);
        ++running_.count;
      }
      ~Scope() {
        const std::lock_guard lock(running_.mutex);
        if (--running_.count == 0) running_.none.notify_all();
      }
      Scope(const Scope&) = delete;
      Scope& operator=(const Scope&) = delete;

     private:
      Running& running_;
    };
  };

  static constexpr std::chrono::milliseconds kGrace{250};

  const std::shared_ptr<Loop> loop_;
  const std::shared_ptr<Executor> executor_;
  const Clock& clock_;
  std::stop_source stop_;
  const std::shared_ptr<Running> running_ = std::make_shared<Running>();
};

}  // namespace sipheal::inline v0_1::internal
