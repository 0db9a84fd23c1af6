// SPDX-License-Identifier: Apache-2.0
// Which session goes to which target, and when: inspection, order, pacing, deadlines.
#include <algorithm>
#include <tuple>
#include <utility>

#include "absl/strings/str_format.h"
#include "engine/engine.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// How often the targets are asked again while sessions wait for one.
constexpr milliseconds kInspectEvery{250};
// While every target has as much to do as it may, a place that becomes free is told at once; this
// is for what only time brings.
constexpr milliseconds kLookAgain{50};
// How long a BYE may still be tried for a session whose time to be recovered is over.
constexpr milliseconds kByeGrace{5'000};

}  // namespace

// --- targets
// ------------------------------------------------------------------------------------------

void Engine::InspectTargets() {
  for (const auto& [name, target] : targets_) Inspect(*target, {});
}

void Engine::Inspect(Target& target, std::vector<std::string> endpoints) {
  std::erase_if(endpoints, [&](const std::string& endpoint) {
    return target.has_endpoints.contains(endpoint);
  });
  std::sort(endpoints.begin(), endpoints.end());
  endpoints.erase(std::unique(endpoints.begin(), endpoints.end()), endpoints.end());
  if (target.inspecting && endpoints.empty()) return;
  target.inspecting = true;
  MediaServerDriver::InspectParams params{target.options.name, endpoints};
  using Result = absl::StatusOr<InstanceStatus>;
  calls_->Call<Result>(
      "MediaServerDriver::Inspect", options_.plugin_timeout,
      [driver = parts_.driver, params](const CallContext& ctx) {
        return driver->Inspect(ctx, params);
      },
      [this, params](Result status) {
        const auto found = targets_.find(params.instance);
        if (found == targets_.end()) return;
        Target& asked = *found->second;
        asked.inspecting = false;
        asked.inspected_at = clock_.Monotonic();
        if (!status.ok() || dead_.contains(status->incarnation)) {
          asked.status.reset();
          return;
        }
        for (const std::string& endpoint : params.endpoints) {
          const auto& missing = status->missing_endpoints;
          const bool lacks = std::find(missing.begin(), missing.end(), endpoint) != missing.end();
          (lacks ? asked.missing_endpoints : asked.has_endpoints).insert(endpoint);
          (lacks ? asked.has_endpoints : asked.missing_endpoints).erase(endpoint);
        }
        if (!status->can_recover && (!asked.status || asked.status->can_recover)) {
          Log(LogLevel::kWarning, "target_unfit", "An instance cannot take calls over",
              {{"instance", params.instance}, {"because", status->cannot_because}});
        }
        asked.status = *std::move(status);
        asked.placed = 0;
        SchedulePlacing(clock_.Monotonic());
      });
}

// --- placing
// ------------------------------------------------------------------------------------------

Engine::Turn Engine::TurnOf(const Recovery& recovery) {
  return {recovery.suspect(), recovery.action == DialogAction::kBye,
          recovery.peer_gives_up ? recovery.deadline : MonotonicTime::max(),
          recovery.session.created_at};
}

void Engine::QueueUp(const RecoveryPtr& recovery) { placing_.emplace(TurnOf(*recovery), recovery); }

void Engine::WantTarget(const RecoveryPtr& recovery) {
  recovery->waiting = Waiting::kTarget;
  QueueUp(recovery);
  SchedulePlacing(std::max(recovery->not_before, clock_.Monotonic()));
}

void Engine::SchedulePlacing(MonotonicTime when) {
  if (placing_.empty()) return;
  if (placing_timer_ && placing_at_ <= when) return;
  if (placing_timer_) loop_->Cancel(*placing_timer_);
  placing_at_ = when;
  placing_timer_ = loop_->At(when, [this] {
    placing_timer_.reset();
    PlaceAll();
  });
}

bool Engine::IsFull(const Target& target) const {
  // More creates at a time than this only queue up inside the media server.
  return target.creating >= 2 * options_.threads || target.inviting >= options_.pacing.max_inviting;
}

