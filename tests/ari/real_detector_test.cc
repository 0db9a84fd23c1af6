// SPDX-License-Identifier: Apache-2.0
// The detector on a real Asterisk: killed, stopped, restarted.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <iostream>
#include <thread>

#include "ari/connections.h"
#include "crash_recorder.h"
#include "recording_handler.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/testing/fake_ari.h"
#include "support/real_asterisk.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::duration;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::FakeAri;
using testing::RealAsterisk;

bool Long() {
  const char* const value = std::getenv("SIPHEAL_LONG");
  return value != nullptr && std::string(value) == "1";
}

double Milliseconds(steady_clock::duration time) {
  return duration<double, std::milli>(time).count();
}

class RealDetectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    asterisk_ = RealAsterisk::Make("ast");
    if (!asterisk_ && !HasFailure()) GTEST_SKIP() << "no Asterisk";
    ASSERT_NE(asterisk_, nullptr);
  }

  void Connect(bool with_pid_file = true) {
    AriOptions options;
    options.instances = {asterisk_->Ari()};
    if (!with_pid_file) options.instances[0].pid_file.clear();
    options.log = log_;
    connections_ = *ConnectAri(options);
    detector_ = *MakeAriCrashDetector(connections_, {});
    ASSERT_TRUE(detector_->Start(recorder_).ok());
    ASSERT_TRUE(WaitConnected()) << log_->text();
  }
  bool WaitConnected() {
    return FakeAri::WaitFor([&] { return connections_->Connected("ast").has_value(); },
                            std::chrono::seconds(10));
  }
  bool WaitCrash(std::size_t count) {
    return FakeAri::WaitFor([&] { return recorder_->crashes().size() >= count; });
  }

  // Kills it `count` times; prints and checks how long it took to be known.
  void KillAgainAndAgain(int count, CrashKind kind, milliseconds limit) {
    std::vector<double> took;
    for (int i = 0; i < count; ++i) {
      if (i > 0) {
        ASSERT_TRUE(asterisk_->Boot());
        ASSERT_TRUE(WaitConnected()) << log_->text();
        std::this_thread::sleep_for(milliseconds(60));  // a running system, pings answered
      }
      const auto life = connections_->Connected("ast")->life;
      const std::size_t before = recorder_->crashes().size();
      const auto begin = steady_clock::now();
      asterisk_->Kill();
      ASSERT_TRUE(WaitCrash(before + 1)) << log_->text();
      asterisk_->Reap();
      const auto [crash, at] = recorder_->crashes().back();
      EXPECT_EQ(crash.kind, kind) << crash.evidence.back();
      EXPECT_EQ(crash.incarnation.life, life);
      EXPECT_EQ(recorder_->crashes().size(), before + 1);
      took.push_back(Milliseconds(at - begin));
      EXPECT_LE(at - begin, limit) << "kill " << i;
    }
    std::sort(took.begin(), took.end());
    std::cout << "kill -9 to OnCrash, " << count << " kills: p50 " << took[took.size() / 2]
              << " ms, worst " << took.back() << " ms\n";
  }

  std::unique_ptr<RealAsterisk> asterisk_;
  std::shared_ptr<RecordingLog> log_ = std::make_shared<RecordingLog>();
  std::shared_ptr<CrashRecorder> recorder_ = std::make_shared<CrashRecorder>();
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<CrashDetector> detector_;
};

// F87: killed in place.
TEST_F(RealDetectorTest, AKilledServerIsKnownDeadWithinMillisecondsByItsProcess) {
  Connect();
  KillAgainAndAgain(Long() ? 50 : 4, CrashKind::kProcessGone, milliseconds(40));
}

TEST_F(RealDetectorTest, AKilledServerOfAnotherHostIsKnownDeadByRefusals) {
  Connect(/*with_pid_file=*/false);
  KillAgainAndAgain(Long() ? 50 : 3, CrashKind::kProcessGone, milliseconds(100));
}

