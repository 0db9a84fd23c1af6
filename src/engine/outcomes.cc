// SPDX-License-Identifier: Apache-2.0
// Ending with BYE, outcomes and reports, and the journal that makes each step durable.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "engine/engine.h"

namespace sipheal::inline v0_1::internal {
// --- the journal
// --------------------------------------------------------------------------------------

SessionStore::AdvanceParams::Step Engine::StepOf(const Recovery& recovery, RecoveryStage stage,
                                                 std::string reason) const {
  SessionStore::AdvanceParams::Step step;
  step.entry.session = recovery.key();
  step.entry.fence = recovery.lease.fence;
  step.entry.stage = stage;
  step.entry.attempt = recovery.attempt;
  step.entry.target = recovery.target;
  step.entry.channel_id = recovery.channel_id;
  step.entry.cseq = recovery.used.cseq;
  step.entry.deaths = recovery.deaths;
  step.entry.reason = std::move(reason);
  step.entry.at = clock_.Now();
  return step;
}

void Engine::Journal(const RecoveryPtr& recovery, RecoveryStage stage, std::string reason,
                     std::function<void()> then) {
  recovery->stage = stage;
  recovery->waiting = Waiting::kJournal;
  const std::uint32_t attempt = recovery->attempt;
  journal_->Append(StepOf(*recovery, stage, std::move(reason)),
                   [this, recovery, attempt, then = std::move(then)](const absl::Status& status) {
                     if (!IsOpen(*recovery) || recovery->attempt != attempt) return;
                     if (!status.ok()) {
                       LeaseLost(recovery);
                       return;
                     }
                     // The target may have died while this was written: then the recovery went
                     // another way already.
                     if (recovery->waiting != Waiting::kJournal) return;
                     EmitStage(*recovery);
                     then();
                   });
}

// The lease ran out and another controller has the session: nothing more is done for it here.
void Engine::LeaseLost(const RecoveryPtr& recovery) {
  Log(LogLevel::kWarning, "lease_lost", "Another controller recovers this session now",
      {{"session", recovery->session.id}});
  LeaveTarget(*recovery);
  NoLongerUp(*recovery);
  recoveries_.erase(recovery->key());
  ++recovery->crash->report->taken_by_others;
  --recovery->crash->open;
  CloseCrashIfDone(recovery->crash);
}

// What is said of a session in passing. Why it is ended must stay the last that is said of it:
// another controller ends it for that reason.
SessionStore::AdvanceParams::Step Engine::NoteOn(const Recovery& recovery, const char* note) const {
  auto step = StepOf(recovery, recovery.stage,
                     recovery.stage == RecoveryStage::kEnding ? recovery.end_reason : note);
  step.entry.taken = recovery.taken;
  return step;
}

// A session that waits long keeps its lease by a word in the journal.
void Engine::RenewLeases() {
  const WallTime soon = clock_.Now() + options_.lease / 2;
  for (const auto& [key, recovery] : recoveries_) {
    if (recovery->waiting == Waiting::kJournal || recovery->waiting == Waiting::kFinish) continue;
    if (recovery->lease.expires_at > soon) continue;
    recovery->lease.expires_at = clock_.Now() + options_.lease;
    const RecoveryPtr renewed = recovery;
    const auto step = NoteOn(*renewed, "lease renewed");
    renewed->taken.reset();
    journal_->Append(step, [this, renewed, taken = step.entry.taken](const absl::Status& status) {
      if (status.ok() && taken) Take(*taken);
      if (!status.ok() && IsOpen(*renewed)) LeaseLost(renewed);
    });
  }
  loop_->After(options_.lease / 6, [this] { RenewLeases(); });
}

// --- ending and finishing
// -----------------------------------------------------------------------------

void Engine::End(const RecoveryPtr& recovery, std::string reason) {
  if (!options_.end_unrecoverable) {
    Finish(recovery, Outcome::kClosed, std::move(reason));
    return;
  }
  recovery->action = DialogAction::kBye;
  recovery->end_reason = std::move(reason);
  recovery->last_failure.clear();
  recovery->avoid.clear();
  WantTarget(recovery);
}

Session Engine::SuccessorOf(const Recovery& recovery) const {
  Session next = recovery.session;
  ++next.epoch;
  if (recovery.attempt == 0) return next;  // untouched
  next.incarnation = recovery.target;
  next.state = SessionState::kUp;
  next.channel_id = recovery.channel_id;
  next.channel_name.clear();
  if (recovery.plan.dialog) {
    next.local_tag = recovery.plan.dialog->local.tag;
    next.remote_tag = recovery.plan.dialog->remote.tag;
  }
  next.recovered_at = clock_.Now();
  next.deaths = recovery.deaths;
  return next;
}

void Engine::Finish(const RecoveryPtr& recovery, Outcome outcome, std::string reason) {
  recovery->stage = RecoveryStage::kFinished;
  recovery->waiting = Waiting::kFinish;
  auto step = StepOf(*recovery, RecoveryStage::kFinished, reason);
  step.entry.outcome = outcome;
  step.entry.taken = std::exchange(recovery->taken, std::nullopt);
  if (outcome == Outcome::kRecovered) step.successor = SuccessorOf(*recovery);
  journal_->Append(step, [this, recovery, outcome, reason,
                          taken = step.entry.taken](const absl::Status& status) {
    if (!IsOpen(*recovery)) return;
    if (status.ok() && taken) Take(*taken);
    if (!status.ok()) {
      LeaseLost(recovery);
      return;
    }
    Finished(recovery, outcome, reason);
  });
}

SessionReport Engine::ReportOf(const Recovery& recovery) const {
  SessionReport report;
  report.session = recovery.key();
  report.call_id = recovery.session.call_id;
  report.endpoint = recovery.session.endpoint;
  report.from = recovery.session.incarnation;
  report.to = recovery.target;
  report.channel_id = recovery.channel_id;
  report.attempts = recovery.attempt;
  report.verdict = recovery.plan.verdict;
  report.invited_at = recovery.invited_at;
  report.answered_at = recovery.answered_at;
  return report;
}

void Engine::Finished(const RecoveryPtr& recovery, Outcome outcome, const std::string& reason) {
  LeaveTarget(*recovery);
  recoveries_.erase(recovery->key());
  CrashWork& crash = *recovery->crash;
  SessionReport report = ReportOf(*recovery);
  report.outcome = outcome;
  report.reason = reason;
  report.finished_at = clock_.Now();
  if (outcome != Outcome::kRecovered) {
    NoLongerUp(*recovery);
    report.to = {};
    report.channel_id.clear();
  }
  parts_.telemetry->Count("sipheal_recoveries_total", {{"outcome", ToString(outcome)}}, 1);
  if (recovery->answered_at) {
    parts_.telemetry->Observe(
        "sipheal_recovery_stage_seconds", {{"stage", "answered"}},
        std::chrono::duration<double>(*recovery->answered_at - crash.event.detected_at).count());
  }
  crash.report->sessions.push_back(report);
  HealerEvent event;
  event.kind = HealerEventKind::kOutcome;
  event.session = std::move(report);
  Emit(std::move(event));
  --crash.open;
  PublishStatus();
  CloseCrashIfDone(recovery->crash);
  RememberUntouched(*recovery, outcome);
  if (outcome == Outcome::kRecovered) {
    if (recovery->attempt == 0) ResyncSoon(recovery->target);
    CatchUp(recovery->target);
  }
}

void Engine::CloseCrashIfDone(const std::shared_ptr<CrashWork>& crash) {
  if (crash->listing || crash->open > 0) return;
  const auto found = crashes_.find(crash->event.incarnation);
  if (found != crashes_.end() && found->second == crash) crashes_.erase(found);
  for (const std::string& group : crash->groups_up) {
    auto& legs = legs_up_[group];
    std::erase_if(legs, [&](const LegUp& leg) { return leg.crash == crash.get(); });
    if (legs.empty()) legs_up_.erase(group);
  }
  PublishStatus();
  HealerEvent event;
  event.kind = HealerEventKind::kDone;
  event.report = crash->report;
  Emit(std::move(event));
}

void Engine::EmitStage(const Recovery& recovery) {
  if (listeners_.empty()) return;
  HealerEvent event;
  event.kind = HealerEventKind::kStage;
  event.stage = recovery.stage;
  event.session = ReportOf(recovery);
  Emit(std::move(event));
}

}  // namespace sipheal::inline v0_1::internal
