// SPDX-License-Identifier: Apache-2.0
// CallRunner: runs what may block on threads that may, so that gRPC's own never do, and passes the
// caller's deadline and cancellation on. What its caller gave up while it waited is not begun.
#pragma once

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>
#include <grpcpp/support/status.h>

#include <atomic>
#include <functional>
#include <memory>
#include <stop_token>
#include <utility>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/executor.h"

namespace sipheal::inline v0_1::internal {

// gRPC's codes have the numbers of Abseil's. The text is made UTF-8.
grpc::Status ToGrpc(const absl::Status& status);

// Outlives its calls: a server ends them all before it goes.
class CallRunner {
 public:
  CallRunner(std::shared_ptr<Executor> executor, int most, const Clock& clock)
      : executor_(std::move(executor)), most_(most), clock_(clock) {}

  // `work` fills the response; it runs later, on another thread, at most once. It has a minute at
  // most, whatever the caller's deadline.
  grpc::ServerUnaryReactor* Run(const grpc::CallbackServerContext& context,
                                std::function<absl::Status(const CallContext&)> work);
  // For `work` that returns at once: here and now, however many calls are under way. A pause waits
  // behind nothing.
  grpc::ServerUnaryReactor* RunNow(grpc::CallbackServerContext& context,
                                   const std::function<absl::Status(const CallContext&)>& work);

 private:
  class Call;

  MonotonicTime DeadlineOf(const grpc::CallbackServerContext& context) const;

  const std::shared_ptr<Executor> executor_;
  const int most_;
  const Clock& clock_;
  std::atomic<int> under_way_ = 0;
};

}  // namespace sipheal::inline v0_1::internal
