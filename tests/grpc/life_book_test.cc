// SPDX-License-Identifier: Apache-2.0
// What follows from what reporters say: deaths, false alarms that are none, and contradictions.
#include "grpc/life_book.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sipheal::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr milliseconds kSilence{900};

class LifeBookTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(book_.Add("a").ok());
    Pass(seconds(1'000'000));
  }

  void Pass(milliseconds time) {
    now_.wall += time;
    now_.monotonic += time;
  }
  LifeReport Of(const std::string& reporter, const std::string& life, LifeState state) const {
    return {.reporter = reporter, .incarnation = {"a", life}, .state = state};
  }
  void Say(const LifeReport& report) { ASSERT_TRUE(book_.Report(report, now_).ok()); }
  void Say(const std::string& reporter, const std::string& life, LifeState state) {
    Say(Of(reporter, life, state));
  }
  // What is news now, in words: "1 silent", "1 returned".
  std::string Look() {
    news_ = book_.Look("a", now_);
    std::string words;
    for (const CrashEvent& crash : news_.crashes) {
      words += crash.incarnation.life + " " + std::string(ToString(crash.kind)) + ";";
    }
    for (const ReturnEvent& event : news_.returns) words += event.incarnation.life + " returned;";
    return words;
  }

  LifeBook book_{kSilence};
  Moment now_;
  LifeBook::News news_;
};

TEST_F(LifeBookTest, AProcessThatIsGoneIsToldAtOnceAndOnce) {
  Say("x", "1", LifeState::kAlive);
  EXPECT_EQ(Look(), "");
  Pass(milliseconds(10));
  Say("x", "1", LifeState::kGone);
  EXPECT_EQ(Look(), "1 process_gone;");
  Say("x", "1", LifeState::kGone);
  Say("y", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "");
}

TEST_F(LifeBookTest, ADeathThatALaterSignOfLifeContradictsIsNoDeath) {
  LifeReport late = Of("x", "1", LifeState::kGone);
  late.observed_at = now_.wall;
  Pass(milliseconds(500));
  Say("y", "1", LifeState::kAlive);
  Say(late);  // was long on its way
  EXPECT_EQ(Look(), "");
  Pass(seconds(100));
  EXPECT_EQ(Look(), "");
}

TEST_F(LifeBookTest, SilenceCountsOnlyWhenNobodyElseHearsIt) {
  Say("x", "1", LifeState::kAlive);
  Say("y", "1", LifeState::kAlive);
  Pass(milliseconds(500));
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "");
  ASSERT_TRUE(news_.look_again);
  EXPECT_EQ(*news_.look_again, now_.monotonic + milliseconds(400));
  Pass(milliseconds(100));
  Say("y", "1", LifeState::kAlive);
  Pass(milliseconds(899));
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "");
  Pass(milliseconds(1));
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, OneThatWasSilentAndIsHeardHasReturnedAndMayDieAgain) {
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "1 silent;");
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "");
  Pass(milliseconds(10));
  Say("x", "1", LifeState::kAlive);
  EXPECT_EQ(Look(), "1 returned;");
  EXPECT_EQ(Look(), "");
  Pass(seconds(1));
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, OneThatIsGoneAndHeardAgainIsAContradictionToldOnce) {
  Say("x", "1", LifeState::kGone);
  EXPECT_EQ(Look(), "1 process_gone;");
  for (int i = 0; i < 3; ++i) {
    Pass(milliseconds(10));
    Say("y", "1", LifeState::kAlive);
    EXPECT_EQ(Look(), "");
    EXPECT_EQ(news_.contradictions.size(), i == 0 ? 1u : 0u);
  }
}

TEST_F(LifeBookTest, AnotherLifeInItsPlaceIsARestart) {
  Say("x", "1", LifeState::kAlive);
  Pass(milliseconds(100));
  Say("x", "2", LifeState::kAlive);
  EXPECT_EQ(Look(), "");
  Pass(kSilence - milliseconds(100));
  Say("x", "2", LifeState::kAlive);
  EXPECT_EQ(Look(), "1 restarted;");
  EXPECT_EQ(Look(), "");
}

TEST_F(LifeBookTest, AReportOfAnOldLifeThatComesLateHarmsTheNewOneNot) {
  LifeReport late = Of("x", "1", LifeState::kAlive);
  late.observed_at = now_.wall;
  Pass(milliseconds(500));
  Say("x", "2", LifeState::kAlive);
  Say(late);
  Pass(2 * kSilence);
  EXPECT_EQ(Look(), "1 restarted;");
}

