// SPDX-License-Identifier: Apache-2.0
// The flow resumer over gRPC: what a host answers, and what becomes of that.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <future>
#include <mutex>
#include <stop_token>
#include <thread>
#include <vector>

#include "sipheal/adapters/grpc.h"
#include "tests/grpc/flow_host.h"
#include "tests/grpc/scratch_folder.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::HasSubstr;

// A door that calls wait at.
class Door {
 public:
  void Open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }
  void Wait() {
    std::unique_lock lock(mutex_);
    most_ = std::max(most_, ++inside_);
    changed_.notify_all();
    changed_.wait(lock, [&] { return open_; });
    --inside_;
  }
  void AwaitInside(int count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return inside_ >= count; });
  }
  int most() const {
    const std::lock_guard lock(mutex_);
    return most_;
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  int inside_ = 0;
  int most_ = 0;
  bool open_ = false;
};

class GrpcFlowResumerTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(host_.Start(address_)); }

  std::shared_ptr<FlowResumer> Make(int max_in_flight = 32,
                                    milliseconds patience = milliseconds(500)) {
    auto made = MakeGrpcFlowResumer({.target = address_,
                                     .plain_text = true,
                                     .max_in_flight = max_in_flight,
                                     .connect_patience = patience});
    EXPECT_TRUE(made.ok()) << made.status();
    return *made;
  }
  static FlowResumer::ResumeParams Params(const std::string& id = "one") {
    FlowResumer::ResumeParams params;
    params.session.id = id;
    params.instance = "b";
    params.channel_id = "channel-" + id;
    return params;
  }
  static CallContext Soon() { return CallContext::WithTimeout(seconds(20)); }

  const tests::ScratchFolder folder_;
  const std::string address_ = "unix:" + folder_.File("host.sock");
  tests::FlowHost host_;
};

TEST_F(GrpcFlowResumerTest, TheHostsCodeDecidesWhetherItIsAskedAgain) {
  const auto resumer = Make(32, milliseconds(0));
  for (int code = 1; code <= 16; ++code) {
    host_.SetAnswer([code](auto&, const auto&, auto&) {
      return grpc::Status(static_cast<grpc::StatusCode>(code), "the bridge is\r\nfull");
    });
    const absl::Status status = resumer->Resume(Soon(), Params());
    const auto given = static_cast<absl::StatusCode>(code);
    const bool kept = given == absl::StatusCode::kFailedPrecondition ||
                      given == absl::StatusCode::kInvalidArgument ||
                      given == absl::StatusCode::kResourceExhausted;
    EXPECT_EQ(status.code(), kept ? given : absl::StatusCode::kUnavailable) << code;
    EXPECT_THAT(std::string(status.message()), HasSubstr("the bridge is??full")) << code;
  }
}

TEST_F(GrpcFlowResumerTest, AnAnswerWithoutAKnownResultIsNoSuccess) {
  const auto resumer = Make();
  for (const int result : {0, 2, 77, -1}) {
    host_.SetAnswer([result](auto&, const auto&, v1::ResumeResponse& response) {
      response.set_result(static_cast<v1::ResumeResponse::Result>(result));
      return grpc::Status::OK;
    });
    EXPECT_TRUE(absl::IsUnavailable(resumer->Resume(Soon(), Params()))) << result;
  }
}

