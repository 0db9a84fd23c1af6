// SPDX-License-Identifier: Apache-2.0
// JournalWriter makes the engine's steps durable before their effects: it gathers what is to be
// written while the store is busy, so that a thousand sessions cost a few transactions, and it
// loses nothing while the store is away.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "engine/plugin_call.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::internal {

// Owned by the loop.
class JournalWriter {
 public:
  // Called on the loop: OK when durable; Aborted when the lease was lost.
  using Done = std::function<void(const absl::Status&)>;

  JournalWriter(std::shared_ptr<SessionStore> store, PluginCalls& calls, Loop& loop, LogSink& log,
                std::chrono::milliseconds lease, std::chrono::milliseconds timeout)
      : store_(std::move(store)),
        calls_(calls),
        loop_(loop),
        log_(log),
        lease_(lease),
        timeout_(timeout) {}

  // Steps of one session are written in the order of Append.
  void Append(SessionStore::AdvanceParams::Step step, Done done);
  // What is not known to be written, in order; it is forgotten here, and nobody is told.
  std::vector<SessionStore::AdvanceParams::Step> TakeWaiting();

 private:
  struct Entry {
    SessionStore::AdvanceParams::Step step;
    Done done;
  };

  void Schedule();
  void Flush();
  void Written(std::vector<Entry> entries, const absl::StatusOr<std::vector<absl::Status>>& result);

  const std::shared_ptr<SessionStore> store_;
  PluginCalls& calls_;
  Loop& loop_;
  LogSink& log_;
  const std::chrono::milliseconds lease_;
  const std::chrono::milliseconds timeout_;
  std::vector<Entry> waiting_;
  bool scheduled_ = false;
  bool writing_ = false;
  std::chrono::milliseconds backoff_{0};
};

}  // namespace sipheal::inline v0_1::internal
