// SPDX-License-Identifier: Apache-2.0
// A thin, exception-free layer over libpq: a connection that never blocks longer than a CallContext
// allows, sends several statements in one round trip, and turns SQLSTATE into Status.
#pragma once

#include <libpq-fe.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "pq/parameters.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal::pq {

// What a statement gave, row by row.
class SIPHEAL_EXPORT Rows {
 public:
  Rows() = default;
  explicit Rows(PGresult* result) : result_(result, PQclear) {}

  int count() const { return result_ == nullptr ? 0 : PQntuples(result_.get()); }
  bool IsNull(int row, int column) const { return PQgetisnull(result_.get(), row, column) != 0; }
  // Of text and bytea. Valid as long as this object.
  std::string_view GetText(int row, int column) const;
  // Of int8; 0 when it is something else.
  std::int64_t GetNumber(int row, int column) const;
  bool GetBool(int row, int column) const { return GetText(row, column) == "\1"; }

 private:
  std::unique_ptr<PGresult, void (*)(PGresult*)> result_{nullptr, PQclear};
};

// Not thread-safe. Once broken() it is of no more use.
class SIPHEAL_EXPORT Connection {
 public:
  struct Options {
    std::string dsn;
    std::chrono::milliseconds connect_timeout{5000};
    const Clock* clock = nullptr;
  };

  static absl::StatusOr<std::unique_ptr<Connection>> Open(const Options& options,
                                                          const CallContext& ctx);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Outside a transaction: the statement is one by itself.
  absl::StatusOr<Rows> Run(const CallContext& ctx, const std::string& sql,
                           const Parameters& parameters = {});

  // The connection was lost, or was given up in the middle of an answer.
  bool broken() const;
  // True when nothing has come that says otherwise: a server that restarted while the connection
  // was idle is seen here.
  bool LooksAlive();

  // For a caller that waits for notifications (LISTEN) between its statements: readable when
  // something has come.
  int descriptor() const { return PQsocket(handle_); }
  // Takes what has come; the payloads of the notifications, in order. Unavailable when the
  // connection is lost.
  absl::StatusOr<std::vector<std::string>> TakeNotifications();

 private:
  friend class Transaction;
  explicit Connection(const Options& options) : clock_(*options.clock) {}

  absl::Status Connect(const Options& options, const CallContext& ctx);
  absl::Status Send(const std::string& sql, const Parameters& parameters);
  absl::Status SendLimits(const CallContext& ctx);
  // Waits for the answers to all that was sent; gives the last statement's rows. `grace` is added
  // to the context's end. `before_last`: where the rows of the statement before it go, if anywhere.
  absl::StatusOr<Rows> Finish(const CallContext& ctx, std::chrono::milliseconds grace = {},
                              Rows* before_last = nullptr);
  absl::Status Wait(const CallContext& ctx, short events, std::chrono::milliseconds grace);
  absl::Status Lost(std::string_view doing);

  const Clock& clock_;
  PGconn* handle_ = nullptr;
  bool given_up_ = false;
};

// Everything between the first Run and Commit happens, or nothing: without a Commit it is rolled
// back.
class SIPHEAL_EXPORT Transaction {
 public:
  Transaction(Connection& connection, const CallContext& ctx)
      : connection_(connection), ctx_(ctx) {}
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  ~Transaction();

  absl::StatusOr<Rows> Run(const std::string& sql, const Parameters& parameters = {});
  // A statement whose rows nobody wants: it goes with the next one, in one round trip.
  absl::Status Queue(const std::string& sql, const Parameters& parameters = {});
  absl::Status Commit();
  // Run and Commit in one round trip: when the statement fails, nothing is committed.
  absl::StatusOr<Rows> RunAndCommit(const std::string& sql, const Parameters& parameters = {});
  // After it nobody knows whether an error means that nothing was done.
  bool commit_sent() const { return commit_sent_; }
  const CallContext& ctx() const { return ctx_; }

 private:
  absl::Status Begin();

  Connection& connection_;
  const CallContext& ctx_;
  bool begun_ = false;
  bool commit_sent_ = false;
};

// True when the same transaction may succeed when it is done again from its beginning: two that
// wrote the same rows (SQLSTATE 40001, 40P01).
SIPHEAL_EXPORT bool IsSerializationFailure(const absl::Status& status);

}  // namespace sipheal::inline v0_1::internal::pq
