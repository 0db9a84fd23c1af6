// SPDX-License-Identifier: Apache-2.0
// The one thread that carries all event sockets: a libwebsockets context, tasks posted from other
// threads, and timers.
#pragma once

#include <libwebsockets.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1::internal {

// What happens on one WebSocket; called on the loop's thread.
class SocketEvents {
 public:
  virtual ~SocketEvents() = default;
  virtual void OnOpen() = 0;
  // One piece of a message; `last` with the piece that ends it.
  virtual void OnData(const char* data, std::size_t size, bool last) = 0;
  virtual void OnPong() = 0;
  virtual void OnWritable() = 0;
  // "Name: value" of the Authorization header of the handshake; empty for none.
  virtual std::string BasicAuth() = 0;
  // Closed, or could not be opened; nothing follows.
  virtual void OnClosed(const std::string& why) = 0;
};

class SocketLoop {
 public:
  // Internal when libwebsockets refuses.
  static absl::StatusOr<std::unique_ptr<SocketLoop>> Start(const Clock* clock);
  ~SocketLoop();
  SocketLoop(const SocketLoop&) = delete;
  SocketLoop& operator=(const SocketLoop&) = delete;

  // Runs what was posted, then ends the thread; idempotent. Not to be called on the loop's thread.
  void Stop();

  // Runs `task` on the loop's thread. Thread-safe. Dropped after Stop.
  void Post(std::function<void()> task);
  bool OnLoopThread() const { return std::this_thread::get_id() == thread_id_.load(); }
  // When the thread last came round; see AriConnections::SocketThreadTurn.
  MonotonicTime turn() const { return turn_.load(std::memory_order_acquire); }

  // --- on the loop's thread only ---
  struct ConnectParams {
    std::string address;  // numeric, so that no name is looked up here
    int port = 0;
    bool tls = false;
    std::string host;  // of the Host header and of the certificate
    std::string path;  // with the query
    SocketEvents* events = nullptr;
  };
  // Null when it failed at once; OnClosed was called then.
  lws* Connect(const ConnectParams& params);
  // Closes without a further call to its SocketEvents.
  void Abandon(lws* socket);
  lws_context* context() const { return context_; }

 private:
  explicit SocketLoop(const Clock* clock) : clock_(clock) {}
  void Run();
  void Drain();
  static int OnLws(lws* wsi, lws_callback_reasons reason, void* user, void* in, std::size_t size);

  const Clock* const clock_;
  lws_context* context_ = nullptr;
  std::thread thread_;
  int heard_ = 0;  // pieces of events in this round; loop thread only
  std::atomic<std::thread::id> thread_id_{};
  std::atomic<bool> stopping_{false};
  std::atomic<MonotonicTime> turn_{MonotonicTime{}};
  Mutex mutex_;
  std::vector<std::function<void()>> tasks_ ABSL_GUARDED_BY(mutex_);
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

// A one-shot timer of the loop. Loop thread only; disarmed by its destructor.
class LoopTimer {
 public:
  LoopTimer(SocketLoop& loop, std::function<void()> fire)
      : loop_(loop), state_{{}, std::move(fire)} {}
  ~LoopTimer() { Disarm(); }
  LoopTimer(const LoopTimer&) = delete;
  LoopTimer& operator=(const LoopTimer&) = delete;
  void Arm(std::chrono::microseconds after);
  void Disarm();

 private:
  struct State {
    lws_sorted_usec_list_t sul{};  // first, so that its address is the state's
    std::function<void()> fire;
  };
  SocketLoop& loop_;
  State state_;
  bool armed_ = false;
};

}  // namespace sipheal::inline v0_1::internal
