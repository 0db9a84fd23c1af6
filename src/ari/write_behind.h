// SPDX-License-Identifier: Apache-2.0
// WriteBehind carries changed sessions to a SessionStore on a thread of its own: gathered for a
// while, written in batches, tried again for as long as the store is away. Whoever adds never waits
// for the store.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/base/telemetry_sink.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class WriteBehind {
 public:
  struct Options {
    std::chrono::milliseconds gather{100};
    std::chrono::milliseconds store_timeout{2000};
    std::shared_ptr<LogSink> log;              // never null
    std::shared_ptr<TelemetrySink> telemetry;  // never null
    // A recovered session that the store does not have (yet). Called on the writing thread.
    std::function<void(const SessionKey&)> unknown;
    // More changes waited than fit, some are lost: the whole state must be compared with the store
    // again.
    std::function<void()> overflowed;
  };

  WriteBehind(std::shared_ptr<SessionStore> store, Options options);
  ~WriteBehind();  // stops

  void Start();
  // Writes what is pending, once, then ends the thread.
  void Stop();
  void Add(std::vector<Session> sessions);
  absl::Status Flush(const CallContext& ctx);
  std::size_t pending() const;

 private:
  using Batch = std::map<SessionKey, Session>;

  void Run();
  absl::Status Write(const Batch& batch);
  absl::Status Put(std::vector<Session> sessions, bool only_existing);
  // Runs the store's method; an exception becomes a status.
  template <typename Call>
  auto Guard(Call call) -> decltype(call());

  const std::shared_ptr<SessionStore> store_;
  const Options options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;         // the writer waits here
  std::condition_variable_any written_;  // Flush waits here
  Batch pending_;
  std::size_t in_flight_ = 0;  // of a batch that is being written, and comes back if that fails
  std::uint64_t added_ = 0;    // how many changes were added
  std::uint64_t written_up_to_ = 0;  // all changes up to this one are in the store
  int flushing_ = 0;
  bool overflow_ = false;
  bool failing_ = false;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace sipheal::inline v0_1::internal
