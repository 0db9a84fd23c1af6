// SPDX-License-Identifier: Apache-2.0
// Claim, Advance, ListUnfinished, Journal and ListTaken.
#include <utility>

#include "base/status_macros.h"
#include "model/store_rules.h"
#include "sqlite/sqlite_session_store.h"

// The columns of a journal entry, in the order of EntryOf.
#define SIPHEAL_JOURNAL_COLUMNS                                                                \
  "id, epoch, fence, stage, attempt, target_instance, target_life, channel_id, cseq, deaths, " \
  "reason, outcome, at, taken_instance, taken_life, taken_channel"

namespace sipheal::inline v0_1::internal {

// -----------------------------------------------------------------------------------

absl::StatusOr<std::vector<absl::StatusOr<Lease>>> SqliteSessionStore::Claim(
    const CallContext& ctx, const ClaimParams& params) {
  ABSL_RETURN_IF_ERROR(ValidateClaim(params));
  std::vector<absl::StatusOr<Lease>> leases;
  leases.reserve(params.sessions.size());
  const auto work = [&](Connection& db) -> absl::Status {
    const WallTime now = clock_.Now();
    for (const SessionKey& key : params.sessions) {
      if (leases.size() % kEntriesBetweenLooks == 0) ABSL_RETURN_IF_ERROR(db.CheckScope());
      ABSL_ASSIGN_OR_RETURN(absl::StatusOr<Lease> lease, ClaimOne(db, key, params, now));
      leases.push_back(std::move(lease));
    }
    return absl::OkStatus();
  };
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kUrgent, "claim", work));
  return leases;
}

// The outer status is of the database, the inner one of the claim. Who may have the lease is
// decided inside the one statement, so that processes cannot come between.
absl::StatusOr<absl::StatusOr<Lease>> SqliteSessionStore::ClaimOne(Connection& db,
                                                                   const SessionKey& key,
                                                                   const ClaimParams& params,
                                                                   WallTime now) {
  Lease lease{key, params.owner, 0, now + params.lease};
  {
    ABSL_ASSIGN_OR_RETURN(
        Statement claim,
        db.Prepare("INSERT INTO recoveries (id, epoch, fence, owner, claimed_at, expires_at)"
                   " SELECT id, epoch,"
                   "  1 + coalesce((SELECT max(r.fence) FROM recoveries r WHERE r.id = ?1), 0),"
                   "  ?3, ?4, ?5 FROM sessions WHERE id = ?1 AND epoch = ?2"
                   " ON CONFLICT (id, epoch) DO UPDATE SET fence = excluded.fence,"
                   "  owner = excluded.owner, claimed_at = excluded.claimed_at,"
                   "  expires_at = excluded.expires_at"
                   " WHERE outcome IS NULL AND (expires_at <= ?4 OR owner = ?3)"
                   " RETURNING fence"));
    claim.Text(key.id).Number(key.epoch).Text(params.owner).Time(now).Time(lease.expires_at);
    ABSL_ASSIGN_OR_RETURN(const bool claimed, claim.Step());
    if (claimed) {
      lease.fence = static_cast<std::uint64_t>(claim.GetNumber(0));
      ABSL_RETURN_IF_ERROR(claim.Run());
      return absl::StatusOr<Lease>(std::move(lease));
    }
  }
  absl::Status why;
  ABSL_RETURN_IF_ERROR(WhyNotClaimed(db, key, &why));
  return absl::StatusOr<Lease>(std::move(why));
}

absl::Status SqliteSessionStore::WhyNotClaimed(Connection& db, const SessionKey& key,
                                               absl::Status* why) {
  ABSL_ASSIGN_OR_RETURN(
      Statement held,
      db.Prepare("SELECT owner, outcome FROM recoveries WHERE id = ?1 AND epoch = ?2"));
  ABSL_ASSIGN_OR_RETURN(const bool begun, held.Text(key.id).Number(key.epoch).Step());
  *why = !begun           ? UnknownSession("claim", key)
         : held.IsNull(1) ? HeldByAnother(key, held.GetText(0))
                          : AlreadyFinished(key, held.GetText(1));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<absl::Status>> SqliteSessionStore::Advance(const CallContext& ctx,
                                                                      const AdvanceParams& params) {
  ABSL_RETURN_IF_ERROR(ValidateLease(params.lease));
  std::vector<absl::Status> results;
  results.reserve(params.steps.size());
  const auto work = [&](Connection& db) -> absl::Status {
    const WallTime expires_at = clock_.Now() + params.lease;
    for (const AdvanceParams::Step& step : params.steps) {
      if (results.size() % kEntriesBetweenLooks == 0) ABSL_RETURN_IF_ERROR(db.CheckScope());
      if (absl::Status valid = ValidateStep(step); !valid.ok()) {
        results.push_back(std::move(valid));
        continue;
      }
      ABSL_ASSIGN_OR_RETURN(absl::Status result, AdvanceOne(db, step, expires_at));
      results.push_back(std::move(result));
    }
    return absl::OkStatus();
  };
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kUrgent, "advance", work));
  return results;
}

