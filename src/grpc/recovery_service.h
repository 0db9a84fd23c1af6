// SPDX-License-Identifier: Apache-2.0
// RecoveryService: sessions and journals from the store, the rest from a RecoveryControl.
#pragma once

#include <memory>
#include <string>

#include "grpc/call_runner.h"
#include "grpc/event_watchers.h"
#include "grpc/recovery_book.h"
#include "sipheal/adapters/grpc.h"
#include "sipheal/v1/recovery.grpc.pb.h"

namespace sipheal::inline v0_1::internal {

class RecoveryService final : public v1::RecoveryService::CallbackService {
 public:
  struct Parts {
    std::shared_ptr<SessionStore> store;
    std::shared_ptr<RecoveryControl> control;
    std::shared_ptr<GrpcCrashDetector> detector;  // may be null
    const Clock* clock = nullptr;
  };
  // The three outlive the service.
  RecoveryService(Parts parts, CallRunner& runner, RecoveryBook& book, EventWatchers& watchers);

  grpc::ServerUnaryReactor* ReportCrash(grpc::CallbackServerContext* context,
                                        const v1::ReportCrashRequest* request,
                                        v1::ReportCrashResponse* response) override;
  grpc::ServerUnaryReactor* RecoverInstance(grpc::CallbackServerContext* context,
                                            const v1::RecoverInstanceRequest* request,
                                            v1::RecoverInstanceResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const v1::ListSessionsRequest* request,
                                         v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* GetSession(grpc::CallbackServerContext* context,
                                       const v1::GetSessionRequest* request,
                                       v1::GetSessionResponse* response) override;
  grpc::ServerUnaryReactor* ListRecoveries(grpc::CallbackServerContext* context,
                                           const v1::ListRecoveriesRequest* request,
                                           v1::ListRecoveriesResponse* response) override;
  grpc::ServerUnaryReactor* GetRecovery(grpc::CallbackServerContext* context,
                                        const v1::GetRecoveryRequest* request,
                                        v1::GetRecoveryResponse* response) override;
  grpc::ServerUnaryReactor* ExplainSession(grpc::CallbackServerContext* context,
                                           const v1::ExplainSessionRequest* request,
                                           v1::ExplainSessionResponse* response) override;
  grpc::ServerWriteReactor<v1::WatchEventsResponse>* WatchEvents(
      grpc::CallbackServerContext* context, const v1::WatchEventsRequest* request) override;
  grpc::ServerUnaryReactor* PauseRecovery(grpc::CallbackServerContext* context,
                                          const v1::PauseRecoveryRequest* request,
                                          v1::PauseRecoveryResponse* response) override;
  grpc::ServerUnaryReactor* ResumeRecovery(grpc::CallbackServerContext* context,
                                           const v1::ResumeRecoveryRequest* request,
                                           v1::ResumeRecoveryResponse* response) override;
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusResponse* response) override;

 private:
  // The newest epoch of a session that the store has.
  absl::StatusOr<Session> FindSession(const CallContext& ctx, const std::string& id) const;

  const Parts parts_;
  CallRunner& runner_;
  RecoveryBook& book_;
  EventWatchers& watchers_;
};

}  // namespace sipheal::inline v0_1::internal
