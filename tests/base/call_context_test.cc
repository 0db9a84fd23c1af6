// SPDX-License-Identifier: Apache-2.0
#include "sipheal/base/call_context.h"

#include <gtest/gtest.h>

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

TEST(CallContext, HasNoLimitByDefault) {
  CallContext context;
  EXPECT_EQ(context.Remaining(SystemClock().Monotonic()), nanoseconds::max());
  EXPECT_FALSE(context.stop.stop_possible());
}

TEST(CallContext, NeverHasNegativeTimeLeft) {
  CallContext context;
  context.deadline = MonotonicTime(milliseconds(10));
  EXPECT_EQ(context.Remaining(MonotonicTime(milliseconds(4))), milliseconds(6));
  EXPECT_EQ(context.Remaining(MonotonicTime(milliseconds(10))), nanoseconds(0));
  EXPECT_EQ(context.Remaining(MonotonicTime(milliseconds(99))), nanoseconds(0));
}

}  // namespace
}  // namespace sipheal
