// SPDX-License-Identifier: Apache-2.0
// Claim, Advance, ListUnfinished, Journal and ListTaken.
#include <map>
#include <optional>
#include <string_view>
#include <tuple>
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
// The caller's deadline is over by then, and it is to have its answer within 100 ms.
constexpr std::chrono::milliseconds kGiveBackGrace{70};

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
      const absl::Status status = Write(ctx, Turnstile::Urgency::kUrgent, "claim", work);
      if (!status.ok()) {
        GiveBack(leases);
        return status;
      }
      places = std::move(skipped);
    }
  }
  return leases;
}

// A claim is had wholly or not at all: what an earlier pass got is free for others at once. When
// even this does not get through, the leases run out.
void PostgresSessionStore::GiveBack(const std::vector<absl::StatusOr<Lease>>& leases) {
  Parameters::Column id, epoch, fence;
  bool any = false;
  for (const absl::StatusOr<Lease>& lease : leases) {
    if (!lease.ok()) continue;
    any = true;
    id.Text(lease->session.id);
    epoch.Number(lease->session.epoch);
    fence.Number(static_cast<std::int64_t>(lease->fence));
  }
  if (!any) return;
  Parameters parameters;
  parameters.Texts(id).Numbers(epoch).Numbers(fence);
  const CallContext ctx{.deadline = clock_.Monotonic() + kGiveBackGrace};
  Write(ctx, Turnstile::Urgency::kUrgent, "give a claim back", [&](Transaction& transaction) {
    return transaction
        .RunAndCommit(
            Sql("UPDATE %s.sessions s SET expires_at = clock_timestamp()"
                " FROM unnest($1::text[], $2::bigint[], $3::bigint[]) AS g (id, epoch, fence)"
                " WHERE s.id = g.id AND s.epoch = g.epoch AND s.fence = g.fence"
                "  AND g.fence > 0"),
            parameters)
        .status();
  }).IgnoreError();
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
  // `held` sees a row as it is once it is locked, not as it was when the statement began. That a
  // row is there at all is looked up by its key, and only for those that could not be had.
  Parameters parameters = given;
  parameters.Blob(params.owner).Number(Milliseconds(params.lease));
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      transaction.RunAndCommit(
          Sql("WITH given AS ("
              " SELECT * FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY"
              "  AS g (id, epoch, place)),"
              "held AS MATERIALIZED ("
              " SELECT g.place, s.id, s.epoch, s.owner, s.outcome,"
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
              " RETURNING h.place, s.fence,"
              "  (extract(epoch FROM s.expires_at) * 1000000)::bigint AS expires_us)"
              "SELECT g.place, c.fence, c.expires_us, h.place IS NOT NULL, h.owner, h.outcome,"
              "  known.there IS NOT NULL"
              " FROM given g LEFT JOIN held h USING (place) LEFT JOIN claimed c USING (place)"
              " LEFT JOIN LATERAL (SELECT true AS there FROM %s.sessions s"
              "  WHERE h.place IS NULL AND s.id = g.id AND s.epoch = g.epoch LIMIT 1) known ON "
              "true"),
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
    for (std::size_t i = 0; i < rounds.size(); ++i) {
      ABSL_RETURN_IF_ERROR(
          AdvanceRound(transaction, params, rounds[i], i + 1 == rounds.size(), &results));
    }
    return absl::OkStatus();
  };
  if (rounds.empty()) return invalid;
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kUrgent, "advance", work));
  return results;
}

