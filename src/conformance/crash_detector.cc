// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/crash_detector.h"

#include <algorithm>
#include <optional>

#include "base/status_macros.h"
#include "conformance/check.h"
#include "conformance/inside.h"

namespace sipheal::inline v0_1::conformance {
namespace {

using std::chrono::milliseconds;

class Recorder final : public CrashListener {
 public:
  void OnCrash(const CrashEvent& event) override {
    const Visitors::Visit visit(visitors_, event.incarnation.instance);
    // Long enough that a second call would come meanwhile.
    std::this_thread::sleep_for(milliseconds(5));
    const std::lock_guard lock(mutex_);
    crashes_.push_back(event);
  }
  void OnReturned(const ReturnEvent& event) override {
    const Visitors::Visit visit(visitors_, event.incarnation.instance);
    const std::lock_guard lock(mutex_);
    returns_.push_back(event);
  }

  int Crashes(const Incarnation& incarnation) const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(
        std::count_if(crashes_.begin(), crashes_.end(),
                      [&](const CrashEvent& event) { return event.incarnation == incarnation; }));
  }
  int Returns(const Incarnation& incarnation) const {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(
        std::count_if(returns_.begin(), returns_.end(),
                      [&](const ReturnEvent& event) { return event.incarnation == incarnation; }));
  }
  std::size_t calls() const {
    const std::lock_guard lock(mutex_);
    return crashes_.size() + returns_.size();
  }
  std::optional<CrashKind> KindOf(const Incarnation& incarnation) const {
    const std::lock_guard lock(mutex_);
    for (const CrashEvent& event : crashes_) {
      if (event.incarnation == incarnation) return event.kind;
    }
    return std::nullopt;
  }
  absl::Status complaints() const { return complaints_.status(); }

 private:
  mutable std::mutex mutex_;
  std::vector<CrashEvent> crashes_;
  std::vector<ReturnEvent> returns_;
  Complaints complaints_;
  Visitors visitors_{complaints_};
};

// A detector with its recorder; calls are made within an Inside.
class Watch {
 public:
  static absl::StatusOr<Watch> Make(CrashDetectorHarness& harness) {
    ABSL_ASSIGN_OR_RETURN(auto detector, harness.Make());
    return Watch(std::move(detector));
  }
  Watch(Watch&&) = default;
  ~Watch() {
    if (detector_ != nullptr) detector_->Stop();
  }

  absl::Status Start(CrashDetectorHarness& harness, const std::vector<std::string>& names) {
    {
      const Inside inside;
      SIPHEAL_REQUIRE_OK(detector_->Start(recorder_));
    }
    for (const std::string& name : names) ABSL_RETURN_IF_ERROR(harness.AwaitWatched(name));
    return absl::OkStatus();
  }
  absl::Status Expect(const Incarnation& incarnation) {
    const Inside inside;
    return detector_->Expect(incarnation);
  }
  absl::Status AnnounceStop(const std::string& instance, WallTime until) {
    const Inside inside;
    return detector_->AnnounceStop({instance, until});
  }
  void Stop() {
    const Inside inside;
    detector_->Stop();
  }

  absl::Status AwaitCrash(CrashDetectorHarness& harness, const Incarnation& incarnation) {
    const bool told =
        Await(harness.patience(), [&] { return recorder_->Crashes(incarnation) > 0; });
    SIPHEAL_REQUIRE(told, "the death of %s was not reported within %d ms", incarnation.instance,
                    harness.patience().count());
    return absl::OkStatus();
  }

  const std::shared_ptr<Recorder>& recorder() const { return recorder_; }
  CrashDetector& detector() { return *detector_; }

 private:
  explicit Watch(std::shared_ptr<CrashDetector> detector) : detector_(std::move(detector)) {}
  std::shared_ptr<CrashDetector> detector_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
};

absl::Status ListenerIsCalledFromOutsideOneAtATime(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(const Incarnation b, harness.AddInstance("b"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a", "b"}));
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  ABSL_RETURN_IF_ERROR(harness.Kill("b"));
  ABSL_RETURN_IF_ERROR(OnThreads(4, [&](int thread) -> absl::Status {
    for (int round = 0; round < 20; ++round) {
      // Several lives of one instance are to be told of, from several threads.
      const std::string life = absl::StrFormat("gone-%d-%d", thread, round % 3);
      SIPHEAL_REQUIRE_OK(watch.Expect({thread % 2 == 0 ? "a" : "b", life}));
      SIPHEAL_REQUIRE_OK(watch.AnnounceStop("a", WallTime{}));
    }
    return absl::OkStatus();
  }));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, a));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, b));
  harness.Settle();
  return watch.recorder()->complaints();
}

