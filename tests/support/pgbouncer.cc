// SPDX-License-Identifier: Apache-2.0
#include "tests/support/pgbouncer.h"

#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <thread>

#include "tests/support/unprivileged.h"

namespace sipheal::inline v0_1::testing {

std::unique_ptr<PgBouncer> PgBouncer::Make(const PostgresServer& server) {
  std::string program;
  for (const char* const folder : {"/usr/sbin/", "/usr/bin/", "/usr/local/bin/"}) {
    if (access((std::string(folder) + "pgbouncer").c_str(), X_OK) == 0) {
      program = std::string(folder) + "pgbouncer";
      break;
    }
  }
  if (program.empty()) {
    const char* const required = std::getenv("SIPHEAL_REQUIRE_POSTGRES");
    const std::string text = "no pgbouncer on this machine: install the package pgbouncer";
    if (required != nullptr && std::string(required) == "1") ADD_FAILURE() << text;
    std::cerr << "SKIPPED, " << text << "\n";
    return nullptr;
  }
  std::unique_ptr<PgBouncer> bouncer(new PgBouncer);
  std::string pattern =
      (std::filesystem::temp_directory_path() / "sipheal-pgbouncer-XXXXXX").string();
  bouncer->folder_ = mkdtemp(pattern.data());
  bouncer->port_ = FreePort();
  const std::string config = bouncer->folder_ + "/pgbouncer.ini";
  std::ofstream(config) << "[databases]\n"
                        << "postgres = host=127.0.0.1 port=" << server.port()
                        << " user=sipheal dbname=postgres\n"
                        << "[pgbouncer]\n"
                        << "listen_addr = 127.0.0.1\n"
                        << "listen_port = " << bouncer->port_ << "\n"
                        << "unix_socket_dir =\n"
                        << "auth_type = any\n"
                        << "pool_mode = transaction\n"
                        << "default_pool_size = 3\n";
  if (!GiveToUnprivileged(bouncer->folder_)) ADD_FAILURE() << "cannot give the folder away";
  const std::string log = bouncer->folder_ + "/log";
  bouncer->pid_ = LaunchUnprivileged({program, config}, log);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (std::chrono::steady_clock::now() < deadline) {
    if (PQping(server.Dsn(bouncer->port_).c_str()) == PQPING_OK) return bouncer;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "PgBouncer did not start: " << Contents(log);
  return nullptr;
}

PgBouncer::~PgBouncer() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace sipheal::inline v0_1::testing