// The fence is checked by the statement that extends the lease: no step gets past it.
absl::StatusOr<absl::Status> SqliteSessionStore::AdvanceOne(Connection& db,
                                                            const AdvanceParams::Step& step,
                                                            WallTime expires_at) {
  const JournalEntry& entry = step.entry;
  {
    ABSL_ASSIGN_OR_RETURN(Statement extend,
                          db.Prepare("UPDATE recoveries SET expires_at = ?4, outcome = ?5"
                                     " WHERE id = ?1 AND epoch = ?2 AND fence = ?3"
                                     " AND outcome IS NULL"));
    extend.Text(entry.session.id)
        .Number(entry.session.epoch)
        .Number(static_cast<std::int64_t>(entry.fence))
        .Time(expires_at);
    if (entry.outcome) {
      extend.Text(ToString(*entry.outcome));
    } else {
      extend.Null();
    }
    ABSL_RETURN_IF_ERROR(extend.Run());
  }
  if (db.changes() == 0) return WhyNotAdvanced(db, entry);
  ABSL_RETURN_IF_ERROR(AppendEntry(db, entry));
  if (!entry.outcome) return absl::OkStatus();
  ABSL_ASSIGN_OR_RETURN(Statement over,
                        db.Prepare("DELETE FROM sessions WHERE id = ?1 AND epoch = ?2"));
  ABSL_RETURN_IF_ERROR(over.Text(entry.session.id).Number(entry.session.epoch).Run());
  if (step.successor) {
    ABSL_RETURN_IF_ERROR(PutOne(db, *step.successor, /*only_existing=*/false).status());
  }
  return absl::OkStatus();
}

absl::StatusOr<absl::Status> SqliteSessionStore::WhyNotAdvanced(Connection& db,
                                                                const JournalEntry& entry) {
  const SessionKey& key = entry.session;
  ABSL_ASSIGN_OR_RETURN(Statement held,
                        db.Prepare("SELECT r.fence, r.outcome, r.id IS NOT NULL, s.id IS NOT NULL"
                                   " FROM (SELECT ?1 AS id, ?2 AS epoch) k"
                                   " LEFT JOIN recoveries r ON r.id = k.id AND r.epoch = k.epoch"
                                   " LEFT JOIN sessions s ON s.id = k.id AND s.epoch = k.epoch"));
  ABSL_RETURN_IF_ERROR(held.Text(key.id).Number(key.epoch).Step().status());
  if (held.GetNumber(2) == 0) {
    return held.GetNumber(3) != 0 ? NeverClaimed(key) : UnknownSession("advance", key);
  }
  const std::optional<Outcome> outcome = ParseOutcome(held.GetText(1));
  if (outcome) {
    // A caller that never heard the answer to its last step says it again: that is no second step.
    ABSL_ASSIGN_OR_RETURN(const std::optional<JournalEntry> last, LastEntry(db, key));
    if (last == entry) return absl::OkStatus();
  }
  return LostLease(key, entry.fence, static_cast<std::uint64_t>(held.GetNumber(0)), outcome);
}

absl::Status SqliteSessionStore::AppendEntry(Connection& db, const JournalEntry& entry) {
  ABSL_ASSIGN_OR_RETURN(
      Statement append,
      db.Prepare("INSERT INTO journal (" SIPHEAL_JOURNAL_COLUMNS ") VALUES"
                 " (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15,"
                 " ?16)"));
  append.Text(entry.session.id)
      .Number(entry.session.epoch)
      .Number(static_cast<std::int64_t>(entry.fence))
      .Text(ToString(entry.stage))
      .Number(entry.attempt)
      .Text(entry.target.instance)
      .Text(entry.target.life)
      .Text(entry.channel_id)
      .Number(entry.cseq)
      .Number(entry.deaths)
      .Text(entry.reason);
  if (entry.outcome) {
    append.Text(ToString(*entry.outcome));
  } else {
    append.Null();
  }
  const TakenChannel taken = entry.taken.value_or(TakenChannel{});
  return append.Time(entry.at)
      .Text(taken.incarnation.instance)
      .Text(taken.incarnation.life)
      .Text(taken.channel_id)
      .Run();
}