TEST_F(LifeBookTest, AReportFromTheFutureCountsAsNow) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.observed_at = now_.wall + seconds(3'600);
  Say(report);
  Pass(milliseconds(10));
  Say("x", "1", LifeState::kGone);
  EXPECT_EQ(Look(), "1 process_gone;");
}

TEST_F(LifeBookTest, AnExpectedLifeIsDeadWhenAnotherIsSeenAfterwards) {
  Say("x", "2", LifeState::kAlive);
  Pass(seconds(10));
  ASSERT_TRUE(book_.Expect({"a", "1"}, now_).ok());
  // What was seen before it was expected says nothing: 1 may be the newer one.
  EXPECT_EQ(Look(), "");
  Pass(milliseconds(10));
  Say("x", "2", LifeState::kAlive);
  EXPECT_EQ(Look(), "1 restarted;");
}

TEST_F(LifeBookTest, WhereNoneLivesAllThatWereSeenBeforeAreDead) {
  ASSERT_TRUE(book_.Expect({"a", "1"}, now_).ok());
  Say("x", "2", LifeState::kAlive);
  Pass(milliseconds(10));
  Say("x", "", LifeState::kGone);
  EXPECT_EQ(Look(), "1 process_gone;2 process_gone;");
  Pass(milliseconds(10));
  Say("x", "3", LifeState::kAlive);
  EXPECT_EQ(Look(), "");
}

