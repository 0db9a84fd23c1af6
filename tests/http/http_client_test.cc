// SPDX-License-Identifier: Apache-2.0
#include "http/http_client.h"

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <stop_token>
#include <thread>

#include "http/async_http_client.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::FakeAri;

class HttpClientTest : public ::testing::Test {
 protected:
  HttpClientTest() : fake_(*FakeAri::Start({})) {}

  HttpRequest Get(const std::string& path) const {
    HttpRequest request;
    request.url = fake_->url() + path;
    request.user = "sipheal";
    request.password = "secret";
    return request;
  }

  std::unique_ptr<FakeAri> fake_;
  HttpClient client_{HttpOptions{milliseconds(500), 100'000}};
};

TEST_F(HttpClientTest, GivesAnyHttpStatusAsAnAnswer) {
  const auto found =
      client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/ari/asterisk/info"));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->status, 200);
  EXPECT_EQ(found->peer_address, "127.0.0.1");
  const auto missing = client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/nothing"));
  ASSERT_TRUE(missing.ok()) << missing.status();
  EXPECT_EQ(missing->status, 404);
}

TEST_F(HttpClientTest, ReturnsAtTheDeadlineOfASlowServer) {
  fake_->Behave({"/ari", FakeAri::Fault::kHang, {}, {}});
  const auto begin = steady_clock::now();
  const auto result =
      client_.Send(CallContext::WithTimeout(milliseconds(200)), Get("/ari/asterisk/info"));
  const auto took = steady_clock::now() - begin;
  EXPECT_EQ(result.status().code(), absl::StatusCode::kDeadlineExceeded) << result.status();
  EXPECT_GE(took, milliseconds(200));
}

TEST_F(HttpClientTest, ReturnsWhenStopWasRequested) {
  fake_->Behave({"/ari", FakeAri::Fault::kHang, {}, {}});
  std::stop_source stop;
  CallContext ctx;
  ctx.stop = stop.get_token();
  auto call =
      std::async(std::launch::async, [&] { return client_.Send(ctx, Get("/ari/asterisk/info")); });
  ASSERT_TRUE(FakeAri::WaitFor([&] { return !fake_->requests().empty(); }));
  stop.request_stop();
  const auto result = call.get();
  EXPECT_EQ(result.status().code(), absl::StatusCode::kCancelled) << result.status();
}

TEST_F(HttpClientTest, SaysUnavailableWhenTheAnswerIsCut) {
  fake_->Behave({"/ari", FakeAri::Fault::kCut, {}, {}});
  const auto result =
      client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/ari/asterisk/info"));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kUnavailable) << result.status();
  EXPECT_FALSE(WasRefused(result.status()));
}

TEST_F(HttpClientTest, TellsARefusedConnectionFromAReset) {
  fake_->Behave({"/ari", FakeAri::Fault::kReset, {}, {}});
  const auto reset =
      client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/ari/asterisk/info"));
  EXPECT_EQ(reset.status().code(), absl::StatusCode::kUnavailable) << reset.status();
  EXPECT_FALSE(WasRefused(reset.status())) << reset.status();
  fake_->Kill();
  const auto refused =
      client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/ari/asterisk/info"));
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kUnavailable) << refused.status();
  EXPECT_TRUE(WasRefused(refused.status())) << refused.status();
}

TEST_F(HttpClientTest, RefusesAnAnswerThatIsTooLong) {
  fake_->Behave(
      {"/ari", FakeAri::Fault::kNone, FakeAri::Answer{200, std::string(200'000, 'x')}, {}});
  const auto result =
      client_.Send(CallContext::WithTimeout(milliseconds(2000)), Get("/ari/asterisk/info"));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kResourceExhausted) << result.status();
}

TEST_F(HttpClientTest, KeepsPasswordAndQueryOutOfItsMessages) {
  fake_->Kill();
  const auto result = client_.Send(CallContext::WithTimeout(milliseconds(2000)),
                                   Get("/ari/asterisk/info?api_key=sipheal:secret"));
  EXPECT_EQ(result.status().ToString().find("secret"), std::string::npos) << result.status();
}

TEST_F(HttpClientTest, AsynchronousRequestsDoNotWaitForAHungServer) {
  auto hung = *FakeAri::Start({});
  hung->Freeze(true);
  std::promise<absl::StatusOr<HttpResponse>> slow, fast;
  {
    AsyncHttpClient client(HttpOptions{});
    HttpRequest to_hung = Get("/ari/asterisk/info");
    to_hung.url = hung->url() + "/ari/asterisk/info";
    client.Send(to_hung, milliseconds(60'000), [&](auto result) { slow.set_value(result); });
    client.Send(Get("/ari/asterisk/info"), milliseconds(2000),
                [&](auto result) { fast.set_value(result); });
    const auto answered = fast.get_future().get();
    ASSERT_TRUE(answered.ok()) << answered.status();
  }
  // The client is gone: what was under way was called back.
  EXPECT_EQ(slow.get_future().get().status().code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
