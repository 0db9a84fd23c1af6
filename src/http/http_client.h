// SPDX-License-Identifier: Apache-2.0
// A blocking HTTP client: the request runs on the caller's thread, on a keep-alive connection of a
// pool. Deadline and stop come from the CallContext. It installs no signal handler, follows no
// redirect and reads no proxy from the environment.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "http/transfer.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe. One client for one server keeps its pool of connections warm. Requests beyond the
// first few wait their turn.
class SIPHEAL_EXPORT HttpClient {
 public:
  explicit HttpClient(HttpOptions options);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Any HTTP status is OK. Unavailable: not reached, or the answer was cut; DeadlineExceeded,
  // Cancelled: within 100 ms of what `ctx` says; ResourceExhausted: the answer was too long.
  absl::StatusOr<HttpResponse> Send(const CallContext& ctx, const HttpRequest& request);

 private:
  class Line;  // one easy handle in a multi handle of its own, which holds its connection

  // Waits for its turn. The line that was used last has the freshest connection.
  absl::StatusOr<std::unique_ptr<Line>> Take(const CallContext& ctx);
  void GiveBack(std::unique_ptr<Line> line);

  const HttpOptions options_;
  // Asterisk listens with a backlog of 5 (main/tcptls.c): more new connections at a time than that
  // are dropped by the kernel, and tried again by it a second later. So few requests run at a time;
  // on two cores that is the fastest, too.
  static constexpr int kLines = 4;
  std::mutex mutex_;
  std::condition_variable_any changed_;
  std::vector<std::unique_ptr<Line>> idle_;  // guarded by mutex_
  int lines_ = 0;                            // that exist; guarded by mutex_
};

}  // namespace sipheal::inline v0_1::internal
