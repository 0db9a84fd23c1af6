// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>

#include "model/store_rules.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/conformance/session_store.h"
#include "tests/conformance/faults.h"
#include "tests/support/shifted_clock.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

// How the storage is now; shared by all stores of a harness.
struct Weather {
  std::atomic<bool> broken = false;
  std::atomic<bool> blocked = false;
};

// The store in memory, behind a storage that can break and block, with at most one fault.
class FaultyStore final : public SessionStore {
 public:
  FaultyStore(std::shared_ptr<SessionStore> good, std::shared_ptr<Weather> weather,
              std::string fault)
      : good_(std::move(good)), weather_(std::move(weather)), fault_(std::move(fault)) {}

  absl::StatusOr<PutResult> Put(const CallContext& given, const PutParams& given_params) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    PutParams params = given_params;
    if (Has("OddArgumentsDoNotThrow") && params.sessions.empty()) throw std::runtime_error("empty");
    if (Has("PutOfOnlyExistingLeavesOthersOut")) params.only_existing = false;
    if (Has("ManyThreadsAtOnce") && !only_.IsServed()) return PutResult{};
    if (Has("CancelledBatchIsWholeOrNothing") && ctx.stop.stop_possible()) {
      return PutHalf(ctx, params);
    }
    const std::lock_guard lock(mutex_);
    for (Session& session : params.sessions) {
      const bool first = !seen_.contains(session.id);
      seen_[session.id] = std::max(seen_[session.id], session.epoch);
      if (Has("PutReplacesTheRecord") && !first) return PutResult{};
      if (Has("PutOfALowerEpochChangesNothing")) session.epoch = seen_[session.id];
      if (Has("PutAfterAClaimChangesNothing")) overlay_[session.id] = session;
      if (Has("PutOfAnEndedSessionRemovesIt") && session.state == SessionState::kEnded) {
        return PutResult{};
      }
    }
    auto result = good_->Put(ctx, params);
    if (Has("BadArgumentsAreInvalid") && !result.ok()) return PutResult{};
    return result;
  }

  absl::StatusOr<SessionPage> List(const CallContext& given,
                                   const ListParams& given_params) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    ListParams params = given_params;
    if (Has("PagesGiveEachRecordOnce")) return ListByOffset(ctx, params);
    if (Has("ListGivesOneIncarnationOnly")) params.incarnation.reset();
    auto page = good_->List(ctx, params);
    if (page.ok() && page->sessions.empty()) none_seen_ = true;
    const std::lock_guard lock(mutex_);
    if (page.ok()) {
      for (Session& session : page->sessions) {
        if (overlay_.contains(session.id)) session = overlay_[session.id];
      }
    }
    return page;
  }

  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(
      const CallContext& given, const ClaimParams& given_params) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    ClaimParams params = given_params;
    if (Has("AnExpiredLeaseIsFree")) params.lease *= 100;
    auto leases = good_->Claim(ctx, params);
    if (!leases.ok()) return leases;
    const std::lock_guard lock(mutex_);
    for (std::size_t i = 0; i < leases->size(); ++i) {
      absl::StatusOr<Lease>& lease = (*leases)[i];
      const SessionKey& key = params.sessions[i];
      const bool taken = absl::IsAlreadyExists(lease.status());
      if (Has("UnknownSessionIsNotFound") && absl::IsNotFound(lease.status())) {
        lease = absl::AlreadyExistsError("never heard of it");
      }
      if ((Has("OneOfManyGetsTheClaim") && taken) ||
          (Has("AFinishedSessionIsNeverClaimedAgain") && finished_.contains(key.id))) {
        lease = Lease{key, params.owner, 99, {}};
      }
      if (Has("TheOwnerMayClaimAgain") && lease.ok()) lease->fence = 7;
      if (lease.ok()) fences_[key.id] = lease->fence;
    }
    return leases;
  }

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& given,
                                                    const AdvanceParams& given_params) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    AdvanceParams params = given_params;
    std::optional<Session> late_successor;
    {
      const std::lock_guard lock(mutex_);
      for (AdvanceParams::Step& step : params.steps) {
        if (Has("AnOlderFenceIsRefused")) step.entry.fence = fences_[step.entry.session.id];
        const bool finish = step.entry.stage == RecoveryStage::kFinished;
        if (Has("AnOutcomeNeedsItsStage") && finish && !step.entry.outcome) {
          step.entry.outcome = Outcome::kClosed;
        }
        if (Has("TheSuccessorComesWithTheOutcome")) std::swap(late_successor, step.successor);
        if (finish && !finished_.insert(step.entry.session.id).second &&
            Has("AFinishSaidTwiceIsOne")) {
          step.entry.reason += " again";
        }
      }
    }
    if (Has("AStepExtendsTheLease")) params.lease = milliseconds(1);
    auto results = good_->Advance(ctx, params);
    if (late_successor) {  // late enough for one that looks to find neither of the two
      const auto begin = std::chrono::steady_clock::now();
      while (!none_seen_ && std::chrono::steady_clock::now() - begin < std::chrono::seconds(10)) {
        std::this_thread::sleep_for(milliseconds(1));
      }
      (void)good_->Put(ctx, {.sessions = {*late_successor}});
    }
    if (results.ok() && Has("AStepWithoutAClaimIsRefused")) {
      for (absl::Status& result : *results) result = absl::OkStatus();
    }
    return results;
  }

  absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(
      const CallContext& given) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    auto unfinished = good_->ListUnfinished(ctx);
    if (unfinished.ok() && Has("UnfinishedAreThoseWithAnExpiredLease")) {
      for (UnfinishedRecovery& one : *unfinished) one.last = {};
    }
    return unfinished;
  }

  absl::Status SaveDialogs(const CallContext& given,
                           const std::vector<DialogRecord>& given_records) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    std::vector<DialogRecord> records = given_records;
    for (DialogRecord& record : records) {
      if (Has("DialogsComeBackByteForByte")) record.bytes = record.bytes.c_str();
      if (Has("DialogsKeepTheNewest")) record.updated_at = WallTime(milliseconds(++saved_));
    }
    return good_->SaveDialogs(ctx, records);
  }

  absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& given, const std::vector<std::string>& call_ids) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    return good_->LoadDialogs(ctx, call_ids);
  }

  absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& given,
                                                    const std::string& session_id) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    auto journal = good_->Journal(ctx, session_id);
    if (journal.ok() && Has("TheJournalKeepsEveryEntryInOrder")) {
      std::sort(journal->begin(), journal->end(),
                [](const JournalEntry& a, const JournalEntry& b) { return a.at < b.at; });
    }
    return journal;
  }

  absl::StatusOr<std::vector<TakenChannel>> ListTaken(const CallContext& given) override {
    const CallContext ctx = Context(given);
    if (absl::Status status = Reach(ctx); !status.ok()) return status;
    auto taken = good_->ListTaken(ctx);
    if (taken.ok() && !taken->empty() && Has("WhatWasTakenStaysKnown")) taken->pop_back();
    return taken;
  }

  Capabilities capabilities() const override { return {.durable = true}; }

 private:
  bool Has(const char* fault) const { return fault_ == fault; }
  CallContext Context(const CallContext& ctx) const {
    return Has("OverContextDoesNothing") || Has("BlockedStorageEndsInTime") ? CallContext{} : ctx;
  }
  absl::Status Reach(const CallContext& ctx) const {
    const auto begin = std::chrono::steady_clock::now();
    while (weather_->blocked &&
           std::chrono::steady_clock::now() - begin < std::chrono::seconds(1)) {
      absl::Status status = internal::CheckContext(ctx, SystemClock(), "faulty store");
      if (!status.ok()) return status;
      std::this_thread::sleep_for(milliseconds(1));
    }
    if (!weather_->broken) return absl::OkStatus();
    return Has("LostConnectionIsUnavailable") ? absl::NotFoundError("nothing there")
                                              : absl::UnavailableError("out of reach");
  }
  // Writes half of the batch and then waits to be cancelled: however slow the machine is, the
  // cancellation falls into the middle of the batch.
  absl::StatusOr<PutResult> PutHalf(const CallContext& ctx, const PutParams& params) {
    const auto middle = params.sessions.begin() + std::ssize(params.sessions) / 2;
    auto put = good_->Put({}, {.sessions = {params.sessions.begin(), middle}});
    while (put.ok() && !ctx.stop.stop_requested()) std::this_thread::sleep_for(milliseconds(1));
    return put.ok() ? absl::CancelledError("in the middle of a batch") : put;
  }
  // Pages by position: what is added before it shifts them.
  absl::StatusOr<SessionPage> ListByOffset(const CallContext& ctx, const ListParams& params) {
    auto all = good_->List(ctx, {.incarnation = params.incarnation, .limit = 1000});
    if (!all.ok()) return all;
    const std::size_t begin = params.page_token.empty() ? 0 : std::stoul(params.page_token);
    SessionPage page;
    for (std::size_t i = begin; i < all->sessions.size() && page.sessions.size() < params.limit;
         ++i) {
      page.sessions.push_back(all->sessions[i]);
    }
    if (begin + params.limit < all->sessions.size()) {
      page.next_page_token = std::to_string(begin + params.limit);
    }
    return page;
  }

  const std::shared_ptr<SessionStore> good_;
  const std::shared_ptr<Weather> weather_;
  const std::string fault_;
  tests::OneThreadOnly only_;
  std::atomic<int> saved_ = 0;
  std::atomic<bool> none_seen_ = false;
  std::mutex mutex_;
  std::map<std::string, std::uint32_t> seen_;
  std::map<std::string, Session> overlay_;
  std::map<std::string, std::uint64_t> fences_;
  std::set<std::string> finished_;
};

