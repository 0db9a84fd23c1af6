// SPDX-License-Identifier: Apache-2.0
// After the answer: who is up beside a call, and its flow.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstResumeBackoff{100};
constexpr milliseconds kHeldHangUp{1'000};  // the kill switch holds it back
constexpr int kMostResumeTries = 8;
constexpr milliseconds kBusyResumer{250};  // before one that has too much to do is asked again
// How long an answered call may wait for its flow while its server is busy with creating channels.
constexpr milliseconds kLongestHold{2'000};

bool MayBeTriedAgain(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status);
}

}  // namespace

void Engine::Answered(const RecoveryPtr& recovery, FlowProgress flow) {
  if (recovery->action == DialogAction::kBye) return;
  if (recovery->create) *recovery->create = Sending::kDone;
  if (flow == FlowProgress::kUnknown) recovery->flow_begun = true;
  recovery->flow_done = flow == FlowProgress::kDone;
  if (const auto target = targets_.find(recovery->target.instance); target != targets_.end()) {
    if (std::exchange(recovery->counted_inviting, false)) --target->second->inviting;
    SchedulePlacing(clock_.Monotonic());
  }
  recovery->answered_at = clock_.Now();
  NoteUp(recovery);
  Journal(recovery, RecoveryStage::kAnswered, "", [this, recovery] { WantResume(recovery); });
}

// A server that is asked for channels and for their flows at the same time does both slower: the
// channels come first, for a while.
void Engine::WantResume(const RecoveryPtr& recovery) {
  recovery->waiting = Waiting::kResume;
  const auto target = targets_.find(recovery->target.instance);
  if (target == targets_.end() || target->second->creating == 0 || recovery->flow_done) {
    ResumeFlow(recovery, 0);
    return;
  }
  Target& busy = *target->second;
  busy.resumes.push_back({recovery, recovery->attempt, clock_.Monotonic() + kLongestHold});
  if (busy.resumes.size() > 1) return;
  loop_->After(kLongestHold, [this, name = busy.options.name] { BeginResumes(name); });
}

void Engine::BeginResumes(const std::string& instance) {
  const auto target = targets_.find(instance);
  if (target == targets_.end()) return;
  auto& held = target->second->resumes;
  const MonotonicTime now = clock_.Monotonic();
  while (!held.empty() && (target->second->creating == 0 || held.front().until <= now)) {
    const Target::HeldResume next = std::move(held.front());
    held.pop_front();
    if (IsOpen(*next.recovery) && next.recovery->attempt == next.attempt &&
        next.recovery->waiting == Waiting::kResume) {
      ResumeFlow(next.recovery, 0);
    }
  }
  if (held.empty()) return;
  loop_->At(held.front().until, [this, instance] { BeginResumes(instance); });
}

void Engine::NoteUp(const RecoveryPtr& recovery) {
  const std::string& group = recovery->session.group;
  if (group.empty()) return;
  legs_up_[group].push_back(
      {recovery->key(), recovery->target, recovery->channel_id, recovery->crash.get()});
  recovery->crash->groups_up.insert(group);
}

void Engine::NoLongerUp(const Recovery& recovery) {
  const auto legs = legs_up_.find(recovery.session.group);
  if (legs == legs_up_.end()) return;
  std::erase_if(legs->second, [&](const LegUp& leg) { return leg.session == recovery.key(); });
}

std::vector<FlowResumer::Partner> Engine::PartnersOf(const Recovery& recovery) const {
  std::vector<FlowResumer::Partner> partners;
  if (const auto legs = legs_up_.find(recovery.session.group); legs != legs_up_.end()) {
    for (const LegUp& leg : legs->second) {
      if (leg.session != recovery.key() && leg.target == recovery.target) {
        partners.push_back({leg.session.id, leg.target.instance, leg.channel_id});
      }
    }
  }
  const auto& living = recovery.crash->living;
  if (const auto those = living.find(recovery.session.group); those != living.end()) {
    for (const auto& [home, partner] : those->second) {
      if (home == recovery.target && partner.session_id != recovery.session.id) {
        partners.push_back(partner);
      }
    }
  }
  return partners;
}

