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
constexpr std::size_t kLargestClaim = 256;

// A recovery that another controller began, and what else its journal says of it.
struct Found {
  UnfinishedRecovery unfinished;
  Lease lease;
  std::uint32_t not_sent = 0;  // attempts of which nothing was sent
};

// Its journal is read only where it says more than its last entry.
absl::Status ReadJournal(SessionStore& store, const CallContext& ctx, bool first_of_its_crash,
                         Found& found) {
  JournalEntry& last = found.unfinished.last;
  const bool may_be_held =
      last.attempt > 1 || (last.attempt == 1 && last.stage == RecoveryStage::kRebuilt);
  if (!first_of_its_crash && !may_be_held) return absl::OkStatus();
  ABSL_ASSIGN_OR_RETURN(const std::vector<JournalEntry> journal,
                        store.Journal(ctx, found.unfinished.session.id));
  std::set<std::uint32_t> not_sent;
  for (const JournalEntry& entry : journal) {
    if (entry.session != found.unfinished.session.key()) continue;
    // Positions are counted from the crash, of which the first entry is the nearest witness.
    last.at = std::min(last.at, entry.at);
    if (entry.stage == RecoveryStage::kRebuilt && entry.reason == kNotSent) {
      not_sent.insert(entry.attempt);
    }
  }
  found.not_sent = static_cast<std::uint32_t>(not_sent.size());
  return absl::OkStatus();
}

}  // namespace

// --- taking over, starting up
// -------------------------------------------------------------------------

void Engine::TakeOverUnfinished() {
  using Result = absl::StatusOr<std::vector<UnfinishedRecovery>>;
  calls_->Call<Result>(
      "SessionStore::ListUnfinished", options_.plugin_timeout,
      [store = parts_.store](const CallContext& ctx) { return store->ListUnfinished(ctx); },
      [this](Result unfinished) {
        if (unfinished.ok()) {
          TakeOverPage({unfinished->begin(), unfinished->end()});
        } else {
          TakeOverFailed(unfinished.status());
        }
      });
}

void Engine::TakeOverFailed(const absl::Status& status) {
  Log(LogLevel::kWarning, "take_over_failed",
      "Unfinished recoveries could not be listed or claimed; trying again",
      {{"status", std::string(status.message())}});
  TakeOverAgain();
}

// What a controller that stopped in order gave back is not left lying for half a lease.
void Engine::TakeOverAgain() {
  loop_->After(std::min<milliseconds>(options_.lease / 2, kLookForUnfinished),
               [this] { TakeOverUnfinished(); });
}

// Ten thousand sessions are not claimed under one deadline, and the first do not wait for the last.
void Engine::TakeOverPage(std::deque<UnfinishedRecovery> unfinished) {
  std::vector<Found> page;
  SessionStore::ClaimParams claim;
  while (!unfinished.empty() && page.size() < kLargestClaim) {
    const SessionKey key = unfinished.front().session.key();
    // A lease of ours may have run out while the journal could not be written: to claim that
    // session again would make the lease void with which its recovery goes on.
    if (!recoveries_.contains(key) && !claiming_.contains(key)) {
      claim.sessions.push_back(key);
      page.push_back({std::move(unfinished.front()), {}});
    }
    unfinished.pop_front();
  }
  if (page.empty()) {
    TakeOverAgain();
    return;
  }
  claim.owner = options_.owner;
  claim.lease = options_.lease;
  claiming_.insert(claim.sessions.begin(), claim.sessions.end());
  std::set<Incarnation> known;
  for (const auto& [incarnation, crash] : crashes_) known.insert(incarnation);
  using Result = absl::StatusOr<std::vector<Found>>;
  calls_->Call<Result>(
      "SessionStore::Claim", options_.plugin_timeout,
      [store = parts_.store, claim, page = std::move(page),
       known = std::move(known)](const CallContext& ctx) mutable -> Result {
        ABSL_ASSIGN_OR_RETURN(const auto leases, store->Claim(ctx, claim));
        std::vector<Found> mine;
        for (std::size_t i = 0; i < leases.size() && i < page.size(); ++i) {
          if (!leases[i].ok()) continue;  // another controller was first
          page[i].lease = *leases[i];
          const bool first = known.insert(page[i].unfinished.session.incarnation).second;
          // What cannot be read is not known; the calls go on without it.
          ReadJournal(*store, ctx, first, page[i]).IgnoreError();
          mine.push_back(std::move(page[i]));
        }
        return mine;
      },
      [this, keys = claim.sessions, rest = std::move(unfinished)](Result found) mutable {
        for (const SessionKey& key : keys) claiming_.erase(key);
        if (!found.ok()) {
          TakeOverFailed(found.status());
          return;
        }
        for (const Found& one : *found) TakeOver(one.unfinished, one.lease, one.not_sent);
        // What its controller took from servers that may wake is known here from now on.
        if (!found->empty()) LearnTaken();
        PublishStatus();
        PlaceAll();
        TakeOverPage(std::move(rest));
      });
}

void Engine::TakeOver(const UnfinishedRecovery& unfinished, const Lease& lease,
                      std::uint32_t not_sent) {
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
  recovery->held = std::min(not_sent, last.attempt);
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
