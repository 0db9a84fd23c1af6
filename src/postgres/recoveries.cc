// SPDX-License-Identifier: Apache-2.0
// Claim, Advance, ListUnfinished, Journal and ListTaken.
#include <map>
#include <utility>

#include "base/status_macros.h"
#include "model/store_rules.h"
#include "postgres/postgres_session_store.h"
#include "postgres/rounds.h"

// The columns of a journal entry, in the order of EntryOf.
#define SIPHEAL_JOURNAL_COLUMNS                                                                \
  "id, epoch, fence, stage, attempt, target_instance, target_life, channel_id, cseq, deaths, " \
  "reason, outcome, at_us, taken_instance, taken_life, taken_channel"

namespace sipheal::inline v0_1::internal::postgres {
namespace {

constexpr int kEntryColumns = 16;

std::int64_t Milliseconds(std::chrono::milliseconds time) { return time.count(); }

absl::Status WhyNotAdvanced(const JournalEntry& entry, std::int64_t fence,
                            std::optional<Outcome> outcome) {
  if (fence == 0) return NeverClaimed(entry.session);
  return LostLease(entry.session, entry.fence, static_cast<std::uint64_t>(fence), outcome);
}

// One statement does all steps up to a session's outcome; what comes after that is judged by the
// state that it left.
std::vector<std::vector<std::size_t>> SplitAfterOutcomes(const SessionStore::AdvanceParams& params,
                                                         std::span<const std::size_t> steps) {
  std::map<std::string_view, std::size_t> outcomes;
  std::vector<std::vector<std::size_t>> rounds;
  for (const std::size_t i : steps) {
    const JournalEntry& entry = params.steps[i].entry;
    std::size_t& round = outcomes[entry.session.id];
    if (round >= rounds.size()) rounds.resize(round + 1);
    rounds[round].push_back(i);
    if (entry.outcome) ++round;
  }
  return rounds;
}

}  // namespace

// -----------------------------------------------------------------------------------

absl::StatusOr<std::vector<absl::StatusOr<Lease>>> PostgresSessionStore::Claim(
    const CallContext& ctx, const ClaimParams& params) {
  ABSL_RETURN_IF_ERROR(ValidateClaim(params));
  std::vector<absl::StatusOr<Lease>> leases(params.sessions.size());
  for (const std::vector<std::size_t>& round :
       SplitIntoRounds(params.sessions.size(), [&](std::size_t i) { return params.sessions[i]; })) {
    std::vector<Place> places;
    for (const std::size_t i : round) places.push_back({i, params.sessions[i]});
    // What somebody else holds at this moment is waited for last, and with nothing in hand: those
    // who claim many at once share them, and none waits for another in a circle.
    for (const bool skip_locked : {true, false}) {
      if (places.empty()) break;
      std::vector<Place> skipped;
      const auto work = [&](Transaction& transaction) -> absl::Status {
        ABSL_ASSIGN_OR_RETURN(skipped,
                              ClaimPass(transaction, params, places, skip_locked, &leases));
        return absl::OkStatus();
      };
      ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kUrgent, "claim", work));
      places = std::move(skipped);
    }
  }
  return leases;
}

