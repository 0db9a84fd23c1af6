// SPDX-License-Identifier: Apache-2.0
// GrpcFront: what the command has over gRPC, by its configuration: the host's flows, reports of
// agents, and a server for these and for operators.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/config_reader.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/crash_detector.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/healer.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::cli {

class GrpcFront {
 public:
  virtual ~GrpcFront() = default;

  // Null when the configuration asks for nothing of it; Unimplemented when it does and this build
  // has no component grpc. Other errors name file, line and key.
  static absl::StatusOr<std::unique_ptr<GrpcFront>> Make(const LoadedConfig& loaded,
                                                         std::shared_ptr<LogSink> log);

  // Null: not configured.
  virtual std::shared_ptr<FlowResumer> resumer() const = 0;
  // `other`, joined with what is reported, when that is configured.
  virtual std::shared_ptr<CrashDetector> Join(std::shared_ptr<CrashDetector> other) const = 0;
  virtual absl::Status AddInstance(const std::string& name) = 0;
  virtual absl::Status RemoveInstance(const std::string& name) = 0;

  // Opens the port, when one is configured. The healer must outlive Stop.
  virtual absl::Status Serve(Healer& healer, std::shared_ptr<SessionStore> store) = 0;
  // Empty when it does not serve.
  virtual std::string address() const = 0;
  virtual void Stop() = 0;

 protected:
  GrpcFront() = default;
};

}  // namespace sipheal::inline v0_1::cli
