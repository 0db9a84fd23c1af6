// SPDX-License-Identifier: Apache-2.0
// SaveDialogs and LoadDialogs.
#include <set>
#include <utility>

#include "base/status_macros.h"
#include "model/store_rules.h"
#include "sqlite/sqlite_session_store.h"

namespace sipheal::inline v0_1::internal {

// --------------------------------------------------------------------------------------

absl::Status SqliteSessionStore::SaveDialogs(const CallContext& ctx,
                                             const std::vector<DialogRecord>& records) {
  for (const DialogRecord& record : records) {
    ABSL_RETURN_IF_ERROR(ValidateDialog(record));
  }
  const auto work = [&](Connection& db) -> absl::Status {
    for (std::size_t i = 0; i < records.size(); ++i) {
      if (i % kEntriesBetweenLooks == 0) ABSL_RETURN_IF_ERROR(db.CheckScope());
      const DialogRecord& record = records[i];
      const char* const remove =
          "DELETE FROM dialogs WHERE call_id = ?1 AND instance = ?2 AND local_tag = ?3"
          " AND remote_tag = ?4 AND updated_at <= ?5";
      const char* const keep =
          "INSERT INTO dialogs (call_id, instance, local_tag, remote_tag, updated_at, bytes)"
          " VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
          " ON CONFLICT (call_id, instance, local_tag, remote_tag) DO UPDATE SET"
          " bytes = excluded.bytes, updated_at = excluded.updated_at"
          " WHERE updated_at <= excluded.updated_at";
      ABSL_ASSIGN_OR_RETURN(Statement write, db.Prepare(record.removed ? remove : keep));
      write.Blob(record.call_id)
          .Text(record.instance)
          .Blob(record.local_tag)
          .Blob(record.remote_tag)
          .Time(record.updated_at);
      if (!record.removed) write.Blob(record.bytes);
      ABSL_RETURN_IF_ERROR(write.Run());
    }
    return absl::OkStatus();
  };
  return Write(ctx, Turnstile::Urgency::kNormal, "save dialogs", work);
}

absl::StatusOr<std::vector<DialogRecord>> SqliteSessionStore::LoadDialogs(
    const CallContext& ctx, const std::vector<std::string>& call_ids) {
  std::vector<DialogRecord> found;
  const auto take = [&found](Statement rows) -> absl::Status {
    while (true) {
      ABSL_ASSIGN_OR_RETURN(const bool row, rows.Step());
      if (!row) return absl::OkStatus();
      DialogRecord& record = found.emplace_back();
      record.call_id = rows.GetText(0);
      record.instance = rows.GetText(1);
      record.local_tag = rows.GetText(2);
      record.remote_tag = rows.GetText(3);
      record.bytes = rows.GetText(4);
      record.updated_at = rows.GetTime(5);
    }
  };
  const auto work = [&](Connection& db) -> absl::Status {
    if (call_ids.empty()) {
      ABSL_ASSIGN_OR_RETURN(
          Statement all,
          db.Prepare("SELECT call_id, instance, local_tag, remote_tag, bytes, updated_at"
                     " FROM dialogs ORDER BY 1, 2, 3, 4"));
      return take(std::move(all));
    }
    for (const std::string& call_id : std::set<std::string>(call_ids.begin(), call_ids.end())) {
      ABSL_ASSIGN_OR_RETURN(
          Statement some,
          db.Prepare("SELECT call_id, instance, local_tag, remote_tag, bytes, updated_at"
                     " FROM dialogs WHERE call_id = ?1 ORDER BY 2, 3, 4"));
      some.Blob(call_id);
      ABSL_RETURN_IF_ERROR(take(std::move(some)));
    }
    return absl::OkStatus();
  };
  ABSL_RETURN_IF_ERROR(Read(ctx, "load dialogs", work));
  return found;
}

}  // namespace sipheal::inline v0_1::internal
