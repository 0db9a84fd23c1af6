// SPDX-License-Identifier: Apache-2.0
// What several threads want and one of them does: one that comes meanwhile waits for the first, one
// that comes later sees it done.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1::internal {

// Waits until `condition` holds; false when the context ended before.
template <typename Condition>
bool WaitFor(std::condition_variable_any& changed, std::unique_lock<std::mutex>& lock,
             const CallContext& ctx, Condition condition) {
  if (ctx.deadline == MonotonicTime::max()) return changed.wait(lock, ctx.stop, condition);
  return changed.wait_until(lock, ctx.stop, ctx.deadline, condition);
}

// Cancelled or DeadlineExceeded, of a context that ended; `what` was not there yet.
absl::Status Ended(const CallContext& ctx, const char* what);

// Thread-safe.
class DoneOnce {
 public:
  // Remembers this many keys, the newest.
  explicit DoneOnce(std::size_t remembered) : remembered_(remembered) {}

  bool Has(const std::string& key) const;
  void Add(const std::string& key);

  class Turn {
   public:
    // Waits until `key` is done, or nobody else does it. What was done before `since` is to be done
    // again; when there is none, never. The book and the context must outlive the turn.
    Turn(DoneOnce& book, const CallContext& ctx, std::string key,
         std::optional<MonotonicTime> since = std::nullopt);
    ~Turn();  // without Done, the next one's turn
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;

    // Not OK when the context ended while another did it.
    const absl::Status& status() const { return status_; }
    bool done() const { return done_; }
    void Done() const { book_.Add(key_); }

   private:
    DoneOnce& book_;
    const std::string key_;
    absl::Status status_;
    bool done_ = false;
    bool busy_ = false;
  };

 private:
  const std::size_t remembered_;
  mutable std::mutex mutex_;
  std::condition_variable_any changed_;
  std::set<std::string> busy_;
  std::map<std::string, MonotonicTime> done_;  // when
  std::deque<std::string> order_;              // of done_, the oldest first
};

}  // namespace sipheal::inline v0_1::internal
