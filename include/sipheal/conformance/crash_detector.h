// SPDX-License-Identifier: Apache-2.0
// The contract of sipheal/crash_detector.h (CD-1 to CD-8) as cases for any implementation.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/conformance/case.h"
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::conformance {

// What the implementer gives: instances that live, die, hang and restart when told to, and a
// detector that watches them.
class SIPHEAL_EXPORT CrashDetectorHarness {
 public:
  virtual ~CrashDetectorHarness();

  // Lets an instance live under this name ("a" or "b"), known to every detector that Make gives
  // afterwards. Called before Make.
  virtual absl::StatusOr<Incarnation> AddInstance(const std::string& name) = 0;
  virtual absl::StatusOr<std::shared_ptr<CrashDetector>> Make() = 0;
  // Waits until a started detector watches the instance. By default it returns at once.
  virtual absl::Status AwaitWatched(const std::string& name);

  virtual absl::Status Kill(const std::string& name) = 0;
  // Kills it, if it lives, and lets another incarnation live in its place.
  virtual absl::StatusOr<Incarnation> Restart(const std::string& name) = 0;
  // It says nothing on any channel, until Wake. By default Unimplemented.
  virtual absl::Status Stall(const std::string& name);
  virtual absl::Status Wake(const std::string& name);
  // A sign of trouble short of all channels (a socket reset, a refused request) from an instance
  // that lives. By default Unimplemented.
  virtual absl::Status Blip(const std::string& name);

  // The silence that the detector is configured with.
  virtual std::chrono::milliseconds silence() const = 0;
  // How long a report of a death may take to arrive, in real time. 5 s by default.
  virtual std::chrono::milliseconds patience() const;
  // Lets time pass for the detector; by default it really waits.
  virtual absl::Status Pass(std::chrono::milliseconds time);
  // The wall-clock time that the detector sees; by default the system's.
  virtual WallTime Now() const;
  // Waits until what is due has been reported; by default it really waits a moment.
  virtual void Settle();
};

SIPHEAL_EXPORT std::span<const Case<CrashDetectorHarness>> CrashDetectorCases();

}  // namespace sipheal::inline v0_1::conformance
