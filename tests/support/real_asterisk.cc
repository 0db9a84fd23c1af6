// SPDX-License-Identifier: Apache-2.0
#include "support/real_asterisk.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <thread>

#include "ari/process_watch.h"
#include "support/source_dir.h"

namespace sipheal::inline v0_1::testing {
namespace {

// Runs a shell command; its output, and whether it succeeded.
std::pair<bool, std::string> Shell(const std::string& command) {
  std::string output;
  FILE* const pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return {false, "popen failed"};
  char buffer[4096];
  while (const std::size_t size = fread(buffer, 1, sizeof buffer, pipe))
    output.append(buffer, size);
  return {pclose(pipe) == 0, output};
}

// All arguments here are ours; none holds a quote.
std::string Quote(const std::string& text) { return "'" + text + "'"; }

}  // namespace

std::unique_ptr<RealAsterisk> RealAsterisk::Make(const std::string& name,
                                                 const std::vector<std::string>& arguments) {
  const std::string root = SourceDir();
  const std::string script = root + "/patches/asterisk/get-asterisk.sh";
  if (!std::filesystem::exists(script)) {
    ADD_FAILURE() << script << " is not there: run by ctest, or set SIPHEAL_SOURCE_DIR";
    return nullptr;
  }
  const auto [cached, prefix] = Shell(Quote(script) + " --print-prefix --cached-only");
  if (!cached) {
    const char* const required = std::getenv("SIPHEAL_REQUIRE_ASTERISK");
    const std::string text = "no Asterisk in the cache: run patches/asterisk/get-asterisk.sh";
    if (required != nullptr && std::string(required) == "1") ADD_FAILURE() << text;
    std::cerr << "SKIPPED, " << text << "\n";
    return nullptr;
  }
  std::unique_ptr<RealAsterisk> server(new RealAsterisk);
  std::string pattern = (std::filesystem::temp_directory_path() / "sipheal-ast-XXXXXX").string();
  server->directory_ = mkdtemp(pattern.data());
  std::string command = "cd " + Quote(root + "/tests/support/python") +
                        " && /usr/bin/python3 -m sipheal_lab.asterisk --detach --name " +
                        Quote(name) + " --dir " + Quote(server->directory_);
  for (const std::string& argument : arguments) command += " " + Quote(argument);
  const auto [made, output] = Shell(command);
  std::ifstream file(server->directory_ + "/instance.json");
  const auto description = nlohmann::json::parse(file, nullptr, false);
  if (!made || !description.is_object()) {
    ADD_FAILURE() << "the lab could not start Asterisk: " << output;
    return nullptr;
  }
  server->name_ = name;
  server->prefix_ = description["prefix"];
  server->config_ = description["config"];
  server->run_directory_ =
      std::filesystem::path(description["pid_file"].get<std::string>()).parent_path().string();
  server->sip_address_ = description["sip_address"];
  server->sip_port_ = description["sip_port"];
  server->ari_port_ = description["ari_port"];
  server->user_ = description["ari_user"];
  server->password_ = description["ari_password"];
  // The lab has written the configuration and proved that it boots. From here on the server is a
  // child of the test, and dies with it.
  const auto made_by_lab = internal::ProcessWatch::Open(description["pid_file"]);
  if (!made_by_lab) {
    ADD_FAILURE() << "the pid file of the lab's server names no process";
    return nullptr;
  }
  kill(made_by_lab->pid(), SIGKILL);
  // Until it is gone a second one would find it running, and end.
  while (!made_by_lab->Ended()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  if (!server->Boot()) return nullptr;
  return server;
}

RealAsterisk::~RealAsterisk() {
  if (pid_ > 0) {
    Kill();
    Reap();
  }
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
  if (!run_directory_.empty()) std::filesystem::remove_all(run_directory_, ignored);
}

bool RealAsterisk::Boot() {
  const std::string program = prefix_ + "/sbin/asterisk";
  const int log = open((directory_ + "/console.log").c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
  pid_ = fork();
  if (pid_ < 0) {
    ADD_FAILURE() << "fork failed";
    return false;
  }
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    setsid();
    dup2(open("/dev/null", O_RDONLY), 0);
    dup2(log, 1);
    dup2(log, 2);
    execl(program.c_str(), "asterisk", "-f", "-n", "-C", config_.c_str(), nullptr);
    _exit(127);
  }
  close(log);
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (std::chrono::steady_clock::now() < deadline) {
    if (Cli("core waitfullybooted").find("fully booted") != std::string::npos) return true;
    if (waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = -1;
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ADD_FAILURE() << "Asterisk did not boot: see " << directory_;
  return false;
}

// A process id of -1 would mean every process there is.
void RealAsterisk::Signal(int number) {
  if (pid_ > 0) kill(pid_, number);
}
void RealAsterisk::Kill() { Signal(SIGKILL); }

void RealAsterisk::Reap() {
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  pid_ = -1;
}

std::string RealAsterisk::Cli(const std::string& command) const {
  return Shell(Quote(prefix_ + "/sbin/asterisk") + " -n -C " + Quote(config_) + " -rx " +
               Quote(command))
      .second;
}

AriInstanceOptions RealAsterisk::Ari() const {
  AriInstanceOptions options;
  options.name = name_;
  options.url = "http://127.0.0.1:" + std::to_string(ari_port_);
  options.user = user_;
  options.password = password_;
  options.pid_file = run_directory_ + "/asterisk.pid";
  return options;
}

}  // namespace sipheal::inline v0_1::testing