absl::StatusOr<std::vector<PostgresSessionStore::Place>> PostgresSessionStore::ClaimPass(
    Transaction& transaction, const ClaimParams& params, std::span<const Place> places,
    bool skip_locked, std::vector<absl::StatusOr<Lease>>* leases) {
  Parameters::Column id, epoch;
  for (const Place& place : places) {
    id.Text(place.key.id);
    epoch.Number(place.key.epoch);
  }
  Parameters given;
  given.Texts(id).Numbers(epoch);
  // `held` sees a row as it is once it is locked, not as it was when the statement began.
  Parameters parameters = given;
  parameters.Blob(params.owner).Number(Milliseconds(params.lease));
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      transaction.Run(
          Sql("WITH given AS ("
              " SELECT * FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY"
              "  AS g (id, epoch, place)),"
              "held AS MATERIALIZED ("
              " SELECT s.id, s.epoch, s.fence, s.owner, s.outcome,"
              "  s.outcome IS NULL AND (s.fence = 0 OR s.owner = $3"
              "   OR s.expires_at <= clock_timestamp()) AS free"
              " FROM %s.sessions s JOIN given g ON g.id = s.id AND g.epoch = s.epoch"
              " ORDER BY s.id, s.epoch FOR UPDATE OF s" +
              std::string(skip_locked ? " SKIP LOCKED" : "") +
              "),"
              "claimed AS ("
              " UPDATE %s.sessions s SET fence = nextval('%s.fences'), owner = $3,"
              "  claimed_at = clock_timestamp(),"
              "  expires_at = clock_timestamp() + $4 * interval '1 millisecond'"
              " FROM held h WHERE s.id = h.id AND s.epoch = h.epoch AND h.free"
              " RETURNING s.id, s.epoch, s.fence,"
              "  (extract(epoch FROM s.expires_at) * 1000000)::bigint AS expires_us)"
              "SELECT g.place, c.fence, c.expires_us, h.id IS NOT NULL, h.owner, h.outcome,"
              "  EXISTS (SELECT 1 FROM %s.sessions s WHERE s.id = g.id AND s.epoch = g.epoch)"
              " FROM given g LEFT JOIN held h ON h.id = g.id AND h.epoch = g.epoch"
              " LEFT JOIN claimed c ON c.id = g.id AND c.epoch = g.epoch"),
          parameters));
  std::vector<Place> skipped;
  for (int row = 0; row < rows.count(); ++row) {
    const Place& place = places[static_cast<std::size_t>(rows.GetNumber(row, 0) - 1)];
    absl::StatusOr<Lease>& lease = (*leases)[place.at];
    if (!rows.IsNull(row, 1)) {
      lease = Lease{place.key, params.owner, static_cast<std::uint64_t>(rows.GetNumber(row, 1)),
                    WallTime(WallTime::duration(rows.GetNumber(row, 2)))};
    } else if (rows.GetBool(row, 3)) {
      lease = rows.IsNull(row, 5) ? HeldByAnother(place.key, rows.GetText(row, 4))
                                  : AlreadyFinished(place.key, rows.GetText(row, 5));
    } else if (skip_locked && rows.GetBool(row, 6)) {
      skipped.push_back(place);
    } else {
      lease = UnknownSession("claim", place.key);
    }
  }
  return skipped;
}

absl::StatusOr<std::vector<absl::Status>> PostgresSessionStore::Advance(
    const CallContext& ctx, const AdvanceParams& params) {
  ABSL_RETURN_IF_ERROR(ValidateLease(params.lease));
  std::vector<absl::Status> invalid(params.steps.size());
  std::vector<std::size_t> valid;
  std::vector<SessionKey> keys;
  for (std::size_t i = 0; i < params.steps.size(); ++i) {
    invalid[i] = ValidateStep(params.steps[i]);
    if (!invalid[i].ok()) continue;
    valid.push_back(i);
    keys.push_back(params.steps[i].entry.session);
  }
  const std::vector<std::vector<std::size_t>> rounds = SplitAfterOutcomes(params, valid);
  std::vector<absl::Status> results;
  const auto work = [&](Transaction& transaction) -> absl::Status {
    results = invalid;
    ABSL_RETURN_IF_ERROR(Lock(transaction, keys));
    for (const std::vector<std::size_t>& steps : rounds) {
      ABSL_RETURN_IF_ERROR(AdvanceRound(transaction, params, steps, &results));
    }
    return absl::OkStatus();
  };
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kUrgent, "advance", work));
  return results;
}

