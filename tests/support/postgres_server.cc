// SPDX-License-Identifier: Apache-2.0
#include "tests/support/postgres_server.h"

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
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "tests/support/unprivileged.h"

namespace sipheal::inline v0_1::testing {
namespace {

namespace fs = std::filesystem;

// Debian keeps the server's programs out of PATH, a folder for each version.
std::string FindPrograms() {
  std::vector<fs::path> folders;
  if (const char* const given = std::getenv("SIPHEAL_POSTGRES_BINDIR")) folders.emplace_back(given);
  std::error_code none;
  for (const auto& version : fs::directory_iterator("/usr/lib/postgresql", none)) {
    folders.push_back(version.path() / "bin");
  }
  for (const char* const usual : {"/usr/local/bin", "/usr/bin"}) folders.emplace_back(usual);
  for (const fs::path& folder : folders) {
    if (fs::exists(folder / "initdb") && fs::exists(folder / "postgres")) return folder.string();
  }
  return {};
}

// The parent of a process; 0 when there is no such process, or it is dead and nobody has asked how
// it ended.
pid_t ParentOf(const std::string& pid) {
  std::ifstream file("/proc/" + pid + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t name_end = text.rfind(')');
  if (name_end == text.npos) return 0;
  std::istringstream rest(text.substr(name_end + 1));
  char state = 'Z';
  pid_t parent = 0;
  rest >> state >> parent;
  return state == 'Z' ? 0 : parent;
}

std::vector<std::string> ChildrenOf(pid_t parent) {
  std::vector<std::string> children;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator("/proc", gone)) {
    const std::string pid = entry.path().filename().string();
    if (pid.find_first_not_of("0123456789") == pid.npos && ParentOf(pid) == parent) {
      children.push_back(pid);
    }
  }
  return children;
}

}  // namespace

std::unique_ptr<PostgresServer> PostgresServer::Make(const std::string& folder) {
  std::unique_ptr<PostgresServer> server(new PostgresServer);
  server->programs_ = FindPrograms();
  if (server->programs_.empty()) {
    const char* const required = std::getenv("SIPHEAL_REQUIRE_POSTGRES");
    const std::string text =
        "no PostgreSQL server on this machine: install the package postgresql, or set "
        "SIPHEAL_POSTGRES_BINDIR";
    if (required != nullptr && std::string(required) == "1") ADD_FAILURE() << text;
    std::cerr << "SKIPPED, " << text << "\n";
    return nullptr;
  }
  if (folder.empty()) {
    std::string pattern = (fs::temp_directory_path() / "sipheal-pg-XXXXXX").string();
    server->folder_ = mkdtemp(pattern.data());
    server->own_folder_ = true;
  } else {
    server->folder_ = folder;
  }
  if (!GiveToUnprivileged(server->folder_)) {
    ADD_FAILURE() << "cannot give " << server->folder_ << " to the user that runs PostgreSQL";
    return nullptr;
  }
  const std::string log = server->folder_ + "/initdb.log";
  const pid_t made =
      LaunchUnprivileged({server->programs_ + "/initdb", "-D", server->folder_ + "/data", "-U",
                          "sipheal", "-A", "trust", "-E", "UTF8", "--no-sync", "--wal-segsize=1"},
                         log);
  int status = 0;
  waitpid(made, &status, 0);
  if (status != 0) {
    ADD_FAILURE() << "initdb failed: " << Contents(log);
    return nullptr;
  }
  server->port_ = FreePort();
  if (server->Start()) return server;
  ADD_FAILURE() << "PostgreSQL did not start: " << Contents(server->folder_ + "/server.log");
  return nullptr;
}

PostgresServer::~PostgresServer() {
  // At once, but with its backends and shared memory.
  Signal(SIGQUIT);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (pid_ > 0 && std::chrono::steady_clock::now() < deadline) {
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  Kill();
  if (!own_folder_) return;
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

PostgresServer* PostgresServer::Shared() {
  static const std::unique_ptr<PostgresServer> server = Make();
  return server.get();
}

std::string PostgresServer::Dsn(int port) const {
  return "host=127.0.0.1 port=" + std::to_string(port == 0 ? port_ : port) +
         " user=sipheal dbname=postgres";
}

bool PostgresServer::Start() {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (std::chrono::steady_clock::now() < deadline) {
    // What the disk does is not tested here; a killed server's files are then as good as synced.
    if (pid_ <= 0) {
      pid_ = LaunchUnprivileged(
          {programs_ + "/postgres", "-D", folder_ + "/data", "-p", std::to_string(port_), "-h",
           "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=50", "-c",
           "min_wal_size=2MB", "-c", "max_wal_size=16MB"},
          folder_ + "/server.log");
    }
    if (PQping(Dsn().c_str()) == PQPING_OK) return true;
    // The backends of a killed one end a moment later; until then a new one refuses to begin.
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) pid_ = -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  Kill();
  return false;
}

void PostgresServer::Signal(int number) {
  if (pid_ > 0) kill(pid_, number);
}

void PostgresServer::Kill() {
  if (pid_ <= 0) return;
  // Stopped, it forks no more. Its backends would go on for a moment without it.
  kill(pid_, SIGSTOP);
  const std::vector<std::string> backends = ChildrenOf(pid_);
  for (const std::string& backend : backends) kill(std::stoi(backend), SIGKILL);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  for (const std::string& backend : backends) {
    while (ParentOf(backend) != 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

std::string PostgresServer::Query(const std::string& sql) {
  PGconn* const connection = PQconnectdb(Dsn().c_str());
  PGresult* const result = PQexec(connection, sql.c_str());
  std::string value;
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_TUPLES_OK) {
    if (PQntuples(result) > 0) value = PQgetvalue(result, 0, 0);
  } else if (status != PGRES_COMMAND_OK) {
    ADD_FAILURE() << sql << ": " << PQerrorMessage(connection);
  }
  PQclear(result);
  PQfinish(connection);
  return value;
}

}  // namespace sipheal::inline v0_1::testing
