// SPDX-License-Identifier: Apache-2.0
// The flow resumer that asks a host over gRPC. Each call is asynchronous, and the caller's thread
// waits for it no longer than its context says; a call that it left behind goes on counting until
// gRPC gives it up.
#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/support/channel_arguments.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "grpc/credentials.h"
#include "grpc/model_to_proto.h"
#include "grpc/proto_text.h"
#include "model/store_rules.h"
#include "model/turnstile.h"
#include "sipheal/adapters/grpc.h"
#include "sipheal/v1/flow_resumer.grpc.pb.h"

namespace sipheal::inline v0_1 {
namespace {

using internal::CheckContext;
using internal::OneLine;
using internal::ProtoText;
using internal::Turnstile;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr char kWhat[] = "FlowResumer::Resume";
constexpr int kMostAnswerBytes = 64 * 1024;
// How often a waiting thread looks at a clock that cannot wake it.
constexpr milliseconds kLook{20};
// How long cancelled calls may take to end when the resumer does.
constexpr milliseconds kLongestEnd{5'000};

// Calls that were begun, also those that were left behind. gRPC 1.51 must not see the last
// reference to a channel go in one of its own threads (it would join itself there), and each call
// has one: so the channel is kept until they are gone.
struct ResumeCall;

struct OpenCalls {
  explicit OpenCalls(int most) : turns(most) {}

  Turnstile turns;
  std::mutex mutex;
  std::condition_variable gone;
  int open = 0;                                              // mutex
  std::map<const void*, std::weak_ptr<ResumeCall>> by_call;  // mutex
};

struct ResumeCall {
  explicit ResumeCall(Turnstile::Pass turn) : pass(std::move(turn)) {}

  const Turnstile::Pass pass;
  grpc::ClientContext context;
  v1::ResumeRequest request;
  v1::ResumeResponse response;
  std::mutex mutex;
  std::condition_variable ended;
  bool done = false;
  grpc::Status status;
};

std::shared_ptr<ResumeCall> OpenCall(const std::shared_ptr<OpenCalls>& calls,
                                     Turnstile::Pass turn) {
  std::shared_ptr<ResumeCall> call(new ResumeCall(std::move(turn)), [calls](ResumeCall* ended) {
    {
      const std::lock_guard lock(calls->mutex);
      calls->by_call.erase(ended);
    }
    delete ended;
    const std::lock_guard lock(calls->mutex);
    --calls->open;
    calls->gone.notify_all();
  });
  const std::lock_guard lock(calls->mutex);
  ++calls->open;
  calls->by_call[call.get()] = call;
  return call;
}

bool IsTraceParent(std::string_view text) {
  return text.size() == 55 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == '-';
         });
}

absl::Status FillRequest(const CallContext& ctx, const FlowResumer::ResumeParams& params,
                         v1::ResumeRequest& request) {
  ProtoText text;
  *request.mutable_session() = internal::ToProto(params.session, text);
  *request.mutable_died_at() = internal::ToProto(params.died_at);
  request.set_instance(text.Name(params.instance, "instance"));
  request.set_channel_id(text.Name(params.channel_id, "channel_id"));
  for (const FlowResumer::Partner& from : params.partners) {
    v1::Partner& partner = *request.add_partners();
    partner.set_session_id(text.Name(from.session_id, "partners.session_id"));
    partner.set_instance(text.Name(from.instance, "partners.instance"));
    partner.set_channel_id(text.Name(from.channel_id, "partners.channel_id"));
    partner.set_lived_there(from.lived_there);
  }
  request.set_first(params.first);
  request.set_attempt(static_cast<std::uint32_t>(std::max(ctx.attempt, 0)));
  if (text.first_changed().empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("session %s cannot be told to the flow host: its %s is no UTF-8",
                      OneLine(params.session.id, 64), text.first_changed()));
}

class GrpcFlowResumer final : public FlowResumer {
 public:
  GrpcFlowResumer(GrpcFlowResumerOptions options, std::shared_ptr<grpc::Channel> channel)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
        calls_(std::make_shared<OpenCalls>(options_.max_in_flight)),
        channel_(std::move(channel)),
        stub_(v1::FlowResumerService::NewStub(channel_)) {}

