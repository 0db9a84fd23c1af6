// SPDX-License-Identifier: Apache-2.0
// An instance that was silent and is back: what was taken from it is given up there in silence, and
// what nobody took is a session of it as before.
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "engine/backoff.h"
#include "engine/engine.h"
#include "engine/known.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kFirstGiveUpBackoff{100};
// Sessions that live on become so one after the other: who tracks them is told once.
constexpr milliseconds kGatherReturned{50};

}  // namespace

void Engine::HandleReturned(const ReturnEvent& event) {
  const Incarnation& incarnation = event.incarnation;
  // It lives: its next death is a new one, and it takes calls again.
  if (dead_.erase(incarnation) == 0) return;
  returned_.insert(incarnation);
  const auto taken = taken_channels_.find(incarnation);
  Log(LogLevel::kWarning, "instance_returned",
      "An instance that was silent is back; it is told to give up what was taken",
      {{"instance", incarnation.instance},
       {"channels",
        absl::StrFormat("%d", taken == taken_channels_.end() ? 0 : taken->second.size())}});
  HealerEvent out;
  out.kind = HealerEventKind::kReturned;
  out.incarnation = incarnation;
  Emit(std::move(out));
  GiveUpTaken(incarnation, 0);
  std::vector<RecoveryPtr> waiting;
  for (const auto& [key, recovery] : recoveries_) {
    if (recovery->waiting == Waiting::kTarget) waiting.push_back(recovery);
  }
  for (const RecoveryPtr& recovery : waiting) LivesOnUntouched(recovery);
  PutBack(incarnation);
  if (const auto target = targets_.find(incarnation.instance); target != targets_.end()) {
    Inspect(*target->second, {});
  }
}

// --- what was taken
// -----------------------------------------------------------------------------------

// Whether the crash leaves a possibility that the server is alive.
bool Engine::MayLive(const CrashEvent& crash) {
  return crash.kind != CrashKind::kProcessGone && crash.kind != CrashKind::kRestarted;
}

void Engine::Take(const TakenChannel& taken) {
  taken_channels_[taken.incarnation].insert(taken.channel_id);
  GiveUpTaken(taken.incarnation, 0);
}

