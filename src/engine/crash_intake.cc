// SPDX-License-Identifier: Apache-2.0
// A crash: list its sessions, claim them, get their captures, rebuild and judge. And the same for
// what a dead controller left behind.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "engine/backoff.h"
#include "engine/engine.h"
#include "engine/known.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// The first page is small, so that the first re-INVITE does not wait until hundreds of sessions are
// claimed and rebuilt; each further one is twice as large, up to a size that keeps all parts busy.
constexpr std::size_t kFirstPage = 16;
constexpr std::size_t kLargestPage = 256;

constexpr milliseconds kFirstBackoff{50};

}  // namespace

// --- the crash itself
// ---------------------------------------------------------------------------------

void Engine::HandleCrash(const CrashEvent& event) {
  const Incarnation& incarnation = event.incarnation;
  if (!dead_.try_emplace(incarnation, event).second) return;
  returned_.erase(incarnation);
  if (!MayLive(event)) {
    taken_channels_.erase(incarnation);
    untouched_.erase(incarnation);
  }
  Log(LogLevel::kWarning, "crash_detected",
      absl::StrFormat("%s is dead (%s)", incarnation.instance, AbslView(ToString(event.kind))),
      {{"instance", incarnation.instance},
       {"kind", std::string(ToString(event.kind))},
       {"detector", event.detector}});
  parts_.telemetry->Count("sipheal_crashes_detected_total",
                          {{"detector", event.detector}, {"reason", ToString(event.kind)}}, 1);
  HealerEvent out;
  out.kind = HealerEventKind::kCrash;
  out.crash = event;
  Emit(std::move(out));

  if (const auto target = targets_.find(incarnation.instance); target != targets_.end()) {
    auto& status = target->second->status;
    if (status && status->incarnation == incarnation) status.reset();
  }
  std::vector<RecoveryPtr> orphaned;
  for (const auto& [key, recovery] : recoveries_) {
    const bool under_way = recovery->waiting == Waiting::kJournal ||
                           recovery->waiting == Waiting::kAnswer ||
                           recovery->waiting == Waiting::kResume;
    if (recovery->target == incarnation && under_way) orphaned.push_back(recovery);
  }
  for (const RecoveryPtr& recovery : orphaned) TargetDied(recovery, MayLive(event));
  // A suspect goes alone: when its target dies, it is the culprit, and not those that came before.
  const bool culprit_known = culprit_on_.erase(incarnation) > 0;

  const std::shared_ptr<CrashWork> crash = NewCrash(event);
  crash->culprit_known = culprit_known;
  if (HeldWhilePaused(crash)) return;
  if (event.kind == CrashKind::kSilent && options_.fence) {
    calls_->Call<absl::Status>(
        "HealerOptions::fence", options_.plugin_timeout,
        [fence = options_.fence, incarnation](const CallContext&) { return fence(incarnation); },
        [this, crash](const absl::Status& status) {
          if (!status.ok()) {
            Log(LogLevel::kError, "fence_failed",
                "The silent instance could not be fenced; its calls are taken anyway",
                {{"instance", crash->event.incarnation.instance},
                 {"status", std::string(status.message())}});
          }
          BeginCrash(crash);
        });
    return;
  }
  BeginCrash(crash);
}

std::shared_ptr<CrashWork> Engine::NewCrash(const CrashEvent& event) const {
  auto crash = std::make_shared<CrashWork>();
  crash->event = event;
  crash->began_at = clock_.Monotonic();
  crash->report->crash = event;
  return crash;
}

bool Engine::HeldWhilePaused(const std::shared_ptr<CrashWork>& crash) {
  if (!paused_) return false;
  held_.push_back(crash);
  PublishStatus();
  return true;
}

// A recovery was under way to its outcome when its target died: the session that it left there was
// not in the store yet when that death's sessions were listed.
void Engine::CatchUp(const Incarnation& target) {
  const auto dead = dead_.find(target);
  if (dead == dead_.end()) return;
  const std::shared_ptr<CrashWork> crash = NewCrash(dead->second);
  if (!HeldWhilePaused(crash)) BeginCrash(crash);
}

