// SPDX-License-Identifier: Apache-2.0
// A process of this host, held by a pidfd: unlike a process id it cannot come to mean another.
#pragma once

#include <optional>
#include <string>

namespace sipheal::inline v0_1::internal {

class ProcessWatch {
 public:
  ProcessWatch() = default;
  ~ProcessWatch();
  ProcessWatch(ProcessWatch&& other) noexcept;
  ProcessWatch& operator=(ProcessWatch&& other) noexcept;

  // The process that `pid_file` names; empty when there is none, or the kernel has no pidfd (before
  // Linux 5.3).
  static std::optional<ProcessWatch> Open(const std::string& pid_file);

  int fd() const { return fd_; }  // readable when the process has ended
  int pid() const { return pid_; }
  bool Ended() const;

 private:
  int fd_ = -1;
  int pid_ = 0;
};

}  // namespace sipheal::inline v0_1::internal