void Engine::ResumeFlow(const RecoveryPtr& recovery, int failures) {
  recovery->waiting = Waiting::kResume;
  FlowResumer::ResumeParams params;
  params.session = recovery->session;
  params.died_at = recovery->crash->event.last_alive;
  params.instance = recovery->target.instance;
  params.channel_id = recovery->channel_id;
  params.partners = PartnersOf(*recovery);
  params.first = !std::exchange(recovery->flow_begun, true);
  params.done_by_server = recovery->flow_done;
  const std::uint32_t attempt = recovery->attempt;
  calls_->Call<absl::Status>(
      "FlowResumer::Resume", options_.plugin_timeout,
      [resumer = parts_.resumer, params](const CallContext& ctx) {
        return resumer->Resume(ctx, params);
      },
      [this, recovery, attempt, failures](const absl::Status& status) {
        if (!IsOpen(*recovery) || recovery->attempt != attempt ||
            recovery->waiting != Waiting::kResume)
          return;
        if (status.ok()) {
          recovery->stage = RecoveryStage::kResumed;
          EmitStage(*recovery);
          Finish(recovery, Outcome::kRecovered, "");
          return;
        }
        // Whatever it says: another controller resumes the flow.
        if (stopping_) return;
        // Others were before it, and nothing was done for it: that is no failure of its own.
        const bool busy =
            absl::IsResourceExhausted(status) && clock_.Monotonic() < recovery->deadline;
        Log(busy ? LogLevel::kDebug : LogLevel::kWarning, "resume_failed",
            "The flow of a recovered call could not be resumed",
            {{"session", recovery->session.id}, {"status", std::string(status.message())}});
        if (busy || (MayBeTriedAgain(status) && failures < kMostResumeTries)) {
          const milliseconds wait = busy ? kBusyResumer : kFirstResumeBackoff * (1 << failures);
          const int failed = busy ? failures : failures + 1;
          loop_->After(wait, [this, recovery, attempt, failed] {
            if (IsOpen(*recovery) && recovery->attempt == attempt &&
                recovery->waiting == Waiting::kResume) {
              ResumeFlow(recovery, failed);
            }
          });
          return;
        }
        // The phone is answered but would hear nothing for ever: its channel, which is in the
        // dialog, says BYE.
        recovery->end_reason = absl::StrFormat("flow: %s", status.message());
        EndAnswered(recovery);
      });
}

// Durable first: whoever has lost the lease must not end what another controller recovered.
void Engine::EndAnswered(const RecoveryPtr& recovery) {
  Journal(recovery, RecoveryStage::kEnding, recovery->end_reason,
          [this, recovery] { HangUp(recovery); });
}

void Engine::HangUp(const RecoveryPtr& recovery) {
  recovery->waiting = Waiting::kHangUp;
  recovery->hang_up = std::make_shared<std::atomic<Sending>>(Sending::kNotBegun);
  MediaServerDriver::ChannelParams channel{recovery->target.instance, recovery->channel_id};
  calls_->Call<absl::Status>(
      "MediaServerDriver::HangUp", options_.plugin_timeout,
      [driver = parts_.driver, kill_switch = parts_.kill_switch, channel,
       sending = recovery->hang_up](const CallContext& ctx) -> absl::Status {
        ABSL_RETURN_IF_ERROR(MaySend(kill_switch.get(), ctx));
        *sending = Sending::kUnknown;
        ABSL_RETURN_IF_ERROR(driver->HangUp(ctx, channel));
        *sending = Sending::kDone;
        return absl::OkStatus();
      },
      [this, recovery](const absl::Status& hung_up) {
        if (!IsOpen(*recovery) || recovery->waiting != Waiting::kHangUp) return;
        if (!hung_up.ok() && stopping_) return;
        if (WasHeld(hung_up)) {
          Halt(hung_up);
          HoldHangUp(recovery);
          return;
        }
        Finish(recovery, Outcome::kEnded,
               hung_up.ok() || absl::IsNotFound(hung_up)
                   ? recovery->end_reason
                   : absl::StrFormat("%s; hang-up failed: %s", recovery->end_reason,
                                     hung_up.message()));
      });
}

void Engine::HoldHangUp(const RecoveryPtr& recovery) {
  loop_->After(kHeldHangUp, [this, recovery] {
    if (!IsOpen(*recovery) || recovery->waiting != Waiting::kHangUp) return;
    if (halted_) {
      HoldHangUp(recovery);
    } else {
      EndAnswered(recovery);
    }
  });
}

}  // namespace sipheal::inline v0_1::internal
