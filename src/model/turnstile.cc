// SPDX-License-Identifier: Apache-2.0
#include "model/turnstile.h"

#include "base/status_macros.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::internal {

Turnstile::Pass::~Pass() {
  if (turnstile_ == nullptr) return;
  const std::lock_guard lock(turnstile_->mutex_);
  --turnstile_->inside_;
  turnstile_->left_.notify_all();
}

absl::StatusOr<Turnstile::Pass> Turnstile::Enter(const CallContext& ctx, const Clock& clock,
                                                 Urgency urgency, std::string_view what) {
  ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock, what));
  std::unique_lock lock(mutex_);
  const bool urgent = urgency == Urgency::kUrgent;
  ++waiting_;
  if (urgent) ++urgent_waiting_;
  absl::Status status;
  while (inside_ == places_ || (!urgent && urgent_waiting_ > 0)) {
    // The context may end by a clock or token that cannot wake this thread: it is looked at often.
    left_.wait_for(lock, std::chrono::milliseconds(10));
    status = CheckContext(ctx, clock, what);
    if (!status.ok()) break;
  }
  --waiting_;
  if (urgent) --urgent_waiting_;
  if (!status.ok()) {
    left_.notify_all();
    return status;
  }
  ++inside_;
  return Pass(this);
}

int Turnstile::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_;
}

}  // namespace sipheal::inline v0_1::internal
