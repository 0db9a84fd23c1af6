// SPDX-License-Identifier: Apache-2.0
// One attempt after another: placing, pacing, creating the channel, the phone's answer, the death
// of the target.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "engine/answer_policy.h"
#include "engine/engine.h"
#include "engine/known.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// Beyond the answer time-out that the media server was given: its own word should come first.
constexpr milliseconds kAnswerSlack{1'000};
constexpr milliseconds kAskAgain{200};

}  // namespace

// --- one attempt
// --------------------------------------------------------------------------------------

void Engine::BeginAttempt(const RecoveryPtr& recovery, Target& target) {
  UsedUp used = recovery->used;
  used.cseq = std::max(used.cseq, recovery->used_before.cseq);
  used.offers.insert(used.offers.end(), recovery->used_before.offers.begin(),
                     recovery->used_before.offers.end());
  auto made = MakeVariables(*recovery->plan.dialog, options_, recovery->capture_is_complete,
                            clock_.Now(), used);
  if (!made.ok()) {
    // Nothing unproved or unsafe is sent: the reason is recorded instead.
    recovery->plan.verdict = {sip::VerdictToken::kRefused, {std::string(made.status().message())}};
    Finish(recovery, Outcome::kClosed, absl::StrFormat("refused: %s", made.status().message()));
    return;
  }
  const bool bye = recovery->action == DialogAction::kBye;
  ++recovery->attempt;
  recovery->used.cseq = made->cseq;
  recovery->used.cseq_jump = 0;
  if (!bye) recovery->used.offers.push_back(made->cseq);
  recovery->target = target.status->incarnation;
  recovery->channel_id = ToChannelId({recovery->key(), recovery->attempt});
  recovery->create = std::make_shared<std::atomic<Sending>>(Sending::kNotBegun);
  by_channel_[recovery->channel_id] = recovery->key();
  ++target.inviting;
  ++target.creating;
  ++target.placed;
  recovery->counted_inviting = recovery->counted_creating = true;
  if (recovery->suspect()) {
    ++target.suspects;
    recovery->counted_suspect = true;
  }
  if (!recovery->session.group.empty()) {
    recovery->crash->group_home.emplace(recovery->session.group, target.options.name);
  }
  // Should the old incarnation be alive after all, it must not end with its own BYE what lives
  // elsewhere.
  if (recovery->attempt == 1 && MayLive(recovery->crash->event)) {
    recovery->taken = TakenChannel{recovery->session.incarnation, recovery->session.channel_id};
  }
  const auto ignore = [](const absl::Status&) {};
  if (recovery->attempt == 1)
    journal_->Append(StepOf(*recovery, RecoveryStage::kRebuilt, ""), ignore);
  auto placed = StepOf(*recovery, RecoveryStage::kPlaced, target.options.name);
  placed.entry.taken = std::exchange(recovery->taken, std::nullopt);
  // Not before that is durable: a controller after this one must not take the call for untouched.
  journal_->Append(placed, [this, taken = placed.entry.taken](const absl::Status& status) {
    if (status.ok() && taken) Take(*taken);
  });
  Journal(recovery, bye ? RecoveryStage::kEnding : RecoveryStage::kInviting,
          bye ? recovery->end_reason : "",
          [this, recovery, variables = std::move(made->variables)]() mutable {
            CreateChannel(recovery, std::move(variables));
          });
}

void Engine::CreateChannel(const RecoveryPtr& recovery,
                           std::vector<sip::ChannelVariable> variables) {
  recovery->waiting = Waiting::kAnswer;
  if (!recovery->invited_at && recovery->action == DialogAction::kReinvite)
    recovery->invited_at = clock_.Now();
  MediaServerDriver::CreateParams params;
  params.instance = recovery->target.instance;
  params.channel_id = recovery->channel_id;
  params.endpoint = recovery->session.endpoint;
  params.action = recovery->action;
  params.variables = std::move(variables);
  recovery->flow_begun = false;
  recovery->flow_done = false;
  params.answer_timeout = options_.answer_timeout;
  const std::uint32_t attempt = recovery->attempt;
  const MonotonicTime began = clock_.Monotonic();
  calls_->Call<absl::Status>(
      "MediaServerDriver::Create", options_.plugin_timeout,
      [driver = parts_.driver, resumer = parts_.resumer, kill_switch = parts_.kill_switch, params,
       session = recovery->session, died_at = recovery->crash->event.last_alive,
       create = recovery->create](const CallContext& ctx) mutable -> absl::Status {
        if (params.action == DialogAction::kReinvite) {
          params.flow_variables = resumer->Prepare(session, died_at);
        }
        ABSL_RETURN_IF_ERROR(MaySend(kill_switch.get(), ctx));
        *create = Sending::kUnknown;
        ABSL_RETURN_IF_ERROR(driver->Create(ctx, params));
        *create = Sending::kDone;
        return absl::OkStatus();
      },
      [this, recovery, attempt, began](const absl::Status& status) {
        Created(recovery, attempt, status, clock_.Monotonic() - began);
      });
  loop_->After(options_.answer_timeout + kAnswerSlack,
               [this, recovery, attempt] { AnswerOverdue(recovery, attempt); });
}

