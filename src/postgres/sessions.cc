// SPDX-License-Identifier: Apache-2.0
// Put and List.
#include <utility>

#include "base/status_macros.h"
#include "model/session_codec.h"
#include "model/store_rules.h"
#include "postgres/postgres_session_store.h"
#include "postgres/rounds.h"

namespace sipheal::inline v0_1::internal::postgres {

absl::StatusOr<SessionStore::PutResult> PostgresSessionStore::Put(const CallContext& ctx,
                                                                  const PutParams& params) {
  std::vector<SessionKey> keys;
  for (const Session& session : params.sessions) {
    ABSL_RETURN_IF_ERROR(ValidateSession(session));
    keys.push_back(session.key());
  }
  const auto rounds = SplitIntoRounds(keys.size(), [&](std::size_t i) { return keys[i].id; });
  PutResult result;
  const auto work = [&](Transaction& transaction) -> absl::Status {
    result.unknown.clear();
    ABSL_RETURN_IF_ERROR(Lock(transaction, keys));
    for (const std::vector<std::size_t>& round : rounds) {
      std::vector<const Session*> sessions;
      for (const std::size_t i : round) sessions.push_back(&params.sessions[i]);
      ABSL_RETURN_IF_ERROR(PutLocked(transaction, sessions, params.only_existing, &result.unknown));
    }
    return PurgeIfDue(transaction);
  };
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kNormal, "put", work));
  return result;
}

absl::Status PostgresSessionStore::PutLocked(Transaction& transaction,
                                             std::span<const Session* const> sessions,
                                             bool only_existing, std::vector<SessionKey>* unknown) {
  ABSL_ASSIGN_OR_RETURN(const Rows news,
                        transaction.Run(PutSql(), PutParameters(sessions, only_existing)));
  for (int row = 0; row < news.count(); ++row) {
    unknown->push_back(
        {std::string(news.GetText(row, 0)), static_cast<std::uint32_t>(news.GetNumber(row, 1))});
  }
  return absl::OkStatus();
}

Parameters PostgresSessionStore::PutParameters(std::span<const Session* const> sessions,
                                               bool only_existing) {
  Parameters::Column id, epoch, instance, life, record, ended;
  for (const Session* const session : sessions) {
    const bool over = session->state == SessionState::kEnded;
    id.Text(session->id);
    epoch.Number(session->epoch);
    instance.Text(session->incarnation.instance);
    life.Text(session->incarnation.life);
    record.Text(over ? std::string() : EncodeSession(*session));
    ended.Bool(over);
  }
  Parameters parameters;
  parameters.Texts(id).Numbers(epoch).Blobs(instance).Blobs(life).Blobs(record).Bools(ended).Bool(
      only_existing);
  return parameters;
}

// What the conditions look at is locked, or was not there when the rows were: another may have
// put it since, and a third may claim it now. What is written or removed is therefore looked at
// once more, as it is when its row is had. What was known of an older epoch is over, unless a
// recovery of it has begun.
std::string PostgresSessionStore::PutSql() const {
  return Sql(
      "WITH given AS ("
      " SELECT * FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bytea[],"
      "  $5::bytea[], $6::boolean[]) AS g (id, epoch, instance, life, record, ended)),"
      "known AS ("
      " SELECT g.*, coalesce(s.fence, 0) > 0 AS begun,"
      "  EXISTS (SELECT 1 FROM %s.sessions n WHERE n.id = g.id AND n.epoch > g.epoch)"
      "   AS outdated,"
      "  $7 AND s.id IS NULL AS missing"
      " FROM given g LEFT JOIN %s.sessions s ON s.id = g.id AND s.epoch = g.epoch),"
      "forgotten AS ("
      " DELETE FROM %s.sessions s USING known k"
      " WHERE s.id = k.id AND s.epoch < k.epoch AND s.fence = 0"
      "  AND NOT k.begun AND NOT k.outdated AND NOT k.missing),"
      "removed AS ("
      " DELETE FROM %s.sessions s USING known k"
      " WHERE s.id = k.id AND s.epoch = k.epoch AND k.ended AND s.fence = 0),"
      "written AS ("
      " INSERT INTO %s.sessions AS s (id, epoch, instance, life, record)"
      " SELECT id, epoch, instance, life, record FROM known"
      " WHERE NOT begun AND NOT outdated AND NOT missing AND NOT ended ORDER BY id"
      " ON CONFLICT (id, epoch) DO UPDATE SET instance = excluded.instance,"
      "  life = excluded.life, record = excluded.record WHERE s.fence = 0)"
      "SELECT id, epoch FROM known WHERE missing AND NOT outdated");
}

absl::StatusOr<SessionStore::SessionPage> PostgresSessionStore::List(const CallContext& ctx,
                                                                     const ListParams& params) {
  ABSL_RETURN_IF_ERROR(ValidatePage(params));
  SessionKey after;  // the empty id comes before all
  if (!params.page_token.empty()) {
    ABSL_ASSIGN_OR_RETURN(after, ParsePageToken(params.page_token));
  }
  Parameters parameters;
  parameters.Text(after.id).Number(after.epoch).Number(static_cast<std::int64_t>(params.limit) + 1);
  if (params.incarnation) {
    parameters.Blob(params.incarnation->instance).Blob(params.incarnation->life);
  }
  ABSL_ASSIGN_OR_RETURN(
      const Rows rows,
      Read(ctx, "list",
           Sql(params.incarnation ? "SELECT id, epoch, instance, life, record FROM %s.sessions"
                                    " WHERE outcome IS NULL AND instance = $4 AND life = $5"
                                    "  AND (id, epoch) > ($1, $2) ORDER BY id, epoch LIMIT $3"
                                  : "SELECT id, epoch, instance, life, record FROM %s.sessions"
                                    " WHERE outcome IS NULL AND (id, epoch) > ($1, $2)"
                                    " ORDER BY id, epoch LIMIT $3"),
           parameters));
  SessionPage page;
  for (int row = 0; row < rows.count(); ++row) {
    if (page.sessions.size() == params.limit) {
      page.next_page_token = MakePageToken(page.sessions.back().key());
      break;
    }
    page.sessions.push_back(SessionOf(rows, row, 0));
  }
  return page;
}

}  // namespace sipheal::inline v0_1::internal::postgres
