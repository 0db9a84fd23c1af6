// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/recovery.h"

#include <gtest/gtest.h>

namespace sipheal {
namespace {

TEST(RecoveryStage, IsTheSameAfterItWasWrittenAndRead) {
  for (int i = 0; i <= static_cast<int>(RecoveryStage::kFinished); ++i) {
    const auto stage = static_cast<RecoveryStage>(i);
    EXPECT_EQ(ParseRecoveryStage(ToString(stage)), stage) << ToString(stage);
  }
  EXPECT_FALSE(ParseRecoveryStage("unknown").has_value());
}

TEST(Outcome, IsTheSameAfterItWasWrittenAndRead) {
  for (int i = 0; i <= static_cast<int>(Outcome::kQuarantined); ++i) {
    const auto outcome = static_cast<Outcome>(i);
    EXPECT_EQ(ParseOutcome(ToString(outcome)), outcome) << ToString(outcome);
  }
  EXPECT_FALSE(ParseOutcome("").has_value());
}

}  // namespace
}  // namespace sipheal