void Engine::BeginCrash(const std::shared_ptr<CrashWork>& crash) {
  std::shared_ptr<CrashWork>& current = crashes_[crash->event.incarnation];
  if (current)
    crash->group_home =
        current->group_home;  // some of its sessions are under way already, taken over
  current = crash;
  PublishStatus();
  if (options_.dry_run) {
    ReportDryRun(crash);
    return;
  }
  InspectTargets();
  if (!parts_.flush_sessions) {
    ListPage(crash, "", kFirstPage, 0);
    return;
  }
  calls_->Call<absl::Status>(
      "HealerParts::flush_sessions", options_.plugin_timeout,
      [flush = parts_.flush_sessions](const CallContext& ctx) { return flush(ctx); },
      [this, crash](const absl::Status& status) {
        if (!status.ok()) {
          Log(LogLevel::kWarning, "flush_failed",
              "The newest changes of sessions may be missing from the store",
              {{"status", std::string(status.message())}});
        }
        ListPage(crash, "", kFirstPage, 0);
      });
}

void Engine::ListPage(const std::shared_ptr<CrashWork>& crash, std::string page_token,
                      std::size_t size, int failures) {
  SessionStore::ListParams params;
  params.incarnation = crash->event.incarnation;
  params.limit = size;
  params.page_token = page_token;
  using Result = absl::StatusOr<SessionStore::SessionPage>;
  calls_->Call<Result>(
      "SessionStore::List", options_.plugin_timeout,
      [store = parts_.store, params](const CallContext& ctx) { return store->List(ctx, params); },
      [this, crash, page_token, size, failures](Result page) {
        if (!page.ok()) {
          // Nothing is known of the sessions yet, so nothing is given up: the store is asked until
          // it answers.
          Log(LogLevel::kWarning, "list_failed",
              "The sessions of the dead instance could not be listed; trying again",
              {{"status", std::string(page.status().message())}});
          loop_->After(Backoff(kFirstBackoff, failures),
                       [=, this] { ListPage(crash, page_token, size, failures + 1); });
          return;
        }
        const std::string next = page->next_page_token;
        crash->listing = !next.empty();
        ClaimPage(crash, std::move(page->sessions), 0);
        if (!next.empty()) ListPage(crash, next, std::min(2 * size, kLargestPage), 0);
      });
}

void Engine::ClaimPage(const std::shared_ptr<CrashWork>& crash, std::vector<Session> sessions,
                       int failures) {
  // Those under way here already (a second report of the same crash, a take-over) are not claimed
  // again: the newer claim would make the older one void.
  std::erase_if(sessions, [this](const Session& session) {
    return recoveries_.contains(session.key()) || claiming_.contains(session.key());
  });
  if (sessions.empty()) {
    CloseCrashIfDone(crash);
    return;
  }
  SessionStore::ClaimParams params;
  params.owner = options_.owner;
  params.lease = options_.lease;
  for (const Session& session : sessions) params.sessions.push_back(session.key());
  claiming_.insert(params.sessions.begin(), params.sessions.end());
  crash->open += sessions.size();
  auto shared = std::make_shared<std::vector<Session>>(std::move(sessions));
  using Result = absl::StatusOr<std::vector<absl::StatusOr<Lease>>>;
  calls_->Call<Result>(
      "SessionStore::Claim", options_.plugin_timeout,
      [store = parts_.store, params](const CallContext& ctx) { return store->Claim(ctx, params); },
      [this, crash, shared, failures](Result leases) {
        crash->open -= shared->size();
        for (const Session& session : *shared) claiming_.erase(session.key());
        if (!leases.ok() || leases->size() != shared->size()) {
          Log(LogLevel::kWarning, "claim_failed", "Sessions could not be claimed; trying again",
              {{"status",
                leases.ok() ? "wrong number of results" : std::string(leases.status().message())}});
          crash->open += 1;  // keeps the crash open until they are claimed
          loop_->After(Backoff(kFirstBackoff, failures), [=, this] {
            crash->open -= 1;
            ClaimPage(crash, std::move(*shared), failures + 1);
          });
          return;
        }
        std::vector<RecoveryPtr> claimed;
        for (std::size_t i = 0; i < shared->size(); ++i) {
          const auto& lease = (*leases)[i];
          if (!lease.ok()) {
            ++crash->report->taken_by_others;
            continue;
          }
          auto recovery = std::make_shared<Recovery>();
          recovery->session = std::move((*shared)[i]);
          recovery->lease = *lease;
          recovery->crash = crash;
          const Session& session = recovery->session;
          // Deaths count only when they coincide: it died soon after this session came to it.
          if (session.recovered_at &&
              crash->event.last_alive - *session.recovered_at <= options_.coincidence) {
            recovery->deaths = session.deaths + (crash->culprit_known ? 0 : 1);
          }
          recovery->deadline = crash->began_at + options_.recovery_deadline;
          recoveries_[session.key()] = recovery;
          ++crash->open;
          EmitStage(*recovery);
          claimed.push_back(std::move(recovery));
        }
        PublishStatus();
        if (claimed.empty()) {
          CloseCrashIfDone(crash);
          return;
        }
        std::vector<std::string> endpoints;
        for (const RecoveryPtr& recovery : claimed) endpoints.push_back(recovery->session.endpoint);
        for (const auto& [name, target] : targets_) Inspect(*target, endpoints);
        PlanAll(std::move(claimed), crash->event.incarnation.instance, 0);
      });
}

