// SPDX-License-Identifier: Apache-2.0
// The server: one port, the services that its parts allow, health and reflection.
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/resource_quota.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>
#include <sys/random.h>

#include <mutex>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "grpc/call_runner.h"
#include "grpc/credentials.h"
#include "grpc/detector_service.h"
#include "grpc/event_watchers.h"
#include "grpc/model_to_proto.h"
#include "grpc/recovery_book.h"
#include "grpc/recovery_service.h"
#include "sipheal/adapters/grpc.h"

namespace sipheal::inline v0_1 {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kThreads = 4;
constexpr int kReflectionThreads = 8;
constexpr std::size_t kMostRecoveries = 10'000;
constexpr milliseconds kStopGrace{200};

// Tells two runs of a server apart.
std::string NewRun() {
  std::uint64_t number = 0;
  if (getrandom(&number, sizeof(number), 0) != sizeof(number)) {
    number = static_cast<std::uint64_t>(SystemClock().Now().time_since_epoch().count());
  }
  return absl::StrFormat("%016x", number);
}

class RealGrpcServer final : public GrpcServer {
 public:
  explicit RealGrpcServer(GrpcServerOptions options)
      : options_(std::move(options)),
        clock_(options_.clock != nullptr ? *options_.clock : SystemClock()),
        book_(kMostRecoveries),
        watchers_(options_.keep_events, NewRun(), options_.max_watchers),
        runner_(MakeThreadPool(kThreads), options_.max_calls, clock_) {
    if (options_.detector != nullptr) {
      detector_.emplace(options_.detector);
    }
    if (options_.control != nullptr && options_.store != nullptr) {
      recovery_.emplace(internal::RecoveryService::Parts{.store = options_.store,
                                                         .control = options_.control,
                                                         .detector = options_.detector,
                                                         .clock = &clock_},
                        runner_, book_, watchers_);
    }
  }
  ~RealGrpcServer() override { Stop(); }

  absl::Status Listen() {
    ABSL_ASSIGN_OR_RETURN(const auto credentials, internal::MakeServerCredentials(options_));
    // gRPC's reflection is for every server of the process, by linking its library already.
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options_.listen, credentials, &port);
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.max_request_bytes));
    // Otherwise a second server on the same port is no error, and gets half of the calls.
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    // A watcher whose machine has gone gives its place back.
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 10'000);
    builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                               options_.max_calls + options_.max_watchers);
    grpc::ResourceQuota quota("sipheal");
    quota.Resize(16 * options_.max_request_bytes + 64 * 1024 * 1024);
    // Reflection alone takes a thread for each of its streams. One queue: each takes one at once.
    quota.SetMaxThreads(kReflectionThreads);
    builder.SetSyncServerOption(grpc::ServerBuilder::SyncServerOption::NUM_CQS, 1);
    builder.SetResourceQuota(quota);
    if (detector_) builder.RegisterService(&*detector_);
    if (recovery_) builder.RegisterService(&*recovery_);
    Build(builder);
    const bool unix_socket = options_.listen.rfind("unix", 0) == 0;
    if (server_ == nullptr || (port == 0 && !unix_socket)) {
      return absl::UnavailableError(absl::StrFormat(
          "cannot listen on %s: it is in use, not an address of this machine, or the certificate "
          "does not fit its key",
          options_.listen));
    }
    address_ = options_.listen;
    if (!unix_socket) {
      address_ = address_.substr(0, address_.rfind(':') + 1) + std::to_string(port);
    }
    grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
    if (health != nullptr) {
      if (detector_) health->SetServingStatus("sipheal.v1.CrashDetectorService", true);
      if (recovery_) health->SetServingStatus("sipheal.v1.RecoveryService", true);
    }
    return absl::OkStatus();
  }

  void Publish(const RecoveryEvent& event) override {
    if (event.kind == RecoveryEvent::Kind::kStep || event.kind == RecoveryEvent::Kind::kOutcome) {
      book_.Note(event.recovery);
    }
    watchers_.Publish(internal::ToProto(event));
  }

  std::string address() const override { return address_; }

  void Stop() override {
    const std::lock_guard lock(stop_mutex_);
    if (server_ == nullptr) return;
    watchers_.Stop();
    server_->Shutdown(std::chrono::system_clock::now() + kStopGrace);
    server_->Wait();
    server_.reset();
  }

 private:
  // The standard health service is switched on by a flag of the whole process: it is put back.
  void Build(grpc::ServerBuilder& builder) {
    static std::mutex building;
    const std::lock_guard lock(building);
    const bool before = grpc::DefaultHealthCheckServiceEnabled();
    grpc::EnableDefaultHealthCheckService(true);
    server_ = builder.BuildAndStart();
    grpc::EnableDefaultHealthCheckService(before);
  }

  const GrpcServerOptions options_;
  const Clock& clock_;
  internal::RecoveryBook book_;
  internal::EventWatchers watchers_;
  internal::CallRunner runner_;
  std::optional<internal::DetectorService> detector_;
  std::optional<internal::RecoveryService> recovery_;
  std::mutex stop_mutex_;
  std::unique_ptr<grpc::Server> server_;
  std::string address_;
};

absl::Status CheckRange(const char* field, std::size_t value, std::size_t least, std::size_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("%s is %d: set it from %d to %d", field, value, least, most));
}

}  // namespace

RecoveryControl::~RecoveryControl() = default;
GrpcServer::~GrpcServer() = default;

absl::Status GrpcServerOptions::Validate() const {
  const bool unix_socket = listen.rfind("unix:", 0) == 0;
  if (listen.empty() || (!unix_socket && listen.rfind(':') == std::string::npos)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "listen is '%s': write address:port, [address]:port or unix:/path", listen));
  }
  if (plain_text && !internal::IsLocalTarget(listen)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "plain_text on %s, which others can reach: use TLS, or a loopback address", listen));
  }
  if (!plain_text && (tls.certificate_file.empty() || tls.key_file.empty())) {
    return absl::InvalidArgumentError(
        "tls.certificate_file and tls.key_file are needed: say who this server is");
  }
  if (!plain_text && !any_client && tls.ca_file.empty()) {
    return absl::InvalidArgumentError(
        "tls.ca_file is needed: say who signs the certificates of the clients (any_client takes "
        "them without one)");
  }
  if (detector == nullptr && (store == nullptr || control == nullptr)) {
    return absl::InvalidArgumentError(
        "there is nothing to serve: give a detector, or store and control");
  }
  if ((store == nullptr) != (control == nullptr)) {
    return absl::InvalidArgumentError("store and control are given together, or neither");
  }
  ABSL_RETURN_IF_ERROR(
      CheckRange("max_request_bytes", max_request_bytes, 16 * 1024, 64 * 1024 * 1024));
  ABSL_RETURN_IF_ERROR(CheckRange("keep_events", keep_events, 100, 1'000'000));
  ABSL_RETURN_IF_ERROR(
      CheckRange("max_watchers", static_cast<std::size_t>(std::max(max_watchers, 0)), 1, 1'000));
  return CheckRange("max_calls", static_cast<std::size_t>(std::max(max_calls, 0)), 1, 10'000);
}

absl::StatusOr<std::shared_ptr<GrpcServer>> MakeGrpcServer(GrpcServerOptions options) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  internal::KeepGrpc();
  auto server = std::make_shared<RealGrpcServer>(std::move(options));
  ABSL_RETURN_IF_ERROR(server->Listen());
  return server;
}

}  // namespace sipheal::inline v0_1