TEST_F(LifeBookTest, APromiseThatRunsOutIsSilence) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.valid_for = seconds(2);
  Say(report);
  EXPECT_EQ(Look(), "");
  EXPECT_EQ(news_.look_again, now_.monotonic + seconds(2));
  Pass(milliseconds(1'999));
  Say("y", "1", LifeState::kAlive);  // promises nothing, but hears it
  Pass(milliseconds(1));
  EXPECT_EQ(Look(), "");
  Pass(kSilence);
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, TimeInWhichTheProcessDidNotRunIsNoSilence) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.valid_for = seconds(2);
  Say(report);
  Pass(seconds(60));
  book_.Forgive(seconds(60), now_.monotonic);
  EXPECT_EQ(Look(), "");
  Pass(seconds(2));
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, ASetWallClockSilencesNobodyAndHidesNoEnd) {
  for (const seconds step : {seconds(-3'600), seconds(3'600), seconds(-3'600)}) {
    for (const bool says_when : {false, true}) {
      const std::string life = std::to_string(step.count()) + (says_when ? "w" : "");
      const auto say = [&](LifeState state, seconds its_clock) {
        LifeReport report = Of("x", life, state);
        if (state == LifeState::kAlive) report.valid_for = seconds(2);
        if (says_when) report.observed_at = now_.wall + its_clock;
        Say(report);
      };
      say(LifeState::kAlive, seconds(0));
      now_.wall += step;  // here, and not where the reporter is
      for (int i = 0; i < 20; ++i) {
        Pass(milliseconds(500));
        say(LifeState::kAlive, -step);
        EXPECT_EQ(Look(), "") << life;
      }
      Pass(milliseconds(500));
      say(LifeState::kGone, -step);
      EXPECT_EQ(Look(), life + " process_gone;");
    }
    ASSERT_TRUE(book_.Remove("a").ok());
    ASSERT_TRUE(book_.Add("a").ok());
  }
}

TEST_F(LifeBookTest, AReporterWhoseClockWasSetBackIsHeard) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.valid_for = seconds(2);
  for (int i = 0; i < 20; ++i) {
    report.observed_at = now_.wall - (i < 10 ? seconds(0) : seconds(3'600));
    Say(report);
    EXPECT_EQ(Look(), "");
    Pass(milliseconds(700));
  }
  report.state = LifeState::kGone;
  report.observed_at = now_.wall - seconds(3'600);
  Say(report);
  EXPECT_EQ(Look(), "1 process_gone;");
}

TEST_F(LifeBookTest, AReporterWhoseClockIsBehindIsHeard) {
  Say("x", "1", LifeState::kAlive);
  LifeReport behind = Of("y", "1", LifeState::kAlive);
  for (int i = 0; i < 10; ++i) {
    Pass(milliseconds(500));
    behind.observed_at = now_.wall - seconds(30);
    Say(behind);
    Say("x", "1", LifeState::kSilent);
    EXPECT_EQ(Look(), "");
  }
  Pass(kSilence);
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, AReportThatWasLongOnItsWayIsNoSignOfLifeNow) {
  LifeReport late = Of("x", "1", LifeState::kAlive);
  late.valid_for = seconds(2);
  late.observed_at = now_.wall;
  LifeReport next = late;
  next.observed_at = now_.wall + milliseconds(500);
  Pass(milliseconds(500));
  Say(next);
  Pass(milliseconds(1'900));
  Say(late);
  Pass(milliseconds(100));
  EXPECT_EQ(Look(), "1 silent;");
}

TEST_F(LifeBookTest, SilenceThatOneReporterSeesCountsNotWhileAnotherPromisesItsNextSign) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.valid_for = seconds(10);
  Say(report);
  Pass(seconds(5));
  Say("y", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "");
  EXPECT_EQ(news_.look_again, now_.monotonic + seconds(5));
  Say("y", "2", LifeState::kAlive);
  EXPECT_EQ(Look(), "") << "nor does another life that only this one sees";
  Pass(seconds(5));
  EXPECT_EQ(Look(), "1 restarted;");
}

TEST_F(LifeBookTest, AReporterThatSeesTheNextLifePromisesNothingForTheOneBefore) {
  LifeReport report = Of("x", "1", LifeState::kAlive);
  report.valid_for = seconds(3'600);
  Say(report);
  Pass(kSilence);
  report.incarnation.life = "2";
  Say(report);
  EXPECT_EQ(Look(), "1 restarted;");
}

TEST_F(LifeBookTest, WhatWasSilentAndHasEndedIsToldOnceMore) {
  Say("x", "1", LifeState::kSilent);
  EXPECT_EQ(Look(), "1 silent;");
  Pass(milliseconds(10));
  Say("operator", "1", LifeState::kDeclaredDead);
  EXPECT_EQ(Look(), "1 reported;");
  Say("x", "1", LifeState::kGone);
  EXPECT_EQ(Look(), "");
}

TEST_F(LifeBookTest, APlannedStopIsNoCrashUntilItsTimeIsOver) {
  Say("x", "1", LifeState::kAlive);
  ASSERT_TRUE(book_.AnnounceStop("a", now_.wall + seconds(60)).ok());
  Pass(milliseconds(10));
  Say("x", "1", LifeState::kGone);
  EXPECT_EQ(Look(), "");
  Pass(seconds(60));
  EXPECT_EQ(Look(), "1 process_gone;");
}

TEST_F(LifeBookTest, EvidenceIsOneLineEachAndBounded) {
  LifeReport report = Of("x\n", "1", LifeState::kDeclaredDead);
  report.evidence.assign(50, std::string("line\r\n\xff") + std::string(5'000, 'y'));
  Say(report);
  EXPECT_EQ(Look(), "1 reported;");
  ASSERT_EQ(news_.crashes[0].evidence.size(), 16u);
  EXPECT_LT(news_.crashes[0].evidence[0].size(), 600u);
  EXPECT_EQ(news_.crashes[0].evidence[0].substr(0, 11), "x?: line???");
}

TEST_F(LifeBookTest, WrongReportsAreNamed) {
  const auto code = [&](LifeReport report) { return book_.Report(report, now_).code(); };
  LifeReport good = Of("x", "1", LifeState::kAlive);
  EXPECT_EQ(code(good), absl::StatusCode::kOk);
  LifeReport bad = good;
  bad.incarnation.instance = "z";
  EXPECT_EQ(code(bad), absl::StatusCode::kNotFound);
  bad = good;
  bad.reporter = "";
  EXPECT_EQ(code(bad), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.incarnation.life = "";
  EXPECT_EQ(code(bad), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.valid_for = milliseconds(1);
  EXPECT_EQ(code(bad), absl::StatusCode::kInvalidArgument);
  bad = good;
  bad.incarnation.life = std::string(1'000, 'x');
  EXPECT_EQ(code(bad), absl::StatusCode::kInvalidArgument);
}

TEST_F(LifeBookTest, ManyLivesAndReportersStayBounded) {
  for (int i = 0; i < 1'000; ++i) {
    Pass(milliseconds(1));
    Say("reporter" + std::to_string(i), "1", LifeState::kAlive);
  }
  int refused = 0;
  for (int i = 2; i < 1'000; ++i) {
    Pass(milliseconds(1));
    const absl::Status said = book_.Report(Of("x", std::to_string(i), LifeState::kAlive), now_);
    if (absl::IsResourceExhausted(said)) ++refused;
  }
  EXPECT_EQ(refused, 998 - 63);
  // What was told of makes room.
  Pass(2 * kSilence);
  EXPECT_NE(Look(), "");
  EXPECT_TRUE(book_.Report(Of("x", "new", LifeState::kAlive), now_).ok());
}

}  // namespace
}  // namespace sipheal::internal
