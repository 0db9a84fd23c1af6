// SPDX-License-Identifier: Apache-2.0
// What is over is forgotten after a while, so that the file does not grow for ever.
#include <chrono>

#include "base/status_macros.h"
#include "model/stored_rows.h"
#include "sqlite/sqlite_session_store.h"

namespace sipheal::inline v0_1::internal {

// A finished recovery is also what keeps late news of its old channel out: it stays while
// the session lives on, and long after every such news.
absl::Status SqliteSessionStore::PurgeIfDue(Connection& db) {
  const WallTime now = clock_.Now();
  if (now < purge_at_) return absl::OkStatus();
  ABSL_RETURN_IF_ERROR(db.Execute("CREATE TEMP TABLE IF NOT EXISTS over (id TEXT PRIMARY KEY)"));
  ABSL_RETURN_IF_ERROR(db.Execute("DELETE FROM temp.over"));
  {
    ABSL_ASSIGN_OR_RETURN(
        Statement find,
        db.Prepare("INSERT INTO temp.over SELECT id FROM recoveries GROUP BY id"
                   " HAVING max(expires_at) < ?1 AND count(*) = count(outcome)"
                   " AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.id = recoveries.id)"
                   " LIMIT ?2"));
    ABSL_RETURN_IF_ERROR(find.Time(now - options_.keep_journal).Number(kSessionsOfOnePurge).Run());
  }
  const int found = db.changes();
  ABSL_RETURN_IF_ERROR(
      db.Execute("DELETE FROM journal WHERE id IN (SELECT id FROM temp.over);"
                 "DELETE FROM recoveries WHERE id IN (SELECT id FROM temp.over)"));
  purge_at_ =
      now + (found < kSessionsOfOnePurge ? std::chrono::seconds(kBetweenPurges) : kNextPartOfPurge);
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal
