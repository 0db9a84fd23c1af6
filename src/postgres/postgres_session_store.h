// SPDX-License-Identifier: Apache-2.0
// The SessionStore in PostgreSQL. Each method is one transaction of a few statements, whatever the
// number of its entries: the entries travel as arrays.
//
// Two that write the same session meet at its rows: every method that writes locks the rows of its
// ids first, in the order of id and epoch, and decides by what it then sees. Its methods lie in
// sessions.cc, recoveries.cc and dialogs.cc; what they share in postgres_session_store.cc.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pq/connection.h"
#include "pq/pool.h"
#include "sipheal/adapters/postgres.h"

namespace sipheal::inline v0_1::internal::postgres {

using pq::Connection;
using pq::ConnectionPool;
using pq::Parameters;
using pq::Rows;
using pq::Transaction;

class PostgresSessionStore final : public SessionStore {
 public:
  explicit PostgresSessionStore(PostgresOptions options);

  absl::Status Open();

  absl::StatusOr<PutResult> Put(const CallContext& ctx, const PutParams& params) override;
  absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) override;
  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override;
  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override;
  absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(const CallContext& ctx) override;
  absl::Status SaveDialogs(const CallContext& ctx,
                           const std::vector<DialogRecord>& records) override;
  absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& ctx, const std::vector<std::string>& call_ids) override;
  absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& ctx,
                                                    const std::string& session_id) override;
  absl::StatusOr<std::vector<TakenChannel>> ListTaken(const CallContext& ctx) override;
  Capabilities capabilities() const override { return {.durable = true, .shared = true}; }

 private:
  using Work = std::function<absl::Status(Transaction&)>;
  // Runs `work` in one transaction, again from its beginning when the connection was stale or two
  // transactions were in each other's way: `work` must begin its results anew each time.
  absl::Status Write(const CallContext& ctx, Turnstile::Urgency urgency, std::string_view what,
                     const Work& work);
  // One statement that only reads.
  absl::StatusOr<Rows> Read(const CallContext& ctx, std::string_view what, const std::string& sql,
                            const Parameters& parameters);
  // Runs `once` with a connection, again with a new one when it broke before anything was final.
  absl::Status WithConnection(
      const CallContext& ctx, Turnstile::Urgency urgency, std::string_view what,
      const std::function<absl::Status(Connection&, bool* may_be_done)>& once);

  // `sql` with this store's schema in it.
  std::string Sql(std::string_view sql) const;

  // Locks all rows of these sessions' ids until the transaction ends; goes with its next statement.
  absl::Status Lock(Transaction& transaction, std::span<const SessionKey> keys);
  // Of sessions with different ids, all locked.
  absl::Status PutLocked(Transaction& transaction, std::span<const Session* const> sessions,
                         bool only_existing, std::vector<SessionKey>* unknown);
  std::string PutSql() const;
  static Parameters PutParameters(std::span<const Session* const> sessions, bool only_existing);

  struct Place {
    std::size_t at;  // in the caller's list
    SessionKey key;
  };
  // One pass over sessions that are all different. With `skip_locked` those that somebody holds at
  // this moment are left for the next pass: their places are returned.
  absl::StatusOr<std::vector<Place>> ClaimPass(Transaction& transaction, const ClaimParams& params,
                                               std::span<const Place> places, bool skip_locked,
                                               std::vector<absl::StatusOr<Lease>>* leases);
  void GiveBack(const std::vector<absl::StatusOr<Lease>>& leases);
  // Steps of sessions that are all locked; none comes after an outcome of its session. The last
  // round of a transaction commits it.
  absl::Status AdvanceRound(Transaction& transaction, const AdvanceParams& params,
                            std::span<const std::size_t> steps, bool last,
                            std::vector<absl::Status>* results);
  absl::Status TellWhy(Transaction& transaction, const AdvanceParams& params,
                       std::span<const std::size_t> refused, std::vector<absl::Status>* results);
  absl::StatusOr<bool> IsLastEntry(Transaction& transaction, const JournalEntry& entry);

  // Removes what is over for longer than keep_journal: some of it, now and then.
  absl::Status PurgeIfDue(Transaction& transaction);

  // Session and journal entry from a row whose columns begin at `column`.
  Session SessionOf(const Rows& rows, int row, int column);
  JournalEntry EntryOf(const Rows& rows, int row, int column);

  const PostgresOptions options_;
  const Clock& clock_;
  const std::shared_ptr<LogSink> log_;
  ConnectionPool pool_;
  std::mutex mutex_;
  MonotonicTime purge_at_{};  // guarded by mutex_
};

}  // namespace sipheal::inline v0_1::internal::postgres