TEST_F(GrpcFlowResumerTest, AHugeTextOfTheHostIsCut) {
  const auto resumer = Make();
  host_.SetAnswer([](auto&, const auto&, auto&) {
    return grpc::Status(grpc::StatusCode::FAILED_PRECONDITION, std::string(4'000, 'x'));
  });
  const absl::Status status = resumer->Resume(Soon(), Params());
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_LT(status.message().size(), 300u);
}

TEST_F(GrpcFlowResumerTest, AnAnswerBeyondTheLimitIsResourceExhausted) {
  const auto resumer = Make();
  host_.SetAnswer([](auto&, const auto&, v1::ResumeResponse& response) {
    response.set_result(v1::ResumeResponse::RESULT_RESUMED);
    response.GetReflection()->MutableUnknownFields(&response)->AddLengthDelimited(
        99, std::string(100'000, 'x'));
    return grpc::Status::OK;
  });
  const absl::StatusCode code = resumer->Resume(Soon(), Params()).code();
  EXPECT_EQ(code, absl::StatusCode::kResourceExhausted);
}

TEST_F(GrpcFlowResumerTest, TheDeadlineIsPassedThrough) {
  const auto resumer = Make();
  std::chrono::system_clock::duration left{};
  host_.SetAnswer([&left](grpc::ServerContext& context, const auto&, auto& response) {
    left = context.deadline() - std::chrono::system_clock::now();
    response.set_result(v1::ResumeResponse::RESULT_RESUMED);
    return grpc::Status::OK;
  });
  ASSERT_TRUE(resumer->Resume(CallContext::WithTimeout(seconds(300)), Params()).ok());
  EXPECT_GT(left, seconds(0));
  EXPECT_LT(left, seconds(301));
  ASSERT_TRUE(resumer->Resume({}, Params()).ok());
  EXPECT_GT(left, std::chrono::hours(24 * 365));
}

TEST_F(GrpcFlowResumerTest, ACallThatIsGivenUpIsCancelledAtTheHost) {
  const auto resumer = Make();
  std::promise<void> begun;
  std::promise<void> cancelled;
  host_.SetAnswer([&](grpc::ServerContext& context, const auto&, auto&) {
    begun.set_value();
    while (!context.IsCancelled()) std::this_thread::yield();
    cancelled.set_value();
    return grpc::Status::CANCELLED;
  });
  std::stop_source stop;
  CallContext ctx;
  ctx.stop = stop.get_token();
  auto result = std::async(std::launch::async, [&] { return resumer->Resume(ctx, Params()); });
  begun.get_future().wait();
  stop.request_stop();
  EXPECT_TRUE(absl::IsCancelled(result.get()));
  EXPECT_EQ(cancelled.get_future().wait_for(seconds(20)), std::future_status::ready);
}

TEST_F(GrpcFlowResumerTest, AHostThatHangsHoldsUpNoMoreThreadsThanItsShare) {
  const auto resumer = Make(/*max_in_flight=*/2);
  Door door;
  host_.SetAnswer([&](auto&, const auto&, v1::ResumeResponse& response) {
    door.Wait();
    response.set_result(v1::ResumeResponse::RESULT_RESUMED);
    return grpc::Status::OK;
  });
  // Two get to the host and two wait for their turn, in whatever order they come; the others are
  // turned away at once.
  std::mutex mutex;
  std::condition_variable ended;
  std::vector<absl::Status> results;
  std::vector<std::jthread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&, i] {
      absl::Status result = resumer->Resume(Soon(), Params(std::to_string(i)));
      const std::lock_guard lock(mutex);
      results.push_back(std::move(result));
      ended.notify_all();
    });
  }
  {
    std::unique_lock lock(mutex);
    ended.wait(lock, [&] { return results.size() == 2; });
    for (const absl::Status& result : results) {
      EXPECT_TRUE(absl::IsResourceExhausted(result)) << result;
      EXPECT_THAT(std::string(result.message()), HasSubstr("is behind"));
    }
  }
  door.AwaitInside(2);
  door.Open();
  threads.clear();
  ASSERT_EQ(results.size(), 6u);
  for (std::size_t i = 2; i < 6; ++i) EXPECT_TRUE(results[i].ok()) << results[i];
  EXPECT_EQ(door.most(), 2);
  EXPECT_TRUE(resumer->Resume(Soon(), Params("after")).ok());
}

TEST_F(GrpcFlowResumerTest, ASessionArrivesWhole) {
  const auto resumer = Make();
  v1::ResumeRequest seen;
  std::multimap<grpc::string_ref, grpc::string_ref> metadata;
  std::string trace;
  host_.SetAnswer([&](grpc::ServerContext& context, const v1::ResumeRequest& request,
                      v1::ResumeResponse& response) {
    seen = request;
    const auto found = context.client_metadata().find("traceparent");
    if (found != context.client_metadata().end()) {
      trace = std::string(found->second.data(), found->second.size());
    }
    response.set_result(v1::ResumeResponse::RESULT_RESUMED);
    return grpc::Status::OK;
  });
  FlowResumer::ResumeParams params = Params("s1");
  Session& session = params.session;
  session.epoch = 3;
  session.incarnation = {"a", "life-1"};
  session.call_id = "\xff@call";  // SIP promises no UTF-8
  session.local_tag = "lt";
  session.remote_tag = std::string("r\0t", 3);
  session.channel_name = "PJSIP/phone-00000001";
  session.endpoint = "phone";
  session.group = "g";
  session.created_at = WallTime(std::chrono::microseconds(1'700'000'000'123'456));
  session.answered_at = session.created_at + seconds(1);
  session.deaths = 1;
  FlowState& flow = session.flow;
  flow.stasis_app = "host";
  flow.stasis_args = {"x", "ü"};
  flow.bridge = BridgeMembership{.id = "bridge", .name = "n", .type = "mixing", .conference = true};
  flow.playback = Playback{.id = "p",
                           .media = {"sound:a", "sound:b"},
                           .item = 1,
                           .item_started = session.created_at,
                           .skipped = milliseconds(1'250),
                           .paused = true,
                           .paused_at = milliseconds(70),
                           .language = "de",
                           .on_bridge = true};
  flow.recordings = {{.name = "r", .format = "wav", .on_bridge = true, .earlier_parts = {"r0"}}};
  flow.held_by_us = flow.held_by_peer = flow.music_on_hold = flow.muted_in = flow.muted_out = true;
  flow.dialplan = {"ctx", "s", 7, "Dial", "PJSIP/\xff"};
  flow.host_data = "\x01\xfe";
  params.died_at = session.created_at + seconds(60);
  params.partners = {{"s2", "b", "channel-s2", true}};
  params.first = true;
  CallContext ctx = Soon();
  ctx.attempt = 2;
  ctx.trace_parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  ASSERT_TRUE(resumer->Resume(ctx, params).ok());
  EXPECT_EQ(seen.DebugString(),
            R"(session {
  id: "s1"
  epoch: 3
  incarnation {
    instance: "a"
    life: "life-1"
  }
  state: SESSION_STATE_UP
  call_id: "\377@call"
  local_tag: "lt"
  remote_tag: "r\000t"
  channel_name: "PJSIP/phone-00000001"
  endpoint: "phone"
  group: "g"
  created_at {
    seconds: 1700000000
    nanos: 123456000
  }
  answered_at {
    seconds: 1700000001
    nanos: 123456000
  }
  deaths: 1
  flow {
    stasis_app: "host"
    stasis_args: "x"
    stasis_args: "\303\274"
    bridge {
      id: "bridge"
      name: "n"
      type: "mixing"
      conference: true
    }
    playback {
      id: "p"
      media: "sound:a"
      media: "sound:b"
      item: 1
      item_started {
        seconds: 1700000000
        nanos: 123456000
      }
      skipped {
        seconds: 1
        nanos: 250000000
      }
      paused: true
      paused_at {
        nanos: 70000000
      }
      language: "de"
      on_bridge: true
    }
    recordings {
      name: "r"
      format: "wav"
      on_bridge: true
      earlier_parts: "r0"
    }
    held_by_us: true
    held_by_peer: true
    music_on_hold: true
    muted_in: true
    muted_out: true
    dialplan {
      context: "ctx"
      extension: "s"
      priority: 7
      application: "Dial"
      application_data: "PJSIP/\357\277\275"
    }
    host_data: "\001\376"
  }
}
died_at {
  seconds: 1700000060
  nanos: 123456000
}
instance: "b"
channel_id: "channel-s1"
partners {
  session_id: "s2"
  instance: "b"
  channel_id: "channel-s2"
  lived_there: true
}
first: true
attempt: 2
)");
  EXPECT_EQ(trace, ctx.trace_parent);
  // What is no trace parent is not sent, and gRPC does not abort over it.
  trace.clear();
  ctx.trace_parent = "\r\nx";
  ASSERT_TRUE(resumer->Resume(ctx, params).ok());
  EXPECT_EQ(trace, "");
}

TEST_F(GrpcFlowResumerTest, ASessionThatCannotBeToldIsRefusedBeforeAnythingIsSent) {
  const auto resumer = Make();
  Session session;
  session.id = "one";
  EXPECT_TRUE(resumer->Accept(session).ok());
  session.flow.bridge = BridgeMembership{.id = "\xff"};
  const absl::Status refused = resumer->Accept(session);
  EXPECT_TRUE(absl::IsInvalidArgument(refused));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("session one"));
  EXPECT_THAT(std::string(refused.message()), HasSubstr("flow.bridge.id"));
  FlowResumer::ResumeParams params = Params();
  params.session = session;
  EXPECT_TRUE(absl::IsInvalidArgument(resumer->Resume(Soon(), params)));
  EXPECT_TRUE(host_.fake().calls().empty());
}

TEST_F(GrpcFlowResumerTest, TheEmbeddersOwnRuleIsAskedByAccept) {
  const auto made = MakeGrpcFlowResumer(
      {.target = address_, .plain_text = true, .accept = [](const Session& session) {
         return session.flow.stasis_app == "ours" ? absl::OkStatus()
                                                  : absl::FailedPreconditionError("not ours");
       }});
  ASSERT_TRUE(made.ok());
  Session session;
  EXPECT_TRUE(absl::IsFailedPrecondition((*made)->Accept(session)));
  session.flow.stasis_app = "ours";
  EXPECT_TRUE((*made)->Accept(session).ok());
}

TEST_F(GrpcFlowResumerTest, AHostThatGoesInTheMiddleOfACallIsUnavailable) {
  const auto resumer = Make(32, milliseconds(0));
  std::promise<void> begun;
  host_.SetAnswer([&](grpc::ServerContext& context, const auto&, auto&) {
    begun.set_value();
    while (!context.IsCancelled()) std::this_thread::yield();
    return grpc::Status::CANCELLED;
  });
  auto result = std::async(std::launch::async, [&] { return resumer->Resume(Soon(), Params()); });
  begun.get_future().wait();
  host_.Stop();
  EXPECT_TRUE(absl::IsUnavailable(result.get()));
  // And it is found again.
  host_.SetAnswer(nullptr);
  ASSERT_TRUE(host_.Start(address_));
  const auto patient = Make(32, seconds(10));
  EXPECT_TRUE(patient->Resume(Soon(), Params()).ok());
}

TEST(GrpcFlowResumerOptionsTest, WrongOptionsAreNamed) {
  const auto complaint = [](const GrpcFlowResumerOptions& options) {
    const auto made = MakeGrpcFlowResumer(options);
    EXPECT_TRUE(absl::IsInvalidArgument(made.status())) << made.status();
    return std::string(made.status().message());
  };
  EXPECT_THAT(complaint({}), HasSubstr("target is empty"));
  EXPECT_THAT(complaint({.target = "a b"}), HasSubstr("target"));
  for (const char* away :
       {"192.0.2.1:7443", "dns:///flows:7443", "flows:7443", "[::]:1", "0.0.0.0:1",
        "ipv4:127.0.0.1:1,192.0.2.1:1", "127.0.0.1.example.org:1"}) {
    EXPECT_THAT(complaint({.target = away, .plain_text = true}), HasSubstr("plain_text")) << away;
  }
  EXPECT_THAT(complaint({.target = "a:1", .tls = {.key_file = "/k"}}), HasSubstr("give both"));
  EXPECT_THAT(complaint({.target = "a:1", .max_in_flight = 0}), HasSubstr("max_in_flight"));
  EXPECT_THAT(complaint({.target = "a:1", .connect_patience = milliseconds(-1)}),
              HasSubstr("connect_patience"));
}

TEST(GrpcFlowResumerOptionsTest, PlainTextStaysOnTheMachine) {
  for (const char* here :
       {"127.0.0.1:1", "127.9.9.9:1", "[::1]:1", "localhost:1", "unix:/run/x", "unix:///run/x",
        "dns:///localhost:1", "ipv4:127.0.0.1:1", "ipv6:[::1]:1"}) {
    EXPECT_TRUE(MakeGrpcFlowResumer({.target = here, .plain_text = true}).ok()) << here;
  }
}

TEST(GrpcFlowResumerOptionsTest, AFileThatIsNotThereIsNamed) {
  const auto made =
      MakeGrpcFlowResumer({.target = "flows:1", .tls = {.ca_file = "/nonexistent/ca.pem"}});
  EXPECT_TRUE(absl::IsNotFound(made.status()));
  EXPECT_THAT(std::string(made.status().message()), HasSubstr("/nonexistent/ca.pem"));
}

}  // namespace
}  // namespace sipheal
