// SPDX-License-Identifier: Apache-2.0
// FakeCrashDetector: a CrashDetector over instances that exist in memory only, which die, hang and
// restart when the test says so. It obeys the detector's contract.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "sipheal/base/clock.h"
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe.
class SIPHEAL_EXPORT FakeCrashDetector final : public CrashDetector {
 public:
  // An instance that is silent for `silence` by `clock` is reported. `clock` must outlive it; the
  // system's when null.
  explicit FakeCrashDetector(const Clock* clock = nullptr,
                             std::chrono::milliseconds silence = std::chrono::milliseconds(900));
  ~FakeCrashDetector() override;

  void AddInstance(Incarnation incarnation);
  // The process ends.
  void Kill(const std::string& instance);
  // The process ends, if it lived, and another incarnation lives in its place.
  void Restart(const Incarnation& incarnation);
  // It says nothing any more, until Wake.
  void Stall(const std::string& instance);
  void Wake(const std::string& instance);

  // Reports this as it stands, unless the incarnation was reported before. For tests that need no
  // instances.
  void Report(const CrashEvent& event);
  void ReportReturned(const ReturnEvent& event);

  // Every incarnation that Expect named, in order.
  std::vector<Incarnation> expected() const;
  // Waits until every report that is due was delivered. Not from a listener.
  void Drain();

  // --- CrashDetector ---
  absl::Status Start(std::shared_ptr<CrashListener> listener) override;
  void Stop() override;
  absl::Status Expect(const Incarnation& incarnation) override;
  absl::Status AnnounceStop(const AnnounceStopParams& params) override;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace sipheal::inline v0_1::testing