// When a target may be given the next one, should every usable one have enough to do now.
std::optional<MonotonicTime> Engine::AllFullUntil(MonotonicTime now) const {
  std::optional<MonotonicTime> until;
  for (const auto& [name, target] : targets_) {
    if (!target->usable()) continue;
    const MonotonicTime turn = IsFull(*target) ? now + kLookAgain : target->pacer.NextAt(now);
    if (turn <= now) return std::nullopt;
    until = std::min(until.value_or(turn), turn);
  }
  return until;
}

bool Engine::MayGoTo(const Recovery& recovery, const Target& target) const {
  if (IsFull(target)) return false;
  // A session that was on a server when it died goes alone, so that a second death has one culprit.
  if (recovery.suspect()) return target.inviting == 0 && target.suspects == 0;
  return target.suspects == 0;
}

void Engine::PlaceAll() {
  if (paused_ || halted_ || placing_.empty()) return;
  const MonotonicTime now = clock_.Monotonic();
  MonotonicTime again = MonotonicTime::max();
  bool somebody_lacks_a_target = false;
  std::set<std::string> unknown_endpoints;
  for (const auto& [name, target] : targets_) target->busy = IsFull(*target);
  // Whoever comes meanwhile (a BYE for one whose time is over) takes its place among them.
  for (auto next = placing_.begin(); next != placing_.end();) {
    // With a thousand waiting, each place that becomes free must not cost a look at all of them.
    if (const auto until = AllFullUntil(now)) {
      again = std::min(again, *until);
      break;
    }
    const auto here = next++;
    const RecoveryPtr recovery = here->second;
    if (!IsOpen(*recovery) || recovery->waiting != Waiting::kTarget) {
      placing_.erase(here);
      continue;
    }
    if (recovery->deadline <= now) {
      placing_.erase(here);
      DeadlinePassed(recovery);
      continue;
    }
    again = std::min(again, recovery->deadline);
    if (recovery->not_before > now) {
      again = std::min(again, recovery->not_before);
      continue;
    }
    PlacementQuery query;
    query.endpoint = recovery->session.endpoint;
    query.avoid = recovery->avoid;
    query.never = recovery->session.incarnation;
    query.group = recovery->session.group;
    const auto home = recovery->crash->group_home.find(recovery->session.group);
    if (home != recovery->crash->group_home.end()) query.wish = home->second;
    PlacementAnswer answer = Place(targets_, query);
    if (answer.target == nullptr && !query.avoid.empty()) {
      query.avoid.clear();  // the only ones there are: better again there than nowhere
      answer = Place(targets_, query);
    }
    if (answer.nobody_has_endpoint) {
      placing_.erase(here);
      recovery->plan.verdict = {
          sip::VerdictToken::kNoEndpoint,
          {absl::StrFormat("no usable instance has the endpoint '%s'", query.endpoint)}};
      Finish(recovery, Outcome::kClosed, "no_endpoint");
      continue;
    }
    if (answer.target == nullptr) {
      somebody_lacks_a_target = true;
      unknown_endpoints.insert(query.endpoint);
      continue;
    }
    Target& target = *answer.target;
    if (!MayGoTo(*recovery, target)) continue;  // an answer that frees the place comes back here
    if (!target.pacer.TryTake(now)) {
      again = std::min(again, target.pacer.NextAt(now));
      continue;
    }
    placing_.erase(here);
    BeginAttempt(recovery, target);
    target.busy = IsFull(target);
  }
  if (somebody_lacks_a_target) {
    for (const auto& [name, target] : targets_) {
      if (now - target->inspected_at >= kInspectEvery || target->inspected_at == MonotonicTime{}) {
        Inspect(*target, {unknown_endpoints.begin(), unknown_endpoints.end()});
      }
    }
    again = std::min(again, now + kInspectEvery);
  }
  if (again != MonotonicTime::max()) SchedulePlacing(again);
}

void Engine::DeadlinePassed(const RecoveryPtr& recovery) {
  // The phone may still be there although our time is over: then it is told, if anybody can tell
  // it.
  if (recovery->action == DialogAction::kReinvite && !recovery->peer_gives_up &&
      options_.end_unrecoverable) {
    recovery->deadline = clock_.Monotonic() + kByeGrace;
    recovery->peer_gives_up = true;
    End(recovery, "deadline");
    return;
  }
  Finish(recovery, Outcome::kExpired,
         recovery->last_failure.empty() ? "no target before the deadline" : recovery->last_failure);
}

}  // namespace sipheal::inline v0_1::internal
