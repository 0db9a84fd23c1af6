// SPDX-License-Identifier: Apache-2.0
// A thin, exception-free layer over SQLite's C API: a connection that keeps its prepared
// statements, obeys a CallContext, and turns result codes into Status.
#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/log_sink.h"

namespace sipheal::inline v0_1::internal {

class Connection;

// One use of a prepared statement: bind, step, read; it is reset when it goes out of scope. Errors
// are kept: what comes after the first does nothing, and Step returns it. Bound text must live
// until the statement is done.
class Statement {
 public:
  Statement(Connection& connection, sqlite3_stmt* statement)
      : connection_(&connection), statement_(statement) {}
  Statement(Statement&& other) noexcept;
  Statement& operator=(Statement&&) = delete;
  ~Statement();

  // Binds the next parameter.
  Statement& Text(std::string_view value);
  Statement& Blob(std::string_view value);
  Statement& Number(std::int64_t value);
  Statement& Time(WallTime value) { return Number(value.time_since_epoch().count()); }
  Statement& Null();

  // True: a row is there. False: done.
  absl::StatusOr<bool> Step();
  // For a statement that gives no rows.
  absl::Status Run();

  bool IsNull(int column) const { return sqlite3_column_type(statement_, column) == SQLITE_NULL; }
  // Valid until the next step.
  std::string_view GetText(int column) const;
  std::int64_t GetNumber(int column) const { return sqlite3_column_int64(statement_, column); }
  WallTime GetTime(int column) const {
    return WallTime(WallTime::duration(sqlite3_column_int64(statement_, column)));
  }

 private:
  Connection* connection_;
  sqlite3_stmt* statement_;
  int parameter_ = 0;
  int error_ = SQLITE_OK;
};

// Not thread-safe: whoever uses it holds what guards it.
class Connection {
 public:
  struct Options {
    std::string path;
    std::chrono::milliseconds busy_timeout{5000};
    const Clock* clock = nullptr;
    LogSink* log = nullptr;  // none: silent; must outlive the connection
  };

  static absl::StatusOr<std::unique_ptr<Connection>> Open(Options options);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Every statement from now on ends when `ctx` does; `ctx` must live until the scope's end.
  class Scope {
   public:
    Scope(Connection& connection, const CallContext& ctx) : connection_(connection) {
      connection_.ctx_ = &ctx;
    }
    ~Scope() { connection_.ctx_ = nullptr; }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;

   private:
    Connection& connection_;
  };

  // `sql` must be a literal: it is the key under which the prepared statement is kept.
  absl::StatusOr<Statement> Prepare(const char* sql);
  // Runs one or more statements without parameters or rows.
  absl::Status Execute(const char* sql);
  // The first column of the first row.
  absl::StatusOr<std::int64_t> QueryNumber(const char* sql);
  const std::string& path() const { return options_.path; }
  // Rows changed by the statement that ran last.
  int changes() const { return sqlite3_changes(handle_); }

  // What SQLite said last, as a Status of ours.
  absl::Status Error(int code) const;
  // Cancelled or DeadlineExceeded when the scope's context is over.
  absl::Status CheckScope() const;

 private:
  friend class Transaction;
  explicit Connection(Options options) : options_(std::move(options)) {}
  bool Over() const;  // the scope's context has ended
  static int OnProgress(void* self);
  static int OnBusy(void* self, int count);

  const Options options_;
  sqlite3* handle_ = nullptr;
  const CallContext* ctx_ = nullptr;
  MonotonicTime busy_since_{};
  bool busy_told_ = false;
  std::unordered_map<const char*, sqlite3_stmt*> statements_;
};

// Everything between Begin and Commit happens, or nothing: without a Commit it is rolled back.
class Transaction {
 public:
  // `kWrite` takes the file's write lock at once.
  enum class Kind { kRead, kWrite };
  static absl::StatusOr<Transaction> Begin(Connection& connection, Kind kind);

  Transaction(Transaction&& other) noexcept : connection_(other.connection_) {
    other.connection_ = nullptr;
  }
  Transaction& operator=(Transaction&&) = delete;
  ~Transaction();

  // Once begun it is not interrupted: after it, all is there.
  absl::Status Commit();

 private:
  explicit Transaction(Connection& connection) : connection_(&connection) {}
  Connection* connection_;
};

}  // namespace sipheal::inline v0_1::internal
