// SPDX-License-Identifier: Apache-2.0
#include "ari/done_once.h"

#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal {

absl::Status Ended(const CallContext& ctx, const char* what) {
  if (ctx.stop.stop_requested()) {
    return absl::CancelledError(absl::StrFormat("resume was cancelled: %s", what));
  }
  return absl::DeadlineExceededError(absl::StrFormat("resume took too long: %s", what));
}

bool DoneOnce::Has(const std::string& key) const {
  const std::lock_guard lock(mutex_);
  return done_.contains(key);
}

void DoneOnce::Add(const std::string& key) {
  const std::lock_guard lock(mutex_);
  if (!done_.insert_or_assign(key, SystemClock().Monotonic()).second) return;
  order_.push_back(key);
  if (order_.size() <= remembered_) return;
  done_.erase(order_.front());
  order_.pop_front();
}

DoneOnce::Turn::Turn(DoneOnce& book, const CallContext& ctx, std::string key,
                     std::optional<MonotonicTime> since)
    : book_(book), key_(std::move(key)) {
  std::unique_lock lock(book_.mutex_);
  const auto settled = [&] {
    const auto found = book_.done_.find(key_);
    done_ = found != book_.done_.end() && (!since || found->second >= *since);
    return done_ || !book_.busy_.contains(key_);
  };
  if (!WaitFor(book_.changed_, lock, ctx, settled)) {
    status_ = Ended(ctx, "a partner's resume of the same flow goes on");
  } else if (!done_) {
    book_.busy_.insert(key_);
    busy_ = true;
  }
}

DoneOnce::Turn::~Turn() {
  if (!busy_) return;
  {
    const std::lock_guard lock(book_.mutex_);
    book_.busy_.erase(key_);
  }
  book_.changed_.notify_all();
}

}  // namespace sipheal::inline v0_1::internal
