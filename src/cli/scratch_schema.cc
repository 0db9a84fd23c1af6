// SPDX-License-Identifier: Apache-2.0
#include "cli/scratch_schema.h"

#include <unistd.h>

#include <atomic>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::cli {
namespace {

struct Clear {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, Clear>;

absl::Status StatusOf(const Result& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) return absl::OkStatus();
  return absl::InternalError(absl::StrFormat("PostgreSQL refused a statement of the test: %s",
                                             PQresultErrorMessage(result.get())));
}

// As libpq reads it between quotes.
std::string Quoted(const std::string& value) {
  std::string quoted = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "'";
}

}  // namespace

absl::StatusOr<ScratchSchema::Connection> ScratchSchema::Connect(const std::string& dsn) {
  Connection connection(PQconnectdb(dsn.c_str()));
  if (PQstatus(connection.get()) != CONNECTION_OK) {
    return absl::UnavailableError(
        absl::StrFormat("PostgreSQL cannot be reached: %s", PQerrorMessage(connection.get())));
  }
  return connection;
}

absl::StatusOr<std::unique_ptr<ScratchSchema>> ScratchSchema::Open(const std::string& dsn,
                                                                   bool make) {
  static std::atomic<int> count{0};
  std::unique_ptr<ScratchSchema> schema(new ScratchSchema);
  schema->dsn_ = dsn;
  ABSL_ASSIGN_OR_RETURN(schema->connection_, Connect(dsn));
  // The server's process number is nobody else's while the connection is open.
  const std::string name = absl::StrFormat("sipheal_conformance_%d_%d",
                                           PQbackendPID(schema->connection_.get()), ++count);
  ABSL_RETURN_IF_ERROR(schema->Run("SET client_min_messages = error"));
  if (make) ABSL_RETURN_IF_ERROR(schema->Run("CREATE SCHEMA " + name));
  schema->name_ = name;  // from here on it is ours to drop
  return schema;
}

ScratchSchema::~ScratchSchema() {
  Release();
  if (!name_.empty()) Run("DROP SCHEMA IF EXISTS " + name_ + " CASCADE").IgnoreError();
}

std::string ScratchSchema::SearchPathDsn() const {
  std::unique_ptr<PQconninfoOption, void (*)(PQconninfoOption*)> parsed(
      PQconninfoParse(dsn_.c_str(), nullptr), PQconninfoFree);
  std::string dsn;
  std::string options = "-c search_path=" + name_;
  for (const PQconninfoOption* one = parsed.get(); one != nullptr && one->keyword != nullptr;
       ++one) {
    if (one->val == nullptr) continue;
    if (std::string(one->keyword) == "options") {
      options = std::string(one->val) + " " + options;
    } else {
      dsn += std::string(one->keyword) + "=" + Quoted(one->val) + " ";
    }
  }
  return dsn + "options=" + Quoted(options);
}

absl::Status ScratchSchema::Run(const std::string& sql, std::initializer_list<std::string> values) {
  std::vector<const char*> texts;
  for (const std::string& value : values) texts.push_back(value.c_str());
  return StatusOf(
      Result(PQexecParams(connection_.get(), sql.c_str(), static_cast<int>(texts.size()), nullptr,
                          texts.data(), nullptr, nullptr, 0)));
}

absl::Status ScratchSchema::Hold(const std::string& tables) {
  ABSL_ASSIGN_OR_RETURN(holder_, Connect(dsn_));
  for (const std::string& sql : {std::string("BEGIN"), "LOCK TABLE " + tables}) {
    ABSL_RETURN_IF_ERROR(StatusOf(Result(PQexec(holder_.get(), sql.c_str()))));
  }
  return absl::OkStatus();
}

void ScratchSchema::Release() { holder_.reset(); }

}  // namespace sipheal::inline v0_1::cli
