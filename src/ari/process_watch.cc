// SPDX-License-Identifier: Apache-2.0
#include "ari/process_watch.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <utility>

#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif

namespace sipheal::inline v0_1::internal {

ProcessWatch::~ProcessWatch() {
  if (fd_ >= 0) close(fd_);
}

ProcessWatch::ProcessWatch(ProcessWatch&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)), pid_(other.pid_) {}

ProcessWatch& ProcessWatch::operator=(ProcessWatch&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(pid_, other.pid_);
  return *this;
}

std::optional<ProcessWatch> ProcessWatch::Open(const std::string& pid_file) {
  std::ifstream file(pid_file);
  int pid = 0;
  if (!(file >> pid) || pid <= 0) return std::nullopt;
  ProcessWatch watch;
  watch.pid_ = pid;
  watch.fd_ = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (watch.fd_ < 0) return std::nullopt;
  return watch;
}

bool ProcessWatch::Ended() const {
  pollfd fd{fd_, POLLIN, 0};
  return fd_ >= 0 && poll(&fd, 1, 0) == 1 && (fd.revents & POLLIN) != 0;
}

}  // namespace sipheal::inline v0_1::internal