  ~GrpcFlowResumer() override {
    std::vector<std::shared_ptr<ResumeCall>> left;
    std::unique_lock lock(calls_->mutex);
    for (const auto& [address, weak] : calls_->by_call) {
      if (auto call = weak.lock()) left.push_back(std::move(call));
    }
    lock.unlock();
    for (const auto& call : left) call->context.TryCancel();
    left.clear();
    lock.lock();
    if (!calls_->gone.wait_for(lock, kLongestEnd, [&] { return calls_->open == 0; })) {
      // Better a channel that nobody ends than a process that ends.
      static_cast<void>(new std::shared_ptr<grpc::Channel>(channel_));
    }
  }

  absl::Status Accept(const Session& session) override {
    ResumeParams params;
    params.session = session;
    v1::ResumeRequest request;
    ABSL_RETURN_IF_ERROR(FillRequest({}, params, request));
    return options_.accept ? options_.accept(session) : absl::OkStatus();
  }

  absl::Status Resume(const CallContext& ctx, const ResumeParams& params) override {
    ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, kWhat));
    v1::ResumeRequest request;
    ABSL_RETURN_IF_ERROR(FillRequest(ctx, params, request));
    const Admission admission(threads_);
    if (admission.number() > 2 * options_.max_in_flight) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("the flow host at %s is behind: %d calls wait for their turn",
                          options_.target, options_.max_in_flight));
    }
    const MonotonicTime patient_until = clock_.Monotonic() + options_.connect_patience;
    while (true) {
      const auto answered = Ask(ctx, request);
      ABSL_RETURN_IF_ERROR(answered.status());
      const absl::Status status = Judge(ctx, **answered);
      // The host is asked again at once only when there was no connection to ask it over.
      if (!absl::IsUnavailable(status) || Connected() || clock_.Monotonic() >= patient_until) {
        return status;
      }
      ABSL_RETURN_IF_ERROR(AwaitConnection(ctx, patient_until));
      if (!Connected()) return status;
      // The host may have had the first one before its connection went.
      request.set_first(false);
    }
  }

 private:
  using CallPtr = std::shared_ptr<ResumeCall>;

  // Counts the threads that are in Resume.
  class Admission {
   public:
    explicit Admission(std::atomic<int>& threads) : threads_(threads), number_(++threads) {}
    ~Admission() { --threads_; }
    Admission(const Admission&) = delete;
    Admission& operator=(const Admission&) = delete;
    int number() const { return number_; }

   private:
    std::atomic<int>& threads_;
    const int number_;
  };

  bool Connected() const {
    return channel_->GetState(/*try_to_connect=*/false) == GRPC_CHANNEL_READY;
  }

  // Until it is connected, `until`, or the context ends.
  absl::Status AwaitConnection(const CallContext& ctx, MonotonicTime until) const {
    grpc::experimental::ChannelResetConnectionBackoff(channel_.get());
    while (clock_.Monotonic() < until) {
      const grpc_connectivity_state state = channel_->GetState(true);
      if (state == GRPC_CHANNEL_READY) break;
      channel_->WaitForStateChange(state, std::chrono::system_clock::now() + kLook);
      ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, kWhat));
    }
    return absl::OkStatus();
  }

  // Waits for the answer, whatever it is.
  absl::StatusOr<CallPtr> Ask(const CallContext& ctx, const v1::ResumeRequest& request) {
    ABSL_ASSIGN_OR_RETURN(Turnstile::Pass pass,
                          calls_->turns.Enter(ctx, clock_, Turnstile::Urgency::kNormal, kWhat));
    const auto call = OpenCall(calls_, std::move(pass));
    call->request = request;
    const nanoseconds left = ctx.Remaining(clock_.Monotonic());
    if (left != nanoseconds::max()) {
      // By the monotonic clock: the other one may be set in between.
      call->context.set_deadline(gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                              gpr_time_from_nanos(left.count(), GPR_TIMESPAN)));
    }
    if (IsTraceParent(ctx.trace_parent)) call->context.AddMetadata("traceparent", ctx.trace_parent);
    stub_->async()->Resume(&call->context, &call->request, &call->response,
                           [call](grpc::Status status) {
                             const std::lock_guard lock(call->mutex);
                             call->status = std::move(status);
                             call->done = true;
                             call->ended.notify_all();
                           });
    const std::stop_callback wake(ctx.stop, [&] {
      const std::lock_guard lock(call->mutex);
      call->ended.notify_all();
    });
    std::unique_lock lock(call->mutex);
    while (!call->done) {
      const absl::Status over = CheckContext(ctx, clock_, kWhat);
      if (!over.ok()) {
        lock.unlock();
        call->context.TryCancel();
        return over;
      }
      call->ended.wait_for(lock, std::min<nanoseconds>(ctx.Remaining(clock_.Monotonic()), kLook));
    }
    return call;
  }

  // What the answer means to the Healer. gRPC's codes have the numbers of Abseil's.
  absl::Status Judge(const CallContext& ctx, const ResumeCall& call) const {
    const grpc::Status& status = call.status;
    if (status.ok()) {
      if (call.response.result() == v1::ResumeResponse::RESULT_RESUMED) return absl::OkStatus();
      return absl::UnavailableError(
          absl::StrFormat("the flow host at %s answered without a result that is known here (%d): "
                          "it must say RESULT_RESUMED",
                          options_.target, static_cast<int>(call.response.result())));
    }
    const absl::Status over = CheckContext(ctx, clock_, kWhat);
    const auto code = static_cast<absl::StatusCode>(status.error_code());
    if (!over.ok() &&
        (code == absl::StatusCode::kDeadlineExceeded || code == absl::StatusCode::kCancelled)) {
      return over;
    }
    const std::string said = OneLine(status.error_message());
    switch (code) {
      case absl::StatusCode::kFailedPrecondition:
      case absl::StatusCode::kInvalidArgument:
      case absl::StatusCode::kResourceExhausted:
        return absl::Status(code, absl::StrFormat("the flow host says: %s", said));
      default:
        return absl::UnavailableError(absl::StrFormat("the flow host at %s failed (%s): %s",
                                                      options_.target,
                                                      absl::StatusCodeToString(code), said));
    }
  }

  const GrpcFlowResumerOptions options_;
  const Clock& clock_;
  std::atomic<int> threads_ = 0;
  const std::shared_ptr<OpenCalls> calls_;
  const std::shared_ptr<grpc::Channel> channel_;
  const std::unique_ptr<v1::FlowResumerService::Stub> stub_;
};

}  // namespace