// The fence is checked by the statement that extends the lease: no step gets past it.
absl::Status PostgresSessionStore::AdvanceRound(Transaction& transaction,
                                                const AdvanceParams& params,
                                                std::span<const std::size_t> steps,
                                                std::vector<absl::Status>* results) {
  Parameters::Column id, epoch, fence, stage, attempt, target_instance, target_life, channel, cseq,
      deaths, reason, outcome, at, taken_instance, taken_life, taken_channel;
  for (const std::size_t i : steps) {
    const JournalEntry& entry = params.steps[i].entry;
    const TakenChannel taken = entry.taken.value_or(TakenChannel{});
    id.Text(entry.session.id);
    epoch.Number(entry.session.epoch);
    fence.Number(static_cast<std::int64_t>(entry.fence));
    stage.Text(ToString(entry.stage));
    attempt.Number(entry.attempt);
    target_instance.Text(entry.target.instance);
    target_life.Text(entry.target.life);
    channel.Text(entry.channel_id);
    cseq.Number(entry.cseq);
    deaths.Number(entry.deaths);
    reason.Text(entry.reason);
    if (entry.outcome) {
      outcome.Text(ToString(*entry.outcome));
    } else {
      outcome.Null();
    }
    at.Number(entry.at.time_since_epoch().count());
    taken_instance.Text(taken.incarnation.instance);
    taken_life.Text(taken.incarnation.life);
    taken_channel.Text(taken.channel_id);
  }
  Parameters parameters;
  parameters.Texts(id)
      .Numbers(epoch)
      .Numbers(fence)
      .Texts(stage)
      .Numbers(attempt)
      .Blobs(target_instance)
      .Blobs(target_life)
      .Blobs(channel)
      .Numbers(cseq)
      .Numbers(deaths)
      .Blobs(reason)
      .Texts(outcome)
      .Numbers(at)
      .Blobs(taken_instance)
      .Blobs(taken_life)
      .Blobs(taken_channel)
      .Number(Milliseconds(params.lease));
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      transaction.Run(
          Sql("WITH given AS ("
              " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[],"
              "  $5::bigint[], $6::bytea[], $7::bytea[], $8::bytea[], $9::bigint[], $10::bigint[],"
              "  $11::bytea[], $12::text[], $13::bigint[], $14::bytea[], $15::bytea[],"
              "  $16::bytea[]) WITH ORDINALITY AS g (" SIPHEAL_JOURNAL_COLUMNS ", place)),"
              "extended AS ("
              " UPDATE %s.sessions s SET outcome = g.outcome,"
              "  finished_at = CASE WHEN g.outcome IS NOT NULL THEN clock_timestamp() END,"
              "  expires_at = clock_timestamp() + $17 * interval '1 millisecond',"
              "  record = CASE WHEN g.outcome IS NULL THEN s.record ELSE ''::bytea END"
              " FROM (SELECT id, epoch, fence, max(outcome) AS outcome FROM given GROUP BY 1, 2, "
              "3) g"
              " WHERE s.id = g.id AND s.epoch = g.epoch AND s.fence = g.fence"
              "  AND s.fence > 0 AND s.outcome IS NULL RETURNING s.id, s.epoch, s.fence),"
              "noted AS ("
              " INSERT INTO %s.journal (" SIPHEAL_JOURNAL_COLUMNS ")"
              " SELECT " SIPHEAL_JOURNAL_COLUMNS
              " FROM given JOIN extended USING (id, epoch, fence)"
              " ORDER BY place)"
              "SELECT g.place, e.id IS NOT NULL, s.id IS NOT NULL, s.fence, s.outcome"
              " FROM given g LEFT JOIN extended e USING (id, epoch, fence)"
              " LEFT JOIN %s.sessions s ON s.id = g.id AND s.epoch = g.epoch"),
          parameters));
  std::vector<const Session*> successors;
  for (int row = 0; row < rows.count(); ++row) {
    const std::size_t i = steps[static_cast<std::size_t>(rows.GetNumber(row, 0) - 1)];
    const AdvanceParams::Step& step = params.steps[i];
    if (rows.GetBool(row, 1)) {
      if (step.successor) successors.push_back(&*step.successor);
      continue;
    }
    if (!rows.GetBool(row, 2)) {
      (*results)[i] = UnknownSession("advance", step.entry.session);
      continue;
    }
    std::optional<Outcome> over;
    if (!rows.IsNull(row, 4)) over = ParseOutcome(rows.GetText(row, 4));
    if (over) {
      // A caller that never heard the answer to its last step says it again: that is no second
      // step.
      ABSL_ASSIGN_OR_RETURN(const bool again, IsLastEntry(transaction, step.entry));
      if (again) continue;
    }
    (*results)[i] = WhyNotAdvanced(step.entry, rows.GetNumber(row, 3), over);
  }
  if (successors.empty()) return absl::OkStatus();
  return PutLocked(transaction, successors, /*only_existing=*/false, nullptr);
}