// --- capture, rebuild, judge
// --------------------------------------------------------------------------

void Engine::PlanAll(std::vector<RecoveryPtr> recoveries, std::string instance, int failures) {
  const std::shared_ptr<CrashWork>& crash = recoveries.front()->crash;
  bool in_a_group = false;
  for (const RecoveryPtr& recovery : recoveries) {
    recovery->waiting = Waiting::kPlan;
    const std::string& group = recovery->session.group;
    in_a_group |= !group.empty() && !crash->group_home.contains(group);
  }
  if (!in_a_group) {
    Rebuild(recoveries, instance, failures);
    return;
  }
  LearnHomes(crash, [this, recoveries, instance, failures](const absl::Status& status) {
    if (status.ok()) {
      Rebuild(recoveries, instance, failures);
    } else {
      PlanLater(recoveries, instance, failures, status);
    }
  });
}

// A partner that lives on a healthy instance draws its call there: which calls live where is asked
// once for each crash.
void Engine::LearnHomes(const std::shared_ptr<CrashWork>& crash,
                        std::function<void(const absl::Status&)> then) {
  if (crash->homes_known) {
    then(absl::OkStatus());
    return;
  }
  crash->wait_for_homes.push_back(std::move(then));
  if (crash->wait_for_homes.size() > 1) return;
  using Result = absl::StatusOr<std::vector<Session>>;
  calls_->Call<Result>(
      "SessionStore::List", options_.plugin_timeout,
      [store = parts_.store](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(std::vector<Session> all, ListAll(*store, ctx, std::nullopt));
        std::erase_if(all, [](const Session& session) { return session.group.empty(); });
        return all;
      },
      [this, crash](const Result& homes) {
        crash->homes_known = homes.ok();
        if (homes.ok()) {
          for (const Session& session : *homes) {
            const Incarnation& home = session.incarnation;
            if (dead_.contains(home) || home == crash->event.incarnation) continue;
            crash->group_home.emplace(session.group, home.instance);
            crash->living[session.group].push_back(
                {home, {session.id, home.instance, session.channel_id, /*lived_there=*/true}});
          }
        }
        for (const auto& waiting : std::exchange(crash->wait_for_homes, {})) {
          waiting(homes.status());
        }
      });
}

void Engine::Rebuild(const std::vector<RecoveryPtr>& recoveries, const std::string& instance,
                     int failures) {
  std::vector<Session> sessions;
  // The latest, where an instance died more than once: what was seen before it is waited for.
  WallTime died = WallTime::min();
  for (const RecoveryPtr& recovery : recoveries) {
    sessions.push_back(recovery->session);
    died = std::max(died, recovery->crash->event.detected_at);
  }
  sip::ServerIdentity identity;
  if (const auto found = targets_.find(instance); found != targets_.end())
    identity = found->second->options.identity;
  using Result = absl::StatusOr<std::vector<PlanInput>>;
  calls_->Call<Result>(
      "SipCapture::Fetch", options_.plugin_timeout,
      [parts = parts_, sessions = std::move(sessions), identity, instance, died,
       now = clock_.Now()](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(const Known known, FetchKnown(parts, ctx, sessions, instance, died));
        std::vector<PlanInput> inputs;
        for (const Session& session : sessions) {
          inputs.push_back(InputFor(session, known, identity, parts.resumer->Accept(session), now));
          inputs.back().used = UsedByEarlierRecoveries(*parts.store, ctx, session);
        }
        return inputs;
      },
      [this, recoveries, instance, failures](const Result& inputs) {
        // A part that was asked in vain because of the stop may have said so, or have said less.
        if (stopping_) return;
        if (inputs.ok()) {
          Planned(recoveries, *inputs, instance, failures);
        } else {
          PlanLater(recoveries, instance, failures, inputs.status());
        }
      });
}

