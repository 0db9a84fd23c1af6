// SPDX-License-Identifier: Apache-2.0
// The Healer is the engine: it hears of a crash, claims the sessions of the dead incarnation,
// rebuilds their dialogs, places them on healthy instances, has their channels created, and resumes
// their flow. Each session gets an outcome with a reason.
//
//   HealerParts parts{.detector = detector, .store = store, .capture = capture, .driver = driver,
//   .resumer = resumer}; auto healer = Healer::Create(std::move(options), std::move(parts)); if
//   (!healer.ok()) return healer.status();
//   (*healer)->Start();
//
// Threading: all methods may be called from any thread. Start creates one thread (the loop that
// owns all state) and, when no executor is given, a pool for the calls into plug-ins; Stop joins
// them. Listeners are called on the loop thread, in order: they must be quick and must not call
// Stop.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/executor.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/base/telemetry_sink.h"
#include "sipheal/crash_detector.h"
#include "sipheal/export.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/healer_options.h"
#include "sipheal/kill_switch.h"
#include "sipheal/media_server_driver.h"
#include "sipheal/model/recovery.h"
#include "sipheal/session_store.h"
#include "sipheal/sip/verdict.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

// What the engine is composed of. The first five are needed; each is kept alive by the Healer.
struct HealerParts {
  std::shared_ptr<CrashDetector> detector;
  std::shared_ptr<SessionStore> store;
  std::shared_ptr<SipCapture> capture;
  std::shared_ptr<MediaServerDriver> driver;
  std::shared_ptr<FlowResumer> resumer;
  std::shared_ptr<Executor> executor;        // none: a thread pool of its own
  std::shared_ptr<LogSink> log;              // none: silent
  std::shared_ptr<TelemetrySink> telemetry;  // none: dropped
  const Clock* clock = nullptr;              // none: the system's; must outlive the Healer
  // Called at a crash before the store is read: whoever writes sessions behind brings the store up
  // to date (AriTracker::Flush). An error is logged, and the store is taken as it is.
  std::function<absl::Status(const CallContext&)> flush_sessions;
  // Called when sessions of an incarnation that was silent are its own again: whoever tracks
  // sessions reads that incarnation's anew, with the records that the store has of them now
  // (AriTracker::Resync). Must return at once.
  std::function<void(const Incarnation&)> resync_sessions;
  // Asked right before each re-INVITE and BYE. None: there is nothing to throw.
  std::shared_ptr<KillSwitch> kill_switch;
};

enum class HealerEventKind {
  kCrash,     // an incarnation is dead: `crash`
  kStage,     // a session's recovery went on: `session`, `stage`, `target`, `channel_id`
  kOutcome,   // a session's recovery ended: `session`, `outcome`, `reason`, and the old and new
              // place
  kDone,      // every session of a crash has its outcome: `report`
  kReturned,  // an incarnation declared dead is alive again and was told to give up its taken calls
};

// What became of one session.
struct SessionReport {
  SessionKey session;
  std::string call_id;
  std::string endpoint;
  Incarnation from;
  Incarnation to;          // empty when it lives nowhere
  std::string channel_id;  // the new one
  std::uint32_t attempts = 0;
  sip::Verdict verdict;
  Outcome outcome = Outcome::kClosed;
  std::string reason;
  std::optional<WallTime> invited_at;  // first re-INVITE
  std::optional<WallTime> answered_at;
  WallTime finished_at{};
};

// What became of one crash.
struct CrashReport {
  CrashEvent crash;
  std::vector<SessionReport> sessions;
  // Sessions that another controller took.
  std::size_t taken_by_others = 0;
};

struct HealerEvent {
  HealerEventKind kind = HealerEventKind::kStage;
  WallTime at{};
  CrashEvent crash;                            // kCrash
  RecoveryStage stage = RecoveryStage::kLost;  // kStage
  SessionReport session;                       // kStage, kOutcome
  std::shared_ptr<const CrashReport> report;   // kDone
  Incarnation incarnation;                     // kReturned
};

class SIPHEAL_EXPORT HealerListener {
 public:
  virtual ~HealerListener();
  virtual void OnEvent(const HealerEvent& event) = 0;
};

// What would be done with one session: the dry run's answer.
struct RecoveryPlan {
  Session session;
  sip::Verdict verdict;
  std::vector<std::pair<std::string, std::string>>
      variables;  // empty unless recoverable or to be ended
  DialogAction action = DialogAction::kReinvite;
  std::string reason;  // why it would not be recovered; empty when it would
};

// Where a Healer stands.
struct HealerStatus {
  bool paused = false;
  std::size_t recoveries = 0;          // under way
  std::vector<std::string> instances;  // configured now
  std::vector<Incarnation> lost;       // crashes whose recovery is not done
  std::string halted;                  // why the kill switch stops all sending; empty: it does not
};

class SIPHEAL_EXPORT Healer {
 public:
  // Validates options and parts. Nothing runs yet.
  static absl::StatusOr<std::unique_ptr<Healer>> Create(HealerOptions options, HealerParts parts);
  virtual ~Healer();

  Healer(const Healer&) = delete;
  Healer& operator=(const Healer&) = delete;

  // Starts detector, driver and loop; takes over unfinished recoveries whose lease has expired, and
  // finds deaths that happened while nobody looked.
  virtual absl::Status Start() = 0;
  // Ends all work where it stands; what parts answer from then on ends no call. What is under way
  // is handed over: another controller, or the next Start, takes it over within a second or so,
  // without waiting for the leases. Only a call whose re-INVITE or BYE may be on its way to a media
  // server keeps its lease until that runs out.
  // Takes as long as the detector's and the driver's Stop, then up to 1 s until the calls into
  // parts have ended, then up to 2 s (or plugin_timeout, if that is less) and what the store takes
  // to keep that deadline for the hand-over. When a call does not end in its 1 s, nothing is handed
  // over: the leases run out as after a crash, and Stop waits up to 1 s more for the threads of the
  // pool. A listener that does not return holds Stop up for as long. Idempotent.
  virtual void Stop() = 0;

  virtual void AddListener(std::shared_ptr<HealerListener> listener) = 0;

  // Declares the incarnation that holds the instance's sessions in the store dead, by hand.
  // NotFound when the store knows none; the work goes on after the call returns.
  virtual absl::Status Recover(const CallContext& ctx, const std::string& instance) = 0;
  // What Recover would do, without doing anything.
  virtual absl::StatusOr<std::vector<RecoveryPlan>> Plan(const CallContext& ctx,
                                                         const std::string& instance) = 0;

  virtual void Pause() = 0;  // no new recovery begins, none is retried; what is inviting goes on
  virtual void Resume() = 0;
  virtual absl::Status AddInstance(InstanceOptions instance) = 0;
  virtual absl::Status RemoveInstance(const std::string& name) = 0;
  // A stop that is no crash until `until`.
  virtual absl::Status AnnounceStop(const std::string& instance, WallTime until) = 0;
  virtual HealerStatus status() const = 0;

 protected:
  Healer() = default;
};

}  // namespace sipheal::inline v0_1