void Engine::Created(const RecoveryPtr& recovery, std::uint32_t attempt, const absl::Status& status,
                     MonotonicTime::duration took) {
  const auto target = targets_.find(recovery->target.instance);
  if (recovery->attempt == attempt && recovery->counted_creating) {
    recovery->counted_creating = false;
    if (target != targets_.end()) CreateOver(*target->second);
    SchedulePlacing(clock_.Monotonic());
  }
  if (target != targets_.end() && !WasHeld(status)) {
    if (status.ok()) {
      target->second->pacer.Succeeded(took);
    } else if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) {
      target->second->pacer.Overloaded();
    }
  }
  if (!status.ok() && stopping_) return;  // what it says is of the stop, not of the call
  if (WasHeld(status)) {
    if (IsOpen(*recovery) && recovery->attempt == attempt && recovery->waiting == Waiting::kAnswer)
      Held(recovery, status);
    else
      Halt(status);
    return;
  }
  // Whether the channel has what Prepare gave is not known.
  if (!status.ok() && recovery->attempt == attempt) recovery->flow_begun = true;
  // The answer of the phone may have been quicker than the answer to the create.
  if (!IsOpen(*recovery) || recovery->attempt != attempt || recovery->waiting != Waiting::kAnswer)
    return;
  if (status.ok()) return;
  switch (status.code()) {
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied: {
      ChannelEvent event;
      event.instance = recovery->target.instance;
      event.channel_id = recovery->channel_id;
      event.sent = false;
      event.reason = std::string(status.message());
      AttemptFailed(recovery, event);
      return;
    }
    default:
      // Whether the channel was made is not known: it is asked for, and never made a second time
      // blindly.
      AskForChannel(recovery, attempt);
  }
}

void Engine::AskForChannel(const RecoveryPtr& recovery, std::uint32_t attempt) {
  MediaServerDriver::ChannelParams params{recovery->target.instance, recovery->channel_id};
  using Result = absl::StatusOr<MediaServerDriver::ChannelState>;
  calls_->Call<Result>(
      "MediaServerDriver::Find", options_.plugin_timeout,
      [driver = parts_.driver, params,
       target = recovery->target](const CallContext& ctx) -> Result {
        Result state = driver->Find(ctx, params);
        if (!absl::IsNotFound(state.status())) return state;
        ABSL_RETURN_IF_ERROR(StillThere(*driver, ctx, target));
        return state;
      },
      [this, recovery, attempt](const Result& state) {
        if (!IsOpen(*recovery) || recovery->attempt != attempt ||
            recovery->waiting != Waiting::kAnswer) {
          return;
        }
        if (!state.ok() && stopping_) return;
        if (state.ok()) {
          if (recovery->create) *recovery->create = Sending::kDone;
          const bool up = *state == MediaServerDriver::ChannelState::kUp;
          if (up && recovery->action == DialogAction::kBye) {
            // A BYE of its own is never up: this is an answered call without a flow.
            HangUp(recovery);
          } else if (up) {
            Answered(recovery, FlowProgress::kUnknown);
          } else {
            loop_->After(options_.answer_timeout + kAnswerSlack,
                         [this, recovery, attempt] { AnswerOverdue(recovery, attempt); });
          }
          return;
        }
        if (absl::IsAborted(state.status())) {
          TargetDied(recovery, /*may_live=*/false);
          return;
        }
        if (absl::IsNotFound(state.status())) {
          ChannelEvent event;
          event.instance = recovery->target.instance;
          event.channel_id = recovery->channel_id;
          event.reason = "channel_gone";
          const bool was_up = recovery->stage == RecoveryStage::kAnswered ||
                              recovery->stage == RecoveryStage::kResumed;
          event.kind = was_up ? ChannelEventKind::kGone : ChannelEventKind::kFailed;
          HandleChannel(event);
          return;
        }
        // The target does not answer. Either it comes back, or the detector declares it dead, or
        // the time is over.
        if (recovery->deadline <= clock_.Monotonic()) {
          LeaveTarget(*recovery);
          Finish(recovery, Outcome::kExpired, "its target did not answer before the deadline");
          return;
        }
        loop_->After(kAskAgain, [this, recovery, attempt] {
          if (IsOpen(*recovery) && recovery->attempt == attempt &&
              recovery->waiting == Waiting::kAnswer) {
            AskForChannel(recovery, attempt);
          }
        });
      });
}

