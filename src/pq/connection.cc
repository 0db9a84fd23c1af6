// SPDX-License-Identifier: Apache-2.0
#include "pq/connection.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <stop_token>
#include <utility>
#include <vector>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "pq/sql_state.h"

namespace sipheal::inline v0_1::internal::pq {
namespace {

using std::chrono::milliseconds;

// A context may end by a clock that cannot wake this thread: it is looked at this often.
constexpr milliseconds kBetweenLooks{25};
// A commit whose answer is on its way is waited for a little longer than the context says: its
// caller then knows that it is done.
constexpr milliseconds kCommitGrace{60};
// Nobody waits on the server for a lock longer than this for a caller that has long gone.
constexpr milliseconds kLongestStatement{30'000};
constexpr char kSerialization[] = "sipheal/serialization_failure";

// Wakes a poll when a stop is requested.
class StopAlarm {
 public:
  explicit StopAlarm(const std::stop_token& token)
      : callback_(token, [this] {
          const std::uint64_t one = 1;
          // A counter that is full is as good a signal.
          [[maybe_unused]] const ssize_t written = write(descriptor(), &one, sizeof one);
        }) {}
  StopAlarm(const StopAlarm&) = delete;
  StopAlarm& operator=(const StopAlarm&) = delete;

  int descriptor() const { return descriptor_.number; }

 private:
  struct Descriptor {
    const int number = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ~Descriptor() {
      if (number >= 0) close(number);
    }
  };
  // In this order: the descriptor is closed when the callback has ended, so that it never writes
  // into what somebody else has opened under the same number.
  const Descriptor descriptor_;
  std::stop_callback<std::function<void()>> callback_;
};

bool IsHere(std::string_view host) {
  const bool address = host.find_first_not_of("0123456789.") == host.npos;
  return host.empty() || host.front() == '/' || host == "localhost" || host == "::1" ||
         (address && host.starts_with("127."));
}

// Of a list as libpq takes it.
bool AreHere(std::string_view hosts) {
  for (std::size_t at = 0;;) {
    const std::size_t comma = hosts.find(',', at);
    if (!IsHere(hosts.substr(at, comma - at))) return false;
    if (comma == hosts.npos) return true;
    at = comma + 1;
  }
}

// The DSN's own settings, and ours where it says nothing.
struct Settings {
  std::vector<std::string> keys;
  std::vector<std::string> values;

  void Set(std::string key, std::string value) {
    keys.push_back(std::move(key));
    values.push_back(std::move(value));
  }
};

// libpq's text may quote the part that it could not read, which may be the password.
absl::Status NotReadable() {
  return absl::InvalidArgumentError(
      "the DSN is not in libpq's form: give \"host=... dbname=... user=...\" or "
      "\"postgresql://user@host/database\", and what is special in a password as %40 for @, %2F "
      "for /");
}

// A part of a password that was taken for it, because its '@' or '/' was not written as %40 or %2F.
bool IsPartOfAPassword(std::string_view key, std::string_view value) {
  if (key == "port") return value.find_first_not_of("0123456789,") != value.npos;
  return (key == "host" || key == "hostaddr") && value.find('@', 1) != value.npos;
}

absl::StatusOr<Settings> ReadDsn(const std::string& dsn) {
  char* error = nullptr;
  const std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> options(
      PQconninfoParse(dsn.c_str(), &error), PQconninfoFree);
  const std::unique_ptr<char, void (*)(void*)> said(error, PQfreemem);
  if (options == nullptr) return NotReadable();
  Settings settings;
  bool here = true;
  bool has_mode = false;
  for (const PQconninfoOption* option = options.get(); option->keyword != nullptr; ++option) {
    const std::string_view key = option->keyword;
    const bool given = option->val != nullptr && *option->val != '\0';
    if (key == "host" || key == "hostaddr") {
      // Without one, libpq takes PGHOST or PGHOSTADDR.
      const char* const environment = std::getenv(option->envvar);
      const char* const hosts = given ? option->val : environment;
      if (hosts != nullptr && !AreHere(hosts)) here = false;
    }
    if (!given) continue;
    if (IsPartOfAPassword(key, option->val)) return NotReadable();
    if (key == "sslmode") has_mode = true;
    settings.Set(option->keyword, option->val);
  }
  if (!has_mode && !here) settings.Set("sslmode", "verify-full");
  // A server whose machine vanished is given up after about ten seconds, not two hours.
  const auto unless_given = [&](const char* key, const char* value) {
    if (std::find(settings.keys.begin(), settings.keys.end(), key) == settings.keys.end()) {
      settings.Set(key, value);
    }
  };
  unless_given("application_name", "sipheal");
  unless_given("keepalives_idle", "5");
  unless_given("keepalives_interval", "2");
  unless_given("keepalives_count", "3");
  unless_given("tcp_user_timeout", "10000");
  return settings;
}

}  // namespace

std::string_view Rows::GetText(int row, int column) const {
  return {PQgetvalue(result_.get(), row, column),
          static_cast<std::size_t>(PQgetlength(result_.get(), row, column))};
}

std::int64_t Rows::GetNumber(int row, int column) const {
  const std::string_view bytes = GetText(row, column);
  if (bytes.size() != 8) return 0;
  std::uint64_t value = 0;
  for (const char byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
  return static_cast<std::int64_t>(value);
}

absl::StatusOr<std::unique_ptr<Connection>> Connection::Open(const Options& options,
                                                             const CallContext& ctx) {
  std::unique_ptr<Connection> connection(new Connection(options));
  ABSL_RETURN_IF_ERROR(connection->Connect(options, ctx));
  return connection;
}

Connection::~Connection() { PQfinish(handle_); }

absl::Status Connection::Connect(const Options& options, const CallContext& ctx) {
  ABSL_ASSIGN_OR_RETURN(const Settings settings, ReadDsn(options.dsn));
  std::vector<const char*> keys;
  std::vector<const char*> values;
  for (std::size_t i = 0; i < settings.keys.size(); ++i) {
    keys.push_back(settings.keys[i].c_str());
    values.push_back(settings.values[i].c_str());
  }
  keys.push_back(nullptr);
  values.push_back(nullptr);

  CallContext limited = ctx;
  limited.deadline = std::min(ctx.deadline, clock_.Monotonic() + options.connect_timeout);
  handle_ = PQconnectStartParams(keys.data(), values.data(), /*expand_dbname=*/0);
  if (handle_ == nullptr) return absl::ResourceExhaustedError("PostgreSQL: no memory left");
  // What libpq would otherwise print.
  PQsetNoticeReceiver(
      handle_, [](void*, const PGresult*) {}, nullptr);
  if (PQstatus(handle_) == CONNECTION_BAD) return StatusOfConnect(PQerrorMessage(handle_));
  for (;;) {
    const PostgresPollingStatusType next = PQconnectPoll(handle_);
    if (next == PGRES_POLLING_OK) break;
    if (next == PGRES_POLLING_FAILED) return StatusOfConnect(PQerrorMessage(handle_));
    const absl::Status waited =
        Wait(limited, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, milliseconds(0));
    if (waited.ok()) continue;
    ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "PostgreSQL: connect"));
    return absl::UnavailableError(
        absl::StrFormat("PostgreSQL: the server did not answer within %d ms: is it running there?",
                        options.connect_timeout.count()));
  }
  if (PQserverVersion(handle_) < 120000) {
    return absl::FailedPreconditionError(
        absl::StrFormat("PostgreSQL: the server has version %d: 12 or newer is needed",
                        PQserverVersion(handle_) / 10000));
  }
  if (PQsetnonblocking(handle_, 1) != 0 || PQenterPipelineMode(handle_) == 0) {
    return Lost("setting up");
  }
  return absl::OkStatus();
}

bool Connection::broken() const { return given_up_ || PQstatus(handle_) != CONNECTION_OK; }

bool Connection::LooksAlive() {
  if (broken()) return false;
  pollfd one{PQsocket(handle_), POLLIN, 0};
  if (poll(&one, 1, 0) <= 0) return true;
  // Nobody asked anything: what has come is the server's farewell, or a notice.
  return PQconsumeInput(handle_) != 0 && !broken();
}

absl::StatusOr<std::vector<std::string>> Connection::TakeNotifications() {
  if (broken() || PQconsumeInput(handle_) == 0 || broken()) return Lost("waiting");
  std::vector<std::string> payloads;
  while (PGnotify* const notified = PQnotifies(handle_)) {
    const std::unique_ptr<PGnotify, void (*)(void*)> owned(notified, PQfreemem);
    payloads.emplace_back(notified->extra);
  }
  return payloads;
}

absl::Status Connection::Wait(const CallContext& ctx, short events, milliseconds grace) {
  const StopAlarm alarm(ctx.stop);
  MonotonicTime end = ctx.deadline;
  if (end != MonotonicTime::max()) end += grace;
  for (;;) {
    const MonotonicTime now = clock_.Monotonic();
    const bool stopping = ctx.stop.stop_requested();
    if (stopping && end > now + grace) end = now + grace;
    if (now >= end) {
      given_up_ = true;
      return CheckContext(ctx, clock_, "PostgreSQL");
    }
    const auto left = std::chrono::ceil<milliseconds>(end - now);
    pollfd watched[2] = {{PQsocket(handle_), events, 0}, {alarm.descriptor(), POLLIN, 0}};
    // Once the alarm has rung it would ring for ever.
    const int ready =
        poll(watched, stopping ? 1 : 2, static_cast<int>(std::min(left, kBetweenLooks).count()));
    if (ready < 0 && errno != EINTR) return Lost("waiting");
    if (watched[0].revents != 0) return absl::OkStatus();
  }
}

absl::Status Connection::Lost(std::string_view doing) {
  given_up_ = true;
  return absl::UnavailableError(
      absl::StrFormat("PostgreSQL: the connection was lost while %s: %s: the call may be "
                      "repeated",
                      doing, FirstLine(PQerrorMessage(handle_))));
}

absl::Status Connection::Send(const std::string& sql, const Parameters& parameters) {
  if (PQsendQueryParams(handle_, sql.c_str(), parameters.count(), parameters.types(),
                        parameters.values(), parameters.lengths(), parameters.formats(),
                        /*resultFormat=*/1) == 0) {
    return Lost("sending");
  }
  return absl::OkStatus();
}

absl::StatusOr<Rows> Connection::Finish(const CallContext& ctx, milliseconds grace,
                                        Rows* before_last) {
  if (PQpipelineSync(handle_) == 0) return Lost("sending");
  Rows rows;
  absl::Status failed;
  for (;;) {
    // What is not yet sent goes out while answers come in: neither side waits for the other.
    const int unsent = PQflush(handle_);
    if (unsent < 0) return Lost("sending");
    if (PQisBusy(handle_) != 0) {
      ABSL_RETURN_IF_ERROR(
          Wait(ctx, static_cast<short>(unsent > 0 ? POLLIN | POLLOUT : POLLIN), grace));
      if (PQconsumeInput(handle_) == 0) return Lost("reading");
      continue;
    }
    PGresult* const result = PQgetResult(handle_);
    if (result == nullptr) {  // the end of one statement's results
      if (broken()) return Lost("reading");
      continue;
    }
    Rows taken(result);
    switch (PQresultStatus(result)) {
      case PGRES_PIPELINE_SYNC:
        if (!failed.ok()) return failed;
        return rows;
      case PGRES_COMMAND_OK:
      case PGRES_TUPLES_OK:
        if (before_last != nullptr) *before_last = std::move(rows);
        rows = std::move(taken);
        break;
      case PGRES_PIPELINE_ABORTED:
        break;  // what failed before it says why
      default: {
        const char* const state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
        if (state == nullptr || PQstatus(handle_) != CONNECTION_OK) return Lost("reading");
        const char* const said = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
        if (!failed.ok()) break;
        failed = StatusOfSqlState(state, said == nullptr ? "" : said);
        if (std::string_view(state).starts_with("40"))
          failed.SetPayload(kSerialization, absl::Cord(state));
        break;
      }
    }
  }
}

// Each statement must see what it has waited for, whatever the default of the role or database is.
// The settings hold for this transaction alone. A caller that went away must not leave a statement
// waiting for a lock on the server: it ends with the deadline, or when the server finds that the
// socket was closed.
absl::Status Connection::SendLimits(const CallContext& ctx) {
  const auto left = std::chrono::ceil<milliseconds>(
      std::min<std::chrono::nanoseconds>(ctx.Remaining(clock_.Monotonic()), kLongestStatement));
  Parameters timeout;
  timeout.Text(std::to_string(std::max(left, milliseconds(1)).count()));
  // Every statement finds its rows by key. What the planner knows of a table is old when ten
  // thousand sessions are claimed within a second, and it would read all of it for each batch.
  ABSL_RETURN_IF_ERROR(Send(
      "SELECT set_config('statement_timeout', $1, true),"
      " set_config('enable_seqscan', 'off', true), set_config('enable_mergejoin', 'off', true),"
      " set_config('random_page_cost', '1.1', true), set_config('jit', 'off', true)",
      timeout));
  if (PQserverVersion(handle_) < 140000) return absl::OkStatus();
  return Send("SELECT set_config('client_connection_check_interval', '500', true)", {});
}

// What is sent before one Sync is one transaction: the limits end with the statement.
absl::StatusOr<Rows> Connection::Run(const CallContext& ctx, const std::string& sql,
                                     const Parameters& parameters) {
  ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "PostgreSQL"));
  ABSL_RETURN_IF_ERROR(SendLimits(ctx));
  ABSL_RETURN_IF_ERROR(Send(sql, parameters));
  absl::StatusOr<Rows> rows = Finish(ctx);
  if (!rows.ok() && !broken()) {
    // What the server ended at our deadline is ours to name.
    ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "PostgreSQL"));
  }
  return rows;
}

