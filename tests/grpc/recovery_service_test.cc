// SPDX-License-Identifier: Apache-2.0
// RecoveryService over a socket: what is asked for, and what is turned away.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>

#include <condition_variable>
#include <filesystem>
#include <future>
#include <iterator>
#include <limits>
#include <list>
#include <mutex>
#include <thread>

#include "tests/grpc/served.h"

namespace sipheal {
namespace {

using ::testing::HasSubstr;
using tests::Finished;
using tests::Step;

class RecoveryServiceTest : public tests::ServedTest {
 protected:
  void Put(const std::string& id, const std::string& instance, std::uint32_t epoch = 0) {
    Session session;
    session.id = id;
    session.epoch = epoch;
    session.incarnation = {instance, "life"};
    session.call_id = "\xff" + id;
    session.channel_id = "channel-" + id;
    session.channel_name = "PJSIP/\xfe";
    ASSERT_TRUE(store_->Put({}, {{session}, false}).ok());
  }
};

TEST_F(RecoveryServiceTest, SessionsAreListedPageByPage) {
  Serve();
  for (int i = 0; i < 7; ++i) Put("s" + std::to_string(i), i % 2 == 0 ? "a" : "b");
  v1::ListSessionsRequest request;
  request.set_page_size(3);
  std::vector<std::string> ids;
  do {
    v1::ListSessionsResponse page;
    ASSERT_TRUE(recovery_->ListSessions(Call().get(), request, &page).ok());
    for (const v1::Session& session : page.sessions()) {
      ids.push_back(session.id());
      EXPECT_EQ(session.call_id(), "\xff" + session.id());
      // A name that somebody made unreadable does not make the list unreadable.
      EXPECT_EQ(session.channel_name(), "PJSIP/\xef\xbf\xbd");
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(ids, ::testing::ElementsAre("s0", "s1", "s2", "s3", "s4", "s5", "s6"));
  request.set_instance("b");
  request.set_page_size(0);
  v1::ListSessionsResponse page;
  ASSERT_TRUE(recovery_->ListSessions(Call().get(), request, &page).ok());
  EXPECT_EQ(page.sessions_size(), 3);
}

TEST_F(RecoveryServiceTest, APageOfLargeSessionsFitsIntoAnAnswer) {
  Serve();
  for (int i = 0; i < 100; ++i) {
    Session session;
    session.id = "s" + std::to_string(i);
    session.incarnation = {"a", "life"};
    session.flow.host_data = std::string(64 * 1024, 'x');
    ASSERT_TRUE(store_->Put({}, {{session}, false}).ok());
  }
  v1::ListSessionsRequest request;
  request.set_page_size(1'000);
  int seen = 0;
  do {
    v1::ListSessionsResponse page;
    const grpc::Status status = recovery_->ListSessions(Call().get(), request, &page);
    ASSERT_TRUE(status.ok()) << status.error_message();
    seen += page.sessions_size();
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(seen, 100);
}

TEST_F(RecoveryServiceTest, ASessionIsFoundByItsId) {
  Serve();
  Put("one", "a");
  Put("two", "b", 4);
  v1::GetSessionRequest request;
  v1::GetSessionResponse response;
  request.set_session_id("two");
  ASSERT_TRUE(recovery_->GetSession(Call().get(), request, &response).ok());
  EXPECT_EQ(response.session().epoch(), 4u);
  EXPECT_EQ(response.session().incarnation().instance(), "b");
  request.set_session_id("three");
  EXPECT_EQ(recovery_->GetSession(Call().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
  request.set_session_id("no/name");
  EXPECT_EQ(recovery_->GetSession(Call().get(), request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RecoveryServiceTest, AJournalIsToldStepByStep) {
  Serve();
  Put("one", "a");
  const auto leases = store_->Claim({}, {{{"one", 0}}, "me"});
  ASSERT_TRUE(leases.ok() && (*leases)[0].ok());
  JournalEntry entry;
  entry.session = {"one", 0};
  entry.fence = (*leases)[0]->fence;
  entry.stage = RecoveryStage::kInviting;
  entry.attempt = 1;
  entry.target = {"b", "life-b"};
  entry.channel_id = "channel";
  entry.cseq = 1'017;
  ASSERT_TRUE(store_->Advance({}, {{{entry, {}}}}).ok());
  v1::GetRecoveryRequest request;
  v1::GetRecoveryResponse response;
  request.set_session_id("one");
  ASSERT_TRUE(recovery_->GetRecovery(Call().get(), request, &response).ok());
  const v1::RecoveryStep& step = response.steps(response.steps_size() - 1);
  EXPECT_EQ(step.stage(), v1::RECOVERY_STAGE_INVITING);
  EXPECT_EQ(step.target().instance(), "b");
  EXPECT_EQ(step.cseq(), 1'017u);
  EXPECT_EQ(step.outcome(), v1::OUTCOME_UNSPECIFIED);
  request.set_session_id("two");
  EXPECT_EQ(recovery_->GetRecovery(Call().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST_F(RecoveryServiceTest, RecoveriesAreListedTheNewestFirst) {
  Serve();
  for (int i = 0; i < 5; ++i) {
    server_->Publish(Step("s" + std::to_string(i), RecoveryStage::kClaimed));
  }
  server_->Publish(Finished("s1"));
  v1::ListRecoveriesRequest request;
  request.set_page_size(2);
  std::vector<std::string> seen;
  do {
    v1::ListRecoveriesResponse page;
    ASSERT_TRUE(recovery_->ListRecoveries(Call().get(), request, &page).ok());
    for (const v1::Recovery& one : page.recoveries()) {
      seen.push_back(one.session_id() + (one.outcome() == v1::OUTCOME_RECOVERED ? "!" : ""));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(seen, ::testing::ElementsAre("s4", "s3", "s2", "s1!", "s0"));
  v1::ListRecoveriesResponse page;
  request.set_page_token("x");
  EXPECT_EQ(recovery_->ListRecoveries(Call().get(), request, &page).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(RecoveryServiceTest, WhatWouldBeDoneIsExplained) {
  Serve();
  Put("one", "a");
  v1::ExplainSessionRequest request;
  v1::ExplainSessionResponse response;
  request.set_session_id("one");
  ASSERT_TRUE(recovery_->ExplainSession(Call().get(), request, &response).ok());
  EXPECT_EQ(response.verdict(), "recoverable");
  EXPECT_EQ(response.action(), v1::PLANNED_ACTION_REINVITE);
  ASSERT_EQ(response.variables_size(), 1);
  EXPECT_EQ(response.variables(0).value(), "\xffone");
}

TEST_F(RecoveryServiceTest, RecoveryIsPausedResumedAndBegunByHand) {
  Serve();
  std::string recovered;
  control_->on_recover = [&](const CallContext&, const std::string& instance) {
    recovered = instance;
    return instance == "a" ? absl::OkStatus() : absl::NotFoundError("no session of it");
  };
  v1::RecoverInstanceRequest recover;
  v1::RecoverInstanceResponse done;
  recover.set_instance("a");
  EXPECT_TRUE(recovery_->RecoverInstance(Call().get(), recover, &done).ok());
  EXPECT_EQ(recovered, "a");
  recover.set_instance("z");
  EXPECT_EQ(recovery_->RecoverInstance(Call().get(), recover, &done).error_code(),
            grpc::StatusCode::NOT_FOUND);
  recover.clear_instance();
  EXPECT_EQ(recovery_->RecoverInstance(Call().get(), recover, &done).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::PauseRecoveryResponse paused;
  ASSERT_TRUE(recovery_->PauseRecovery(Call().get(), {}, &paused).ok());
  v1::GetStatusResponse status;
  ASSERT_TRUE(recovery_->GetStatus(Call().get(), {}, &status).ok());
  EXPECT_TRUE(status.paused());
  EXPECT_EQ(status.recoveries(), 2u);
  EXPECT_EQ(status.lost(0).instance(), "a");
  v1::ResumeRecoveryResponse resumed;
  ASSERT_TRUE(recovery_->ResumeRecovery(Call().get(), {}, &resumed).ok());
  EXPECT_FALSE(control_->state().paused);
}

TEST_F(RecoveryServiceTest, DeadlineAndCancellationReachWhatBlocks) {
  Serve();
  std::promise<CallContext> begun;
  std::promise<void> ended;
  control_->on_recover = [&](const CallContext& ctx, const std::string&) {
    begun.set_value(ctx);
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    changed.wait(lock, ctx.stop, [] { return false; });
    ended.set_value();
    return absl::CancelledError("stopped");
  };
  const auto context = Call();
  auto result = std::async(std::launch::async, [&] {
    v1::RecoverInstanceRequest request;
    request.set_instance("a");
    v1::RecoverInstanceResponse response;
    return recovery_->RecoverInstance(context.get(), request, &response);
  });
  const CallContext seen = begun.get_future().get();
  EXPECT_LT(seen.Remaining(SystemClock().Monotonic()), std::chrono::seconds(31));
  context->TryCancel();
  EXPECT_EQ(result.get().error_code(), grpc::StatusCode::CANCELLED);
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(20)), std::future_status::ready);
}

TEST_F(RecoveryServiceTest, APartThatThrowsIsAnErrorOfThatCall) {
  Serve();
  control_->on_recover = [](const CallContext&, const std::string&) -> absl::Status {
    throw std::runtime_error("boom");
  };
  v1::RecoverInstanceRequest request;
  request.set_instance("a");
  v1::RecoverInstanceResponse response;
  const grpc::Status status = recovery_->RecoverInstance(Call().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_THAT(status.error_message(), HasSubstr("boom"));
}

TEST_F(RecoveryServiceTest, MoreCallsThanAllowedAreTurnedAway) {
  Serve([](GrpcServerOptions& options) { options.max_calls = 1; });
  std::promise<void> begun;
  std::promise<void> go_on;
  control_->on_recover = [&](const CallContext&, const std::string&) {
    begun.set_value();
    go_on.get_future().wait();
    return absl::OkStatus();
  };
  auto first = std::async(std::launch::async, [&] {
    v1::RecoverInstanceRequest request;
    request.set_instance("a");
    v1::RecoverInstanceResponse response;
    return recovery_->RecoverInstance(Call().get(), request, &response);
  });
  begun.get_future().wait();
  v1::ListSessionsResponse sessions;
  EXPECT_EQ(recovery_->ListSessions(Call().get(), {}, &sessions).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  v1::PauseRecoveryResponse paused;
  EXPECT_TRUE(recovery_->PauseRecovery(Call().get(), {}, &paused).ok());
  go_on.set_value();
  EXPECT_TRUE(first.get().ok());
}

TEST_F(RecoveryServiceTest, ARequestBeyondTheLimitIsTurnedAway) {
  Serve([](GrpcServerOptions& options) { options.max_request_bytes = 16 * 1024; });
  v1::RecoverInstanceRequest request;
  request.set_instance(std::string(20'000, 'x'));
  v1::RecoverInstanceResponse response;
  EXPECT_EQ(recovery_->RecoverInstance(Call().get(), request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
}

std::ptrdiff_t Threads() {
  return std::distance(std::filesystem::directory_iterator("/proc/self/task"), {});
}

// gRPC's reflection keeps a thread for each stream.
TEST_F(RecoveryServiceTest, IdleStreamsOfReflectionTakeFewThreads) {
  Serve();
  const std::ptrdiff_t before = Threads();
  grpc::GenericStub reflection(channel_);
  grpc::CompletionQueue queue;
  const auto next = [&] {
    void* tag = nullptr;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  grpc::Slice list_services("\x3a\x00", 2);
  grpc::ByteBuffer request(&list_services, 1);
  struct Stream {
    grpc::ClientContext context;
    std::unique_ptr<grpc::GenericClientAsyncReaderWriter> calls;
    grpc::Status status;
  };
  std::list<Stream> streams;
  int refused = 0;
  for (int i = 0; i < 40; ++i) {
    Stream& stream = streams.emplace_back();
    stream.context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    stream.calls = reflection.PrepareCall(
        &stream.context, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", &queue);
    stream.calls->StartCall(nullptr);
    next();
    stream.calls->Write(request, nullptr);
    next();
    grpc::ByteBuffer answer;
    stream.calls->Read(&answer, nullptr);
    if (next()) continue;  // it is answered, and stays open
    stream.calls->Finish(&stream.status, nullptr);
    next();
    EXPECT_EQ(stream.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    ++refused;
  }
  EXPECT_GT(refused, 0);
  EXPECT_LT(refused, 40);
  EXPECT_LT(Threads() - before, 30);
  v1::GetStatusResponse status;
  EXPECT_TRUE(recovery_->GetStatus(Call().get(), {}, &status).ok());
  for (Stream& stream : streams) stream.context.TryCancel();
  queue.Shutdown();
}

TEST_F(RecoveryServiceTest, StopEndsWhatIsUnderWay) {
  Serve();
  std::promise<void> begun;
  control_->on_recover = [&](const CallContext& ctx, const std::string&) {
    begun.set_value();
    std::mutex mutex;
    std::condition_variable_any changed;
    std::unique_lock lock(mutex);
    changed.wait(lock, ctx.stop, [] { return false; });
    return absl::CancelledError("stopped");
  };
  auto result = std::async(std::launch::async, [&] {
    v1::RecoverInstanceRequest request;
    request.set_instance("a");
    v1::RecoverInstanceResponse response;
    return recovery_->RecoverInstance(Call().get(), request, &response);
  });
  begun.get_future().wait();
  server_->Stop();
  EXPECT_FALSE(result.get().ok());
  server_->Stop();
  server_->Publish(Finished("late"));
}

TEST_F(RecoveryServiceTest, WithoutADetectorNoCrashIsReported) {
  Serve();
  v1::ReportCrashResponse response;
  EXPECT_EQ(recovery_->ReportCrash(Call().get(), {}, &response).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
  v1::ReportResponse reported;
  EXPECT_EQ(detector_->Report(Call().get(), {}, &reported).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST_F(RecoveryServiceTest, WrongReportsAreNamedAndTheOthersTaken) {
  const auto detector = MakeGrpcCrashDetector({.instances = {"a"}});
  ASSERT_TRUE(detector.ok());
  Serve([&](GrpcServerOptions& options) { options.detector = *detector; });
  v1::ReportRequest request;
  request.set_reporter("agent");
  const auto add = [&] {
    v1::LifeReport& report = *request.add_reports();
    report.set_instance("a");
    report.set_life("1");
    report.set_state(v1::LIFE_STATE_ALIVE);
    return &report;
  };
  add();
  add()->set_instance("z");
  add()->clear_state();
  add()->set_state(static_cast<v1::LifeState>(77));
  add()->mutable_observed_at()->set_nanos(-1);
  add()->mutable_last_alive()->set_seconds(std::numeric_limits<std::int64_t>::max());
  add()->mutable_valid_for()->set_seconds(-1);
  v1::ReportResponse response;
  ASSERT_TRUE(detector_->Report(Call().get(), request, &response).ok());
  ASSERT_EQ(response.problems_size(), 6);
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(response.problems(i).index(), static_cast<std::uint32_t>(i + 1));
    EXPECT_EQ(response.problems(i).kind(),
              i == 0 ? v1::REPORT_PROBLEM_KIND_UNKNOWN_INSTANCE : v1::REPORT_PROBLEM_KIND_INVALID)
        << i;
    EXPECT_FALSE(response.problems(i).message().empty());
  }
  for (int i = 0; i < 1'001; ++i) add();
  EXPECT_EQ(detector_->Report(Call().get(), request, &response).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  v1::AnnounceStopRequest stop;
  v1::AnnounceStopResponse stopped;
  stop.set_instance("a");
  EXPECT_EQ(detector_->AnnounceStop(Call().get(), stop, &stopped).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  stop.mutable_until()->set_seconds(1);
  EXPECT_TRUE(detector_->AnnounceStop(Call().get(), stop, &stopped).ok());
  stop.set_instance("z");
  EXPECT_EQ(detector_->AnnounceStop(Call().get(), stop, &stopped).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(GrpcServerOptionsTest, WrongOptionsAreNamed) {
  const auto complaint = [](const std::function<void(GrpcServerOptions&)>& change) {
    GrpcServerOptions options;
    options.listen = "127.0.0.1:0";
    options.plain_text = true;
    options.store = MakeMemorySessionStore();
    options.control = std::make_shared<tests::FakeControl>();
    change(options);
    const auto made = MakeGrpcServer(options);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    return std::string(made.status().message());
  };
  using Options = GrpcServerOptions;
  EXPECT_THAT(complaint([](Options& o) { o.listen = ""; }), HasSubstr("listen"));
  EXPECT_THAT(complaint([](Options& o) { o.listen = "127.0.0.1"; }), HasSubstr("listen"));
  for (const char* open : {"0.0.0.0:0", "[::]:0", "192.0.2.1:0"}) {
    EXPECT_THAT(complaint([&](Options& o) { o.listen = open; }), HasSubstr("plain_text")) << open;
  }
  EXPECT_THAT(complaint([](Options& o) { o.plain_text = false; }), HasSubstr("certificate_file"));
  EXPECT_THAT(complaint([](Options& o) {
                o.plain_text = false;
                o.tls.certificate_file = "/c";
                o.tls.key_file = "/k";
              }),
              HasSubstr("ca_file"));
  EXPECT_THAT(complaint([](Options& o) { o.store = nullptr; }), HasSubstr("nothing to serve"));
  EXPECT_THAT(complaint([](Options& o) { o.keep_events = 1; }), HasSubstr("keep_events"));
  EXPECT_THAT(complaint([](Options& o) { o.max_watchers = -1; }), HasSubstr("max_watchers"));
  EXPECT_THAT(complaint([](Options& o) { o.max_calls = 0; }), HasSubstr("max_calls"));
  EXPECT_THAT(complaint([](Options& o) { o.max_request_bytes = 1; }),
              HasSubstr("max_request_bytes"));
}

TEST(GrpcServerTest, APortThatIsTakenIsUnavailable) {
  GrpcServerOptions options;
  options.listen = "127.0.0.1:0";
  options.plain_text = true;
  options.store = MakeMemorySessionStore();
  options.control = std::make_shared<tests::FakeControl>();
  const auto first = MakeGrpcServer(options);
  ASSERT_TRUE(first.ok()) << first.status();
  options.listen = (*first)->address();
  EXPECT_NE(options.listen, "127.0.0.1:0");
  const auto second = MakeGrpcServer(options);
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(options.listen));
}

}  // namespace
}  // namespace sipheal
