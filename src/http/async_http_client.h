// SPDX-License-Identifier: Apache-2.0
// An asynchronous HTTP client: one thread carries all requests, so that a server that hangs holds
// up nobody. For probes and re-reads; requests that a caller waits for go through HttpClient.
#pragma once

#include <chrono>
#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "http/transfer.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class SIPHEAL_EXPORT AsyncHttpClient {
 public:
  // Called on the client's thread, once; must be quick and must not throw.
  using Done = std::function<void(absl::StatusOr<HttpResponse>)>;

  explicit AsyncHttpClient(HttpOptions options);  // starts the thread
  ~AsyncHttpClient();                             // closes
  AsyncHttpClient(const AsyncHttpClient&) = delete;
  AsyncHttpClient& operator=(const AsyncHttpClient&) = delete;

  // Ends the thread; idempotent. Requests under way are called back with Cancelled, later ones at
  // once, inside Send. Not to be called from a callback.
  void Close();

  // Whether the caller is in a callback of this client.
  bool OnThread() const;

  void Send(HttpRequest request, std::chrono::milliseconds timeout, Done done);

 private:
  class Loop;
  std::unique_ptr<Loop> loop_;
};

}  // namespace sipheal::inline v0_1::internal
