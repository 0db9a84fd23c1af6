// SPDX-License-Identifier: Apache-2.0
// A CrashDetector says that an incarnation of a media server is dead, once, with evidence, and
// never for a live one. sipheal ships one for Asterisk (adapters/ari.h); hosts bring their own
// (Kubernetes, SIP OPTIONS, an operator). The Healer starts it and acts on what it reports.
//
// CONTRACT (each clause has the conformance case of the same id)
//  [Threading]  CD-1  All methods may be called from several threads at once. The listener is
//                     called from any thread, never from inside a method of the detector, and
//                     never two calls for one instance at a time.
//  [Once]       CD-2  One incarnation is reported dead at most once, however many signs there
//                     are. One that returned (CD-6) lives: its next death is reported again.
//  [Alive]      CD-3  An incarnation that shows life on any channel within the configured
//                     silence is never reported.
//  [Level]      CD-4  A death is found whenever it happened: also one before Start, when Expect
//                     names the incarnation.
//  [Planned]    CD-5  A stop announced by AnnounceStop is no crash until its time is over.
//  [Return]     CD-6  An incarnation reported as kSilent that shows life again is reported by
//                     OnReturned, once each time.
//  [Lifetime]   CD-7  After Stop returned, the listener is not called any more. Start after Stop
//                     works. The detector keeps the listener alive between Start and Stop.
//  [Errors]     CD-8  An unknown instance is NotFound. Start twice is FailedPrecondition.
//                     Nothing throws.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"
#include "sipheal/model/crash_event.h"

namespace sipheal::inline v0_1 {

class SIPHEAL_EXPORT CrashListener {
 public:
  virtual ~CrashListener();
  virtual void OnCrash(const CrashEvent& event) = 0;
  virtual void OnReturned(const ReturnEvent& event) = 0;
};

class SIPHEAL_EXPORT CrashDetector {
 public:
  struct AnnounceStopParams {
    std::string instance;
    // Until then its silence or end is no crash.
    WallTime until{};
  };

  CrashDetector(const CrashDetector&) = delete;
  CrashDetector& operator=(const CrashDetector&) = delete;
  virtual ~CrashDetector();

  // Begins to watch, and to report to `listener`.
  virtual absl::Status Start(std::shared_ptr<CrashListener> listener) = 0;
  // Ends all watching; idempotent.
  virtual void Stop() = 0;
  // Says that this incarnation holds sessions: if it is dead already, or another lives in its
  // place, that is a crash.
  virtual absl::Status Expect(const Incarnation& incarnation) = 0;
  virtual absl::Status AnnounceStop(const AnnounceStopParams& params) = 0;

 protected:
  CrashDetector() = default;
};

}  // namespace sipheal::inline v0_1
