// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/session.h"

#include <gtest/gtest.h>

namespace sipheal {
namespace {

TEST(MakeSessionId, IsAFunctionOfInstanceLifeAndChannel) {
  const Incarnation one{"ast-1", "2026-01-01T00:00:00"};
  EXPECT_EQ(MakeSessionId(one, "1700000000.1"), MakeSessionId(one, "1700000000.1"));
  EXPECT_NE(MakeSessionId(one, "1700000000.1"), MakeSessionId(one, "1700000000.2"));
  EXPECT_NE(MakeSessionId(one, "1700000000.1"),
            MakeSessionId({"ast-1", "2026-01-02T00:00:00"}, "1700000000.1"));
  EXPECT_NE(MakeSessionId({"a", "bc"}, "d"), MakeSessionId({"ab", "c"}, "d"));
}

TEST(MakeSessionId, IsTheSameInEveryVersionOfTheLibrary) {
  // Sessions outlive controllers: an upgraded one must find the ids of the old one.
  EXPECT_EQ(MakeSessionId({"ast-1", "life"}, "1.1"), "a16361007261e22e06f015cb4ed3a49d");
}

TEST(RecoveryChannel, KeepsSessionEpochAndAttemptInItsId) {
  const RecoveryChannel channel{{"0123abcd.x_y", 7}, 12};
  EXPECT_EQ(ToChannelId(channel), "sipheal-0123abcd.x_y-7-12");
  EXPECT_EQ(ParseRecoveryChannelId(ToChannelId(channel)), channel);
}

TEST(RecoveryChannel, IsNotReadFromForeignChannelIds) {
  for (const char* id : {"", "1700000000.1", "sipheal-", "sipheal-a", "sipheal-a-1", "sipheal-a-1-",
                         "sipheal-a--1", "sipheal--1-1", "sipheal-a-x-1", "sipheal-a-1-99999999999",
                         "sipheal-a-1-1x", "sipheal---"}) {
    EXPECT_FALSE(ParseRecoveryChannelId(id).has_value()) << id;
  }
}

}  // namespace
}  // namespace sipheal
