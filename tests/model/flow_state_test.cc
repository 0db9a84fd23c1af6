// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/flow_state.h"

#include <gtest/gtest.h>

namespace sipheal {
namespace {

using std::chrono::milliseconds;

WallTime At(int ms) { return WallTime(milliseconds(ms)); }

TEST(Playback, IsWhereItBeganPlusWhatWasPlayed) {
  Playback playback;
  playback.item_started = At(10'000);
  playback.skipped = milliseconds(500);
  EXPECT_EQ(playback.PositionAt(At(12'250)), milliseconds(2'750));
}

TEST(Playback, DoesNotMoveWhilePaused) {
  Playback playback;
  playback.item_started = At(10'000);
  playback.paused = true;
  playback.paused_at = milliseconds(700);
  EXPECT_EQ(playback.PositionAt(At(99'000)), milliseconds(700));
}

TEST(Playback, HasNoNegativePositionWhenClocksDisagree) {
  Playback playback;
  playback.item_started = At(10'000);
  EXPECT_EQ(playback.PositionAt(At(9'000)), milliseconds(0));
}

}  // namespace
}  // namespace sipheal
