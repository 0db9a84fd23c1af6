// SPDX-License-Identifier: Apache-2.0
// A blocking HTTP client for many requests at a time: they run side by side on the caller's thread,
// on keep-alive connections. Deadline and stop come from the CallContext. As HttpClient it installs
// no signal handler, follows no redirect and reads no proxy from the environment.
#pragma once

#include <memory>
#include <mutex>
#include <vector>

#include "absl/status/statusor.h"
#include "http/transfer.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe: callers at the same time have connections of their own.
class SIPHEAL_EXPORT BatchHttpClient {
 public:
  // `at_once`: connections of one SendAll, at least 1.
  BatchHttpClient(HttpOptions options, int at_once);
  ~BatchHttpClient();
  BatchHttpClient(const BatchHttpClient&) = delete;
  BatchHttpClient& operator=(const BatchHttpClient&) = delete;

  // One result for each request, in order, when the last has ended. Each as HttpClient::Send; what
  // the context ended is DeadlineExceeded or Cancelled. `on_body` is called on this thread.
  std::vector<absl::StatusOr<HttpResponse>> SendAll(const CallContext& ctx,
                                                    const std::vector<HttpRequest>& requests);

 private:
  class Line;  // a multi handle, which holds its connections, and its easy handles

  const HttpOptions options_;
  const int at_once_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Line>> idle_;  // guarded by mutex_
};

}  // namespace sipheal::inline v0_1::internal
