// SPDX-License-Identifier: Apache-2.0
#include "cli/grpc_front.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/joined_detector.h"

#if SIPHEAL_CLI_HAS_GRPC
#include "sipheal/adapters/grpc.h"
#include "sipheal/adapters/grpc_healer.h"
#endif

namespace sipheal::inline v0_1::cli {

#if SIPHEAL_CLI_HAS_GRPC
namespace {

constexpr std::chrono::seconds kReportSilence{3};

absl::Status At(const LoadedConfig& loaded, const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(),
                      absl::StrFormat("%s: %s", loaded.Where(path), std::string(status.message())));
}

class RealGrpcFront final : public GrpcFront {
 public:
  explicit RealGrpcFront(const LoadedConfig& loaded) : loaded_(loaded) {}
  ~RealGrpcFront() override { Stop(); }

  absl::Status Compose(std::shared_ptr<LogSink> log) {
    const Config& config = loaded_.config;
    if (!config.flow.grpc.target.empty()) {
      const GrpcFlowConfig& from = config.flow.grpc;
      auto made = MakeGrpcFlowResumer({.target = from.target,
                                       .tls = {from.ca_file, from.certificate_file, from.key_file},
                                       .plain_text = from.plain_text,
                                       .server_name = from.server_name,
                                       .max_in_flight = from.max_in_flight});
      if (!made.ok()) return At(loaded_, "flow.grpc.target", made.status());
      resumer_ = *std::move(made);
    }
    if (config.grpc.crash_reports) {
      GrpcCrashDetectorOptions options;
      for (const InstanceConfig& instance : config.instances) {
        options.instances.push_back(instance.name);
      }
      // Agents speak about once a second: see crash_detector.proto.
      options.silence =
          std::max<std::chrono::milliseconds>(config.detector.silence, kReportSilence);
      options.log = std::move(log);
      auto made = MakeGrpcCrashDetector(std::move(options));
      if (!made.ok()) return At(loaded_, "grpc.crash_reports", made.status());
      detector_ = *std::move(made);
    }
    return absl::OkStatus();
  }

  std::shared_ptr<FlowResumer> resumer() const override { return resumer_; }
  std::shared_ptr<CrashDetector> Join(std::shared_ptr<CrashDetector> other) const override {
    return detector_ == nullptr ? other : JoinDetectors(std::move(other), detector_);
  }
  absl::Status AddInstance(const std::string& name) override {
    return detector_ == nullptr ? absl::OkStatus() : detector_->AddInstance(name);
  }
  absl::Status RemoveInstance(const std::string& name) override {
    return detector_ == nullptr ? absl::OkStatus() : detector_->RemoveInstance(name);
  }

  absl::Status Serve(Healer& healer, std::shared_ptr<SessionStore> store) override {
    const GrpcConfig& from = loaded_.config.grpc;
    if (from.listen.empty()) return absl::OkStatus();
    GrpcServerOptions options;
    options.listen = from.listen;
    options.tls = {from.client_ca_file, from.certificate_file, from.key_file};
    options.any_client = from.any_client;
    options.plain_text = from.plain_text;
    options.detector = detector_;
    options.store = std::move(store);
    options.control = MakeHealerControl(healer);
    auto made = MakeGrpcServer(std::move(options));
    if (!made.ok()) return At(loaded_, "grpc.listen", made.status());
    server_ = *std::move(made);
    healer.AddListener(MakeGrpcEventListener(server_));
    return absl::OkStatus();
  }
  std::string address() const override { return server_ == nullptr ? "" : server_->address(); }
  void Stop() override {
    if (server_ != nullptr) server_->Stop();
  }

 private:
  const LoadedConfig loaded_;
  std::shared_ptr<FlowResumer> resumer_;
  std::shared_ptr<GrpcCrashDetector> detector_;
  std::shared_ptr<GrpcServer> server_;
};

}  // namespace
#endif

absl::StatusOr<std::unique_ptr<GrpcFront>> GrpcFront::Make(
    const LoadedConfig& loaded, [[maybe_unused]] std::shared_ptr<LogSink> log) {
  const Config& config = loaded.config;
  const bool flows = !config.flow.grpc.target.empty();
  if (!flows && config.grpc.listen.empty()) return std::unique_ptr<GrpcFront>();
#if SIPHEAL_CLI_HAS_GRPC
  auto front = std::make_unique<RealGrpcFront>(loaded);
  ABSL_RETURN_IF_ERROR(front->Compose(std::move(log)));
  return front;
#else
  return absl::UnimplementedError(absl::StrFormat(
      "this build of sipheal has no component 'grpc', which %s needs: build it with "
      "SIPHEAL_WITH_GRPC=ON",
      loaded.Where(flows ? "flow.grpc.target" : "grpc.listen")));
#endif
}

}  // namespace sipheal::inline v0_1::cli
