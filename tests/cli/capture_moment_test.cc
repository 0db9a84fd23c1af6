// SPDX-License-Identifier: Apache-2.0
#include "cli/capture_moment.h"

#include <chrono>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace sipheal::cli {
namespace {

using ::testing::HasSubstr;

std::int64_t Micros(const std::string& text) {
  const absl::StatusOr<CaptureMoment> moment = ParseMoment(text);
  EXPECT_TRUE(moment.ok()) << moment.status();
  if (!moment.ok() || !moment->time) return -1;
  EXPECT_FALSE(moment->frame.has_value()) << text;
  return moment->time->time_since_epoch().count();
}

TEST(CaptureMoment, AWholeNumberIsAFrame) {
  for (const auto& [text, frame] : {std::pair<std::string, std::uint64_t>{"0", 0},
                                    {"312", 312},
                                    {"18446744073709551615", 18446744073709551615u}}) {
    const absl::StatusOr<CaptureMoment> moment = ParseMoment(text);
    ASSERT_TRUE(moment.ok()) << moment.status();
    EXPECT_EQ(moment->frame, frame);
    EXPECT_FALSE(moment->time.has_value());
  }
}

TEST(CaptureMoment, TimesAreReadAsPeopleWriteThem) {
  constexpr std::int64_t kNoon = 1'782'907'200'000'000;  // 2026-07-01T12:00:00Z
  EXPECT_EQ(Micros("2026-07-01T12:00:00Z"), kNoon);
  EXPECT_EQ(Micros("2026-07-01t12:00:00z"), kNoon);
  EXPECT_EQ(Micros("2026-07-01 12:00:00Z"), kNoon);
  EXPECT_EQ(Micros("2026-07-01T14:30:00+02:30"), kNoon);
  EXPECT_EQ(Micros("2026-07-01T07:00:00-05:00"), kNoon);
  EXPECT_EQ(Micros("2026-07-01T12:00:00.5Z"), kNoon + 500'000);
  EXPECT_EQ(Micros("2026-07-01T12:00:00.000001Z"), kNoon + 1);
  EXPECT_EQ(Micros("2026-07-01T12:00:00.123456999Z"), kNoon + 123'456);  // cut, not rounded
  EXPECT_EQ(Micros("2026-07-01T11:59:60Z"), kNoon);                      // a leap second
  EXPECT_EQ(Micros("1782907200.0"), kNoon);
  EXPECT_EQ(Micros("1782907200.25"), kNoon + 250'000);
  EXPECT_EQ(Micros("@1782907200"), kNoon);
  EXPECT_EQ(Micros("@1782907200.000002"), kNoon + 2);
  EXPECT_EQ(Micros("1970-01-01T00:00:00Z"), 0);
}

TEST(CaptureMoment, WhatIsNeitherIsRefusedWithExamples) {
  for (const std::string text : {"",
                                 "yesterday",
                                 "12x",
                                 "-1",
                                 "2026-07-01",
                                 "2026-07-01T12:00:00",
                                 "2026-13-01T12:00:00Z",
                                 "2026-02-30T12:00:00Z",
                                 "2026-07-01T24:00:00Z",
                                 "2026-07-01T12:60:00Z",
                                 "2026-07-01T12:00:61Z",
                                 "2026-07-01T12:00:00.Z",
                                 "2026-07-01T12:00:00Zulu",
                                 "2026-07-01T12:00:00+2:00",
                                 "2026-07-01T12:00:00+24:00",
                                 "1782907200.",
                                 ".5",
                                 "@",
                                 "@x",
                                 "18446744073709551616",
                                 "99999999999999.0"}) {
    const absl::StatusOr<CaptureMoment> moment = ParseMoment(text);
    ASSERT_FALSE(moment.ok()) << text;
    EXPECT_THAT(std::string(moment.status().message()), HasSubstr("--at " + text));
    EXPECT_THAT(std::string(moment.status().message()), HasSubstr("2026-07-01T12:00:00.25Z"));
  }
}

}  // namespace
}  // namespace sipheal::cli
