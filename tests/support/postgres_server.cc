// SPDX-License-Identifier: Apache-2.0
#include "tests/support/postgres_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <pwd.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <sstream>
#include <thread>
#include <vector>

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

// A port that nobody has at this moment.
int FreePort() {
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  const bool bound = bind(socket, any, size) == 0 && getsockname(socket, any, &size) == 0;
  close(socket);
  return bound ? ntohs(address.sin_port) : 0;
}

// PostgreSQL refuses to run as root.
const passwd* Unprivileged() {
  if (geteuid() != 0) return nullptr;
  const passwd* const user = getpwnam("postgres");
  return user != nullptr ? user : getpwnam("nobody");
}

// Starts a program as the unprivileged user, its output in `log`; it dies with this process.
pid_t Launch(const std::vector<std::string>& command, const std::string& log) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const passwd* const user = Unprivileged();
  const int output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const pid_t child = fork();
  if (child != 0) {
    close(output);
    return child;
  }
  dup2(open("/dev/null", O_RDONLY), 0);
  dup2(output, 1);
  dup2(output, 2);
  if (user != nullptr && (setgid(user->pw_gid) != 0 || setuid(user->pw_uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGKILL);  // after setuid, which clears it
  if (chdir("/") != 0) _exit(126);
  setenv("LC_ALL", "C", 1);
  execv(arguments[0], arguments.data());
  _exit(127);
}

std::string Contents(const std::string& path) {
  std::ostringstream text;
  text << std::ifstream(path).rdbuf();
  return text.str();
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
  if (const passwd* const user = Unprivileged()) {
    if (chown(server->folder_.c_str(), user->pw_uid, user->pw_gid) != 0) {
      ADD_FAILURE() << "cannot give " << server->folder_ << " to " << user->pw_name;
      return nullptr;
    }
  }
  const std::string log = server->folder_ + "/initdb.log";
  const pid_t made =
      Launch({server->programs_ + "/initdb", "-D", server->folder_ + "/data", "-U", "sipheal", "-A",
              "trust", "-E", "UTF8", "--no-sync", "--wal-segsize=1"},
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
      pid_ = Launch({programs_ + "/postgres", "-D", folder_ + "/data", "-p", std::to_string(port_),
                     "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "max_connections=50",
                     "-c", "min_wal_size=2MB", "-c", "max_wal_size=16MB"},
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
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
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
