// SPDX-License-Identifier: Apache-2.0
// What the driver asks of a server that the conformance cases do not see. The contract itself is
// asked in real_driver_test.cc.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "ari/connections.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using testing::FakeAri;

constexpr int kCrowd = 8;

// The system's clock, until a test lets time pass.
class SkippingClock final : public Clock {
 public:
  WallTime Now() const override { return SystemClock().Now() + Skipped(); }
  MonotonicTime Monotonic() const override { return SystemClock().Monotonic() + Skipped(); }
  void Skip(milliseconds by) { skipped_ += by.count(); }

 private:
  milliseconds Skipped() const { return milliseconds(skipped_.load()); }
  std::atomic<milliseconds::rep> skipped_{0};
};

class DriverTest : public ::testing::Test {
 protected:
  DriverTest() : fake_(*FakeAri::Start({})) {
    AriOptions options;
    AriInstanceOptions instance;
    instance.name = "a";
    instance.url = fake_->url();
    instance.user = "sipheal";
    instance.password = "secret";
    options.instances = {instance};
    options.clock = &clock_;
    connections_ = *ConnectAri(options);
    driver_ = *MakeAriDriver(connections_);
  }

  absl::Status Create(MediaServerDriver::CreateParams params = {}) {
    const std::string number = std::to_string(++created_);
    params.instance = "a";
    params.channel_id = "sipheal-" + number + "-0-1";
    params.endpoint = "phone";
    params.variables.emplace_back("PJSIP_RECOVERY_CALL-ID", number + "@phone");
    params.variables.emplace_back("PJSIP_RECOVERY_REQUEST_URI", "sip:phone@127.0.0.1:5070");
    return driver_->Create(CallContext::WithTimeout(std::chrono::seconds(5)), params);
  }
  std::vector<absl::Status> CreateCrowd() {
    std::vector<absl::Status> statuses(kCrowd);
    std::vector<std::thread> threads;
    for (absl::Status& status : statuses) threads.emplace_back([&] { status = Create(); });
    for (std::thread& thread : threads) thread.join();
    return statuses;
  }
  void LetTheAnswerGrowOld() {
    clock_.Skip(std::chrono::seconds(6));
    fake_->SendEvent(R"({"type":"Any"})");  // or the event socket would seem silent for as long
  }
  std::ptrdiff_t ModuleChecks() const {
    const auto requests = fake_->requests();
    return std::count_if(requests.begin(), requests.end(), [](const FakeAri::Request& request) {
      return request.path.rfind("/ari/asterisk/modules/", 0) == 0;
    });
  }

  SkippingClock clock_;
  std::unique_ptr<FakeAri> fake_;
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<MediaServerDriver> driver_;
  std::atomic<int> created_ = 0;
};

TEST_F(DriverTest, LooksForTheModuleOnceForACrowdOfCreatesWhenTheLastLookIsOld) {
  ASSERT_TRUE(FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); }));
  ASSERT_EQ(Create(), absl::OkStatus());
  ASSERT_EQ(ModuleChecks(), 1);
  for (const absl::Status& status : CreateCrowd()) EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(ModuleChecks(), 1) << "the answer is new";

  LetTheAnswerGrowOld();
  // So slow that all of the crowd come while the one looks.
  fake_->Behave({.path = "/ari/asterisk/modules/",
                 .fault = FakeAri::Fault::kNone,
                 .answer = {},
                 .delay = milliseconds(100)});
  for (const absl::Status& status : CreateCrowd()) EXPECT_EQ(status, absl::OkStatus());
  EXPECT_EQ(ModuleChecks(), 2);
}

TEST_F(DriverTest, StopsCreatingWhenALaterLookFindsNoModule) {
  ASSERT_TRUE(FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); }));
  ASSERT_EQ(Create(), absl::OkStatus());
  fake_->SetModuleLoaded(false);
  LetTheAnswerGrowOld();
  EXPECT_TRUE(absl::IsFailedPrecondition(Create()));
  for (const absl::Status& status : CreateCrowd()) {
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  }
}

// Routes that leave room for themselves only, and a flow's note.
MediaServerDriver::CreateParams WithLongRoutes() {
  MediaServerDriver::CreateParams params;
  params.variables = {{"PJSIP_RECOVERY_ROUTES", std::string(39'000, 'r')}};
  params.flow_variables = {{"SIPHEAL_FLOW", std::string(3'000, 'f')}, {"BAD(1)", "x"}};
  return params;
}

TEST_F(DriverTest, SetsAFlowVariableForWhichTheRequestHasNoRoomRightAfterIt) {
  ASSERT_TRUE(FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); }));
  const MediaServerDriver::CreateParams params = WithLongRoutes();
  ASSERT_EQ(Create(params), absl::OkStatus());
  std::vector<std::string> set;
  for (const FakeAri::Request& request : fake_->requests()) {
    if (request.path == "/ari/channels/sipheal-1-0-1/variable") set.push_back(request.body);
  }
  ASSERT_EQ(set.size(), 1u);
  EXPECT_EQ(
      nlohmann::json::parse(set[0], nullptr, false),
      nlohmann::json({{"variable", "SIPHEAL_FLOW"}, {"value", params.flow_variables[0].second}}));
}

// Then the channel is there, and what the resumer counts on is not known: as after a lost answer.
TEST_F(DriverTest, SaysWhenSuchAFlowVariableCouldNotBeSet) {
  ASSERT_TRUE(FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); }));
  fake_->OnRequest([](const FakeAri::Request& request) -> std::optional<FakeAri::Answer> {
    if (request.path != "/ari/channels/sipheal-1-0-1/variable") return std::nullopt;
    return FakeAri::Answer{500, "{}"};
  });
  EXPECT_TRUE(absl::IsUnavailable(Create(WithLongRoutes())));
  EXPECT_TRUE(fake_->HasChannel("sipheal-1-0-1"));
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