absl::Status ADeathIsReportedOnce(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a"}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, a));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_ASSIGN_OR_RETURN(const Incarnation next, harness.Restart("a"));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  harness.Settle();
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(a) == 1, "one death was reported %d times",
                  watch.recorder()->Crashes(a));
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(next) == 0, "the new incarnation was reported dead");
  ABSL_RETURN_IF_ERROR(harness.AwaitWatched("a"));
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  return watch.AwaitCrash(harness, next);
}

absl::Status ALiveInstanceIsNotReported(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(const Incarnation b, harness.AddInstance("b"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a", "b"}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(harness.Kill("b"));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, b));
  for (int round = 0; round < 3; ++round) {
    absl::Status stalled = harness.Stall("a");
    if (stalled.ok()) {
      ABSL_RETURN_IF_ERROR(harness.Pass(harness.silence() * 6 / 10));
      stalled = harness.Wake("a");
    }
    if (!stalled.ok() && !absl::IsUnimplemented(stalled)) return stalled;
    ABSL_RETURN_IF_ERROR(harness.Pass(harness.silence() / 2));
    const absl::Status blip = harness.Blip("a");
    if (!blip.ok() && !absl::IsUnimplemented(blip)) return blip;
  }
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  harness.Settle();
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(a) == 0,
                  "an instance that was silent for 60 %% of the configured silence was reported");
  return watch.recorder()->complaints();
}

absl::Status ADeathBeforeStartIsFound(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(const Incarnation b, harness.AddInstance("b"));
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  ABSL_ASSIGN_OR_RETURN(const Incarnation b2, harness.Restart("b"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {}));
  SIPHEAL_REQUIRE_OK(watch.Expect(b));
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, a));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, b));
  harness.Settle();
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(b2) == 0,
                  "the incarnation that lives was reported for the one before it");
  return watch.recorder()->complaints();
}

absl::Status APlannedStopIsNoCrash(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a"}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  const milliseconds planned = 3 * harness.silence();
  SIPHEAL_REQUIRE_OK(watch.AnnounceStop("a", harness.Now() + planned));
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  ABSL_RETURN_IF_ERROR(harness.Pass(planned / 2));
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(a) == 0, "a planned stop was reported as a crash");
  ABSL_RETURN_IF_ERROR(harness.Pass(planned));
  return watch.AwaitCrash(harness, a);
}

absl::Status ASilentInstanceThatReturnsIsReported(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a"}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(harness.Stall("a"));
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  ABSL_RETURN_IF_ERROR(watch.AwaitCrash(harness, a));
  SIPHEAL_REQUIRE(watch.recorder()->KindOf(a) == CrashKind::kSilent,
                  "a silent instance was reported as %s",
                  ToString(watch.recorder()->KindOf(a).value_or(CrashKind::kReported)));
  SIPHEAL_REQUIRE(watch.recorder()->Returns(a) == 0, "it was reported as returned while silent");
  ABSL_RETURN_IF_ERROR(harness.Wake("a"));
  const bool returned = Await(harness.patience(), [&] { return watch.recorder()->Returns(a) > 0; });
  SIPHEAL_REQUIRE(returned, "an instance that came back was not reported as returned");
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  harness.Settle();
  SIPHEAL_REQUIRE(watch.recorder()->Returns(a) == 1, "one return was reported %d times",
                  watch.recorder()->Returns(a));
  SIPHEAL_REQUIRE(watch.recorder()->Crashes(a) == 1, "one silence was reported %d times",
                  watch.recorder()->Crashes(a));
  return watch.recorder()->complaints();
}

absl::Status NothingIsReportedAfterStop(CrashDetectorHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const Incarnation a, harness.AddInstance("a"));
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {"a"}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  watch.Stop();
  ABSL_RETURN_IF_ERROR(harness.Kill("a"));
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  harness.Settle();
  SIPHEAL_REQUIRE(watch.recorder()->calls() == 0, "the listener was called after Stop");
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {}));
  SIPHEAL_REQUIRE_OK(watch.Expect(a));
  ABSL_RETURN_IF_ERROR(harness.Pass(2 * harness.silence()));
  return watch.AwaitCrash(harness, a);
}

