// SPDX-License-Identifier: Apache-2.0
// Pacer: how fast one target is given recovered channels. A token bucket whose rate falls while the
// target answers slowly or refuses, and rises again while it does not.
#pragma once

#include "sipheal/base/clock.h"
#include "sipheal/healer_options.h"

namespace sipheal::inline v0_1::internal {

class Pacer {
 public:
  Pacer(const PacingOptions& options, MonotonicTime now);

  // Takes the right to create one channel; false when there is none now.
  bool TryTake(MonotonicTime now);
  // When the next one will be there, if none is taken before.
  MonotonicTime NextAt(MonotonicTime now) const;

  // The target carried one out in `took`.
  void Succeeded(MonotonicTime::duration took);
  // The target was overloaded: 503, a time-out, an unreachable server.
  void Overloaded();

  double rate() const { return rate_; }

 private:
  void Refill(MonotonicTime now);

  PacingOptions options_;
  double rate_;
  double tokens_;
  MonotonicTime filled_at_;
};

}  // namespace sipheal::inline v0_1::internal