// F89: any stop shorter than the configured silence: no recovery.
TEST_F(RealDetectorTest, AStopOf800MillisecondsIsNoDeathAndOneOfASecondIs) {
  Connect();
  for (int i = 0; i < (Long() ? 20 : 3); ++i) {
    asterisk_->Signal(SIGSTOP);
    std::this_thread::sleep_for(milliseconds(800));
    asterisk_->Signal(SIGCONT);
    std::this_thread::sleep_for(milliseconds(137));
    ASSERT_EQ(recorder_->crashes().size(), 0u) << "stop " << i << "\n" << log_->text();
  }
  std::vector<double> took;
  for (std::size_t i = 0; i < (Long() ? 20u : 3u); ++i) {
    const auto begin = steady_clock::now();
    asterisk_->Signal(SIGSTOP);
    ASSERT_TRUE(WaitCrash(i + 1)) << log_->text();
    const auto [crash, at] = recorder_->crashes().back();
    took.push_back(Milliseconds(at - begin));
    EXPECT_EQ(crash.kind, CrashKind::kSilent);
    EXPECT_LE(at - begin, milliseconds(1000));
    std::this_thread::sleep_until(begin + milliseconds(1000));
    asterisk_->Signal(SIGCONT);
    ASSERT_TRUE(FakeAri::WaitFor([&] { return recorder_->returns().size() == i + 1; }))
        << log_->text();
    EXPECT_EQ(recorder_->returns().back().incarnation, crash.incarnation);
    std::this_thread::sleep_for(milliseconds(100));
  }
  std::sort(took.begin(), took.end());
  std::cout << "SIGSTOP to OnCrash: least " << took.front() << " ms, worst " << took.back()
            << " ms\n";
}

TEST_F(RealDetectorTest, ARestartThatNobodySawIsFoundByItsStartUpTime) {
  Connect(/*with_pid_file=*/false);
  const auto life = connections_->Connected("ast")->life;
  detector_->Stop();  // F87: the detector is off while it happens
  asterisk_->Kill();
  asterisk_->Reap();
  ASSERT_TRUE(asterisk_->Boot());
  ASSERT_TRUE(detector_->Expect({"ast", life}).ok());
  ASSERT_TRUE(detector_->Start(recorder_).ok());
  ASSERT_TRUE(WaitCrash(1)) << log_->text();
  EXPECT_EQ(recorder_->crashes()[0].first.incarnation.life, life);
  EXPECT_EQ(recorder_->crashes()[0].first.kind, CrashKind::kRestarted);
  std::this_thread::sleep_for(milliseconds(1000));
  EXPECT_EQ(recorder_->crashes().size(), 1u);
}

// The same with a detector that runs on: the next life is seen over HTTP before its event socket.
TEST_F(RealDetectorTest, ARestartedServerIsNotTakenForTheDeadOne) {
  Connect();
  for (std::size_t i = 1; i <= 3; ++i) {
    const auto life = connections_->Connected("ast")->life;
    asterisk_->Kill();
    asterisk_->Reap();
    ASSERT_TRUE(asterisk_->Boot());
    ASSERT_TRUE(WaitConnected());
    std::this_thread::sleep_for(milliseconds(1000));
    ASSERT_EQ(recorder_->crashes().size(), i) << log_->text();
    EXPECT_EQ(recorder_->crashes().back().first.incarnation.life, life);
  }
}

TEST_F(RealDetectorTest, AnIdleServerCostsLittle) {
  Connect();
  rusage before{}, after{};
  getrusage(RUSAGE_SELF, &before);
  const auto begin = steady_clock::now();
  std::this_thread::sleep_for(std::chrono::seconds(Long() ? 20 : 3));
  getrusage(RUSAGE_SELF, &after);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  const double used = seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) -
                      seconds(before.ru_stime);
  const double percent = 100 * used / duration<double>(steady_clock::now() - begin).count();
  std::cout << "one idle instance, probed each 50 ms: " << percent << " % of a core\n";
  EXPECT_LE(percent, 1.0);
  EXPECT_EQ(recorder_->crashes().size(), 0u);
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
