// SPDX-License-Identifier: Apache-2.0
// A real PgBouncer in transaction mode before a real PostgreSQL. It dies with the test.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

#include "tests/support/postgres_server.h"

namespace sipheal::inline v0_1::testing {

class PgBouncer {
 public:
  // Null when the machine has no pgbouncer; the reason goes to stderr. With
  // SIPHEAL_REQUIRE_POSTGRES=1 that is a failure of the test instead.
  static std::unique_ptr<PgBouncer> Make(const PostgresServer& server);
  ~PgBouncer();
  PgBouncer(const PgBouncer&) = delete;
  PgBouncer& operator=(const PgBouncer&) = delete;

  int port() const { return port_; }

 private:
  PgBouncer() = default;
  std::string folder_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sipheal::inline v0_1::testing