void Engine::HandleChannel(const ChannelEvent& event) {
  const auto known = by_channel_.find(event.channel_id);
  if (known == by_channel_.end()) return;
  const auto found = recoveries_.find(known->second);
  if (found == recoveries_.end()) return;
  const RecoveryPtr recovery = found->second;
  if (recovery->channel_id != event.channel_id || recovery->target.instance != event.instance)
    return;

  if (recovery->action == DialogAction::kBye) {
    if (recovery->waiting != Waiting::kAnswer) return;
    LeaveTarget(*recovery);
    if (event.sent) {
      Finish(recovery, Outcome::kEnded, recovery->end_reason);
    } else {
      recovery->last_failure =
          absl::StrFormat("%s; BYE not sent: %s", recovery->end_reason, event.reason);
      recovery->avoid.insert(recovery->target.instance);
      if (recovery->attempt - recovery->held <
          static_cast<std::uint32_t>(options_.max_attempts) + 1) {
        Retry(recovery, options_.retry_backoff);
      } else {
        Finish(recovery, Outcome::kClosed, recovery->last_failure);
      }
    }
    return;
  }
  switch (event.kind) {
    case ChannelEventKind::kAnswered:
      if (recovery->waiting == Waiting::kAnswer) Answered(recovery, event.flow);
      return;
    case ChannelEventKind::kFailed:
      if (recovery->waiting == Waiting::kAnswer) AttemptFailed(recovery, event);
      return;
    case ChannelEventKind::kGone:
      if (recovery->waiting == Waiting::kFinish || recovery->waiting == Waiting::kHangUp) return;
      LeaveTarget(*recovery);
      Finish(recovery, Outcome::kClosed, "the phone hung up before its flow was back");
      return;
  }
}

void Engine::AttemptFailed(const RecoveryPtr& recovery, const ChannelEvent& event) {
  const auto target = targets_.find(recovery->target.instance);
  if (target != targets_.end() && event.sip_status == 503) target->second->pacer.Overloaded();
  LeaveTarget(*recovery);

  AnswerContext context;
  context.attempts = recovery->attempt - recovery->held;
  context.max_attempts = static_cast<std::uint32_t>(options_.max_attempts);
  if (recovery->plan.dialog) context.role = recovery->plan.dialog->role;
  context.backoff = options_.retry_backoff;
  context.jitter = std::uniform_real_distribution<double>(0, 1)(random_);
  AnswerDecision decision = DecideAfterFailure(event, context);
  recovery->same_failures =
      decision.reason == recovery->last_failure ? recovery->same_failures + 1 : 1;
  context.same_failures = recovery->same_failures;
  decision = DecideAfterFailure(event, context);
  recovery->last_failure = decision.reason;
  Log(LogLevel::kInfo, "attempt_failed", "A re-INVITE was not accepted",
      {{"session", recovery->session.id},
       {"target", recovery->target.instance},
       {"reason", decision.reason}});
  // A leg whose call is there already tries the same target once more before it leaves its
  // partners.
  const auto home = recovery->crash->group_home.find(recovery->session.group);
  const bool at_home = !recovery->session.group.empty() &&
                       home != recovery->crash->group_home.end() &&
                       home->second == recovery->target.instance;
  if (decision.other_target && (!at_home || recovery->same_failures > 1)) {
    recovery->avoid.insert(recovery->target.instance);
  }
  switch (decision.step) {
    case NextStep::kRetry:
      recovery->used.cseq_jump = decision.cseq_jump;
      Retry(recovery, decision.wait);
      return;
    case NextStep::kBye:
      End(recovery, decision.reason);
      return;
    case NextStep::kClose:
      Finish(recovery, Outcome::kClosed, decision.reason);
      return;
  }
}

