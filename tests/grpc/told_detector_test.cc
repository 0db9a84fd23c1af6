// SPDX-License-Identifier: Apache-2.0
// The thread of the detector that is told, and listeners that stop it.
#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <thread>

#include "sipheal/adapters/grpc.h"

namespace sipheal {
namespace {

class Stopping final : public CrashListener {
 public:
  void OnCrash(const CrashEvent& /*event*/) override {
    if (++crashes == 1) {
      in_call.set_value();
      detector->Stop();
    }
  }
  void OnReturned(const ReturnEvent& /*event*/) override {}

  CrashDetector* detector = nullptr;
  std::atomic<int> crashes = 0;
  std::promise<void> in_call;
};

class ToldDetectorTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto made = MakeGrpcCrashDetector({.instances = {"a"}});
    ASSERT_TRUE(made.ok()) << made.status();
    detector_ = *std::move(made);
    listener_->detector = detector_.get();
    // Two lives of one instance end at once.
    for (const char* life : {"1", "2"}) {
      ASSERT_TRUE(detector_->Expect({"a", life}).ok());
    }
    ASSERT_TRUE(
        detector_->Report({.reporter = "x", .incarnation = {"a", ""}, .state = LifeState::kGone})
            .ok());
    ASSERT_TRUE(detector_->Start(listener_).ok());
  }

  const std::shared_ptr<Stopping> listener_ = std::make_shared<Stopping>();
  std::shared_ptr<GrpcCrashDetector> detector_;
};

TEST_F(ToldDetectorTest, AListenerThatStopsItIsNotCalledAgain) {
  listener_->in_call.get_future().wait();
  detector_->Stop();  // waits for the call
  EXPECT_EQ(listener_->crashes, 1);
}

TEST_F(ToldDetectorTest, TwoThatStopItAtOnceDoNotWaitForEachOther) {
  std::thread other([this] { detector_->Stop(); });
  detector_->Stop();
  other.join();
  EXPECT_LE(listener_->crashes, 1);
}

}  // namespace
}  // namespace sipheal
