// SPDX-License-Identifier: Apache-2.0
// What waits for a thread and what does not: RecoveryService over an executor that the test runs.
#include "grpc/call_runner.h"

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>

#include "grpc/recovery_service.h"
#include "sipheal/testing/fake_clock.h"
#include "tests/grpc/served.h"

namespace sipheal {
namespace {

// Keeps what is posted until the test runs it.
class HeldExecutor final : public Executor {
 public:
  void Post(std::function<void()> task) override {
    const std::lock_guard lock(mutex_);
    tasks_.push_back(std::move(task));
    posted_.notify_all();
  }
  // Waits until there is one.
  std::function<void()> Take() {
    std::unique_lock lock(mutex_);
    posted_.wait(lock, [&] { return !tasks_.empty(); });
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }
  std::size_t size() {
    const std::lock_guard lock(mutex_);
    return tasks_.size();
  }

 private:
  std::mutex mutex_;
  std::condition_variable posted_;
  std::deque<std::function<void()>> tasks_;
};

class CallRunnerTest : public ::testing::Test {
 protected:
  CallRunnerTest() {
    grpc::ServerBuilder builder;
    const std::string address = "unix:" + folder_.File("server.sock");
    builder.AddListeningPort(address, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    stub_ = v1::RecoveryService::NewStub(
        grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  }
  ~CallRunnerTest() override {
    server_->Shutdown();
    server_->Wait();
  }

  // Under way until its task was run.
  std::future<grpc::Status> Recover(bool with_deadline = true) {
    return std::async(std::launch::async, [this, with_deadline] {
      grpc::ClientContext context;
      if (with_deadline) context.set_deadline(Soon());
      v1::RecoverInstanceRequest request;
      request.set_instance("a");
      v1::RecoverInstanceResponse response;
      return stub_->RecoverInstance(&context, request, &response);
    });
  }
  static std::chrono::system_clock::time_point Soon() {
    return std::chrono::system_clock::now() + std::chrono::seconds(10);
  }

  const tests::ScratchFolder folder_;
  testing::FakeClock clock_;
  const std::shared_ptr<HeldExecutor> executor_ = std::make_shared<HeldExecutor>();
  const std::shared_ptr<tests::FakeControl> control_ = std::make_shared<tests::FakeControl>();
  internal::CallRunner runner_{executor_, 8, clock_};
  internal::RecoveryBook book_{100};
  internal::EventWatchers watchers_{100, "run", 1};
  internal::RecoveryService service_{
      {.store = MakeMemorySessionStore(), .control = control_, .clock = &clock_},
      runner_,
      book_,
      watchers_};
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<v1::RecoveryService::Stub> stub_;
};

TEST_F(CallRunnerTest, WhatIsDoneAtOnceWaitsForNoThread) {
  const auto call = [](auto method) {
    grpc::ClientContext context;
    context.set_deadline(Soon());
    return method(&context).ok();
  };
  v1::PauseRecoveryResponse paused;
  EXPECT_TRUE(call([&](auto* context) { return stub_->PauseRecovery(context, {}, &paused); }));
  EXPECT_TRUE(control_->state().paused);
  v1::GetStatusResponse status;
  EXPECT_TRUE(call([&](auto* context) { return stub_->GetStatus(context, {}, &status); }));
  EXPECT_TRUE(status.paused());
  v1::ListRecoveriesResponse page;
  EXPECT_TRUE(call([&](auto* context) { return stub_->ListRecoveries(context, {}, &page); }));
  v1::ResumeRecoveryResponse resumed;
  EXPECT_TRUE(call([&](auto* context) { return stub_->ResumeRecovery(context, {}, &resumed); }));
  EXPECT_FALSE(control_->state().paused);
  EXPECT_EQ(executor_->size(), 0u);
}

TEST_F(CallRunnerTest, WhatItsCallerGaveUpWhileItWaitedIsNotBegun) {
  bool begun = false;
  control_->on_recover = [&](const CallContext&, const std::string&) {
    begun = true;
    return absl::OkStatus();
  };
  auto answer = Recover();
  const auto task = executor_->Take();
  clock_.Advance(std::chrono::seconds(11));
  task();
  EXPECT_EQ(answer.get().error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_FALSE(begun);
}

TEST_F(CallRunnerTest, ACallWithoutADeadlineHasAMinute) {
  std::chrono::nanoseconds left{};
  control_->on_recover = [&](const CallContext& ctx, const std::string&) {
    left = ctx.Remaining(clock_.Monotonic());
    return absl::OkStatus();
  };
  auto answer = Recover(/*with_deadline=*/false);
  executor_->Take()();
  EXPECT_TRUE(answer.get().ok());
  EXPECT_EQ(left, std::chrono::seconds(60));
}

}  // namespace
}  // namespace sipheal
