// SPDX-License-Identifier: Apache-2.0
#include "ari/connections.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <thread>

#include "absl/strings/str_format.h"
#include "recording_handler.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using testing::FakeAri;

constexpr char kFirstLife[] = "2026-01-01T00:00:00.000+0000";

class ConnectionsTest : public ::testing::Test {
 protected:
  ConnectionsTest()
      : fake_(*FakeAri::Start({})),
        handler_(std::make_shared<RecordingHandler>()),
        log_(std::make_shared<RecordingLog>()) {}

  AriInstanceOptions Instance(const std::string& name, const FakeAri& fake) const {
    AriInstanceOptions instance;
    instance.name = name;
    instance.url = fake.url();
    instance.user = "sipheal";
    instance.password = "secret";
    return instance;
  }

  void Connect() {
    AriOptions options;
    options.reconnect_min = milliseconds(5);
    options.reconnect_max = milliseconds(20);
    options.connect_timeout = milliseconds(300);
    options.log = log_;
    auto connections = ConnectAri(options);
    ASSERT_TRUE(connections.ok()) << connections.status();
    connections_ = *connections;
    connections_->AddHandler(handler_);
    // After the handler, so that it hears of the first connect, too.
    ASSERT_EQ(AddAriInstance(*connections_, Instance("a", *fake_)), absl::OkStatus());
  }

  bool WaitConnected(const std::string& instance = "a") {
    return FakeAri::WaitFor([&] { return connections_->Connected(instance).has_value(); });
  }
  // Waits for a failed try with this code.
  bool WaitFailed(absl::StatusCode code) {
    return FakeAri::WaitFor([&] {
      for (const auto& [incarnation, why] : handler_->disconnected()) {
        if (why.code() == code) return true;
      }
      return false;
    });
  }

  std::unique_ptr<FakeAri> fake_;
  std::shared_ptr<RecordingHandler> handler_;
  std::shared_ptr<RecordingLog> log_;
  std::shared_ptr<AriConnections> connections_;
};

TEST_F(ConnectionsTest, KnowsTheIncarnationWhenTheSocketIsOpen) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  EXPECT_EQ(*connections_->Connected("a"), (Incarnation{"a", kFirstLife}));
  EXPECT_TRUE(connections_->LastHeard("a").has_value());
  EXPECT_EQ(fake_->event_sockets(), 1);
}

TEST_F(ConnectionsTest, SubscribesItsApplicationToAllChannelsAndBridgesButNotToDeviceStates) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  bool registered = false;
  bool subscribed = false;
  for (const auto& request : fake_->requests()) {
    if (request.path == "/ari/events") {
      registered = true;
      EXPECT_EQ(request.query, "app=sipheal") << "subscribeAll can lock Asterisk's ARI up for good";
      EXPECT_EQ(request.authorization, "Basic c2lwaGVhbDpzZWNyZXQ=");
    }
    if (request.path == "/ari/applications/sipheal/subscription") {
      subscribed = true;
      EXPECT_TRUE(registered) << "an application that is not registered cannot be subscribed";
      EXPECT_EQ(request.method, "POST");
      EXPECT_EQ(request.query, "eventSource=channel:,bridge:");
    }
  }
  EXPECT_TRUE(registered);
  EXPECT_TRUE(subscribed);
}

TEST_F(ConnectionsTest, HandsEventsOnInOrder) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  for (int i = 0; i < 500; ++i) {
    fake_->SendEvent(R"({"type":"Tick","n":)" + std::to_string(i) + R"(,"pad":")" +
                     std::string(static_cast<std::size_t>(i) * 40, 'x') + "\"}");
  }
  ASSERT_TRUE(FakeAri::WaitFor([&] { return handler_->events().size() == 500; }))
      << handler_->events().size();
  for (int i = 0; i < 500; ++i) EXPECT_EQ(handler_->events()[static_cast<std::size_t>(i)]["n"], i);
}

TEST_F(ConnectionsTest, SkipsMalformedAndHugeEventsAndGoesOn) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  for (const char* bad :
       {"", "{", "[1,2]", "null", "{\"type\":1}", "{\"no\":\"type\"}", "\x01\xff{{{"}) {
    fake_->SendEvent(bad);
  }
  fake_->SendEvent(R"({"type":"Huge","pad":")" + std::string(3u << 20, 'x') + "\"}");
  fake_->SendEvent(R"({"type":"Good"})");
  ASSERT_TRUE(FakeAri::WaitFor([&] { return !handler_->events().empty(); }));
  EXPECT_EQ(handler_->events().size(), 1u);
  EXPECT_EQ(handler_->events()[0]["type"], "Good");
  EXPECT_NE(log_->text().find("\\x01\\xff{{{"), std::string::npos) << log_->text();
  EXPECT_EQ(log_->text().find('\x01'), std::string::npos);
  EXPECT_EQ(handler_->disconnected().size(), 0u);
}