// What controllers before this one took: a server that hung then may wake now, or be awake already.
void Engine::LearnTaken() {
  using Result = absl::StatusOr<std::vector<TakenChannel>>;
  calls_->Call<Result>(
      "SessionStore::ListTaken", options_.plugin_timeout,
      [store = parts_.store](const CallContext& ctx) { return store->ListTaken(ctx); },
      [this](const Result& taken) {
        if (!taken.ok()) {
          Log(LogLevel::kWarning, "list_failed",
              "What was taken from silent servers could not be listed; trying again",
              {{"status", std::string(taken.status().message())}});
          loop_->After(milliseconds(1'000), [this] { LearnTaken(); });
          return;
        }
        std::set<Incarnation> incarnations;
        for (const TakenChannel& one : *taken) {
          taken_channels_[one.incarnation].insert(one.channel_id);
          incarnations.insert(one.incarnation);
        }
        for (const Incarnation& incarnation : incarnations) GiveUpTaken(incarnation, 0);
      });
}

void Engine::GiveUpTaken(const Incarnation& incarnation, int failures) {
  const auto taken = taken_channels_.find(incarnation);
  if (taken == taken_channels_.end()) return;
  // While it is silent its return is waited for. One that somebody declared dead may well answer.
  const auto dead = dead_.find(incarnation);
  if (dead != dead_.end() && dead->second.kind != CrashKind::kReported) return;
  std::set<std::string> channels = std::move(taken->second);
  taken_channels_.erase(taken);
  MediaServerDriver::GiveUpParams params{incarnation.instance, {channels.begin(), channels.end()}};
  calls_->Call<absl::Status>(
      "MediaServerDriver::GiveUp", options_.plugin_timeout,
      [driver = parts_.driver, params = std::move(params),
       incarnation](const CallContext& ctx) -> absl::Status {
        ABSL_RETURN_IF_ERROR(StillThere(*driver, ctx, incarnation));
        return driver->GiveUp(ctx, params);
      },
      [this, incarnation, failures, channels = std::move(channels)](const absl::Status& status) {
        // Another incarnation has none of its channels.
        if (status.ok() || absl::IsAborted(status)) return;
        if (failures == 0) {
          Log(LogLevel::kWarning, "give_up_failed",
              "An instance that may be alive did not give up its taken calls yet; trying again",
              {{"instance", incarnation.instance}, {"status", std::string(status.message())}});
        }
        // Should it be silent again: when it is back from that.
        taken_channels_[incarnation].insert(channels.begin(), channels.end());
        loop_->After(Backoff(kFirstGiveUpBackoff, failures),
                     [this, incarnation, failures] { GiveUpTaken(incarnation, failures + 1); });
      });
}

// --- what nobody took
// ---------------------------------------------------------------------------------

// True when the server that has the call turned out to be alive, before anything was sent: then the
// call is where it was. A leg whose call is elsewhere already follows it.
bool Engine::LivesOnUntouched(const RecoveryPtr& recovery) {
  const Incarnation& incarnation = recovery->session.incarnation;
  if (recovery->attempt > 0 || dead_.contains(incarnation)) return false;
  const auto target = targets_.find(incarnation.instance);
  const bool answers = target != targets_.end() && target->second->status &&
                       target->second->status->incarnation == incarnation;
  if (!answers && !returned_.contains(incarnation)) return false;
  const auto& homes = recovery->crash->group_home;
  const auto home = homes.find(recovery->session.group);
  if (!recovery->session.group.empty() && home != homes.end() &&
      home->second != incarnation.instance) {
    return false;
  }
  recovery->target = incarnation;
  recovery->channel_id = recovery->session.channel_id;
  Finish(recovery, Outcome::kRecovered, "untouched: its server is back with it");
  return true;
}

// A session that was given up while its server was silent, without a packet: should the server come
// back, it may be there.
void Engine::RememberUntouched(const Recovery& recovery, Outcome outcome) {
  const Incarnation& incarnation = recovery.session.incarnation;
  if (recovery.attempt > 0 || outcome == Outcome::kRecovered) return;
  const auto dead = dead_.find(incarnation);
  if (dead == dead_.end() || dead->second.kind != CrashKind::kSilent) return;
  Session session = recovery.session;
  ++session.epoch;
  untouched_[incarnation].push_back(std::move(session));
}

void Engine::PutBack(const Incarnation& incarnation) {
  const auto found = untouched_.find(incarnation);
  if (found == untouched_.end()) return;
  SessionStore::PutParams params;
  params.sessions = std::move(found->second);
  untouched_.erase(found);
  using Result = absl::StatusOr<SessionStore::PutResult>;
  calls_->Call<Result>(
      "SessionStore::Put", options_.plugin_timeout,
      [store = parts_.store, params](const CallContext& ctx) { return store->Put(ctx, params); },
      [this, incarnation, params](const Result& result) {
        if (result.ok()) {
          ResyncSoon(incarnation);
          CatchUp(incarnation);
          return;
        }
        Log(LogLevel::kWarning, "put_failed",
            "Sessions of a returned instance could not be put back yet; trying again",
            {{"instance", incarnation.instance},
             {"status", std::string(result.status().message())}});
        auto& again = untouched_[incarnation];
        again.insert(again.end(), params.sessions.begin(), params.sessions.end());
        loop_->After(milliseconds(1'000), [this, incarnation] { PutBack(incarnation); });
      });
}

// What was told to the store of these sessions while they were claimed changed nothing there.
void Engine::ResyncSoon(const Incarnation& incarnation) {
  if (!parts_.resync_sessions || !resyncing_.insert(incarnation).second) return;
  loop_->After(kGatherReturned, [this, incarnation] {
    resyncing_.erase(incarnation);
    calls_->Call<absl::Status>(
        "HealerParts::resync_sessions", options_.plugin_timeout,
        [resync = parts_.resync_sessions, incarnation](const CallContext&) {
          resync(incarnation);
          return absl::OkStatus();
        },
        [](const absl::Status&) {});
  });
}

}  // namespace sipheal::inline v0_1::internal
