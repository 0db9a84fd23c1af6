// SPDX-License-Identifier: Apache-2.0
// Put and List.
#include <utility>

#include "base/status_macros.h"
#include "model/session_codec.h"
#include "model/store_rules.h"
#include "sqlite/sqlite_session_store.h"

namespace sipheal::inline v0_1::internal {

// -------------------------------------------------------------------------------------

absl::StatusOr<SessionStore::PutResult> SqliteSessionStore::Put(const CallContext& ctx,
                                                                const PutParams& params) {
  for (const Session& session : params.sessions) {
    ABSL_RETURN_IF_ERROR(ValidateSession(session));
  }
  PutResult result;
  const auto work = [&](Connection& db) -> absl::Status {
    for (std::size_t i = 0; i < params.sessions.size(); ++i) {
      if (i % kEntriesBetweenLooks == 0) ABSL_RETURN_IF_ERROR(db.CheckScope());
      const Session& session = params.sessions[i];
      ABSL_ASSIGN_OR_RETURN(const bool known, PutOne(db, session, params.only_existing));
      if (!known) result.unknown.push_back(session.key());
    }
    return PurgeIfDue(db);
  };
  ABSL_RETURN_IF_ERROR(Write(ctx, Turnstile::Urgency::kNormal, "put", work));
  return result;
}

// False when the session is not known and was to be left out.
absl::StatusOr<bool> SqliteSessionStore::PutOne(Connection& db, const Session& session,
                                                bool only_existing) {
  {
    ABSL_ASSIGN_OR_RETURN(
        Statement look,
        db.Prepare("SELECT EXISTS(SELECT 1 FROM recoveries WHERE id = ?1 AND epoch = ?2),"
                   " EXISTS(SELECT 1 FROM sessions WHERE id = ?1 AND epoch = ?2),"
                   " EXISTS(SELECT 1 FROM recoveries WHERE id = ?1 AND epoch > ?2)"
                   " OR EXISTS(SELECT 1 FROM sessions WHERE id = ?1 AND epoch > ?2)"));
    ABSL_RETURN_IF_ERROR(look.Text(session.id).Number(session.epoch).Step().status());
    const bool begun = look.GetNumber(0) != 0;
    const bool there = look.GetNumber(1) != 0;
    const bool outdated = look.GetNumber(2) != 0;
    if (begun) return true;
    if (!there) {
      if (outdated) return true;
      if (only_existing) return false;
    }
  }
  // What was known of an older epoch is over, unless a recovery of it is under way.
  ABSL_ASSIGN_OR_RETURN(
      Statement forget,
      db.Prepare("DELETE FROM sessions WHERE id = ?1 AND epoch < ?2 AND NOT EXISTS"
                 " (SELECT 1 FROM recoveries r"
                 "  WHERE r.id = sessions.id AND r.epoch = sessions.epoch)"));
  ABSL_RETURN_IF_ERROR(forget.Text(session.id).Number(session.epoch).Run());
  if (session.state == SessionState::kEnded) {
    ABSL_ASSIGN_OR_RETURN(Statement remove,
                          db.Prepare("DELETE FROM sessions WHERE id = ?1 AND epoch = ?2"));
    ABSL_RETURN_IF_ERROR(remove.Text(session.id).Number(session.epoch).Run());
    return true;
  }
  const std::string record = EncodeSession(session);
  ABSL_ASSIGN_OR_RETURN(
      Statement put,
      db.Prepare("INSERT INTO sessions (id, epoch, instance, life, record)"
                 " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id, epoch) DO UPDATE SET"
                 " instance = excluded.instance, life = excluded.life, record = excluded.record"));
  ABSL_RETURN_IF_ERROR(put.Text(session.id)
                           .Number(session.epoch)
                           .Text(session.incarnation.instance)
                           .Text(session.incarnation.life)
                           .Blob(record)
                           .Run());
  return true;
}

absl::StatusOr<SessionStore::SessionPage> SqliteSessionStore::List(const CallContext& ctx,
                                                                   const ListParams& params) {
  ABSL_RETURN_IF_ERROR(ValidatePage(params));
  SessionKey after;  // the empty id comes before all
  if (!params.page_token.empty()) {
    ABSL_ASSIGN_OR_RETURN(after, ParsePageToken(params.page_token));
  }
  SessionPage page;
  const auto work = [&](Connection& db) -> absl::Status {
    const char* const of_one =
        "SELECT id, epoch, instance, life, record FROM sessions"
        " WHERE instance = ?4 AND life = ?5 AND (id, epoch) > (?1, ?2)"
        " ORDER BY id, epoch LIMIT ?3";
    const char* const of_all =
        "SELECT id, epoch, instance, life, record FROM sessions"
        " WHERE (id, epoch) > (?1, ?2) ORDER BY id, epoch LIMIT ?3";
    ABSL_ASSIGN_OR_RETURN(Statement rows, db.Prepare(params.incarnation ? of_one : of_all));
    rows.Text(after.id).Number(after.epoch).Number(static_cast<std::int64_t>(params.limit) + 1);
    if (params.incarnation) {
      rows.Text(params.incarnation->instance).Text(params.incarnation->life);
    }
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) return absl::OkStatus();
      if (page.sessions.size() == params.limit) {
        page.next_page_token = MakePageToken(page.sessions.back().key());
        return absl::OkStatus();
      }
      page.sessions.push_back(SessionOf(rows, 0));
    }
  };
  ABSL_RETURN_IF_ERROR(Read(ctx, "list", work));
  return page;
}

}  // namespace sipheal::inline v0_1::internal