absl::StatusOr<bool> PostgresSessionStore::IsLastEntry(Transaction& transaction,
                                                       const JournalEntry& entry) {
  Parameters parameters;
  parameters.Text(entry.session.id).Number(entry.session.epoch);
  ABSL_ASSIGN_OR_RETURN(
      const Rows last,
      transaction.Run(Sql("SELECT " SIPHEAL_JOURNAL_COLUMNS " FROM %s.journal"
                          " WHERE id = $1 AND epoch = $2 ORDER BY seq DESC LIMIT 1"),
                      parameters));
  return last.count() == 1 && EntryOf(last, 0, 0) == entry;
}

absl::StatusOr<std::vector<UnfinishedRecovery>> PostgresSessionStore::ListUnfinished(
    const CallContext& ctx) {
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      Read(ctx, "list unfinished",
           Sql("SELECT j.*, s.id, s.epoch, s.instance, s.life, s.record, s.fence,"
               "  (extract(epoch FROM s.claimed_at) * 1000000)::bigint"
               " FROM %s.sessions s LEFT JOIN LATERAL ("
               "  SELECT " SIPHEAL_JOURNAL_COLUMNS " FROM %s.journal j"
               "  WHERE j.id = s.id AND j.epoch = s.epoch ORDER BY j.seq DESC LIMIT 1) j ON true"
               " WHERE s.outcome IS NULL AND s.fence > 0 AND s.expires_at <= clock_timestamp()"
               " ORDER BY s.id, s.epoch"),
           {}));
  std::vector<UnfinishedRecovery> unfinished;
  for (int row = 0; row < rows.count(); ++row) {
    UnfinishedRecovery& found = unfinished.emplace_back();
    found.session = SessionOf(rows, row, kEntryColumns);
    found.last =
        rows.IsNull(row, 0)
            ? ClaimedEntry(found.session.key(),
                           static_cast<std::uint64_t>(rows.GetNumber(row, kEntryColumns + 5)),
                           WallTime(WallTime::duration(rows.GetNumber(row, kEntryColumns + 6))))
            : EntryOf(rows, row, 0);
  }
  return unfinished;
}

absl::StatusOr<std::vector<JournalEntry>> PostgresSessionStore::Journal(
    const CallContext& ctx, const std::string& session_id) {
  ABSL_RETURN_IF_ERROR(ValidateKey({session_id, 0}));
  Parameters parameters;
  parameters.Text(session_id);
  // One statement sees one moment: a session whose first step comes between is not "unknown".
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      Read(ctx, "journal",
           Sql("SELECT j.* FROM (SELECT 1 WHERE EXISTS"
               "  (SELECT 1 FROM %s.sessions WHERE id = $1)"
               "  OR EXISTS (SELECT 1 FROM %s.journal WHERE id = $1)) known"
               " LEFT JOIN (SELECT " SIPHEAL_JOURNAL_COLUMNS ", seq FROM %s.journal"
               "  WHERE id = $1) j ON true ORDER BY j.epoch, j.seq"),
           parameters));
  if (rows.count() == 0) return UnknownSession("journal", {session_id, 0});
  std::vector<JournalEntry> entries;
  for (int row = 0; row < rows.count(); ++row) {
    if (!rows.IsNull(row, 0)) entries.push_back(EntryOf(rows, row, 0));
  }
  return entries;
}

absl::StatusOr<std::vector<TakenChannel>> PostgresSessionStore::ListTaken(const CallContext& ctx) {
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      Read(ctx, "list taken",
           Sql("SELECT DISTINCT taken_instance, taken_life, taken_channel FROM %s.journal"
               " WHERE taken_channel <> ''"),
           {}));
  std::vector<TakenChannel> taken;
  for (int row = 0; row < rows.count(); ++row) {
    taken.push_back({{std::string(rows.GetText(row, 0)), std::string(rows.GetText(row, 1))},
                     std::string(rows.GetText(row, 2))});
  }
  return taken;
}

}  // namespace sipheal::inline v0_1::internal::postgres
