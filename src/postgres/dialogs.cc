// SPDX-License-Identifier: Apache-2.0
// SaveDialogs and LoadDialogs.
#include <tuple>
#include <utility>

#include "base/status_macros.h"
#include "model/store_rules.h"
#include "postgres/postgres_session_store.h"
#include "postgres/rounds.h"

namespace sipheal::inline v0_1::internal::postgres {

absl::Status PostgresSessionStore::SaveDialogs(const CallContext& ctx,
                                               const std::vector<DialogRecord>& records) {
  for (const DialogRecord& record : records) {
    ABSL_RETURN_IF_ERROR(ValidateDialog(record));
  }
  const auto rounds = SplitIntoRounds(records.size(), [&](std::size_t i) {
    const DialogRecord& record = records[i];
    return std::tie(record.call_id, record.instance, record.local_tag, record.remote_tag);
  });
  return Write(
      ctx, Turnstile::Urgency::kNormal, "save dialogs",
      [&](Transaction& transaction) -> absl::Status {
        for (const std::vector<std::size_t>& round : rounds) {
          Parameters::Column call_id, instance, local_tag, remote_tag, updated, bytes, removed;
          bool removes = false;
          for (const std::size_t i : round) {
            const DialogRecord& record = records[i];
            call_id.Text(record.call_id);
            instance.Text(record.instance);
            local_tag.Text(record.local_tag);
            remote_tag.Text(record.remote_tag);
            updated.Number(record.updated_at.time_since_epoch().count());
            bytes.Text(record.bytes);
            removed.Bool(record.removed);
            removes |= record.removed;
          }
          Parameters parameters;
          parameters.Blobs(call_id)
              .Blobs(instance)
              .Blobs(local_tag)
              .Blobs(remote_tag)
              .Numbers(updated)
              .Blobs(bytes)
              .Bools(removed);
          // In the order of the names, so that two that save the same dialogs do not wait for each
          // other in a circle. A DELETE takes rows as it finds them: they are locked before, also
          // those that came since the first look.
          if (removes) {
            Parameters names;
            names.Blobs(call_id).Blobs(instance).Blobs(local_tag).Blobs(remote_tag);
            ABSL_RETURN_IF_ERROR(transaction.Queue(
                Sql("SELECT count(*) FROM (SELECT 1 FROM %s.dialogs d JOIN unnest($1::bytea[],"
                    "  $2::bytea[], $3::bytea[], $4::bytea[])"
                    "  AS g (call_id, instance, local_tag, remote_tag)"
                    " ON sha256(d.call_id) = sha256(g.call_id)"
                    "  AND sha256(d.instance) = sha256(g.instance)"
                    "  AND sha256(d.local_tag) = sha256(g.local_tag)"
                    "  AND sha256(d.remote_tag) = sha256(g.remote_tag)"
                    " ORDER BY d.call_id, d.instance, d.local_tag, d.remote_tag"
                    " FOR UPDATE OF d) held"),
                names));
          }
          ABSL_RETURN_IF_ERROR(
              transaction
                  .Run(Sql("WITH given AS ("
                           " SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[],"
                           "  $4::bytea[], $5::bigint[], $6::bytea[], $7::boolean[])"
                           "  AS g (call_id, instance, local_tag, remote_tag, updated_us, bytes,"
                           "  removed)),"
                           "doomed AS MATERIALIZED ("
                           " SELECT g.* FROM %s.dialogs d JOIN given g ON g.removed"
                           "  AND sha256(d.call_id) = sha256(g.call_id)"
                           "  AND sha256(d.instance) = sha256(g.instance)"
                           "  AND sha256(d.local_tag) = sha256(g.local_tag)"
                           "  AND sha256(d.remote_tag) = sha256(g.remote_tag)"
                           " ORDER BY d.call_id, d.instance, d.local_tag, d.remote_tag"
                           " FOR UPDATE OF d),"
                           "forgotten AS ("
                           " DELETE FROM %s.dialogs d USING doomed g WHERE sha256(d.call_id) = "
                           "sha256(g.call_id)"
                           "  AND sha256(d.instance) = sha256(g.instance)"
                           "  AND sha256(d.local_tag) = sha256(g.local_tag)"
                           "  AND sha256(d.remote_tag) = sha256(g.remote_tag)"
                           "  AND d.updated_us <= g.updated_us)"
                           "INSERT INTO %s.dialogs AS d"
                           " (call_id, instance, local_tag, remote_tag, updated_us, bytes)"
                           " SELECT call_id, instance, local_tag, remote_tag, updated_us, bytes"
                           " FROM given WHERE NOT removed ORDER BY 1, 2, 3, 4"
                           " ON CONFLICT (sha256(call_id), sha256(instance), sha256(local_tag),"
                           "  sha256(remote_tag)) DO UPDATE SET bytes = excluded.bytes,"
                           "  updated_us = excluded.updated_us"
                           " WHERE d.updated_us <= excluded.updated_us"),
                       parameters)
                  .status());
        }
        return absl::OkStatus();
      });
}

absl::StatusOr<std::vector<DialogRecord>> PostgresSessionStore::LoadDialogs(
    const CallContext& ctx, const std::vector<std::string>& call_ids) {
  constexpr std::string_view kAll =
      "SELECT call_id, instance, local_tag, remote_tag, bytes, updated_us FROM %s.dialogs";
  Parameters parameters;
  std::string sql(kAll);
  if (!call_ids.empty()) {
    Parameters::Column wanted;
    for (const std::string& call_id : call_ids) wanted.Text(call_id);
    parameters.Blobs(wanted);
    sql += " WHERE sha256(call_id) IN (SELECT sha256(c) FROM unnest($1::bytea[]) AS w (c))";
  }
  sql += " ORDER BY 1, 2, 3, 4";
  ABSL_ASSIGN_OR_RETURN(const Rows rows, Read(ctx, "load dialogs", Sql(sql), parameters));
  std::vector<DialogRecord> found;
  for (int row = 0; row < rows.count(); ++row) {
    DialogRecord& record = found.emplace_back();
    record.call_id = rows.GetText(row, 0);
    record.instance = rows.GetText(row, 1);
    record.local_tag = rows.GetText(row, 2);
    record.remote_tag = rows.GetText(row, 3);
    record.bytes = rows.GetText(row, 4);
    record.updated_at = WallTime(WallTime::duration(rows.GetNumber(row, 5)));
  }
  return found;
}

}  // namespace sipheal::inline v0_1::internal::postgres
