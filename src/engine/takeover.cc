// SPDX-License-Identifier: Apache-2.0
// What a dead controller, or a death that nobody watched, leave to be done.
#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "engine/engine.h"
#include "engine/known.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookForUnfinished{1'000};

}  // namespace

// --- taking over, starting up
// -------------------------------------------------------------------------

void Engine::TakeOverUnfinished() {
  using Found = std::vector<std::pair<UnfinishedRecovery, Lease>>;
  using Result = absl::StatusOr<Found>;
  // A lease of ours may have run out while the journal could not be written: to claim that session
  // again would make the lease void with which its recovery goes on.
  std::set<SessionKey> ours = claiming_;
  for (const auto& [key, recovery] : recoveries_) ours.insert(key);
  calls_->Call<Result>(
      "SessionStore::ListUnfinished", options_.plugin_timeout,
      [store = parts_.store, owner = options_.owner, lease = options_.lease,
       ours = std::move(ours)](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(std::vector<UnfinishedRecovery> unfinished,
                              store->ListUnfinished(ctx));
        std::erase_if(unfinished, [&ours](const UnfinishedRecovery& one) {
          return ours.contains(one.session.key());
        });
        Found found;
        if (unfinished.empty()) return found;
        SessionStore::ClaimParams claim;
        claim.owner = owner;
        claim.lease = lease;
        for (const UnfinishedRecovery& one : unfinished)
          claim.sessions.push_back(one.session.key());
        ABSL_ASSIGN_OR_RETURN(const auto leases, store->Claim(ctx, claim));
        for (std::size_t i = 0; i < leases.size() && i < unfinished.size(); ++i) {
          if (!leases[i].ok()) continue;  // another controller was first
          found.emplace_back(unfinished[i], *leases[i]);
          // Positions are counted from the crash, of which the first entry is the nearest witness.
          const auto journal = store->Journal(ctx, unfinished[i].session.id);
          if (!journal.ok()) continue;
          for (const JournalEntry& entry : *journal) {
            if (entry.session == unfinished[i].session.key()) {
              found.back().first.last.at = std::min(found.back().first.last.at, entry.at);
              break;
            }
          }
        }
        return found;
      },
      [this](Result found) {
        if (found.ok()) {
          for (const auto& [unfinished, lease] : *found) TakeOver(unfinished, lease);
          PlaceAll();
        } else {
          Log(LogLevel::kWarning, "take_over_failed",
              "Unfinished recoveries could not be listed; trying again",
              {{"status", std::string(found.status().message())}});
        }
        // What a controller that stopped in order gave back is not left lying for half a lease.
        loop_->After(std::min<milliseconds>(options_.lease / 2, kLookForUnfinished),
                     [this] { TakeOverUnfinished(); });
      });
}

void Engine::TakeOver(const UnfinishedRecovery& unfinished, const Lease& lease) {
  const Session& session = unfinished.session;
  const JournalEntry& last = unfinished.last;
  if (recoveries_.contains(session.key())) return;
  std::shared_ptr<CrashWork>& crash = crashes_[session.incarnation];
  if (!crash) {
    crash = std::make_shared<CrashWork>();
    crash->listing = false;
    crash->began_at = clock_.Monotonic();
    crash->event.incarnation = session.incarnation;
    crash->event.detector = "take_over";
    crash->event.last_alive = crash->event.detected_at = last.at;
    crash->event.evidence = {"another controller had begun to recover its sessions"};
    crash->report->crash = crash->event;
    // Its remaining sessions, if that controller did not come to claim them, are found by the
    // detector: it is told to expect this incarnation.
  }
  auto recovery = std::make_shared<Recovery>();
  recovery->session = session;
  recovery->lease = lease;
  recovery->crash = crash;
  recovery->attempt = last.attempt;
  recovery->used.cseq = last.cseq;
  recovery->used.offers.assign(last.attempt, last.cseq);
  recovery->deaths = last.deaths;
  recovery->deadline = crash->began_at + options_.recovery_deadline;
  recoveries_[session.key()] = recovery;
  ++crash->open;
  Log(LogLevel::kInfo, "taken_over", "A recovery that another controller began goes on here",
      {{"session", session.id}, {"stage", std::string(ToString(last.stage))}});
  // Where a re-INVITE or BYE may have gone out, the channel of that attempt is asked for before
  // anything else is sent.
  const bool maybe_sent =
      last.stage == RecoveryStage::kInviting || last.stage == RecoveryStage::kAnswered ||
      last.stage == RecoveryStage::kResumed || last.stage == RecoveryStage::kEnding;
  if (maybe_sent && !last.channel_id.empty()) {
    recovery->target = last.target;
    recovery->channel_id = last.channel_id;
    recovery->stage = last.stage;
    if (last.stage == RecoveryStage::kEnding) {
      recovery->action = DialogAction::kBye;
      recovery->end_reason = last.reason;
    }
    recovery->waiting = Waiting::kAnswer;
    by_channel_[recovery->channel_id] = recovery->key();
    // That server may have died as well while nobody watched.
    parts_.detector->Expect(recovery->target).IgnoreError();
    AskForChannel(recovery, recovery->attempt);
    return;
  }
  PlanAll({recovery}, session.incarnation.instance, 0);
}

// Deaths that happened while nobody looked: the detector is told which incarnations hold sessions.
void Engine::ExpectAllStored() {
  using Result = absl::StatusOr<std::set<Incarnation>>;
  calls_->Call<Result>(
      "SessionStore::List", options_.plugin_timeout,
      [store = parts_.store](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(const std::vector<Session> all, ListAll(*store, ctx, std::nullopt));
        std::set<Incarnation> incarnations;
        for (const Session& session : all) incarnations.insert(session.incarnation);
        return incarnations;
      },
      [this](const Result& incarnations) {
        if (!incarnations.ok()) {
          Log(LogLevel::kWarning, "list_failed",
              "The stored sessions could not be listed; trying again",
              {{"status", std::string(incarnations.status().message())}});
          loop_->After(milliseconds(1'000), [this] { ExpectAllStored(); });
          return;
        }
        for (const Incarnation& incarnation : *incarnations) {
          const absl::Status status = parts_.detector->Expect(incarnation);
          if (!status.ok()) {
            Log(LogLevel::kWarning, "instance_unknown",
                "The store has sessions of an instance that is not configured",
                {{"instance", incarnation.instance}, {"status", std::string(status.message())}});
          }
        }
      });
}

}  // namespace sipheal::inline v0_1::internal