TEST_F(ConnectionsTest, ComesBackAfterTheSocketWasReset) {
  Connect();
  for (std::size_t i = 1; i <= 5; ++i) {
    ASSERT_TRUE(FakeAri::WaitFor([&] { return handler_->connected().size() == i; })) << i;
    fake_->ResetEventSockets();
    ASSERT_TRUE(FakeAri::WaitFor([&] { return handler_->disconnected().size() == i; })) << i;
    EXPECT_EQ(handler_->disconnected().back().first.life, kFirstLife);
    EXPECT_EQ(handler_->disconnected().back().second.code(), absl::StatusCode::kUnavailable);
  }
}

TEST_F(ConnectionsTest, SeesTheNextIncarnationAfterARestart) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  fake_->Kill();
  ASSERT_TRUE(FakeAri::WaitFor([&] { return !connections_->Connected("a"); }));
  fake_->Revive("2026-01-01T00:00:09.000+0000");
  ASSERT_TRUE(WaitConnected());
  EXPECT_EQ(connections_->Connected("a")->life, "2026-01-01T00:00:09.000+0000");
}

// "Bad input and faults": 401, 403, 404, 500, slow, cut in mid-answer, malformed.
TEST_F(ConnectionsTest, SaysWhatToDoAboutEachRefusal) {
  const struct {
    FakeAri::Behaviour behaviour;
    absl::StatusCode code;
    const char* hint;
  } cases[] = {
      {{"/ari", FakeAri::Fault::kNone, FakeAri::Answer{401, "{}"}, {}},
       absl::StatusCode::kUnauthenticated,
       "compare the password with ari.conf"},
      {{"/ari", FakeAri::Fault::kNone, FakeAri::Answer{403, "{}"}, {}},
       absl::StatusCode::kPermissionDenied,
       "read_only"},
      {{"/ari", FakeAri::Fault::kNone, FakeAri::Answer{404, "{}"}, {}},
       absl::StatusCode::kNotFound,
       "enabled=yes"},
      {{"/ari", FakeAri::Fault::kNone, FakeAri::Answer{500, "{}"}, {}},
       absl::StatusCode::kUnavailable,
       "answers 500"},
      {{"/ari", FakeAri::Fault::kNone, FakeAri::Answer{200, "<html>"}, {}},
       absl::StatusCode::kUnavailable,
       "<html>"},
      {{"/ari", FakeAri::Fault::kCut, {}, {}},
       absl::StatusCode::kUnavailable,
       "/ari/asterisk/info"},
      {{"/ari/events", FakeAri::Fault::kCut, {}, {}},
       absl::StatusCode::kUnavailable,
       "event socket"},
      {{"/ari/events", FakeAri::Fault::kReset, {}, {}},
       absl::StatusCode::kUnavailable,
       "event socket"},
      {{"/ari/events", FakeAri::Fault::kHang, {}, {}},
       absl::StatusCode::kUnavailable,
       "within 300 ms"},
      {{"/ari", FakeAri::Fault::kHang, {}, {}}, absl::StatusCode::kDeadlineExceeded, "timed out"},
  };
  for (const auto& expected : cases) {
    fake_->ClearBehaviour();
    fake_->Behave(expected.behaviour);
    handler_ = std::make_shared<RecordingHandler>();
    Connect();
    ASSERT_TRUE(WaitFailed(expected.code)) << expected.hint << "\n" << log_->text();
    EXPECT_FALSE(connections_->Connected("a"));
    EXPECT_NE(log_->text().find(expected.hint), std::string::npos)
        << expected.hint << " is not in:\n"
        << log_->text();
    fake_->ClearBehaviour();
    EXPECT_TRUE(WaitConnected()) << log_->text();
  }
  EXPECT_EQ(log_->text().find("secret"), std::string::npos) << log_->text();
}

TEST_F(ConnectionsTest, OneHungInstanceHoldsUpNoOther) {
  auto hung = *FakeAri::Start({});
  hung->Freeze(true);
  Connect();
  for (int i = 0; i < 10; ++i) {
    ASSERT_TRUE(AddAriInstance(*connections_, Instance("hung" + std::to_string(i), *hung)).ok());
  }
  auto second = *FakeAri::Start({});
  ASSERT_TRUE(AddAriInstance(*connections_, Instance("b", *second)).ok());
  ASSERT_TRUE(WaitConnected("b"));
  ASSERT_TRUE(WaitConnected("a"));
}

