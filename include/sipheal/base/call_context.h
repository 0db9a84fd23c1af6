// SPDX-License-Identifier: Apache-2.0
// CallContext travels with every blocking call across an interface: until when it may take, how it
// is cancelled, and what trace it belongs to. There are no hidden time-outs: what the context does
// not limit is not limited.
#pragma once

#include <chrono>
#include <stop_token>
#include <string>

#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1 {

struct CallContext {
  // The call returns DeadlineExceeded soon (within 100 ms) after this point. Default: no limit.
  MonotonicTime deadline = MonotonicTime::max();
  // The call returns Cancelled soon (within 100 ms) after stop was requested. Default: cannot be
  // stopped.
  std::stop_token stop;
  // W3C trace parent of the recovery this call serves; empty when there is none.
  std::string trace_parent;
  // How many times this same call was tried before; 0 for the first time.
  int attempt = 0;

  // A context that ends after `timeout` by the operating system's clock.
  static CallContext WithTimeout(std::chrono::nanoseconds timeout) {
    CallContext context;
    context.deadline =
        SystemClock().Monotonic() + std::chrono::duration_cast<MonotonicTime::duration>(timeout);
    return context;
  }

  // Time left until the deadline, never negative; nanoseconds::max() when there is no deadline.
  std::chrono::nanoseconds Remaining(MonotonicTime now) const {
    if (deadline == MonotonicTime::max()) return std::chrono::nanoseconds::max();
    return deadline > now ? std::chrono::nanoseconds(deadline - now) : std::chrono::nanoseconds(0);
  }
};

}  // namespace sipheal::inline v0_1