absl::Status Transaction::Begin() {
  begun_ = true;
  ABSL_RETURN_IF_ERROR(connection_.Send("BEGIN ISOLATION LEVEL READ COMMITTED", {}));
  return connection_.SendLimits(ctx_);
}

absl::StatusOr<Rows> Transaction::Run(const std::string& sql, const Parameters& parameters) {
  ABSL_RETURN_IF_ERROR(CheckContext(ctx_, connection_.clock_, "PostgreSQL"));
  if (!begun_) ABSL_RETURN_IF_ERROR(Begin());
  ABSL_RETURN_IF_ERROR(connection_.Send(sql, parameters));
  absl::StatusOr<Rows> rows = connection_.Finish(ctx_);
  if (!rows.ok() && !connection_.broken()) {
    // What the server ended at our deadline is ours to name.
    ABSL_RETURN_IF_ERROR(CheckContext(ctx_, connection_.clock_, "PostgreSQL"));
  }
  return rows;
}

absl::Status Transaction::Queue(const std::string& sql, const Parameters& parameters) {
  ABSL_RETURN_IF_ERROR(CheckContext(ctx_, connection_.clock_, "PostgreSQL"));
  if (!begun_) ABSL_RETURN_IF_ERROR(Begin());
  return connection_.Send(sql, parameters);
}

