// SPDX-License-Identifier: Apache-2.0
// A schema of its own in somebody's PostgreSQL, dropped at its end.
#pragma once

#include <libpq-fe.h>

#include <initializer_list>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sipheal::inline v0_1::cli {

class ScratchSchema {
 public:
  // Connects, and picks a name that nobody has. Makes the schema when `make`. Errors never tell the
  // DSN, which may hold a password.
  static absl::StatusOr<std::unique_ptr<ScratchSchema>> Open(const std::string& dsn, bool make);
  ~ScratchSchema();
  ScratchSchema(const ScratchSchema&) = delete;
  ScratchSchema& operator=(const ScratchSchema&) = delete;

  const std::string& name() const { return name_; }
  // The DSN by which unqualified names are those of the schema.
  std::string SearchPathDsn() const;

  absl::Status Run(const std::string& sql, std::initializer_list<std::string> values = {});
  // Holds these tables against everybody, until Release.
  absl::Status Hold(const std::string& tables);
  void Release();

 private:
  struct Finish {
    void operator()(PGconn* connection) const { PQfinish(connection); }
  };
  using Connection = std::unique_ptr<PGconn, Finish>;
  static absl::StatusOr<Connection> Connect(const std::string& dsn);

  ScratchSchema() = default;

  std::string dsn_;
  std::string name_;
  Connection connection_;
  Connection holder_;
};

}  // namespace sipheal::inline v0_1::cli
