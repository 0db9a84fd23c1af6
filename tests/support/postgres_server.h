// SPDX-License-Identifier: Apache-2.0
// A real PostgreSQL for tests: its own cluster in a scratch folder, at a free port on 127.0.0.1, as
// an unprivileged user. It dies with the test.
#pragma once

#include <sys/types.h>

#include <memory>
#include <string>

namespace sipheal::inline v0_1::testing {

class PostgresServer {
 public:
  // Null when the machine has no PostgreSQL server; the reason goes to stderr. With
  // SIPHEAL_REQUIRE_POSTGRES=1 that is a failure of the test instead. `folder`: where the cluster
  // is to lie (a file system of the test's own); a new one in the temporary folder when empty.
  static std::unique_ptr<PostgresServer> Make(const std::string& folder = "");
  ~PostgresServer();
  PostgresServer(const PostgresServer&) = delete;
  PostgresServer& operator=(const PostgresServer&) = delete;

  // The one that all tests of this process share, made by the first that asks; null as above.
  static PostgresServer* Shared();

  int port() const { return port_; }
  // For libpq; `port` for a server behind a proxy.
  std::string Dsn(int port = 0) const;
  // Runs SQL as the owner of all; the first column of the first row, empty when there is none. A
  // failure is one of the test.
  std::string Query(const std::string& sql);

  // SIGKILL to the server, as when its machine dies; and started again on the same folder and port.
  void Kill();
  bool Start();
  // To the postmaster alone: it then forks no new backend; those that are there go on.
  void Signal(int number);

 private:
  PostgresServer() = default;
  std::string programs_, folder_;
  bool own_folder_ = false;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace sipheal::inline v0_1::testing