// What cannot be read delays the calls; only their deadline ends that.
void Engine::PlanLater(const std::vector<RecoveryPtr>& recoveries, const std::string& instance,
                       int failures, const absl::Status& status) {
  Log(LogLevel::kWarning, "capture_failed",
      "The captures of the sessions could not be read; trying again",
      {{"status", std::string(status.message())}});
  std::vector<RecoveryPtr> left;
  for (const RecoveryPtr& recovery : recoveries) {
    if (!IsOpen(*recovery) || LivesOnUntouched(recovery)) continue;
    if (recovery->deadline <= clock_.Monotonic()) {
      Finish(recovery, Outcome::kExpired, "its capture could not be read before the deadline");
    } else {
      left.push_back(recovery);
    }
  }
  if (left.empty()) return;
  loop_->After(Backoff(kFirstBackoff, failures),
               [=, this] { PlanAll(left, instance, failures + 1); });
}

void Engine::Planned(const std::vector<RecoveryPtr>& recoveries,
                     const std::vector<PlanInput>& inputs, const std::string& instance,
                     int failures) {
  // Of these a part of what was captured is out of reach, and it may change the verdict.
  std::vector<RecoveryPtr> unclear;
  absl::Status why;
  for (std::size_t i = 0; i < recoveries.size(); ++i) {
    const RecoveryPtr& recovery = recoveries[i];
    if (!IsOpen(*recovery) || LivesOnUntouched(recovery)) continue;
    const PlanInput& input = inputs[i];
    recovery->plan = MakePlan(input, options_);
    if (!input.capture.status.ok() && MoreEvidenceMayHelp(recovery->plan.verdict)) {
      unclear.push_back(recovery);
      why = input.capture.status;
      continue;
    }
    recovery->used_before = input.used;
    recovery->capture_is_complete = input.capture.completeness == Completeness::kOwnInterface;
    recovery->stage = RecoveryStage::kRebuilt;
    recovery->deadline = DeadlineOf(*recovery, &recovery->peer_gives_up);
    EmitStage(*recovery);
    if (recovery->deaths >= static_cast<std::uint32_t>(options_.quarantine_after)) {
      Finish(recovery, Outcome::kQuarantined,
             absl::StrFormat("its media server died %d times with it", recovery->deaths));
      continue;
    }
    // It was being ended already, by a controller that is gone.
    if (recovery->action == DialogAction::kBye && recovery->plan.dialog) {
      End(recovery, recovery->end_reason);
      continue;
    }
    switch (recovery->plan.step) {
      case PlannedStep::kReinvite:
        WantTarget(recovery);
        break;
      case PlannedStep::kBye:
        End(recovery, recovery->plan.reason);
        break;
      case PlannedStep::kClose:
        Finish(recovery,
               recovery->plan.verdict.token == sip::VerdictToken::kExpired ? Outcome::kExpired
                                                                           : Outcome::kClosed,
               recovery->plan.reason);
        break;
    }
  }
  if (!unclear.empty()) PlanLater(unclear, instance, failures, why);
  PlaceAll();
}

// The earlier of our own limit and the dialog's: after the latter the phone has given up.
MonotonicTime Engine::DeadlineOf(const Recovery& recovery, bool* peer_gives_up) const {
  MonotonicTime deadline = recovery.crash->began_at + options_.recovery_deadline;
  *peer_gives_up = false;
  if (recovery.plan.dialog && recovery.plan.dialog->deadline) {
    const MonotonicTime peer =
        clock_.Monotonic() + (*recovery.plan.dialog->deadline - clock_.Now());
    if (peer < deadline) {
      deadline = peer;
      *peer_gives_up = true;
    }
  }
  return deadline;
}

}  // namespace sipheal::inline v0_1::internal
