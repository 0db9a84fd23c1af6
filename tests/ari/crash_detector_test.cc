// SPDX-License-Identifier: Apache-2.0
// The detector against a fake ARI: what a real Asterisk cannot be made to show. Deaths, hangs and
// blips of a real one are in real_detector_test.cc.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <random>
#include <string>
#include <thread>

#include "ari/connections.h"
#include "crash_recorder.h"
#include "recording_handler.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::FakeAri;

constexpr char kLife1[] = "2026-01-01T00:00:00.000+0000";
constexpr char kLife2[] = "2026-01-01T00:01:00.000+0000";

class CrashDetectorTest : public ::testing::Test {
 protected:
  CrashDetectorTest() : fake_(*FakeAri::Start({})), recorder_(std::make_shared<CrashRecorder>()) {}

  void Connect() {
    AriOptions options;
    AriInstanceOptions instance;
    instance.name = "a";
    instance.url = fake_->url();
    instance.user = "sipheal";
    instance.password = "secret";
    options.instances = {instance};
    options.log = log_;
    connections_ = *ConnectAri(options);
    AriCrashDetectorOptions detector;
    detector.silence = milliseconds(300);
    detector.probe_interval = milliseconds(20);
    detector.last_heard = [this](const std::string&) -> std::optional<MonotonicTime> {
      const auto heard = hep_.load();
      if (heard == 0) return std::nullopt;
      return MonotonicTime(MonotonicTime::duration(heard));
    };
    detector_ = *MakeAriCrashDetector(connections_, detector);
  }

  void ConnectAndStart() {
    Connect();
    ASSERT_TRUE(detector_->Start(recorder_).ok());
    ASSERT_TRUE(WaitConnected());
    // Until the detector knows it, too.
    ASSERT_TRUE(FakeAri::WaitFor([&] { return Pinged(); }));
  }

  bool WaitConnected() {
    return FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); });
  }
  bool Pinged() {
    const auto heard = connections_->LastHeard("a");
    std::this_thread::sleep_for(milliseconds(30));
    return heard && *connections_->LastHeard("a") > *heard;
  }
  bool WaitCrash(std::size_t count = 1, milliseconds timeout = std::chrono::seconds(5)) {
    return FakeAri::WaitFor([&] { return recorder_->crashes().size() >= count; }, timeout);
  }
  void HepSpeaks() { hep_ = steady_clock::now().time_since_epoch().count(); }

  std::unique_ptr<FakeAri> fake_;
  std::shared_ptr<RecordingLog> log_ = std::make_shared<RecordingLog>();
  std::shared_ptr<CrashRecorder> recorder_;
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<CrashDetector> detector_;
  std::atomic<MonotonicTime::rep> hep_{0};
};

TEST_F(CrashDetectorTest, FindsADeadServerByThreeRefusals) {
  ConnectAndStart();
  const auto begin = steady_clock::now();
  fake_->Kill();
  ASSERT_TRUE(WaitCrash());
  const auto [crash, at] = recorder_->crashes()[0];
  EXPECT_EQ(crash.kind, CrashKind::kProcessGone);
  EXPECT_EQ(crash.incarnation, (Incarnation{"a", kLife1}));
  EXPECT_GE(at - begin, milliseconds(20));
  EXPECT_NE(log_->text().find("crash_detected"), std::string::npos);
}

TEST_F(CrashDetectorTest, FindsARestartThatWasFasterThanItsProbes) {
  ConnectAndStart();
  fake_->Kill();
  fake_->Revive(kLife2);
  ASSERT_TRUE(WaitCrash());
  EXPECT_EQ(recorder_->crashes()[0].first.kind, CrashKind::kRestarted);
  EXPECT_EQ(recorder_->crashes()[0].first.incarnation.life, kLife1);
  ASSERT_TRUE(WaitConnected());
  std::this_thread::sleep_for(milliseconds(400));  // longer than the silence: nothing may follow
  EXPECT_EQ(recorder_->crashes().size(), 1u);
}

