// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/crash_detector.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/testing/fake_clock.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "tests/conformance/faults.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kSilence{1000};

class FaultyDetector final : public CrashDetector {
 public:
  FaultyDetector(std::shared_ptr<testing::FakeCrashDetector> good, std::string fault)
      : good_(std::move(good)), fault_(std::move(fault)) {}

  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    listener_ = listener;
    auto relay = std::make_shared<Relay>();
    relay->fault = fault_;
    relay->weak = listener;
    if (!Has("TheListenerLivesFromStartToStop")) relay->strong = std::move(listener);
    return good_->Start(std::move(relay));
  }
  void Stop() override {
    if (!Has("NothingIsReportedAfterStop")) good_->Stop();
  }
  absl::Status Expect(const Incarnation& incarnation) override {
    if (Has("ListenerIsCalledFromOutsideOneAtATime")) {
      if (const auto listener = listener_.lock()) listener->OnCrash({.incarnation = incarnation});
    }
    if (Has("ADeathBeforeStartIsFound")) return absl::OkStatus();
    const absl::Status expected = good_->Expect(incarnation);
    return Has("WrongUseGivesItsError") ? absl::OkStatus() : expected;
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    if (Has("APlannedStopIsNoCrash")) return absl::OkStatus();
    return good_->AnnounceStop(params);
  }

 private:
  struct Relay final : CrashListener {
    std::string fault;
    std::shared_ptr<CrashListener> strong;
    std::weak_ptr<CrashListener> weak;
    void OnCrash(const CrashEvent& event) override {
      const auto listener = weak.lock();
      if (!listener) return;
      listener->OnCrash(event);
      if (fault == "ADeathIsReportedOnce") listener->OnCrash(event);
    }
    void OnReturned(const ReturnEvent& event) override {
      const auto listener = weak.lock();
      if (listener && fault != "ASilentInstanceThatReturnsIsReported") listener->OnReturned(event);
    }
  };
  bool Has(const char* fault) const { return fault_ == fault; }
  const std::shared_ptr<testing::FakeCrashDetector> good_;
  const std::string fault_;
  std::weak_ptr<CrashListener> listener_;
};

class FaultyHarness final : public conformance::CrashDetectorHarness {
 public:
  explicit FaultyHarness(const std::string& fault)
      : good_(std::make_shared<testing::FakeCrashDetector>(
            &clock_, fault == "ALiveInstanceIsNotReported" ? kSilence / 2 : kSilence)),
        detector_(std::make_shared<FaultyDetector>(good_, fault)) {}
  ~FaultyHarness() override { good_->Stop(); }

  absl::StatusOr<Incarnation> AddInstance(const std::string& name) override {
    good_->AddInstance({name, "life1"});
    return Incarnation{name, "life1"};
  }
  absl::StatusOr<std::shared_ptr<CrashDetector>> Make() override { return detector_; }
  absl::Status Kill(const std::string& name) override {
    good_->Kill(name);
    return absl::OkStatus();
  }
  absl::StatusOr<Incarnation> Restart(const std::string& name) override {
    good_->Restart({name, "life2"});
    return Incarnation{name, "life2"};
  }
  absl::Status Stall(const std::string& name) override {
    good_->Stall(name);
    good_->Drain();
    return absl::OkStatus();
  }
  absl::Status Wake(const std::string& name) override {
    good_->Drain();
    good_->Wake(name);
    return absl::OkStatus();
  }
  milliseconds silence() const override { return kSilence; }
  milliseconds patience() const override { return milliseconds(1000); }
  absl::Status Pass(milliseconds time) override {
    clock_.Advance(time);
    good_->Drain();
    return absl::OkStatus();
  }
  WallTime Now() const override { return clock_.Now(); }
  void Settle() override { good_->Drain(); }

 private:
  testing::FakeClock clock_;
  const std::shared_ptr<testing::FakeCrashDetector> good_;
  const std::shared_ptr<FaultyDetector> detector_;
};

TEST(CrashDetectorConformance, TellsGoodFromBroken) {
  tests::ExpectEveryCaseToTellGoodFromBroken(
      conformance::CrashDetectorCases(),
      [](const std::string& fault) { return std::make_unique<FaultyHarness>(fault); });
}

const bool registered = (conformance::RegisterCrashDetectorConformance(
                             "Fake", [] { return std::make_unique<FaultyHarness>(std::string()); }),
                         true);

}  // namespace
}  // namespace sipheal
