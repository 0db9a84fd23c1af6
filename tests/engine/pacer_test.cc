// SPDX-License-Identifier: Apache-2.0
#include "engine/pacer.h"

#include <gtest/gtest.h>

namespace sipheal::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

PacingOptions Options() {
  PacingOptions options;
  options.rate = 100;
  options.min_rate = 10;
  options.burst = 5;
  return options;
}

int TakeAll(Pacer& pacer, MonotonicTime now) {
  int taken = 0;
  while (pacer.TryTake(now)) ++taken;
  return taken;
}

TEST(Pacer, GivesTheBurstAtOnceAndTheRateAfterwards) {
  const MonotonicTime start{};
  Pacer pacer(Options(), start);
  EXPECT_EQ(TakeAll(pacer, start), 5);
  int taken = 0;
  for (int ms = 1; ms <= 1'000; ++ms) taken += TakeAll(pacer, start + milliseconds(ms));
  EXPECT_NEAR(taken, 100, 1);
}

TEST(Pacer, DoesNotSaveUpMoreThanTheBurst) {
  const MonotonicTime start{};
  Pacer pacer(Options(), start);
  EXPECT_EQ(TakeAll(pacer, start + seconds(3600)), 5);
}

TEST(Pacer, SaysWhenTheNextOneIsThere) {
  const MonotonicTime start{};
  Pacer pacer(Options(), start);
  TakeAll(pacer, start);
  const MonotonicTime next = pacer.NextAt(start);
  EXPECT_GT(next, start);
  EXPECT_LE(next, start + milliseconds(12));
  EXPECT_TRUE(pacer.TryTake(next));
}

TEST(Pacer, SlowsDownForATargetInTroubleAndComesBackWhenItIsWell) {
  const MonotonicTime start{};
  Pacer pacer(Options(), start);
  for (int i = 0; i < 20; ++i) pacer.Overloaded();
  EXPECT_EQ(pacer.rate(), 10);
  pacer.Succeeded(milliseconds(600));  // an answer, but a slow one
  EXPECT_EQ(pacer.rate(), 10);
  for (int i = 0; i < 100; ++i) pacer.Succeeded(milliseconds(5));
  EXPECT_EQ(pacer.rate(), 100);
}

}  // namespace
}  // namespace sipheal::internal
