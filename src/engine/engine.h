// SPDX-License-Identifier: Apache-2.0
// Engine: the Healer's implementation. All state is owned by the loop's thread; public methods post
// to it.
//
//   engine.cc          life cycle, the public methods, instances
//   crash_intake.cc    a crash: list, claim, capture, rebuild
//   takeover.cc        what a dead controller left; unwatched deaths
//   returned.cc        instances that were silent and are back
//   placing.cc         which session goes to which target, and when
//   attempts.cc        creating the channel, the phone's answer, the death of the target
//   resuming.cc        after the answer: partners, the flow
//   halting.cc         the kill switch; the orderly end
//   outcomes.cc        ending with BYE, outcomes and reports, the journal
#pragma once

#include <atomic>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "engine/journal_writer.h"
#include "engine/loop.h"
#include "engine/placement.h"
#include "engine/planner.h"
#include "engine/plugin_call.h"
#include "engine/recovery.h"
#include "sipheal/healer.h"

namespace sipheal::inline v0_1::internal {

// Asked on the executor right before something is sent; OK without a switch.
absl::Status MaySend(KillSwitch* kill_switch, const CallContext& ctx);
// Whether it is MaySend that said no: nothing was sent.
bool WasHeld(const absl::Status& status);

class Engine final : public Healer {
 public:
  // With `own_thread` false nothing runs by itself: the caller drives RunReady. For tests.
  Engine(HealerOptions options, HealerParts parts, bool own_thread);
  ~Engine() override;

  absl::Status Start() override;
  void Stop() override;
  void AddListener(std::shared_ptr<HealerListener> listener) override;
  absl::Status Recover(const CallContext& ctx, const std::string& instance) override;
  absl::StatusOr<std::vector<RecoveryPlan>> Plan(const CallContext& ctx,
                                                 const std::string& instance) override;
  void Pause() override;
  void Resume() override;
  absl::Status AddInstance(InstanceOptions instance) override;
  absl::Status RemoveInstance(const std::string& name) override;
  absl::Status AnnounceStop(const std::string& instance, WallTime until) override;
  HealerStatus status() const override;

  bool RunReady() { return loop_->RunReady(); }

 private:
  class Ears;  // hears detector and driver, and posts what they say to the loop
  using RecoveryPtr = std::shared_ptr<Recovery>;

  // --- crash_intake.cc ---
  void HandleCrash(const CrashEvent& event);
  std::shared_ptr<CrashWork> NewCrash(const CrashEvent& event) const;
  bool HeldWhilePaused(const std::shared_ptr<CrashWork>& crash);
  void CatchUp(const Incarnation& target);
  void BeginCrash(const std::shared_ptr<CrashWork>& crash);
  void ListPage(const std::shared_ptr<CrashWork>& crash, std::string page_token, std::size_t size,
                int failures);
  void ClaimPage(const std::shared_ptr<CrashWork>& crash, std::vector<Session> sessions,
                 int failures);
  void PlanAll(std::vector<RecoveryPtr> recoveries, std::string instance, int failures);
  void LearnHomes(const std::shared_ptr<CrashWork>& crash,
                  std::function<void(const absl::Status&)> then);
  void Rebuild(const std::vector<RecoveryPtr>& recoveries, const std::string& instance,
               int failures);
  void PlanLater(const std::vector<RecoveryPtr>& recoveries, const std::string& instance,
                 int failures, const absl::Status& status);
  void Planned(const std::vector<RecoveryPtr>& recoveries, const std::vector<PlanInput>& inputs,
               const std::string& instance, int failures);
  void TakeOverUnfinished();
  void TakeOverPage(std::deque<UnfinishedRecovery> unfinished);
  void TakeOverFailed(const absl::Status& status);
  void TakeOverAgain();
  void TakeOver(const UnfinishedRecovery& unfinished, const Lease& lease, std::uint32_t not_sent);
  void ExpectAllStored();
  MonotonicTime DeadlineOf(const Recovery& recovery, bool* peer_gives_up) const;
  void ReportDryRun(const std::shared_ptr<CrashWork>& crash);

  // --- returned.cc ---
  void HandleReturned(const ReturnEvent& event);
  static bool MayLive(const CrashEvent& crash);
  void Take(const TakenChannel& taken);
  void LearnTaken();
  void GiveUpTaken(const Incarnation& incarnation, int failures);
  bool LivesOnUntouched(const RecoveryPtr& recovery);
  void RememberUntouched(const Recovery& recovery, Outcome outcome);
  void PutBack(const Incarnation& incarnation);
  void ResyncSoon(const Incarnation& incarnation);

  // --- attempts.cc ---
  void InspectTargets();
  void Inspect(Target& target, std::vector<std::string> endpoints);
  void WantTarget(const RecoveryPtr& recovery);
  void PlaceAll();
  void SchedulePlacing(MonotonicTime when);
  void QueueUp(const RecoveryPtr& recovery);
  // Who goes first: suspects last, calls that live on before those that end, then whose phone gives
  // up first, then the oldest call.
  using Turn = std::tuple<bool, bool, MonotonicTime, WallTime>;
  static Turn TurnOf(const Recovery& recovery);
  bool IsFull(const Target& target) const;
  std::optional<MonotonicTime> AllFullUntil(MonotonicTime now) const;
  bool MayGoTo(const Recovery& recovery, const Target& target) const;
  void BeginAttempt(const RecoveryPtr& recovery, Target& target);
  void CreateChannel(const RecoveryPtr& recovery, std::vector<sip::ChannelVariable> variables);
  void Created(const RecoveryPtr& recovery, std::uint32_t attempt, const absl::Status& status,
               MonotonicTime::duration took);
  void AskForChannel(const RecoveryPtr& recovery, std::uint32_t attempt);
  void HandleChannel(const ChannelEvent& event);
  void AttemptFailed(const RecoveryPtr& recovery, const ChannelEvent& event);
  void AnswerOverdue(const RecoveryPtr& recovery, std::uint32_t attempt);
  void TargetDied(const RecoveryPtr& recovery, bool may_live);
  void CreateOver(Target& target);
  void LeaveTarget(Recovery& recovery);
  void Retry(const RecoveryPtr& recovery, std::chrono::milliseconds wait);
  void DeadlinePassed(const RecoveryPtr& recovery);