absl::Status TheListenerLivesFromStartToStop(CrashDetectorHarness& harness) {
  ABSL_RETURN_IF_ERROR(harness.AddInstance("a").status());
  ABSL_ASSIGN_OR_RETURN(const auto detector, harness.Make());
  auto listener = std::make_shared<Recorder>();
  const std::weak_ptr<Recorder> alive = listener;
  SIPHEAL_REQUIRE_OK(detector->Start(std::move(listener)));
  SIPHEAL_REQUIRE(!alive.expired(), "the detector does not keep the listener alive after Start");
  detector->Stop();
  SIPHEAL_REQUIRE(Await(harness.patience(), [&] { return alive.expired(); }),
                  "the detector keeps the listener alive after Stop");
  return absl::OkStatus();
}

absl::Status WrongUseGivesItsError(CrashDetectorHarness& harness) {
  ABSL_RETURN_IF_ERROR(harness.AddInstance("a").status());
  ABSL_ASSIGN_OR_RETURN(Watch watch, Watch::Make(harness));
  ABSL_RETURN_IF_ERROR(DoesNotThrow("Stop before Start", [&] { watch.Stop(); }));
  ABSL_RETURN_IF_ERROR(watch.Start(harness, {}));
  SIPHEAL_REQUIRE_CODE(watch.detector().Start(std::make_shared<Recorder>()),
                       absl::StatusCode::kFailedPrecondition);
  SIPHEAL_REQUIRE_CODE(watch.Expect({"nobody", "life"}), absl::StatusCode::kNotFound);
  SIPHEAL_REQUIRE_CODE(watch.AnnounceStop("nobody", harness.Now()), absl::StatusCode::kNotFound);
  return DoesNotThrow("a detector used in odd ways", [&] {
    (void)watch.Expect({std::string("\0\r\n", 3), std::string(10'000, 'x')});
    (void)watch.AnnounceStop("a", WallTime::min());
    watch.Stop();
    watch.Stop();
  });
}

constexpr Case<CrashDetectorHarness> kCases[] = {
    {"CD-1", "ListenerIsCalledFromOutsideOneAtATime",
     "the listener is never called from inside a method, nor twice at a time for one instance",
     ListenerIsCalledFromOutsideOneAtATime},
    {"CD-2", "ADeathIsReportedOnce", "one incarnation is reported dead at most once",
     ADeathIsReportedOnce},
    {"CD-3", "ALiveInstanceIsNotReported",
     "an incarnation that shows life within the configured silence is never reported",
     ALiveInstanceIsNotReported},
    {"CD-4", "ADeathBeforeStartIsFound", "a death is found whenever it happened",
     ADeathBeforeStartIsFound},
    {"CD-5", "APlannedStopIsNoCrash", "an announced stop is no crash until its time is over",
     APlannedStopIsNoCrash},
    {"CD-6", "ASilentInstanceThatReturnsIsReported",
     "an incarnation reported as silent that shows life again is reported by OnReturned, once",
     ASilentInstanceThatReturnsIsReported},
    {"CD-7", "NothingIsReportedAfterStop",
     "after Stop the listener is not called; Start works again", NothingIsReportedAfterStop},
    {"CD-7", "TheListenerLivesFromStartToStop",
     "the detector keeps the listener alive between Start and Stop",
     TheListenerLivesFromStartToStop},
    {"CD-8", "WrongUseGivesItsError",
     "an unknown instance is NotFound, Start twice FailedPrecondition, nothing throws",
     WrongUseGivesItsError},
};

}  // namespace

CrashDetectorHarness::~CrashDetectorHarness() = default;
absl::Status CrashDetectorHarness::AwaitWatched(const std::string&) { return absl::OkStatus(); }
absl::Status CrashDetectorHarness::Stall(const std::string&) {
  return absl::UnimplementedError("the harness cannot stall an instance");
}
absl::Status CrashDetectorHarness::Wake(const std::string&) { return absl::OkStatus(); }
absl::Status CrashDetectorHarness::Blip(const std::string&) {
  return absl::UnimplementedError("the harness cannot make a blip");
}
milliseconds CrashDetectorHarness::patience() const { return milliseconds(5000); }
absl::Status CrashDetectorHarness::Pass(milliseconds time) {
  std::this_thread::sleep_for(time);
  return absl::OkStatus();
}
WallTime CrashDetectorHarness::Now() const { return SystemClock().Now(); }
void CrashDetectorHarness::Settle() { std::this_thread::sleep_for(milliseconds(100)); }

std::span<const Case<CrashDetectorHarness>> CrashDetectorCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
