// SPDX-License-Identifier: Apache-2.0
// CrashDetectorService, for a GrpcCrashDetector. Nothing here blocks.
#pragma once

#include <memory>

#include "sipheal/adapters/grpc.h"
#include "sipheal/v1/crash_detector.grpc.pb.h"

namespace sipheal::inline v0_1::internal {

class DetectorService final : public v1::CrashDetectorService::CallbackService {
 public:
  explicit DetectorService(std::shared_ptr<GrpcCrashDetector> detector);

  grpc::ServerUnaryReactor* Report(grpc::CallbackServerContext* context,
                                   const v1::ReportRequest* request,
                                   v1::ReportResponse* response) override;
  grpc::ServerUnaryReactor* AnnounceStop(grpc::CallbackServerContext* context,
                                         const v1::AnnounceStopRequest* request,
                                         v1::AnnounceStopResponse* response) override;

 private:
  const std::shared_ptr<GrpcCrashDetector> detector_;
};

}  // namespace sipheal::inline v0_1::internal
