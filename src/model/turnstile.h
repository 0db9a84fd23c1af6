// SPDX-License-Identifier: Apache-2.0
// Turnstile: so many at a time, the urgent before the others, and nobody waits longer than its
// context allows.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string_view>

#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class SIPHEAL_EXPORT Turnstile {
 public:
  // `places`: how many may be inside at a time, at least 1.
  explicit Turnstile(int places = 1) : places_(places) {}

  enum class Urgency { kUrgent, kNormal };

  // The right to be inside; leaves when it goes out of scope.
  class SIPHEAL_EXPORT Pass {
   public:
    explicit Pass(Turnstile* turnstile) : turnstile_(turnstile) {}
    Pass(Pass&& other) noexcept : turnstile_(other.turnstile_) { other.turnstile_ = nullptr; }
    Pass& operator=(Pass&&) = delete;
    ~Pass();

   private:
    Turnstile* turnstile_;
  };

  // Cancelled or DeadlineExceeded when the context ends first.
  absl::StatusOr<Pass> Enter(const CallContext& ctx, const Clock& clock, Urgency urgency,
                             std::string_view what);

  // How many wait now.
  int waiting() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable left_;
  const int places_;
  int inside_ = 0;
  int waiting_ = 0;
  int urgent_waiting_ = 0;  // of those
};

}  // namespace sipheal::inline v0_1::internal