absl::Status GrpcFlowResumerOptions::Validate() const {
  if (target.empty()) {
    return absl::InvalidArgumentError(
        "target is empty: say where the host serves its flows, for example flows:7443");
  }
  if (target.find_first_of(std::string("\r\n\0 ", 4)) != std::string::npos) {
    return absl::InvalidArgumentError("target has a space or line break in it");
  }
  if (plain_text && !internal::IsLocalTarget(target)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "plain_text with target %s, which is not on this machine: use TLS, or a loopback address",
        target));
  }
  if (tls.certificate_file.empty() != tls.key_file.empty()) {
    return absl::InvalidArgumentError(
        "tls has one of certificate_file and key_file: give both, or neither");
  }
  if (max_in_flight < 1 || max_in_flight > 1'000) {
    return absl::InvalidArgumentError(
        absl::StrFormat("max_in_flight is %d: set it from 1 to 1000", max_in_flight));
  }
  if (connect_patience < milliseconds(0) || connect_patience > milliseconds(60'000)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "connect_patience is %d ms: set it from 0 to 60000", connect_patience.count()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<FlowResumer>> MakeGrpcFlowResumer(GrpcFlowResumerOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  internal::KeepGrpc();
  ABSL_ASSIGN_OR_RETURN(const auto credentials, internal::ClientCredentials(options));
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kMostAnswerBytes);
  // Nothing of the environment, and nothing that a name server says beyond the address.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  arguments.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // the Healer tries again
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1'000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  // A connection whose other end is gone without a word is given up when a request stays
  // unacknowledged this long.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 60'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 3'000);
  if (!options.server_name.empty()) arguments.SetSslTargetNameOverride(options.server_name);
  auto channel = grpc::CreateCustomChannel(options.target, credentials, arguments);
  return std::make_shared<GrpcFlowResumer>(std::move(options), std::move(channel));
}

}  // namespace sipheal::inline v0_1