absl::StatusOr<std::optional<JournalEntry>> SqliteSessionStore::LastEntry(Connection& db,
                                                                          const SessionKey& key) {
  ABSL_ASSIGN_OR_RETURN(Statement last,
                        db.Prepare("SELECT " SIPHEAL_JOURNAL_COLUMNS " FROM journal"
                                   " WHERE id = ?1 AND epoch = ?2 ORDER BY seq DESC LIMIT 1"));
  ABSL_ASSIGN_OR_RETURN(const bool row, last.Text(key.id).Number(key.epoch).Step());
  if (!row) return std::optional<JournalEntry>();
  return std::optional<JournalEntry>(EntryOf(last, 0));
}

absl::StatusOr<std::vector<UnfinishedRecovery>> SqliteSessionStore::ListUnfinished(
    const CallContext& ctx) {
  std::vector<UnfinishedRecovery> unfinished;
  const auto work = [&](Connection& db) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(
        Statement rows,
        db.Prepare("SELECT s.id, s.epoch, s.instance, s.life, s.record, r.fence, r.claimed_at"
                   " FROM recoveries r JOIN sessions s ON s.id = r.id AND s.epoch = r.epoch"
                   " WHERE r.outcome IS NULL AND r.expires_at <= ?1 ORDER BY s.id, s.epoch"));
    rows.Time(clock_.Now());
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) return absl::OkStatus();
      UnfinishedRecovery& found = unfinished.emplace_back();
      found.session = SessionOf(rows, 0);
      const SessionKey key = found.session.key();
      ABSL_ASSIGN_OR_RETURN(std::optional<JournalEntry> last, LastEntry(db, key));
      found.last =
          last ? *std::move(last)
               : ClaimedEntry(key, static_cast<std::uint64_t>(rows.GetNumber(5)), rows.GetTime(6));
    }
  };
  ABSL_RETURN_IF_ERROR(Read(ctx, "list unfinished", work));
  return unfinished;
}

absl::StatusOr<std::vector<JournalEntry>> SqliteSessionStore::Journal(
    const CallContext& ctx, const std::string& session_id) {
  ABSL_RETURN_IF_ERROR(ValidateKey({session_id, 0}));
  std::vector<JournalEntry> entries;
  const auto work = [&](Connection& db) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(Statement rows,
                          db.Prepare("SELECT " SIPHEAL_JOURNAL_COLUMNS " FROM journal"
                                     " WHERE id = ?1 ORDER BY epoch, seq"));
    rows.Text(session_id);
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) break;
      entries.push_back(EntryOf(rows, 0));
    }
    if (!entries.empty()) return absl::OkStatus();
    ABSL_ASSIGN_OR_RETURN(Statement known,
                          db.Prepare("SELECT EXISTS(SELECT 1 FROM sessions WHERE id = ?1)"
                                     " OR EXISTS(SELECT 1 FROM recoveries WHERE id = ?1)"));
    ABSL_RETURN_IF_ERROR(known.Text(session_id).Step().status());
    return known.GetNumber(0) != 0 ? absl::OkStatus() : UnknownSession("journal", {session_id, 0});
  };
  ABSL_RETURN_IF_ERROR(Read(ctx, "journal", work));
  return entries;
}

absl::StatusOr<std::vector<TakenChannel>> SqliteSessionStore::ListTaken(const CallContext& ctx) {
  std::vector<TakenChannel> taken;
  const auto work = [&](Connection& db) -> absl::Status {
    ABSL_ASSIGN_OR_RETURN(
        Statement rows,
        db.Prepare("SELECT DISTINCT taken_instance, taken_life, taken_channel FROM journal"
                   " WHERE taken_channel != ''"));
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) return absl::OkStatus();
      taken.push_back({{std::string(rows.GetText(0)), std::string(rows.GetText(1))},
                       std::string(rows.GetText(2))});
    }
  };
  ABSL_RETURN_IF_ERROR(Read(ctx, "list taken", work));
  return taken;
}

}  // namespace sipheal::inline v0_1::internal