class FaultyHarness final : public conformance::SessionStoreHarness {
 public:
  explicit FaultyHarness(std::string fault) : fault_(std::move(fault)) {}

  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override {
    if (fault_ == "EverythingSurvivesReopening") good_ = MakeMemorySessionStore(&clock_);
    return std::make_shared<FaultyStore>(good_, weather_, fault_);
  }
  absl::Status AdvanceClock(milliseconds by) override {
    clock_.Shift(by);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override { return Set(weather_->broken, true); }
  absl::Status HealConnection() override { return Set(weather_->broken, false); }
  absl::Status BlockStorage() override { return Set(weather_->blocked, true); }
  absl::Status UnblockStorage() override { return Set(weather_->blocked, false); }

 private:
  static absl::Status Set(std::atomic<bool>& flag, bool value) {
    flag = value;
    return absl::OkStatus();
  }
  const std::string fault_;
  tests::ShiftedClock clock_;
  std::shared_ptr<SessionStore> good_ = MakeMemorySessionStore(&clock_);
  const std::shared_ptr<Weather> weather_ = std::make_shared<Weather>();
};

TEST(SessionStoreConformance, TellsGoodFromBroken) {
  tests::ExpectEveryCaseToTellGoodFromBroken(
      conformance::SessionStoreCases(),
      [](const std::string& fault) { return std::make_unique<FaultyHarness>(fault); });
}

}  // namespace
}  // namespace sipheal