TEST_F(ConnectionsTest, TakesInstancesAtRunTimeAndLetsThemGo) {
  Connect();
  auto second = *FakeAri::Start({});
  ASSERT_TRUE(AddAriInstance(*connections_, Instance("b", *second)).ok());
  EXPECT_EQ(AddAriInstance(*connections_, Instance("b", *second)).code(),
            absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(WaitConnected("b"));
  ASSERT_TRUE(RemoveAriInstance(*connections_, "b").ok());
  EXPECT_EQ(RemoveAriInstance(*connections_, "b").code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(FakeAri::WaitFor([&] { return second->event_sockets() == 0; }));
  EXPECT_EQ(connections_->Request({}, "b", "GET", kLifePath, "").status().code(),
            absl::StatusCode::kNotFound);
}

TEST_F(ConnectionsTest, DoesNotTellOfTheVariablesThatABridgeSets) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  for (const char* name : {"BRIDGEPEER", "STASISSTATUS", "BRIDGEPVTCALLID", "BRIDGEPEERS", ""}) {
    fake_->SendEvent(absl::StrFormat(
        R"({"variable":"%s","value":"v","type":"ChannelVarset","channel":{"id":"c"}})", name));
  }
  fake_->SendEvent(R"({"type":"Last"})");
  ASSERT_TRUE(FakeAri::WaitFor([&] {
    const auto events = handler_->events();
    return !events.empty() && events.back()["type"] == "Last";
  }));
  std::vector<std::string> told;
  for (const auto& event : handler_->events()) told.push_back(event.value("variable", "-"));
  EXPECT_EQ(told, (std::vector<std::string>{"STASISSTATUS", "BRIDGEPEERS", "", "-"}));
}

TEST_F(ConnectionsTest, APongRenewsTheSignOfLife) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  const auto before = *connections_->LastHeard("a");
  std::this_thread::sleep_for(milliseconds(2));  // so that the two stamps differ
  ASSERT_TRUE(connections_->Ping("a"));
  EXPECT_TRUE(
      FakeAri::WaitFor([&] { return *connections_->LastHeard("a") > before; }, milliseconds(500)));
  EXPECT_GE(connections_->SocketThreadTurn(), before);
}

TEST_F(ConnectionsTest, AFrozenServerGivesNoSignOfLife) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  fake_->Freeze(true);
  const auto before = *connections_->LastHeard("a");
  for (int i = 0; i < 10; ++i) {
    connections_->Ping("a");
    const auto reply = connections_->Request(CallContext::WithTimeout(milliseconds(20)), "a", "GET",
                                             kLifePath, "");
    EXPECT_EQ(reply.status().code(), absl::StatusCode::kDeadlineExceeded) << reply.status();
  }
  EXPECT_EQ(*connections_->LastHeard("a"), before);
  fake_->Freeze(false);
  EXPECT_TRUE(FakeAri::WaitFor([&] { return *connections_->LastHeard("a") > before; }));
}

TEST_F(ConnectionsTest, YieldsTheApplicationToAnotherClientAndSaysSo) {
  Connect();
  ASSERT_TRUE(WaitConnected());
  fake_->SendEvent(R"({"type":"ApplicationReplaced","application":"sipheal"})");
  ASSERT_TRUE(WaitFailed(absl::StatusCode::kFailedPrecondition));
  EXPECT_NE(log_->text().find("give each controller an application"), std::string::npos);
}

TEST_F(ConnectionsTest, ReadsThePasswordFromAFile) {
  const std::string path = absl::StrFormat("%sari_password_%d", ::testing::TempDir(), getpid());
  std::ofstream(path) << "secret\n";
  AriOptions options;
  options.instances = {Instance("a", *fake_)};
  options.instances[0].password.clear();
  options.instances[0].password_file = path;
  auto connections = ConnectAri(options);
  ASSERT_TRUE(connections.ok()) << connections.status();
  EXPECT_TRUE(FakeAri::WaitFor([&] { return (*connections)->Connected("a").has_value(); }));
  std::remove(path.c_str());
  EXPECT_EQ(ConnectAri(options).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ConnectionsTest, NamesTheWrongField) {
  const auto message = [&](auto change) {
    AriOptions options;
    options.instances = {Instance("a", *fake_)};
    change(options);
    const auto connections = ConnectAri(options);
    EXPECT_EQ(connections.status().code(), absl::StatusCode::kInvalidArgument);
    return std::string(connections.status().message());
  };
  EXPECT_NE(message([](auto& o) { o.app = ""; }).find("app:"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.app = "a,b"; }).find("app:"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.instances[0].name = ""; }).find("name:"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.instances[0].url = "x"; }).find("url:"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.instances[0].user = ""; }).find("user:"), std::string::npos);
  EXPECT_NE(message([](auto& o) { o.instances[0].password_file = "/x"; }).find("password_file"),
            std::string::npos);
  EXPECT_NE(message([](auto& o) { o.connect_timeout = milliseconds(0); }).find("connect_timeout:"),
            std::string::npos);
}

TEST_F(ConnectionsTest, MayBeLetGoInsideAHandler) {
  class LettingGo : public AriEventHandler {
   public:
    void OnConnected(const Incarnation&) override { connections.reset(); }
    void OnDisconnected(const Incarnation&, const absl::Status&) override {}
    void OnEvent(const Incarnation&, const nlohmann::json&, WallTime) override {}
    std::shared_ptr<AriConnections> connections;
  };
  fake_->Freeze(true);
  Connect();
  auto letting_go = std::make_shared<LettingGo>();
  connections_->AddHandler(letting_go);
  letting_go->connections = std::move(connections_);
  fake_->Freeze(false);
  ASSERT_TRUE(FakeAri::WaitFor([&] {
    const auto requests = fake_->requests();
    return std::any_of(requests.begin(), requests.end(),
                       [](const auto& request) { return request.path == "/ari/events"; });
  }));
  EXPECT_TRUE(FakeAri::WaitFor([&] { return fake_->event_sockets() == 0; }));
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
