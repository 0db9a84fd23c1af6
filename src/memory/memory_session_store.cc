// SPDX-License-Identifier: Apache-2.0
// The SessionStore in memory: the plainest reading of the contract, one mutex around three maps.
#include <algorithm>
#include <iterator>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include "base/mutex.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "sipheal/adapters/memory.h"

namespace sipheal::inline v0_1 {
namespace {

using internal::MutexLock;

// A session, and its recovery once it was claimed (fence above 0).
struct Record {
  Session session;
  std::uint64_t fence = 0;
  std::string owner;
  WallTime claimed_at{};
  WallTime expires_at{};
  std::optional<Outcome> outcome;
  std::vector<JournalEntry> journal;

  bool begun() const { return fence > 0; }
};

using DialogKey = std::tuple<std::string, std::string, std::string, std::string>;

DialogKey KeyOf(const DialogRecord& record) {
  return {record.call_id, record.instance, record.local_tag, record.remote_tag};
}

class MemorySessionStore final : public SessionStore {
 public:
  explicit MemorySessionStore(const Clock& clock) : clock_(clock) {}

  absl::StatusOr<PutResult> Put(const CallContext& ctx, const PutParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "put"));
    for (const Session& session : params.sessions) {
      ABSL_RETURN_IF_ERROR(internal::ValidateSession(session));
    }
    PutResult result;
    MutexLock lock(mutex_);
    for (const Session& session : params.sessions) {
      if (!PutOne(session, params.only_existing)) result.unknown.push_back(session.key());
    }
    return result;
  }

  absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "list"));
    ABSL_RETURN_IF_ERROR(internal::ValidatePage(params));
    MutexLock lock(mutex_);
    auto it = records_.begin();
    if (!params.page_token.empty()) {
      ABSL_ASSIGN_OR_RETURN(const SessionKey after, internal::ParsePageToken(params.page_token));
      it = records_.upper_bound(after);
    }
    SessionPage page;
    for (; it != records_.end(); ++it) {
      const Record& record = it->second;
      if (record.outcome) continue;
      if (params.incarnation && record.session.incarnation != *params.incarnation) continue;
      if (page.sessions.size() == params.limit) {
        page.next_page_token = internal::MakePageToken(page.sessions.back().key());
        break;
      }
      page.sessions.push_back(record.session);
    }
    return page;
  }

  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "claim"));
    ABSL_RETURN_IF_ERROR(internal::ValidateClaim(params));
    std::vector<absl::StatusOr<Lease>> leases;
    leases.reserve(params.sessions.size());
    MutexLock lock(mutex_);
    for (const SessionKey& key : params.sessions) leases.push_back(ClaimOne(key, params));
    return leases;
  }

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "advance"));
    ABSL_RETURN_IF_ERROR(internal::ValidateLease(params.lease));
    std::vector<absl::Status> results;
    results.reserve(params.steps.size());
    MutexLock lock(mutex_);
    for (const AdvanceParams::Step& step : params.steps) {
      results.push_back(AdvanceOne(step, params.lease));
    }
    return results;
  }

  absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(const CallContext& ctx) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "list unfinished"));
    std::vector<UnfinishedRecovery> unfinished;
    MutexLock lock(mutex_);
    const WallTime now = clock_.Now();
    for (const auto& [key, record] : records_) {
      if (!record.begun() || record.outcome || record.expires_at > now) continue;
      unfinished.push_back(
          {record.session, record.journal.empty()
                               ? internal::ClaimedEntry(key, record.fence, record.claimed_at)
                               : record.journal.back()});
    }
    return unfinished;
  }

  absl::Status SaveDialogs(const CallContext& ctx,
                           const std::vector<DialogRecord>& records) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "save dialogs"));
    for (const DialogRecord& record : records) {
      ABSL_RETURN_IF_ERROR(internal::ValidateDialog(record));
    }
    MutexLock lock(mutex_);
    for (const DialogRecord& record : records) {
      const auto it = dialogs_.find(KeyOf(record));
      if (it != dialogs_.end() && it->second.updated_at > record.updated_at) continue;
      if (!record.removed) {
        dialogs_.insert_or_assign(KeyOf(record), record);
      } else if (it != dialogs_.end()) {
        dialogs_.erase(it);
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& ctx, const std::vector<std::string>& call_ids) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "load dialogs"));
    std::vector<DialogRecord> found;
    MutexLock lock(mutex_);
    if (call_ids.empty()) {
      for (const auto& [key, record] : dialogs_) found.push_back(record);
    }
    for (const std::string& call_id : std::set<std::string>(call_ids.begin(), call_ids.end())) {
      for (auto it = dialogs_.lower_bound({call_id, "", "", ""});
           it != dialogs_.end() && it->second.call_id == call_id; ++it) {
        found.push_back(it->second);
      }
    }
    return found;
  }

  absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& ctx,
                                                    const std::string& session_id) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "journal"));
    ABSL_RETURN_IF_ERROR(internal::ValidateKey({session_id, 0}));
    std::vector<JournalEntry> entries;
    MutexLock lock(mutex_);
    auto it = records_.lower_bound({session_id, 0});
    if (it == records_.end() || it->first.id != session_id) {
      return internal::UnknownSession("journal", {session_id, 0});
    }
    for (; it != records_.end() && it->first.id == session_id; ++it) {
      const std::vector<JournalEntry>& journal = it->second.journal;
      entries.insert(entries.end(), journal.begin(), journal.end());
    }
    return entries;
  }

  absl::StatusOr<std::vector<TakenChannel>> ListTaken(const CallContext& ctx) override {
    ABSL_RETURN_IF_ERROR(internal::CheckContext(ctx, clock_, "list taken"));
    std::set<TakenChannel> taken;
    MutexLock lock(mutex_);
    for (const auto& [key, record] : records_) {
      for (const JournalEntry& entry : record.journal) {
        if (entry.taken) taken.insert(*entry.taken);
      }
    }
    return std::vector<TakenChannel>(taken.begin(), taken.end());
  }

  Capabilities capabilities() const override { return {}; }

 private:
  // False when the session is not known and was to be left out.
  bool PutOne(const Session& session, bool only_existing) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const SessionKey key = session.key();
    const auto it = records_.find(key);
    if (it != records_.end()) {
      if (it->second.begun()) return true;
    } else {
      const auto newer = records_.upper_bound(key);
      if (newer != records_.end() && newer->first.id == key.id) return true;
      if (only_existing) return false;
    }
    // What was known of an older epoch is over, unless a recovery of it is under way.
    for (auto older = records_.lower_bound({key.id, 0});
         older != records_.end() && older->first < key;) {
      older = older->second.begun() ? std::next(older) : records_.erase(older);
    }
    if (session.state == SessionState::kEnded) {
      records_.erase(key);
    } else {
      records_[key].session = session;
    }
    return true;
  }

  absl::StatusOr<Lease> ClaimOne(const SessionKey& key, const ClaimParams& params)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto it = records_.find(key);
    if (it == records_.end()) return internal::UnknownSession("claim", key);
    Record& record = it->second;
    if (record.outcome) return internal::AlreadyFinished(key, ToString(*record.outcome));
    const WallTime now = clock_.Now();
    if (record.begun() && record.expires_at > now && record.owner != params.owner) {
      return internal::HeldByAnother(key, record.owner);
    }
    record.fence = NewestFence(key.id) + 1;
    record.owner = params.owner;
    record.claimed_at = now;
    record.expires_at = now + params.lease;
    return Lease{key, params.owner, record.fence, record.expires_at};
  }

  // Over all epochs, so that the fence rises over the whole life of the session.
  std::uint64_t NewestFence(const std::string& id) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    std::uint64_t newest = 0;
    for (auto it = records_.lower_bound({id, 0}); it != records_.end() && it->first.id == id;
         ++it) {
      newest = std::max(newest, it->second.fence);
    }
    return newest;
  }

  absl::Status AdvanceOne(const AdvanceParams::Step& step, std::chrono::milliseconds lease)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ABSL_RETURN_IF_ERROR(internal::ValidateStep(step));
    const JournalEntry& entry = step.entry;
    const auto it = records_.find(entry.session);
    if (it == records_.end()) return internal::UnknownSession("advance", entry.session);
    Record& record = it->second;
    if (!record.begun()) return internal::NeverClaimed(entry.session);
    // A caller that never heard the answer to its last step says it again: that is no second step.
    if (record.outcome && !record.journal.empty() && record.journal.back() == entry) {
      return absl::OkStatus();
    }
    if (record.outcome || entry.fence != record.fence) {
      return internal::LostLease(entry.session, entry.fence, record.fence, record.outcome);
    }
    record.journal.push_back(entry);
    record.expires_at = clock_.Now() + lease;
    record.outcome = entry.outcome;
    if (step.successor) PutOne(*step.successor, /*only_existing=*/false);
    return absl::OkStatus();
  }

  const Clock& clock_;
  internal::Mutex mutex_;
  std::map<SessionKey, Record> records_ ABSL_GUARDED_BY(mutex_);
  std::map<DialogKey, DialogRecord> dialogs_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

std::shared_ptr<SessionStore> MakeMemorySessionStore(const Clock* clock) {
  return std::make_shared<MemorySessionStore>(clock != nullptr ? *clock : SystemClock());
}

}  // namespace sipheal::inline v0_1