// F87: the detector starts after the death.
TEST_F(CrashDetectorTest, FindsADeathThatHappenedBeforeItStarted) {
  fake_->Kill();
  Connect();
  ASSERT_TRUE(detector_->Expect({"a", kLife1}).ok());
  ASSERT_TRUE(detector_->Start(recorder_).ok());
  ASSERT_TRUE(WaitCrash());
  EXPECT_EQ(recorder_->crashes()[0].first.kind, CrashKind::kProcessGone);
}

TEST_F(CrashDetectorTest, FindsAReplacedIncarnationAtItsStart) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  ASSERT_TRUE(detector_->Start(recorder_).ok());
  ASSERT_TRUE(detector_->Expect({"a", "2025-12-31T00:00:00.000+0000"}).ok());
  ASSERT_TRUE(detector_->Expect({"a", kLife1}).ok());
  ASSERT_TRUE(WaitCrash());
  EXPECT_EQ(recorder_->crashes()[0].first.kind, CrashKind::kRestarted);
  EXPECT_EQ(recorder_->crashes()[0].first.incarnation.life, "2025-12-31T00:00:00.000+0000");
  std::this_thread::sleep_for(milliseconds(400));  // the living one is left alone
  EXPECT_EQ(recorder_->crashes().size(), 1u);
}

// F87: the event socket cannot be opened for long, while HTTP works; the server is restarted in
// that time.
TEST_F(CrashDetectorTest, FindsARestartWhileTheEventSocketIsOff) {
  ConnectAndStart();
  fake_->Behave({"/ari/events", FakeAri::Fault::kNone, FakeAri::Answer{503, "{}"}, {}});
  fake_->ResetEventSockets();
  std::this_thread::sleep_for(milliseconds(1000));
  EXPECT_EQ(recorder_->crashes().size(), 0u) << "HTTP answers: it lives";
  fake_->Kill();
  fake_->Revive(kLife2);
  ASSERT_TRUE(WaitCrash());
  EXPECT_EQ(recorder_->crashes()[0].first.incarnation.life, kLife1);
}

TEST_F(CrashDetectorTest, FindsAHungServerAndItsReturn) {
  ConnectAndStart();
  const auto begin = steady_clock::now();
  fake_->Freeze(true);
  ASSERT_TRUE(WaitCrash());
  const auto [crash, at] = recorder_->crashes()[0];
  EXPECT_EQ(crash.kind, CrashKind::kSilent);
  EXPECT_GE(at - begin, milliseconds(280));
  EXPECT_EQ(recorder_->returns().size(), 0u);
  fake_->Freeze(false);
  ASSERT_TRUE(FakeAri::WaitFor([&] { return recorder_->returns().size() == 1; }));
  EXPECT_EQ(recorder_->returns()[0].incarnation, crash.incarnation);
  std::this_thread::sleep_for(milliseconds(400));
  EXPECT_EQ(recorder_->returns().size(), 1u);
  EXPECT_EQ(recorder_->crashes().size(), 1u);
}

TEST_F(CrashDetectorTest, HepAloneKeepsAHungServerAlive) {
  ConnectAndStart();
  HepSpeaks();
  fake_->Freeze(true);
  for (int i = 0; i < 40; ++i) {
    HepSpeaks();
    std::this_thread::sleep_for(milliseconds(25));
  }
  EXPECT_EQ(recorder_->crashes().size(), 0u);
  ASSERT_TRUE(WaitCrash());
}

TEST_F(CrashDetectorTest, AServerThatAnswersErrorsLives) {
  ConnectAndStart();
  fake_->Behave({"/ari", FakeAri::Fault::kNone, FakeAri::Answer{500, "{}"}, {}});
  fake_->ResetEventSockets();
  std::this_thread::sleep_for(milliseconds(800));
  EXPECT_EQ(recorder_->crashes().size(), 0u);
}

TEST_F(CrashDetectorTest, APlannedStopIsNoCrash) {
  ConnectAndStart();
  ASSERT_TRUE(detector_->AnnounceStop({"a", SystemClock().Now() + milliseconds(700)}).ok());
  fake_->Kill();
  std::this_thread::sleep_for(milliseconds(500));
  EXPECT_EQ(recorder_->crashes().size(), 0u);
  ASSERT_TRUE(WaitCrash()) << "its time is over, and it is gone";
}

