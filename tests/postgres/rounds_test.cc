// SPDX-License-Identifier: Apache-2.0
#include "postgres/rounds.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(Rounds, HaveEachKeyOnceAndKeepItsOrder) {
  const std::vector<std::string> keys = {"a", "b", "a", "c", "a", "b"};
  EXPECT_THAT(
      internal::postgres::SplitIntoRounds(keys.size(), [&](std::size_t i) { return keys[i]; }),
      ElementsAre(ElementsAre(0, 1, 3), ElementsAre(2, 5), ElementsAre(4)));
}

TEST(Rounds, OfNothingAreNone) {
  EXPECT_THAT(internal::postgres::SplitIntoRounds(0, [](std::size_t i) { return i; }), IsEmpty());
}

}  // namespace
}  // namespace sipheal
