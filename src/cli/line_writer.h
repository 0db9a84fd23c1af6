// SPDX-License-Identifier: Apache-2.0
// Writes lines to a file descriptor from a thread of its own, so that a reader who stalls (a pipe
// that nobody empties, a stuck journal) never stalls a recovery.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

namespace sipheal::inline v0_1::cli {

// Thread-safe. Lines keep their order.
class LineWriter {
 public:
  // `fd` stays open and is not owned.
  explicit LineWriter(int fd);
  // Waits at most one second for a reader to take what is pending.
  ~LineWriter();
  LineWriter(const LineWriter&) = delete;
  LineWriter& operator=(const LineWriter&) = delete;

  // `line` ends with a line break. Dropped, and counted, when more than kMostPending wait.
  void Write(std::string line);
  // Waits until all lines so far are written; false when `timeout` passed first.
  bool Flush(std::chrono::milliseconds timeout);
  std::uint64_t dropped() const;

  static constexpr std::size_t kMostPending = 100'000;
  // How long the first of several lines waits for the others, which are then written together.
  static constexpr std::chrono::milliseconds kGather{5};

 private:
  void Run(const std::stop_token& stop);

  const int fd_;
  mutable std::mutex mutex_;
  std::condition_variable_any lines_;    // the writer waits here
  std::condition_variable_any written_;  // Flush waits here
  int flushing_ = 0;
  std::deque<std::string> pending_;
  bool writing_ = false;
  std::uint64_t dropped_ = 0;
  std::jthread thread_;  // last: it uses all of the above
};

}  // namespace sipheal::inline v0_1::cli
