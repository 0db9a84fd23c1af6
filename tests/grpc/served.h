// SPDX-License-Identifier: Apache-2.0
// A GrpcServer over a store in memory and a control that remembers, and a client of it.
#pragma once

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/adapters/grpc.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/v1/crash_detector.grpc.pb.h"
#include "sipheal/v1/recovery.grpc.pb.h"
#include "tests/grpc/scratch_folder.h"

namespace sipheal::tests {

class FakeControl final : public RecoveryControl {
 public:
  absl::Status Recover(const CallContext& ctx, const std::string& instance) override {
    if (on_recover) return on_recover(ctx, instance);
    return absl::OkStatus();
  }
  absl::StatusOr<Explanation> Explain(const CallContext& /*ctx*/, const Session& session) override {
    Explanation explanation;
    explanation.verdict = "recoverable";
    explanation.action = Explanation::Action::kReinvite;
    explanation.variables = {{"PJSIP_RECOVERY_CALL-ID", session.call_id}};
    return explanation;
  }
  void Pause() override { Set(true); }
  void Resume() override { Set(false); }
  State state() const override {
    const std::lock_guard lock(mutex_);
    return state_;
  }

  std::function<absl::Status(const CallContext&, const std::string&)> on_recover;

 private:
  void Set(bool paused) {
    const std::lock_guard lock(mutex_);
    state_.paused = paused;
  }

  mutable std::mutex mutex_;
  State state_{.recoveries = 2, .instances = {"a", "b"}, .lost = {{"a", "1"}}};
};

class ServedTest : public ::testing::Test {
 protected:
  void Serve(std::function<void(GrpcServerOptions&)> change = nullptr) {
    GrpcServerOptions options;
    options.listen = "unix:" + folder_.File("server.sock");
    options.plain_text = true;
    options.store = store_;
    options.control = control_;
    if (change) change(options);
    auto made = MakeGrpcServer(std::move(options));
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    channel_ = grpc::CreateChannel(server_->address(), grpc::InsecureChannelCredentials());
    recovery_ = v1::RecoveryService::NewStub(channel_);
    detector_ = v1::CrashDetectorService::NewStub(channel_);
  }

  // A context for one call that takes no longer than a test may.
  static std::unique_ptr<grpc::ClientContext> Call() {
    auto context = std::make_unique<grpc::ClientContext>();
    context->set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return context;
  }

  const ScratchFolder folder_;
  const std::shared_ptr<SessionStore> store_ = MakeMemorySessionStore();
  const std::shared_ptr<FakeControl> control_ = std::make_shared<FakeControl>();
  std::shared_ptr<GrpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::RecoveryService::Stub> recovery_;
  std::unique_ptr<v1::CrashDetectorService::Stub> detector_;
};

inline RecoveryEvent Finished(const std::string& session) {
  RecoveryEvent event;
  event.kind = RecoveryEvent::Kind::kOutcome;
  event.recovery.session = {session, 0};
  event.recovery.stage = RecoveryStage::kFinished;
  event.recovery.outcome = Outcome::kRecovered;
  return event;
}

inline RecoveryEvent Step(const std::string& session, RecoveryStage stage) {
  RecoveryEvent event;
  event.kind = RecoveryEvent::Kind::kStep;
  event.recovery.session = {session, 0};
  event.recovery.stage = stage;
  return event;
}

}  // namespace sipheal::tests