  // --- resuming.cc ---
  void Answered(const RecoveryPtr& recovery, FlowProgress flow);
  void NoteUp(const RecoveryPtr& recovery);
  void NoLongerUp(const Recovery& recovery);
  std::vector<FlowResumer::Partner> PartnersOf(const Recovery& recovery) const;
  void WantResume(const RecoveryPtr& recovery);
  void BeginResumes(const std::string& instance);
  void ResumeFlow(const RecoveryPtr& recovery, int failures);
  void EndAnswered(const RecoveryPtr& recovery);
  void HangUp(const RecoveryPtr& recovery);
  void HoldHangUp(const RecoveryPtr& recovery);

  // --- halting.cc ---
  void Held(const RecoveryPtr& recovery, const absl::Status& status);
  void Halt(const absl::Status& why);
  void LookAtSwitch();
  struct LastWords;
  LastWords GatherLastWords();
  std::size_t Say(const CallContext& ctx,
                  const std::vector<SessionStore::AdvanceParams::Step>& steps,
                  std::chrono::milliseconds lease, std::size_t uncounted, absl::Status& status);
  void HandOver();

  // --- outcomes.cc ---
  void End(const RecoveryPtr& recovery, std::string reason);
  void Finish(const RecoveryPtr& recovery, Outcome outcome, std::string reason);
  void Finished(const RecoveryPtr& recovery, Outcome outcome, const std::string& reason);
  void LeaseLost(const RecoveryPtr& recovery);
  void CloseCrashIfDone(const std::shared_ptr<CrashWork>& crash);
  Session SuccessorOf(const Recovery& recovery) const;

  // Makes a step durable, then goes on; what went on meanwhile (a lost lease, a Stop) is taken care
  // of.
  void Journal(const RecoveryPtr& recovery, RecoveryStage stage, std::string reason,
               std::function<void()> then);
  SessionStore::AdvanceParams::Step StepOf(const Recovery& recovery, RecoveryStage stage,
                                           std::string reason) const;
  SessionStore::AdvanceParams::Step NoteOn(const Recovery& recovery, const char* note) const;
  void RenewLeases();
  SessionReport ReportOf(const Recovery& recovery) const;
  void Emit(HealerEvent event);
  void EmitStage(const Recovery& recovery);
  void Log(LogLevel level, std::string event, std::string message,
           std::vector<std::pair<std::string, std::string>> fields);
  bool IsOpen(const Recovery& recovery) const { return recoveries_.contains(recovery.key()); }

  // An answered leg of a group: a partner of those that come later.
  struct LegUp {
    SessionKey session;
    Incarnation target;
    std::string channel_id;
    const CrashWork* crash;
  };

  HealerOptions options_;
  HealerParts parts_;
  const Clock& clock_;
  const bool own_thread_;
  std::shared_ptr<Loop> loop_;
  std::unique_ptr<PluginCalls> calls_;
  std::unique_ptr<JournalWriter> journal_;
  std::shared_ptr<Ears> ears_;

  // Stop was called: what parts answer is due to that, and no reason to give anything up.
  std::atomic<bool> stopping_ = false;

  mutable std::mutex mutex_;  // guards started_, thread_ and status_
  bool started_ = false;
  std::thread thread_;
  HealerStatus status_;

  // Owned by the loop from here on.
  std::vector<std::shared_ptr<HealerListener>> listeners_;
  Targets targets_;
  std::map<Incarnation, std::shared_ptr<CrashWork>> crashes_;  // under way
  // Declared dead, recovered or not, and not back since.
  std::map<Incarnation, CrashEvent> dead_;
  std::set<Incarnation> returned_;                // declared dead, and back
  std::vector<std::shared_ptr<CrashWork>> held_;  // crashes that wait for Resume
  std::map<SessionKey, RecoveryPtr> recoveries_;
  std::set<SessionKey> claiming_;  // will be in recoveries_ when the claim is granted
  std::map<std::string, std::vector<LegUp>> legs_up_;  // by group, until their crash is closed
  std::multimap<Turn, RecoveryPtr> placing_;  // wait for a target, in the order in which they go
  std::set<Incarnation> culprit_on_;          // died with a suspect alone under way
  std::map<Incarnation, std::set<std::string>> taken_channels_;  // to be given up if it wakes
  std::map<Incarnation, std::vector<Session>> untouched_;        // to be put back if it wakes
  std::set<Incarnation> resyncing_;                              // will be told to the tracker
  std::map<std::string, SessionKey> by_channel_;                 // channels of attempts under way
  std::optional<Loop::TimerId> placing_timer_;
  MonotonicTime placing_at_{};
  bool paused_ = false;
  bool halted_ = false;  // the kill switch was seen thrown, or could not be read
  bool thrown_ = false;  // with halted_: it was thrown
  std::mt19937_64 random_{std::random_device{}()};

  void PublishStatus();
};

}  // namespace sipheal::inline v0_1::internal