TEST_F(CrashDetectorTest, KeepsItsContractOfStartAndStop) {
  Connect();
  EXPECT_EQ(detector_->Expect({"b", "x"}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(detector_->AnnounceStop({"b", {}}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(detector_->Start(nullptr).code(), absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(detector_->Start(recorder_).ok());
  EXPECT_EQ(detector_->Start(recorder_).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(WaitConnected());
  detector_->Stop();
  detector_->Stop();
  fake_->Kill();
  std::this_thread::sleep_for(milliseconds(100));
  EXPECT_EQ(recorder_->crashes().size(), 0u) << "CD-7";
  ASSERT_TRUE(detector_->Expect({"a", kLife1}).ok());
  ASSERT_TRUE(detector_->Start(recorder_).ok());
  ASSERT_TRUE(WaitCrash());
}

TEST_F(CrashDetectorTest, MayBeStoppedByItsListener) {
  struct Stopping : CrashRecorder {
    void OnCrash(const CrashEvent& event) override {
      detector->Stop();
      CrashRecorder::OnCrash(event);
    }
    CrashDetector* detector = nullptr;
  };
  auto stopping = std::make_shared<Stopping>();
  Connect();
  stopping->detector = detector_.get();
  ASSERT_TRUE(detector_->Expect({"a", "another"}).ok());
  ASSERT_TRUE(detector_->Start(stopping).ok());
  ASSERT_TRUE(FakeAri::WaitFor([&] { return stopping->crashes().size() == 1; }));
  EXPECT_TRUE(detector_->Start(recorder_).ok());
}

TEST_F(CrashDetectorTest, RefusesOptionsThatCannotWork) {
  Connect();
  AriCrashDetectorOptions options;
  options.silence = milliseconds(100);
  EXPECT_EQ(MakeAriCrashDetector(connections_, options).status().code(),
            absl::StatusCode::kInvalidArgument);
  options.silence = milliseconds(200);
  options.probe_interval = milliseconds(100);
  EXPECT_EQ(MakeAriCrashDetector(connections_, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

// F89: blips that a live server can show, in mixes short of all three together: no alarm.
TEST_F(CrashDetectorTest, NoMixOfBlipsShortOfAllThreeIsAnAlarm) {
  ConnectAndStart();
  std::minstd_rand random(20260101);
  const char* const length_of_run = std::getenv("SIPHEAL_LONG");
  const int blips = length_of_run != nullptr && std::string(length_of_run) == "1" ? 1000 : 60;
  for (int i = 0; i < blips; ++i) {
    const bool socket = random() % 2 != 0;
    const int http = static_cast<int>(random() % 4);  // fine, refused, slow, error
    // HEP is silent unless both others are disturbed.
    const bool hep = (socket && http != 0) || random() % 2 != 0;
    const int length = 20 + static_cast<int>(random() % 100);
    if (http == 1) fake_->RefuseConnections(true);
    if (http == 2) fake_->Behave({"/ari/asterisk", FakeAri::Fault::kNone, {}, milliseconds(200)});
    if (http == 3) {
      fake_->Behave({"/ari/asterisk", FakeAri::Fault::kNone, FakeAri::Answer{503, "{}"}, {}});
    }
    if (hep) HepSpeaks();
    if (socket) fake_->ResetEventSockets();
    for (int ms = 0; ms < length; ms += 5) {
      if (hep) HepSpeaks();
      std::this_thread::sleep_for(milliseconds(5));
    }
    if (http == 1) fake_->RefuseConnections(false);
    fake_->ClearBehaviour();
    ASSERT_EQ(recorder_->crashes().size(), 0u)
        << "blip " << i << ": socket " << socket << ", http " << http << ", hep " << hep << ", "
        << length << " ms: " << recorder_->crashes()[0].first.evidence.back();
  }
  // And it has not gone blind.
  ASSERT_TRUE(WaitConnected());
  fake_->Kill();
  EXPECT_TRUE(WaitCrash());
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