void Engine::AnswerOverdue(const RecoveryPtr& recovery, std::uint32_t attempt) {
  if (!IsOpen(*recovery) || recovery->attempt != attempt || recovery->waiting != Waiting::kAnswer) {
    return;
  }
  // The media server should have told by now. Before another channel is made, this one is given up
  // without a packet: a hang-up would end with BYE the call that the next attempt is to save.
  MediaServerDriver::ChannelParams params{recovery->target.instance, recovery->channel_id};
  using Result = absl::StatusOr<bool>;  // whether the phone has answered after all
  calls_->Call<Result>(
      "MediaServerDriver::GiveUp", options_.plugin_timeout,
      [driver = parts_.driver, params,
       target = recovery->target](const CallContext& ctx) -> Result {
        const auto state = driver->Find(ctx, params);
        if (absl::IsNotFound(state.status())) {
          ABSL_RETURN_IF_ERROR(StillThere(*driver, ctx, target));
          return false;
        }
        if (!state.ok()) return state.status();
        if (*state == MediaServerDriver::ChannelState::kUp) return true;
        ABSL_RETURN_IF_ERROR(driver->GiveUp(ctx, {params.instance, {params.channel_id}}));
        return false;
      },
      [this, recovery, attempt](const Result& answered) {
        if (!IsOpen(*recovery) || recovery->attempt != attempt ||
            recovery->waiting != Waiting::kAnswer) {
          return;
        }
        if (!answered.ok() && stopping_) return;
        if (absl::IsAborted(answered.status())) {
          TargetDied(recovery, /*may_live=*/false);
          return;
        }
        if (!answered.ok()) {
          AskForChannel(recovery, attempt);
          return;
        }
        if (*answered) {
          Answered(recovery, FlowProgress::kUnknown);
          return;
        }
        ChannelEvent event;
        event.instance = recovery->target.instance;
        event.channel_id = recovery->channel_id;
        event.kind = ChannelEventKind::kFailed;
        event.local_timeout = true;
        event.reason = "overdue";
        HandleChannel(event);
      });
}

void Engine::TargetDied(const RecoveryPtr& recovery, bool may_live) {
  if (may_live) recovery->taken = TakenChannel{recovery->target, recovery->channel_id};
  if (recovery->counted_suspect) culprit_on_.insert(recovery->target);
  LeaveTarget(*recovery);
  ++recovery->deaths;
  recovery->last_failure = "target_died";
  recovery->avoid.clear();
  std::erase_if(recovery->crash->group_home,
                [&](const auto& entry) { return entry.second == recovery->target.instance; });
  if (recovery->deaths >= static_cast<std::uint32_t>(options_.quarantine_after)) {
    Finish(recovery, Outcome::kQuarantined,
           absl::StrFormat("its media server died %d times with it",
                           static_cast<int>(recovery->deaths)));
    return;
  }
  Retry(recovery, milliseconds(0));
}

// Placing goes first: it may have the next one for this target.
void Engine::CreateOver(Target& target) {
  if (--target.creating > 0 || target.resumes.empty()) return;
  loop_->Post([this, name = target.options.name] { BeginResumes(name); });
}

// The channel of the last attempt is no longer of interest.
void Engine::LeaveTarget(Recovery& recovery) {
  by_channel_.erase(recovery.channel_id);
  const auto found = targets_.find(recovery.target.instance);
  Target* target = found == targets_.end() ? nullptr : found->second.get();
  if (std::exchange(recovery.counted_inviting, false) && target != nullptr) --target->inviting;
  if (std::exchange(recovery.counted_creating, false) && target != nullptr) CreateOver(*target);
  if (std::exchange(recovery.counted_suspect, false) && target != nullptr) --target->suspects;
  SchedulePlacing(clock_.Monotonic());
}

void Engine::Retry(const RecoveryPtr& recovery, milliseconds wait) {
  NoLongerUp(*recovery);
  recovery->not_before = clock_.Monotonic() + wait;
  // Taken over from another controller: what that one knew is rebuilt first.
  if (!recovery->plan.dialog) {
    PlanAll({recovery}, recovery->session.incarnation.instance, 0);
    return;
  }
  recovery->stage = RecoveryStage::kRebuilt;
  WantTarget(recovery);
}

}  // namespace sipheal::inline v0_1::internal
