// SPDX-License-Identifier: Apache-2.0
#include "grpc/call_runner.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "grpc/proto_text.h"
#include "model/store_rules.h"

namespace sipheal::inline v0_1::internal {
namespace {

// A caller without a deadline must not take a thread for ever.
constexpr std::chrono::seconds kLongestCall{60};

absl::Status Guarded(const std::function<absl::Status(const CallContext&)>& work,
                     const CallContext& ctx, const Clock& clock) {
  ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock, "the call was not begun"));
  try {
    return work(ctx);
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrFormat("the call threw: %s", error.what()));
  } catch (...) {
    return absl::InternalError("the call threw");
  }
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()),
          OneLine(std::string(status.message()), 1'000)};
}

// Lives until gRPC says that the call is done, which is after Finish.
class CallRunner::Call final : public grpc::ServerUnaryReactor {
 public:
  explicit Call(CallRunner& runner) : runner_(runner) { ++runner_.under_way_; }

  void OnCancel() override { stop_.request_stop(); }
  void OnDone() override {
    --runner_.under_way_;
    delete this;
  }
  std::stop_token stop() const { return stop_.get_token(); }

 private:
  CallRunner& runner_;
  std::stop_source stop_;
};

grpc::ServerUnaryReactor* CallRunner::Run(const grpc::CallbackServerContext& context,
                                          std::function<absl::Status(const CallContext&)> work) {
  auto* const call = new Call(*this);
  if (under_way_ > most_) {
    call->Finish({grpc::StatusCode::RESOURCE_EXHAUSTED,
                  absl::StrFormat("%d calls are under way here: ask again later", most_)});
    return call;
  }
  CallContext ctx;
  ctx.stop = call->stop();
  ctx.deadline = std::min(DeadlineOf(context), clock_.Monotonic() + kLongestCall);
  executor_->Post([this, call, ctx, work = std::move(work)] {
    call->Finish(ToGrpc(Guarded(work, ctx, clock_)));
  });
  return call;
}

grpc::ServerUnaryReactor* CallRunner::RunNow(
    grpc::CallbackServerContext& context,
    const std::function<absl::Status(const CallContext&)>& work) {
  CallContext ctx;
  ctx.deadline = DeadlineOf(context);
  grpc::ServerUnaryReactor* const reactor = context.DefaultReactor();
  reactor->Finish(ToGrpc(Guarded(work, ctx, clock_)));
  return reactor;
}

MonotonicTime CallRunner::DeadlineOf(const grpc::CallbackServerContext& context) const {
  const gpr_timespec deadline = gpr_convert_clock_type(context.raw_deadline(), GPR_CLOCK_MONOTONIC);
  if (gpr_time_cmp(deadline, gpr_inf_future(GPR_CLOCK_MONOTONIC)) == 0) return MonotonicTime::max();
  const gpr_timespec left = gpr_time_sub(deadline, gpr_now(GPR_CLOCK_MONOTONIC));
  // As far as a duration goes; a year is no limit.
  const double seconds = std::min(gpr_timespec_to_micros(left) / 1e6, 31'536'000.0);
  return clock_.Monotonic() + std::chrono::duration_cast<MonotonicTime::duration>(
                                  std::chrono::duration<double>(seconds));
}

}  // namespace sipheal::inline v0_1::internal
