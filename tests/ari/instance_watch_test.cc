// SPDX-License-Identifier: Apache-2.0
#include "ari/instance_watch.h"

#include <gtest/gtest.h>

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr WallTime kWall{std::chrono::microseconds(1'800'000'000'000'000)};

class InstanceWatchTest : public ::testing::Test {
 protected:
  // Points of time in milliseconds after the start.
  static MonotonicTime At(int ms) {
    return MonotonicTime(std::chrono::hours(1)) + milliseconds(ms);
  }
  static WallTime WallAt(int ms) { return kWall + milliseconds(ms); }

  InstanceWatch::Verdicts Judge(int ms) { return watch_.Judge(At(ms), WallAt(ms)); }
  // The kinds of the crashes reported at that time.
  std::vector<CrashKind> Crashes(int ms) {
    std::vector<CrashKind> kinds;
    for (const CrashEvent& crash : Judge(ms).crashes) kinds.push_back(crash.kind);
    return kinds;
  }
  using Kinds = std::vector<CrashKind>;

  InstanceWatch watch_{"a", {milliseconds(900)}};
};

TEST_F(InstanceWatchTest, SaysNothingOfOneThatWasNeverSeen) {
  watch_.Asked(At(0));
  EXPECT_EQ(Crashes(5000), Kinds{});
}

TEST_F(InstanceWatchTest, ALostSocketAloneIsNoDeath) {
  watch_.Connected("L1", At(0));
  watch_.Process(true, false, 7);
  watch_.Disconnected("reset", At(100));
  EXPECT_EQ(Crashes(101), Kinds{});
}

TEST_F(InstanceWatchTest, ALostSocketAndAnEndedProcessIsDeathAtOnce) {
  watch_.Connected("L1", At(0));
  watch_.Process(true, true, 7);
  EXPECT_EQ(Crashes(99), Kinds{}) << "the socket is still open: the process may be another one";
  watch_.Disconnected("reset", At(100));
  const auto verdicts = Judge(102);
  ASSERT_EQ(verdicts.crashes.size(), 1u);
  const CrashEvent& crash = verdicts.crashes[0];
  EXPECT_EQ(crash.kind, CrashKind::kProcessGone);
  EXPECT_EQ(crash.incarnation, (Incarnation{"a", "L1"}));
  EXPECT_EQ(crash.last_alive, WallAt(100));
  EXPECT_EQ(crash.detected_at, WallAt(102));
  EXPECT_EQ(crash.evidence.size(), 2u);
  EXPECT_EQ(Crashes(103), Kinds{}) << "CD-2: once";
}

TEST_F(InstanceWatchTest, ThreeRefusalsOver20MsAreDeathWhenNoProcessIsHeld) {
  watch_.Connected("L1", At(0));
  watch_.Disconnected("closed", At(100));
  watch_.Refused(At(101));
  watch_.Refused(At(102));
  watch_.Refused(At(103));
  EXPECT_EQ(Crashes(103), Kinds{}) << "three within 2 ms are not enough";
  watch_.Refused(At(121));
  EXPECT_EQ(Crashes(121), Kinds{CrashKind::kProcessGone});
}

TEST_F(InstanceWatchTest, TwoRefusalsAreNotEnough) {
  watch_.Connected("L1", At(0));
  watch_.Disconnected("closed", At(100));
  watch_.Refused(At(101));
  watch_.Refused(At(130));
  EXPECT_EQ(Crashes(131), Kinds{});
}

TEST_F(InstanceWatchTest, AnyOtherAnswerBetweenThemBeginsTheCountAnew) {
  watch_.Connected("L1", At(0));
  watch_.Disconnected("closed", At(100));
  watch_.Refused(At(101));
  watch_.Refused(At(111));
  watch_.AnsweredOtherwise();
  watch_.Refused(At(121));
  watch_.Refused(At(131));
  EXPECT_EQ(Crashes(132), Kinds{});
}

TEST_F(InstanceWatchTest, RefusalsProveNothingWhileTheProcessLives) {
  watch_.Connected("L1", At(0));
  watch_.Process(true, false, 7);
  watch_.Disconnected("closed", At(100));
  for (int ms = 101; ms < 200; ms += 10) watch_.Refused(At(ms));
  EXPECT_EQ(Crashes(200), Kinds{});
}

TEST_F(InstanceWatchTest, HepIsASignOfLifeAgainstRefusals) {
  watch_.Connected("L1", At(0));
  watch_.Disconnected("closed", At(100));
  for (int ms = 101; ms < 200; ms += 10) watch_.Refused(At(ms));
  watch_.Heard(std::nullopt, At(190));
  EXPECT_EQ(Crashes(200), Kinds{});
  EXPECT_EQ(Crashes(215), Kinds{CrashKind::kProcessGone}) << "quiet since";
}

TEST_F(InstanceWatchTest, SilenceCountsFromTheFirstUnansweredQuestion) {
  watch_.Connected("L1", At(0));
  watch_.Heard(At(10), std::nullopt);
  EXPECT_EQ(Crashes(5000), Kinds{}) << "it was not asked";
  watch_.Asked(At(5000));
  watch_.Asked(At(5500));
  EXPECT_EQ(Crashes(5899), Kinds{});
  const auto verdicts = Judge(5900);
  ASSERT_EQ(verdicts.crashes.size(), 1u);
  EXPECT_EQ(verdicts.crashes[0].kind, CrashKind::kSilent);
  EXPECT_EQ(verdicts.crashes[0].last_alive, WallAt(10));
}

TEST_F(InstanceWatchTest, AnyChannelBreaksTheSilence) {
  watch_.Connected("L1", At(0));
  watch_.Asked(At(100));
  watch_.Heard(At(900), std::nullopt);
  EXPECT_EQ(Crashes(1000), Kinds{});
  watch_.Asked(At(1000));
  watch_.Heard(std::nullopt, At(1800));
  EXPECT_EQ(Crashes(1900), Kinds{});
  watch_.Asked(At(1900));
  watch_.Identified("L1", At(2700));
  EXPECT_EQ(Crashes(2800), Kinds{});
}

TEST_F(InstanceWatchTest, TheDetectorsOwnLatenessDoesNotCount) {
  watch_.Connected("L1", At(0));
  watch_.Asked(At(100));
  watch_.Late(milliseconds(10'000));
  EXPECT_EQ(Crashes(10'200), Kinds{});
  EXPECT_EQ(Crashes(11'000), Kinds{CrashKind::kSilent});
}

TEST_F(InstanceWatchTest, AFaultOnThisSideIsNoSilence) {
  watch_.Connected("L1", At(0));
  watch_.Asked(At(100));
  watch_.NotAsked();
  EXPECT_EQ(Crashes(5000), Kinds{});
}

TEST_F(InstanceWatchTest, AnotherStartUpTimeIsTheDeathOfTheFirst) {
  watch_.Connected("L1", At(0));
  watch_.Disconnected("closed", At(100));
  watch_.Connected("L2", At(400));
  const auto verdicts = Judge(401);
  ASSERT_EQ(verdicts.crashes.size(), 1u);
  EXPECT_EQ(verdicts.crashes[0].kind, CrashKind::kRestarted);
  EXPECT_EQ(verdicts.crashes[0].incarnation.life, "L1");
  EXPECT_EQ(Crashes(500), Kinds{});
}

// The next life was seen over HTTP before its event socket was open: the ended process is not its.
TEST_F(InstanceWatchTest, ANewLifeIsNotJudgedByTheProcessOfTheOldOne) {
  watch_.Connected("L1", At(0));
  watch_.Process(true, true, 7);
  watch_.Disconnected("closed", At(100));
  EXPECT_EQ(Crashes(101), Kinds{CrashKind::kProcessGone});
  watch_.Identified("L2", At(400));
  EXPECT_EQ(Crashes(401), Kinds{});
  EXPECT_EQ(Crashes(800), Kinds{});
  watch_.Connected("L2", At(900));
  EXPECT_EQ(Crashes(901), Kinds{});
}

TEST_F(InstanceWatchTest, AnExpectedLifeThatIsGoneIsFoundLate) {
  watch_.Expect("L0");
  EXPECT_EQ(Crashes(0), Kinds{});
  watch_.Identified("L1", At(10));
  const auto verdicts = Judge(10);
  ASSERT_EQ(verdicts.crashes.size(), 1u);
  EXPECT_EQ(verdicts.crashes[0].incarnation.life, "L0");
  EXPECT_EQ(verdicts.crashes[0].kind, CrashKind::kRestarted);
  watch_.Expect("L0");
  EXPECT_EQ(Crashes(20), Kinds{}) << "CD-2: it was reported";
}

TEST_F(InstanceWatchTest, AnExpectedLifeAtARefusingPortIsDead) {
  watch_.Expect("L0");
  for (int ms = 0; ms <= 20; ms += 10) watch_.Refused(At(ms));
  EXPECT_EQ(Crashes(21), Kinds{CrashKind::kProcessGone});
}

TEST_F(InstanceWatchTest, AnExpectedLifeThatLivesIsLeftAlone) {
  watch_.Expect("L1");
  watch_.Connected("L1", At(10));
  EXPECT_EQ(Crashes(5000), Kinds{});
}

TEST_F(InstanceWatchTest, ASilentOneThatWakesUpReturnsAndMayDieAgain) {
  watch_.Connected("L1", At(0));
  watch_.Asked(At(100));
  EXPECT_EQ(Crashes(1000), Kinds{CrashKind::kSilent});
  EXPECT_TRUE(watch_.awaits_return());
  EXPECT_FALSE(watch_.NeedsIdentification());
  watch_.Heard(At(1500), std::nullopt);
  EXPECT_TRUE(watch_.NeedsIdentification());
  watch_.Identified("L1", At(1510));
  const auto verdicts = Judge(1510);
  ASSERT_EQ(verdicts.returns.size(), 1u);
  EXPECT_EQ(verdicts.returns[0].incarnation.life, "L1");
  EXPECT_EQ(Judge(1600).returns.size(), 0u) << "CD-6: once each time";
  watch_.Asked(At(2000));
  EXPECT_EQ(Crashes(2900), Kinds{CrashKind::kSilent});
}

TEST_F(InstanceWatchTest, ASilentOneThatIsReplacedDoesNotReturn) {
  watch_.Connected("L1", At(0));
  watch_.Asked(At(100));
  EXPECT_EQ(Crashes(1000), Kinds{CrashKind::kSilent});
  watch_.Connected("L2", At(2000));
  EXPECT_EQ(Crashes(2001), Kinds{});
  EXPECT_FALSE(watch_.awaits_return());
  // A late answer of the dead one makes nothing of it.
  watch_.Identified("L1", At(2002));
  const auto verdicts = Judge(2003);
  EXPECT_EQ(verdicts.crashes.size(), 0u);
  EXPECT_EQ(verdicts.returns.size(), 0u);
}

// F87: five minutes without an event socket, while HTTP answers each second. Nothing is a death but
// the one death in that time, whether somebody started the server again or not.
TEST_F(InstanceWatchTest, F87_FiveMinutesWithoutEventSocketHideNoDeathAndMakeNone) {
  constexpr int kDeath = 150'000;
  for (const bool restarted : {true, false}) {
    InstanceWatch watch("a", {milliseconds(900)});
    watch.Connected("L1", At(0));
    watch.Disconnected("reset", At(500));
    std::vector<CrashEvent> crashes;
    for (int ms = 1'000; ms <= 300'000; ms += 100) {
      const bool question = ms % 1'000 == 0;
      if (question) watch.Asked(At(ms));
      if (ms < kDeath) {
        if (ms % 1'000 == 200) watch.Identified("L1", At(ms));
        // The event socket is refused by the application, not by the port.
        if (ms % 1'000 == 300) watch.AnsweredOtherwise();
      } else if (!restarted) {
        if (question) watch.Refused(At(ms));
      } else if (ms > kDeath + 20'000 && ms % 1'000 == 200) {
        watch.Identified("L2", At(ms));
      }
      for (const CrashEvent& crash : watch.Judge(At(ms), WallAt(ms)).crashes) {
        crashes.push_back(crash);
      }
      ASSERT_TRUE(ms >= kDeath || crashes.empty()) << ms << " ms";
    }
    ASSERT_EQ(crashes.size(), 1u) << (restarted ? "restarted" : "not restarted");
    EXPECT_EQ(crashes[0].incarnation, (Incarnation{"a", "L1"}));
    EXPECT_LE(crashes[0].detected_at, WallAt(kDeath + 5'000));
    EXPECT_GE(crashes[0].last_alive, WallAt(kDeath - 1'000));
  }
}

TEST_F(InstanceWatchTest, APlannedStopIsNoCrashUntilItsTimeIsOver) {
  watch_.Connected("L1", At(0));
  watch_.PlannedStop(WallAt(3000));
  watch_.Process(true, true, 7);
  watch_.Disconnected("closed", At(100));
  EXPECT_EQ(Crashes(2999), Kinds{});
  EXPECT_EQ(Crashes(3000), Kinds{CrashKind::kProcessGone});
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
