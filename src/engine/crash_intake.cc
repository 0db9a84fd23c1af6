// SPDX-License-Identifier: Apache-2.0
// A crash: list its sessions, claim them, get their captures, rebuild and judge. And the same for
// what a dead controller left behind.
#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "engine/engine.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// Small enough that the first sessions are on their way while the next ones are claimed.
constexpr std::size_t kPage = 200;

milliseconds Backoff(int failures) {
  return std::min(milliseconds(50) * (1 << std::min(failures, 6)), milliseconds(2'000));
}

std::vector<std::string> CallIdsOf(const std::vector<Session>& sessions) {
  std::vector<std::string> ids;
  ids.reserve(sessions.size());
  for (const Session& session : sessions) ids.push_back(session.call_id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

struct Known {
  std::map<std::string, DialogCapture> captures;
  std::map<std::string, std::vector<DialogRecord>> stored;
};

// What capture and store know of these Call-IDs. The store is only a help: without it the capture
// decides alone.
absl::StatusOr<Known> FetchKnown(const HealerParts& parts, const CallContext& ctx,
                                 std::vector<std::string> call_ids, const std::string& instance) {
  Known known;
  if (const auto stored = parts.store->LoadDialogs(ctx, call_ids); stored.ok()) {
    for (const DialogRecord& record : *stored) known.stored[record.call_id].push_back(record);
  }
  SipCapture::FetchParams fetch;
  fetch.call_ids = std::move(call_ids);
  fetch.instance = instance;
  ABSL_ASSIGN_OR_RETURN(std::vector<DialogCapture> captures, parts.capture->Fetch(ctx, fetch));
  for (DialogCapture& capture : captures) known.captures[capture.call_id] = std::move(capture);
  return known;
}

PlanInput InputFor(const Session& session, const Known& known, const sip::ServerIdentity& identity,
                   absl::Status flow, WallTime now) {
  PlanInput input;
  input.session = session;
  if (const auto found = known.captures.find(session.call_id); found != known.captures.end()) {
    input.capture = found->second;
  }
  if (const auto found = known.stored.find(session.call_id); found != known.stored.end()) {
    input.stored = found->second;
  }
  input.identity = identity;
  input.flow = std::move(flow);
  input.now = now;
  return input;
}

// Every session in the store that has no outcome; of one incarnation, or of all.
absl::StatusOr<std::vector<Session>> ListAll(SessionStore& store, const CallContext& ctx,
                                             std::optional<Incarnation> incarnation) {
  std::vector<Session> sessions;
  SessionStore::ListParams params;
  params.incarnation = std::move(incarnation);
  do {
    ABSL_ASSIGN_OR_RETURN(SessionStore::SessionPage page, store.List(ctx, params));
    std::move(page.sessions.begin(), page.sessions.end(), std::back_inserter(sessions));
    params.page_token = page.next_page_token;
  } while (!params.page_token.empty());
  return sessions;
}

}  // namespace

struct Engine::Intake {
  std::vector<PlanInput> inputs;  // one for each recovery
  std::map<std::string, std::string> group_home;
};

// --- the crash itself
// ---------------------------------------------------------------------------------

void Engine::HandleCrash(const CrashEvent& event) {
  const Incarnation& incarnation = event.incarnation;
  if (!dead_.insert(incarnation).second) return;
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
  for (const RecoveryPtr& recovery : orphaned) TargetDied(recovery);
  // A suspect goes alone: when its target dies, it is the culprit, and not those that came before.
  const bool culprit_known = culprit_on_.erase(incarnation) > 0;

  auto crash = std::make_shared<CrashWork>();
  crash->event = event;
  crash->began_at = clock_.Monotonic();
  crash->report->crash = event;
  crash->culprit_known = culprit_known;
  if (paused_) {
    held_.push_back(std::move(crash));
    PublishStatus();
    return;
  }
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
    ListPage(crash, "", 0);
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
        ListPage(crash, "", 0);
      });
}

void Engine::ListPage(const std::shared_ptr<CrashWork>& crash, std::string page_token,
                      int failures) {
  SessionStore::ListParams params;
  params.incarnation = crash->event.incarnation;
  params.limit = kPage;
  params.page_token = page_token;
  using Result = absl::StatusOr<SessionStore::SessionPage>;
  calls_->Call<Result>(
      "SessionStore::List", options_.plugin_timeout,
      [store = parts_.store, params](const CallContext& ctx) { return store->List(ctx, params); },
      [this, crash, page_token, failures](Result page) {
        if (!page.ok()) {
          // Nothing is known of the sessions yet, so nothing is given up: the store is asked until
          // it answers.
          Log(LogLevel::kWarning, "list_failed",
              "The sessions of the dead instance could not be listed; trying again",
              {{"status", std::string(page.status().message())}});
          loop_->After(Backoff(failures), [=, this] { ListPage(crash, page_token, failures + 1); });
          return;
        }
        const std::string next = page->next_page_token;
        crash->listing = !next.empty();
        if (page->sessions.empty()) {
          CloseCrashIfDone(crash);
        } else {
          ClaimPage(crash, std::move(page->sessions), 0);
        }
        if (!next.empty()) ListPage(crash, next, 0);
      });
}

void Engine::ClaimPage(const std::shared_ptr<CrashWork>& crash, std::vector<Session> sessions,
                       int failures) {
  // Those under way here already (a second report of the same crash, a take-over) are not claimed
  // again.
  std::erase_if(sessions,
                [this](const Session& session) { return recoveries_.contains(session.key()); });
  SessionStore::ClaimParams params;
  params.owner = options_.owner;
  params.lease = options_.lease;
  for (const Session& session : sessions) params.sessions.push_back(session.key());
  crash->open += sessions.size();
  auto shared = std::make_shared<std::vector<Session>>(std::move(sessions));
  using Result = absl::StatusOr<std::vector<absl::StatusOr<Lease>>>;
  calls_->Call<Result>(
      "SessionStore::Claim", options_.plugin_timeout,
      [store = parts_.store, params](const CallContext& ctx) { return store->Claim(ctx, params); },
      [this, crash, shared, failures](Result leases) {
        crash->open -= shared->size();
        if (!leases.ok() || leases->size() != shared->size()) {
          Log(LogLevel::kWarning, "claim_failed", "Sessions could not be claimed; trying again",
              {{"status",
                leases.ok() ? "wrong number of results" : std::string(leases.status().message())}});
          crash->open += 1;  // keeps the crash open until they are claimed
          loop_->After(Backoff(failures), [=, this] {
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
  std::vector<Session> sessions;
  std::set<std::string> groups;
  for (const RecoveryPtr& recovery : recoveries) {
    recovery->waiting = Waiting::kPlan;
    sessions.push_back(recovery->session);
    const std::string& group = recovery->session.group;
    if (!group.empty() && !recovery->crash->group_home.contains(group)) groups.insert(group);
  }
  sip::ServerIdentity identity;
  if (const auto found = targets_.find(instance); found != targets_.end())
    identity = found->second->options.identity;
  using Result = absl::StatusOr<Intake>;
  calls_->Call<Result>(
      "SipCapture::Fetch", options_.plugin_timeout,
      [parts = parts_, sessions, groups, identity, instance, dead = dead_,
       now = clock_.Now()](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(const Known known,
                              FetchKnown(parts, ctx, CallIdsOf(sessions), instance));
        Intake intake;
        for (const Session& session : sessions) {
          intake.inputs.push_back(
              InputFor(session, known, identity, parts.resumer->Accept(session), now));
        }
        // A partner that lives on a healthy instance draws its call there.
        if (!groups.empty()) {
          ABSL_ASSIGN_OR_RETURN(const std::vector<Session> all,
                                ListAll(*parts.store, ctx, std::nullopt));
          for (const Session& other : all) {
            if (groups.contains(other.group) && !dead.contains(other.incarnation)) {
              intake.group_home[other.group] = other.incarnation.instance;
            }
          }
        }
        return intake;
      },
      [this, recoveries, instance, failures](Result intake) {
        if (!intake.ok()) {
          // A capture that cannot be read delays the calls; only their deadline ends that.
          Log(LogLevel::kWarning, "capture_failed",
              "The captures of the sessions could not be read; trying again",
              {{"status", std::string(intake.status().message())}});
          std::vector<RecoveryPtr> left;
          for (const RecoveryPtr& recovery : recoveries) {
            if (!IsOpen(*recovery)) continue;
            if (recovery->deadline <= clock_.Monotonic()) {
              Finish(recovery, Outcome::kExpired,
                     "its capture could not be read before the deadline");
            } else {
              left.push_back(recovery);
            }
          }
          if (left.empty()) return;
          loop_->After(Backoff(failures), [=, this] { PlanAll(left, instance, failures + 1); });
          return;
        }
        Planned(recoveries, *std::move(intake));
      });
}

void Engine::Planned(const std::vector<RecoveryPtr>& recoveries, Intake intake) {
  for (std::size_t i = 0; i < recoveries.size(); ++i) {
    const RecoveryPtr& recovery = recoveries[i];
    if (!IsOpen(*recovery)) continue;
    const PlanInput& input = intake.inputs[i];
    recovery->plan = MakePlan(input, options_);
    recovery->capture_is_complete = input.capture.completeness == Completeness::kOwnInterface;
    recovery->stage = RecoveryStage::kRebuilt;
    recovery->deadline = DeadlineOf(*recovery, &recovery->peer_gives_up);
    for (const auto& [group, home] : intake.group_home)
      recovery->crash->group_home.emplace(group, home);
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

// --- taking over, starting up
// -------------------------------------------------------------------------

void Engine::TakeOverUnfinished() {
  using Found = std::vector<std::pair<UnfinishedRecovery, Lease>>;
  using Result = absl::StatusOr<Found>;
  calls_->Call<Result>(
      "SessionStore::ListUnfinished", options_.plugin_timeout,
      [store = parts_.store, owner = options_.owner,
       lease = options_.lease](const CallContext& ctx) -> Result {
        ABSL_ASSIGN_OR_RETURN(const std::vector<UnfinishedRecovery> unfinished,
                              store->ListUnfinished(ctx));
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
        loop_->After(options_.lease / 2, [this] { TakeOverUnfinished(); });
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
  recovery->used.offers = last.attempt;
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

void Engine::HandleReturned(const ReturnEvent& event) {
  if (!dead_.contains(event.incarnation)) return;
  const auto taken = taken_channels_.find(event.incarnation);
  Log(LogLevel::kWarning, "instance_returned",
      "An instance that was silent is back; it is told to give up what was taken",
      {{"instance", event.incarnation.instance},
       {"channels",
        absl::StrFormat("%d", taken == taken_channels_.end() ? 0 : taken->second.size())}});
  HealerEvent out;
  out.kind = HealerEventKind::kReturned;
  out.incarnation = event.incarnation;
  Emit(std::move(out));
  if (taken == taken_channels_.end()) return;
  MediaServerDriver::GiveUpParams params{event.incarnation.instance, taken->second};
  calls_->Call<absl::Status>(
      "MediaServerDriver::GiveUp", options_.plugin_timeout,
      [driver = parts_.driver, params](const CallContext& ctx) {
        return driver->GiveUp(ctx, params);
      },
      [this, event](const absl::Status& status) {
        if (status.ok()) {
          taken_channels_.erase(event.incarnation);
          return;
        }
        Log(LogLevel::kWarning, "give_up_failed",
            "The returned instance did not give up its taken calls; trying again",
            {{"instance", event.incarnation.instance}, {"status", std::string(status.message())}});
        loop_->After(milliseconds(100), [this, event] { HandleReturned(event); });
      });
}

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
  ABSL_ASSIGN_OR_RETURN(const Known known, FetchKnown(parts_, ctx, CallIdsOf(sessions), instance));
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
      auto variables = MakeVariables(*made.dialog, options_, complete, now, {});
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
