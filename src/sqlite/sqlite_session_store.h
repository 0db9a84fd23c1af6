// SPDX-License-Identifier: Apache-2.0
// The SessionStore on SQLite. Three connections to one file: one writes claims and journal and
// waits for the disk, one writes sessions and dialogs and does not, one reads. A file has one
// writer at a time, so the two writing ones share a turnstile, at which claims and journal go
// first.
//
// Its methods lie in sessions.cc, recoveries.cc and dialogs.cc; what they share in
// sqlite_session_store.cc.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/turnstile.h"
#include "sipheal/adapters/sqlite.h"
#include "sqlite/connection.h"

namespace sipheal::inline v0_1::internal {

// How many entries of a batch are done between two looks at the context.
inline constexpr std::size_t kEntriesBetweenLooks = 64;

class SqliteSessionStore final : public SessionStore {
 public:
  explicit SqliteSessionStore(SqliteOptions options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
        log_(options_.log != nullptr ? options_.log : NullLogSink()) {}

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
  absl::Status SwitchToWal(Connection& db) const;
  absl::StatusOr<std::unique_ptr<Connection>> Connect(const char* pragmas) const;

  // Runs `work` in one transaction on a connection that nobody else uses meanwhile.
  absl::Status Write(const CallContext& ctx, Turnstile::Urgency urgency, std::string_view what,
                     const std::function<absl::Status(Connection&)>& work);
  absl::Status Read(const CallContext& ctx, std::string_view what,
                    const std::function<absl::Status(Connection&)>& work);

  absl::StatusOr<bool> PutOne(Connection& db, const Session& session, bool only_existing);
  absl::StatusOr<absl::StatusOr<Lease>> ClaimOne(Connection& db, const SessionKey& key,
                                                 const ClaimParams& params, WallTime now);
  absl::Status WhyNotClaimed(Connection& db, const SessionKey& key, absl::Status* why);
  absl::StatusOr<absl::Status> AdvanceOne(Connection& db, const AdvanceParams::Step& step,
                                          WallTime expires_at);
  absl::StatusOr<absl::Status> WhyNotAdvanced(Connection& db, const JournalEntry& entry);
  absl::Status AppendEntry(Connection& db, const JournalEntry& entry);
  absl::StatusOr<std::optional<JournalEntry>> LastEntry(Connection& db, const SessionKey& key);

  // Removes what is over for longer than keep_journal: some of it, now and then.
  absl::Status PurgeIfDue(Connection& db);

  // Session and journal entry from a row whose columns begin at `column`.
  Session SessionOf(const Statement& row, int column);
  JournalEntry EntryOf(const Statement& row, int column);

  const SqliteOptions options_;
  const Clock& clock_;
  const std::shared_ptr<LogSink> log_;
  Turnstile writing_;  // guards the two writers
  Turnstile reading_;  // guards the reader
  std::unique_ptr<Connection> recovery_writer_;
  std::unique_ptr<Connection> tracking_writer_;
  std::unique_ptr<Connection> reader_;
  WallTime purge_at_{};  // guarded by writing_
};

}  // namespace sipheal::inline v0_1::internal
