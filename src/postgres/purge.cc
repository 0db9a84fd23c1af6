// SPDX-License-Identifier: Apache-2.0
// What is over is forgotten after a while, so that the tables do not grow for ever.
#include <chrono>

#include "base/status_macros.h"
#include "model/stored_rows.h"
#include "postgres/postgres_session_store.h"

namespace sipheal::inline v0_1::internal::postgres {

// A finished recovery is also what keeps late news of its old channel out: it stays while the
// session lives on, and long after every such news. Controllers that purge at the same time share
// the rows.
absl::Status PostgresSessionStore::PurgeIfDue(Transaction& transaction) {
  const MonotonicTime now = clock_.Monotonic();
  {
    const std::lock_guard lock(mutex_);
    if (now < purge_at_) return absl::OkStatus();
    purge_at_ = now + kBetweenPurges;
  }
  Parameters parameters;
  parameters.Number(std::chrono::seconds(options_.keep_journal).count())
      .Number(kSessionsOfOnePurge);
  ABSL_ASSIGN_OR_RETURN(
      const Rows removed,
      transaction.Run(Sql("WITH finished AS ("
                          " SELECT s.id, s.epoch FROM %s.sessions s WHERE s.outcome IS NOT NULL"
                          "  AND s.finished_at < clock_timestamp() - $1 * interval '1 second'"
                          "  AND NOT EXISTS (SELECT 1 FROM %s.sessions n"
                          "   WHERE n.id = s.id AND (n.epoch > s.epoch OR n.outcome IS NULL))"
                          " LIMIT $2 FOR UPDATE SKIP LOCKED),"
                          "journal AS ("
                          " DELETE FROM %s.journal j USING finished o WHERE j.id = o.id),"
                          "sessions AS ("
                          " DELETE FROM %s.sessions s USING finished o WHERE s.id = o.id)"
                          "SELECT count(*) FROM finished"),
                      parameters));
  if (removed.GetNumber(0, 0) == kSessionsOfOnePurge) {
    const std::lock_guard lock(mutex_);
    purge_at_ = now + kNextPartOfPurge;
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal::postgres