absl::StatusOr<Rows> Transaction::RunAndCommit(const std::string& sql,
                                               const Parameters& parameters) {
  ABSL_RETURN_IF_ERROR(Queue(sql, parameters));
  ABSL_RETURN_IF_ERROR(connection_.Send("COMMIT", {}));
  Rows rows;
  const absl::Status status = connection_.Finish(ctx_, kCommitGrace, &rows).status();
  // After an error that the server reported the COMMIT was not looked at.
  commit_sent_ = status.ok() || connection_.broken();
  if (status.ok()) return rows;
  if (!connection_.broken()) {
    ABSL_RETURN_IF_ERROR(CheckContext(ctx_, connection_.clock_, "PostgreSQL"));
  }
  return status;
}

absl::Status Transaction::Commit() {
  if (!begun_) return absl::OkStatus();
  ABSL_RETURN_IF_ERROR(CheckContext(ctx_, connection_.clock_, "PostgreSQL"));
  commit_sent_ = true;
  ABSL_RETURN_IF_ERROR(connection_.Send("COMMIT", {}));
  return connection_.Finish(ctx_, kCommitGrace).status();
}

Transaction::~Transaction() {
  if (!begun_ || commit_sent_ || connection_.broken()) return;
  // Its answer comes at once; a connection that does not give it is thrown away.
  if (connection_.Send("ROLLBACK", {}).ok()) {
    connection_.Finish({.deadline = connection_.clock_.Monotonic() + kCommitGrace})
        .status()
        .IgnoreError();
  }
}

bool IsSerializationFailure(const absl::Status& status) {
  return status.GetPayload(kSerialization).has_value();
}

}  // namespace sipheal::inline v0_1::internal::pq
