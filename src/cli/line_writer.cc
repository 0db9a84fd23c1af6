// SPDX-License-Identifier: Apache-2.0
#include "cli/line_writer.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace sipheal::inline v0_1::cli {

LineWriter::LineWriter(int fd)
    : fd_(fd), thread_([this](const std::stop_token& stop) { Run(stop); }) {}

LineWriter::~LineWriter() {
  Flush(std::chrono::seconds(1));
  thread_.request_stop();
}

void LineWriter::Write(std::string line) {
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    if (pending_.size() >= kMostPending) {
      ++dropped_;
      return;
    }
    first = pending_.empty();
    pending_.push_back(std::move(line));
  }
  if (first) lines_.notify_one();
}

bool LineWriter::Flush(std::chrono::milliseconds timeout) {
  std::unique_lock lock(mutex_);
  ++flushing_;
  lines_.notify_one();
  const bool done =
      written_.wait_for(lock, timeout, [this] { return pending_.empty() && !writing_; });
  --flushing_;
  return done;
}

std::uint64_t LineWriter::dropped() const {
  const std::lock_guard lock(mutex_);
  return dropped_;
}

void LineWriter::Run(const std::stop_token& stop) {
  std::string block;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      writing_ = false;
      if (pending_.empty()) written_.notify_all();
      if (!lines_.wait(lock, stop, [this] { return !pending_.empty(); })) return;
      lines_.wait_for(lock, stop, kGather, [this] { return flushing_ > 0; });
      block.clear();
      // Many lines in one system call, when many wait.
      while (!pending_.empty() && block.size() < 64 * 1024) {
        block += pending_.front();
        pending_.pop_front();
      }
      writing_ = true;
    }
    std::size_t done = 0;
    while (done < block.size() && !stop.stop_requested()) {
      // poll with a limit, so that a stop is seen while the reader stalls. Writes of at most
      // PIPE_BUF do not block once poll says that there is room.
      pollfd ready{.fd = fd_, .events = POLLOUT, .revents = 0};
      const int polled = poll(&ready, 1, 100);
      if (polled == 0 || (polled < 0 && errno == EINTR)) continue;
      const std::size_t part = std::min<std::size_t>(block.size() - done, 4096);
      const ssize_t written = write(fd_, block.data() + done, part);
      if (written > 0) {
        done += static_cast<std::size_t>(written);
      } else if (errno != EINTR && errno != EAGAIN) {
        break;  // the reader is gone: nobody misses the rest
      }
    }
  }
}

}  // namespace sipheal::inline v0_1::cli