// The fence is checked by the statement that extends the lease: no step gets past it. Its
// conditions fit no partial index, so that each row is found by its key, whatever the planner
// thinks of how many are unfinished.
absl::Status PostgresSessionStore::AdvanceRound(Transaction& transaction,
                                                const AdvanceParams& params,
                                                std::span<const std::size_t> steps, bool last,
                                                std::vector<absl::Status>* results) {
  // The leases that are extended, and for each step the number of its own.
  using Held = std::tuple<std::string_view, std::uint32_t, std::uint64_t>;
  std::map<Held, std::size_t> numbers;
  std::vector<Held> leases;
  std::vector<std::optional<Outcome>> outcomes;
  Parameters::Column number, stage, attempt, target_instance, target_life, channel, cseq, deaths,
      reason, outcome, at, taken_instance, taken_life, taken_channel;
  std::vector<std::size_t> number_of;
  bool has_successor = false;
  for (const std::size_t i : steps) {
    const AdvanceParams::Step& step = params.steps[i];
    const JournalEntry& entry = step.entry;
    const TakenChannel taken = entry.taken.value_or(TakenChannel{});
    const Held lease{entry.session.id, entry.session.epoch, entry.fence};
    const auto [known, fresh] = numbers.try_emplace(lease, leases.size());
    if (fresh) {
      leases.push_back(lease);
      outcomes.emplace_back();
    }
    number_of.push_back(known->second);
    if (entry.outcome) outcomes[known->second] = entry.outcome;
    has_successor |= step.successor.has_value();
    number.Number(static_cast<std::int64_t>(known->second) + 1);
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
  Parameters::Column id, epoch, fence, final_outcome;
  for (std::size_t n = 0; n < leases.size(); ++n) {
    id.Text(std::get<0>(leases[n]));
    epoch.Number(std::get<1>(leases[n]));
    fence.Number(static_cast<std::int64_t>(std::get<2>(leases[n])));
    if (outcomes[n]) {
      final_outcome.Text(ToString(*outcomes[n]));
    } else {
      final_outcome.Null();
    }
  }
  Parameters parameters;
  parameters.Texts(id)
      .Numbers(epoch)
      .Numbers(fence)
      .Texts(final_outcome)
      .Numbers(number)
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
  const std::string sql =
      Sql("WITH leases AS ("
          " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])"
          "  WITH ORDINALITY AS g (id, epoch, fence, outcome, number)),"
          "extended AS ("
          " UPDATE %s.sessions s SET outcome = g.outcome,"
          "  finished_at = CASE WHEN g.outcome IS NOT NULL THEN clock_timestamp() END,"
          "  expires_at = clock_timestamp() + $19 * interval '1 millisecond',"
          "  record = CASE WHEN g.outcome IS NULL THEN s.record ELSE ''::bytea END"
          " FROM leases g WHERE s.id = g.id AND s.epoch = g.epoch AND s.fence = g.fence"
          "  AND g.fence > 0 AND coalesce(s.outcome, '') = ''"
          " RETURNING g.number, s.id, s.epoch, s.fence),"
          "noted AS ("
          " INSERT INTO %s.journal (" SIPHEAL_JOURNAL_COLUMNS
          ")"
          " SELECT x.id, x.epoch, x.fence, stage, attempt, target_instance, target_life,"
          "  channel_id, cseq, deaths, reason, outcome, at_us, taken_instance, taken_life,"
          "  taken_channel"
          " FROM unnest($5::bigint[], $6::text[], $7::bigint[], $8::bytea[], $9::bytea[],"
          "  $10::bytea[], $11::bigint[], $12::bigint[], $13::bytea[], $14::text[],"
          "  $15::bigint[], $16::bytea[], $17::bytea[], $18::bytea[]) WITH ORDINALITY"
          "  AS e (number, stage, attempt, target_instance, target_life, channel_id, cseq, deaths,"
          "   reason, outcome, at_us, taken_instance, taken_life, taken_channel, place)"
          " JOIN extended x USING (number) ORDER BY place)"
          "SELECT number FROM extended");
  ABSL_ASSIGN_OR_RETURN(const Rows rows, last && !has_successor
                                             ? transaction.RunAndCommit(sql, parameters)
                                             : transaction.Run(sql, parameters));
  std::vector<bool> extended(leases.size());
  for (int row = 0; row < rows.count(); ++row) {
    extended[static_cast<std::size_t>(rows.GetNumber(row, 0) - 1)] = true;
  }
  std::vector<const Session*> successors;
  std::vector<std::size_t> refused;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const AdvanceParams::Step& step = params.steps[steps[i]];
    if (!extended[number_of[i]]) {
      refused.push_back(steps[i]);
    } else if (step.successor) {
      successors.push_back(&*step.successor);
    }
  }
  if (!refused.empty()) ABSL_RETURN_IF_ERROR(TellWhy(transaction, params, refused, results));
  if (successors.empty()) return absl::OkStatus();
  const Parameters put = PutParameters(successors, /*only_existing=*/false);
  return (last ? transaction.RunAndCommit(PutSql(), put) : transaction.Run(PutSql(), put)).status();
}

// Why these steps were not taken.
absl::Status PostgresSessionStore::TellWhy(Transaction& transaction, const AdvanceParams& params,
                                           std::span<const std::size_t> refused,
                                           std::vector<absl::Status>* results) {
  Parameters::Column id, epoch;
  for (const std::size_t i : refused) {
    id.Text(params.steps[i].entry.session.id);
    epoch.Number(params.steps[i].entry.session.epoch);
  }
  Parameters parameters;
  parameters.Texts(id).Numbers(epoch);
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      transaction.Run(Sql("SELECT s.id IS NOT NULL, s.fence, s.outcome"
                          " FROM unnest($1::text[], $2::bigint[]) WITH ORDINALITY"
                          "  AS g (id, epoch, place)"
                          " LEFT JOIN %s.sessions s ON s.id = g.id AND s.epoch = g.epoch"
                          " ORDER BY place"),
                      parameters));
  for (int row = 0; row < rows.count(); ++row) {
    const std::size_t i = refused[static_cast<std::size_t>(row)];
    const JournalEntry& entry = params.steps[i].entry;
    if (!rows.GetBool(row, 0)) {
      (*results)[i] = UnknownSession("advance", entry.session);
      continue;
    }
    std::optional<Outcome> over;
    if (!rows.IsNull(row, 2)) over = ParseOutcome(rows.GetText(row, 2));
    if (over) {
      // A caller that never heard the answer to its last step says it again: that is no second
      // step.
      ABSL_ASSIGN_OR_RETURN(const bool again, IsLastEntry(transaction, entry));
      if (again) continue;
    }
    (*results)[i] = WhyNotAdvanced(entry, rows.GetNumber(row, 1), over);
  }
  return absl::OkStatus();
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
