// SPDX-License-Identifier: Apache-2.0
// Recovery by hand, and what would be done without doing anything.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/known.h"

namespace sipheal::inline v0_1::internal {

// --- by hand, and without doing anything
// --------------------------------------------------------------

absl::Status Engine::Recover(const CallContext& ctx, const std::string& instance) {
  ABSL_ASSIGN_OR_RETURN(const std::vector<Session> all, ListAll(*parts_.store, ctx, std::nullopt));
  std::set<Incarnation> incarnations;
  for (const Session& session : all) {
    if (session.incarnation.instance == instance) incarnations.insert(session.incarnation);
  }
  if (incarnations.empty()) {
    return absl::NotFoundError(absl::StrFormat(
        "the store has no session of '%s' to recover: check the instance's name", instance));
  }
  std::lock_guard lock(mutex_);
  if (!started_) return absl::FailedPreconditionError("the Healer does not run: call Start first");
  for (const Incarnation& incarnation : incarnations) {
    CrashEvent event;
    event.incarnation = incarnation;
    event.kind = CrashKind::kReported;
    event.last_alive = event.detected_at = clock_.Now();
    event.evidence = {"declared dead by hand"};
    event.detector = "operator";
    loop_->Post([this, event] {
      dead_.erase(event.incarnation);  // by hand it may be said again
      HandleCrash(event);
    });
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<RecoveryPlan>> Engine::Plan(const CallContext& ctx,
                                                       const std::string& instance) {
  ABSL_ASSIGN_OR_RETURN(std::vector<Session> sessions, ListAll(*parts_.store, ctx, std::nullopt));
  std::erase_if(sessions,
                [&](const Session& session) { return session.incarnation.instance != instance; });
  ABSL_ASSIGN_OR_RETURN(const Known known,
                        FetchKnown(parts_, ctx, sessions, instance, std::nullopt));
  sip::ServerIdentity identity;
  for (const InstanceOptions& one : options_.instances) {
    if (one.name == instance) identity = one.identity;
  }
  std::vector<RecoveryPlan> plans;
  for (const Session& session : sessions) {
    const WallTime now = clock_.Now();
    const PlanInput input =
        InputFor(session, known, identity, parts_.resumer->Accept(session), now);
    const internal::Plan made = MakePlan(input, options_);
    RecoveryPlan plan;
    plan.session = session;
    plan.verdict = made.verdict;
    plan.reason = made.reason;
    plan.action = made.step == PlannedStep::kBye ? DialogAction::kBye : DialogAction::kReinvite;
    if (made.step != PlannedStep::kClose) {
      const bool complete = input.capture.completeness == Completeness::kOwnInterface;
      auto variables = MakeVariables(*made.dialog, options_, complete, now,
                                     UsedByEarlierRecoveries(*parts_.store, ctx, session));
      if (variables.ok()) {
        plan.variables = std::move(variables->variables);
      } else {
        plan.verdict = {sip::VerdictToken::kRefused, {std::string(variables.status().message())}};
      }
    }
    plans.push_back(std::move(plan));
  }
  return plans;
}

void Engine::ReportDryRun(const std::shared_ptr<CrashWork>& crash) {
  using Result = absl::StatusOr<std::vector<RecoveryPlan>>;
  calls_->Call<Result>(
      "dry run", options_.plugin_timeout,
      [this, instance = crash->event.incarnation.instance](const CallContext& ctx) {
        return Plan(ctx, instance);
      },
      [this, crash](const Result& plans) {
        crash->listing = false;
        if (!plans.ok()) {
          Log(LogLevel::kError, "dry_run_failed", "The dry run could not be made",
              {{"status", std::string(plans.status().message())}});
        } else {
          for (const RecoveryPlan& plan : *plans) {
            SessionReport report;
            report.session = plan.session.key();
            report.call_id = plan.session.call_id;
            report.endpoint = plan.session.endpoint;
            report.from = plan.session.incarnation;
            report.verdict = plan.verdict;
            report.reason = plan.reason.empty() ? "dry run: would be recovered"
                                                : absl::StrFormat("dry run: %s", plan.reason);
            report.finished_at = clock_.Now();
            crash->report->sessions.push_back(report);
            HealerEvent event;
            event.kind = HealerEventKind::kOutcome;
            event.session = std::move(report);
            Emit(std::move(event));
          }
        }
        CloseCrashIfDone(crash);
      });
}

}  // namespace sipheal::inline v0_1::internal
