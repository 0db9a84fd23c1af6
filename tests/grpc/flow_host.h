// SPDX-License-Identifier: Apache-2.0
// A host in C++ that serves FlowResumerService: what it is asked goes to a FakeFlowResumer, unless
// the test has an answer of its own.
#pragma once

#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "sipheal/testing/fake_flow_resumer.h"
#include "sipheal/v1/flow_resumer.grpc.pb.h"

namespace sipheal::tests {

// What of a request the fake looks at.
inline FlowResumer::ResumeParams FromRequest(const v1::ResumeRequest& request) {
  FlowResumer::ResumeParams params;
  params.session.id = request.session().id();
  params.session.epoch = request.session().epoch();
  params.session.group = request.session().group();
  const v1::FlowState& flow = request.session().flow();
  if (flow.has_bridge()) {
    params.session.flow.bridge = BridgeMembership{.id = flow.bridge().id(),
                                                  .name = flow.bridge().name(),
                                                  .type = flow.bridge().type(),
                                                  .conference = flow.bridge().conference()};
  }
  if (flow.has_playback()) params.session.flow.playback = Playback{.id = flow.playback().id()};
  params.instance = request.instance();
  params.channel_id = request.channel_id();
  for (const v1::Partner& partner : request.partners()) {
    params.partners.push_back(
        {partner.session_id(), partner.instance(), partner.channel_id(), partner.lived_there()});
  }
  params.first = request.first();
  return params;
}

class FlowHost final : public v1::FlowResumerService::Service {
 public:
  using Answer =
      std::function<grpc::Status(grpc::ServerContext& context, const v1::ResumeRequest& request,
                                 v1::ResumeResponse& response)>;

  ~FlowHost() override { Stop(); }

  // False when it cannot listen there.
  bool Start(const std::string& address, std::shared_ptr<grpc::ServerCredentials> credentials =
                                             grpc::InsecureServerCredentials()) {
    grpc::ServerBuilder builder;
    builder.AddListeningPort(address, std::move(credentials), &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    return server_ != nullptr;
  }
  // Calls under way are cancelled.
  void Stop() {
    if (server_ == nullptr) return;
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }
  int port() const { return port_; }

  void SetAnswer(Answer answer) {
    const std::lock_guard lock(mutex_);
    answer_ = std::move(answer);
  }
  testing::FakeFlowResumer& fake() { return fake_; }

  grpc::Status Resume(grpc::ServerContext* context, const v1::ResumeRequest* request,
                      v1::ResumeResponse* response) override {
    Answer answer;
    {
      const std::lock_guard lock(mutex_);
      answer = answer_;
    }
    if (answer) return answer(*context, *request, *response);
    const absl::Status status = fake_.Resume({}, FromRequest(*request));
    if (!status.ok()) {
      return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
    }
    response->set_result(v1::ResumeResponse::RESULT_RESUMED);
    return grpc::Status::OK;
  }

 private:
  testing::FakeFlowResumer fake_;
  std::mutex mutex_;
  Answer answer_;
  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace sipheal::tests
