// SPDX-License-Identifier: Apache-2.0
#include "sqlite/connection.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::internal {
namespace {

// A context is looked at each time this many steps of SQLite's machine are done: microseconds.
constexpr int kStepsBetweenLooks = 4000;
constexpr std::chrono::milliseconds kLongestNap{5};
// Two processes that share the file meet often, for milliseconds; this long is not usual.
constexpr std::chrono::milliseconds kBusyWorthTelling{500};

// Says what is wrong with the place of the file, where SQLite only says "unable to open".
absl::Status CheckPlace(const std::string& path) {
  std::error_code error;
  const std::filesystem::path folder = std::filesystem::absolute(path, error).parent_path();
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cannot open the session store %s: there is no folder %s: make it, or name another path",
        path, folder.string()));
  }
  if (std::filesystem::is_directory(path, error)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("cannot open the session store %s: it is a folder: name a file", path));
  }
  if (access(folder.c_str(), W_OK | X_OK) != 0) {
    return absl::PermissionDeniedError(absl::StrFormat(
        "cannot open the session store %s: its folder cannot be written: give this user the right "
        "to, SQLite keeps its log beside the file",
        path));
  }
  return absl::OkStatus();
}

// Made here, so that nobody else can read whose calls these are. Only when it is not there: to
// close a file drops all locks that this process has on it.
absl::Status MakeFile(const std::string& path) {
  const int file = open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file >= 0) {
    close(file);
  } else if (errno != EEXIST) {
    const int error = errno;
    const std::string text =
        absl::StrFormat("cannot make the session store %s: %s", path, std::strerror(error));
    return error == EACCES || error == EPERM || error == EROFS ? absl::PermissionDeniedError(text)
           : error == ENOSPC || error == EDQUOT                ? absl::ResourceExhaustedError(text)
                                                               : absl::UnavailableError(text);
  }
  return absl::OkStatus();
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : connection_(other.connection_),
      statement_(std::exchange(other.statement_, nullptr)),
      parameter_(other.parameter_),
      error_(other.error_) {}

Statement::~Statement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::Text(std::string_view value) {
  // A null pointer would be NULL; an empty text is none.
  const char* const data = value.empty() ? "" : value.data();
  const int code =
      sqlite3_bind_text64(statement_, ++parameter_, data, value.size(), SQLITE_STATIC, SQLITE_UTF8);
  if (error_ == SQLITE_OK) error_ = code;
  return *this;
}

Statement& Statement::Blob(std::string_view value) {
  const char* const data = value.empty() ? "" : value.data();
  const int code = sqlite3_bind_blob64(statement_, ++parameter_, data, value.size(), SQLITE_STATIC);
  if (error_ == SQLITE_OK) error_ = code;
  return *this;
}

Statement& Statement::Number(std::int64_t value) {
  const int code = sqlite3_bind_int64(statement_, ++parameter_, value);
  if (error_ == SQLITE_OK) error_ = code;
  return *this;
}

Statement& Statement::Null() {
  ++parameter_;  // what is not bound is NULL
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  if (error_ != SQLITE_OK) return connection_->Error(error_);
  const int code = sqlite3_step(statement_);
  if (code == SQLITE_ROW) return true;
  if (code == SQLITE_DONE) return false;
  error_ = code;
  return connection_->Error(code);
}

absl::Status Statement::Run() {
  absl::StatusOr<bool> row = Step();
  while (row.ok() && *row) row = Step();
  return row.status();
}

std::string_view Statement::GetText(int column) const {
  const void* const data = sqlite3_column_blob(statement_, column);
  const int size = sqlite3_column_bytes(statement_, column);
  if (data == nullptr) return {};
  return {static_cast<const char*>(data), static_cast<std::size_t>(size)};
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(Options options) {
  ABSL_RETURN_IF_ERROR(CheckPlace(options.path));
  ABSL_RETURN_IF_ERROR(MakeFile(options.path));
  std::unique_ptr<Connection> connection(new Connection(std::move(options)));
  const int code = sqlite3_open_v2(connection->options_.path.c_str(), &connection->handle_,
                                   SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (code != SQLITE_OK) return connection->Error(code);
  sqlite3* const handle = connection->handle_;
  // SQLite opens for reading what it may not write; that would show only at the first claim.
  if (sqlite3_db_readonly(handle, "main") != 0) return connection->Error(SQLITE_READONLY);
  sqlite3_extended_result_codes(handle, 1);
  // The file may come from anywhere: its schema must not be able to run anything.
  sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_busy_handler(handle, &Connection::OnBusy, connection.get());
  sqlite3_progress_handler(handle, kStepsBetweenLooks, &Connection::OnProgress, connection.get());
  return connection;
}

Connection::~Connection() {
  for (const auto& [sql, statement] : statements_) sqlite3_finalize(statement);
  sqlite3_close(handle_);
}

bool Connection::Over() const { return !CheckScope().ok(); }

absl::Status Connection::CheckScope() const {
  if (ctx_ == nullptr) return absl::OkStatus();
  return CheckContext(*ctx_, *options_.clock, "session store");
}

int Connection::OnProgress(void* self) { return static_cast<Connection*>(self)->Over() ? 1 : 0; }

int Connection::OnBusy(void* self, int count) {
  auto& connection = *static_cast<Connection*>(self);
  // Waiting is real, whatever clock the host gave.
  const MonotonicTime now = SystemClock().Monotonic();
  if (count == 0) {
    connection.busy_since_ = now;
    connection.busy_told_ = false;
  }
  if (!connection.busy_told_ && now - connection.busy_since_ >= kBusyWorthTelling) {
    connection.busy_told_ = true;
    if (connection.options_.log != nullptr) {
      connection.options_.log->Write(
          {.level = LogLevel::kWarning,
           .event = "store_locked",
           .message = absl::StrFormat("session store %s: another process holds its lock; what is "
                                      "to be written waits",
                                      connection.options_.path),
           .fields = {{"store", connection.options_.path}}});
    }
  }
  const auto left = connection.options_.busy_timeout - (now - connection.busy_since_);
  if (left <= left.zero() || connection.Over()) return 0;
  using Nap = std::chrono::microseconds;
  const Nap nap(std::min<Nap::rep>(100 * (count + 1), Nap(kLongestNap).count()));
  std::this_thread::sleep_for(std::min(nap, std::chrono::duration_cast<Nap>(left)));
  return 1;
}

absl::StatusOr<Statement> Connection::Prepare(const char* sql) {
  sqlite3_stmt*& kept = statements_[sql];
  if (kept == nullptr) {
    const int code =
        sqlite3_prepare_v3(handle_, sql, -1, SQLITE_PREPARE_PERSISTENT, &kept, nullptr);
    if (code != SQLITE_OK) return Error(code);
  }
  return Statement(*this, kept);
}

absl::Status Connection::Execute(const char* sql) {
  const int code = sqlite3_exec(handle_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? absl::OkStatus() : Error(code);
}

absl::StatusOr<std::int64_t> Connection::QueryNumber(const char* sql) {
  ABSL_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  ABSL_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.GetNumber(0) : 0;
}

absl::Status Connection::Error(int code) const {
  const absl::Status over = CheckScope();
  const int primary = code & 0xff;
  if (!over.ok() && (primary == SQLITE_INTERRUPT || primary == SQLITE_BUSY)) return over;
  const char* const said = handle_ != nullptr && sqlite3_errcode(handle_) != SQLITE_OK
                               ? sqlite3_errmsg(handle_)
                               : sqlite3_errstr(code);
  const auto text = [&](const char* what_to_do) {
    return absl::StrFormat("session store %s: %s (SQLite code %d): %s", options_.path, said, code,
                           what_to_do);
  };
  switch (primary) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return absl::UnavailableError(
          text("another process holds the file; `fuser` names it, and the call may be repeated"));
    case SQLITE_FULL:
      return absl::ResourceExhaustedError(
          text("make room on its disk; nothing of this call was written, it may be repeated"));
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PROTOCOL:
      return absl::UnavailableError(text("look at its disk; the call may be repeated"));
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
      return absl::PermissionDeniedError(
          text("give this user the right to write the file and its folder"));
    case SQLITE_CORRUPT:
      return absl::DataLossError(
          text("the file is damaged: restore it, or move it away to begin with an empty one"));
    case SQLITE_NOTADB:
      return absl::InvalidArgumentError(
          text("the file is something else: name another one, or move it away"));
    case SQLITE_NOMEM:
      return absl::ResourceExhaustedError(text("the process has no memory left"));
    case SQLITE_INTERRUPT:
      return absl::CancelledError(text("interrupted"));
    default:
      return absl::InternalError(text("please report it"));
  }
}

absl::StatusOr<Transaction> Transaction::Begin(Connection& connection, Kind kind) {
  const char* const sql = kind == Kind::kWrite ? "BEGIN IMMEDIATE" : "BEGIN";
  ABSL_ASSIGN_OR_RETURN(Statement statement, connection.Prepare(sql));
  ABSL_RETURN_IF_ERROR(statement.Run());
  return Transaction(connection);
}

Transaction::~Transaction() {
  if (connection_ == nullptr || sqlite3_get_autocommit(connection_->handle_) != 0) return;
  connection_->ctx_ = nullptr;  // the way back is not interrupted
  if (auto statement = connection_->Prepare("ROLLBACK"); statement.ok()) {
    statement->Run().IgnoreError();  // SQLite rolls back by itself where this fails
  }
}

absl::Status Transaction::Commit() {
  connection_->ctx_ = nullptr;  // from here on it is done wholly
  ABSL_ASSIGN_OR_RETURN(Statement statement, connection_->Prepare("COMMIT"));
  return statement.Run();
}

}  // namespace sipheal::inline v0_1::internal
