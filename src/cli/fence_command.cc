// SPDX-License-Identifier: Apache-2.0
#include "cli/fence_command.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_format.h"
#include "cli/log_writer.h"
#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {
namespace {

using SteadyClock = std::chrono::steady_clock;

constexpr std::size_t kMostOutput = 1'000;

// Reads what the command writes until it closes its output or the time is up.
std::string ReadOutput(int fd, SteadyClock::time_point deadline) {
  std::string output;
  while (true) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - SteadyClock::now());
    pollfd ready{.fd = fd, .events = POLLIN, .revents = 0};
    if (left.count() <= 0 || poll(&ready, 1, static_cast<int>(left.count())) == 0) return output;
    char buffer[512];
    const ssize_t got = read(fd, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return output;
    if (output.size() < kMostOutput) output.append(buffer, static_cast<std::size_t>(got));
  }
}

}  // namespace

absl::Status RunFenceCommand(const std::vector<std::string>& command,
                             const Incarnation& incarnation, std::chrono::milliseconds timeout) {
  const SteadyClock::time_point deadline = SteadyClock::now() + timeout;
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  std::string path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  std::string instance = "SIPHEAL_INSTANCE=" + incarnation.instance;
  std::string life = "SIPHEAL_LIFE=" + incarnation.life;
  char* environment[] = {path.data(), instance.data(), life.data(), nullptr};

  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC) != 0) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("fence.command was not run: %s", std::strerror(errno)));
  }
  const FileDescriptor out(pipes[0]);
  FileDescriptor child_out(pipes[1]);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), 1);
  posix_spawn_file_actions_adddup2(&actions, child_out.get(), 2);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  // The daemon blocks the signals it waits for, and ignores SIGPIPE; the command gets the defaults.
  sigset_t none;
  sigset_t reset;
  sigemptyset(&none);
  sigemptyset(&reset);
  sigaddset(&reset, SIGPIPE);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setsigdefault(&attributes, &reset);
  posix_spawnattr_setpgroup(&attributes, 0);
  posix_spawnattr_setflags(&attributes,
                           POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = 0;
  const int error =
      posix_spawn(&pid, arguments[0], &actions, &attributes, arguments.data(), environment);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return absl::FailedPreconditionError(
        absl::StrFormat("fence.command %s cannot be run: %s: check the path and its rights",
                        command.front(), std::strerror(error)));
  }
  child_out.Close();
  const std::string output = ReadOutput(out.get(), deadline);

  // The output may be closed, or passed on to a process that lives on, before the command ends.
  int status = 0;
  bool killed = false;
  while (true) {
    const pid_t ended = waitpid(pid, &status, killed ? 0 : WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) break;
    if (!killed && SteadyClock::now() >= deadline) {
      kill(-pid, SIGKILL);
      killed = true;
    } else if (!killed) {
      poll(nullptr, 0, 5);
    }
  }
  if (killed) {
    return absl::DeadlineExceededError(absl::StrFormat(
        "fence.command %s was killed after %d ms (fence.timeout) for %s: %s", command.front(),
        timeout.count(), incarnation.instance, Printable(output.substr(0, kMostOutput))));
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return absl::OkStatus();
  const std::string how = WIFEXITED(status) ? absl::StrFormat("status %d", WEXITSTATUS(status))
                                            : absl::StrFormat("signal %d", WTERMSIG(status));
  return absl::AbortedError(absl::StrFormat("fence.command %s ended with %s for %s: %s",
                                            command.front(), how, incarnation.instance,
                                            Printable(output.substr(0, kMostOutput))));
}

}  // namespace sipheal::inline v0_1::cli
