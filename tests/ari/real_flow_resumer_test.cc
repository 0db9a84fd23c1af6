// SPDX-License-Identifier: Apache-2.0
// The contract of the flow resumer (FR-1 to FR-8) on a real Asterisk: channels that the driver
// recovered from strict phones, a host's application that they belong to, and a controller for each
// resumer, with an application of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ari/ari_json.h"
#include "ari/connections.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/model/session.h"
#include "sipheal/testing/fake_ari.h"
#include "support/real_asterisk.h"
#include "support/sip_phone.h"
#include "support/tcp_proxy.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;
using std::chrono::seconds;
using testing::FakeAri;
using testing::RealAsterisk;
using testing::SipPhone;
using testing::TcpProxy;

constexpr char kInstance[] = "flows";
constexpr char kHost[] = "host";
constexpr char kFence[] = "fence-";

// One server for all cases: it takes seconds to start one.
RealAsterisk* Server() {
  static const std::unique_ptr<RealAsterisk> server =
      RealAsterisk::Make(kInstance, {"--endpoint", "phone"});
  return server.get();
}

// A file that Asterisk plays as "sound:<path>"; longer than any case takes.
class SoundFile {
 public:
  SoundFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sipheal-snd-XXXXXX").string();
    directory_ = mkdtemp(pattern.data());
    std::ofstream file(directory_ + "/long.sln", std::ios::binary);
    // 60 s of a rough tone: 8,000 samples of two bytes a second, signed linear.
    for (int n = 0; n < 60 * 8000; ++n) {
      file.put(0);
      file.put(static_cast<char>(n % 16 < 8 ? 16 : -16));
    }
  }
  ~SoundFile() {
    std::error_code ignored;
    std::filesystem::remove_all(directory_, ignored);
  }
  std::string uri() const { return "sound:" + directory_ + "/long"; }

 private:
  std::string directory_;
};

absl::StatusOr<std::shared_ptr<AriConnections>> Connect(AriInstanceOptions instance,
                                                        const std::string& app) {
  AriOptions options;
  options.app = app;
  options.instances = {std::move(instance)};
  auto connections = ConnectAri(options);
  if (!connections.ok()) return connections.status();
  if (!FakeAri::WaitFor([&] { return (*connections)->Connected(kInstance).has_value(); })) {
    return absl::InternalError("the event socket did not open");
  }
  return connections;
}

// Hears which recovered channels were answered, and how far their flow was then.
class Answers final : public MediaServerListener {
 public:
  void OnChannel(const ChannelEvent& event) override {
    const std::lock_guard lock(mutex_);
    if (event.kind == ChannelEventKind::kAnswered) answered_[event.channel_id] = event.flow;
  }
  std::optional<FlowProgress> Of(const std::string& channel_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = answered_.find(channel_id);
    return found == answered_.end() ? std::nullopt : std::optional(found->second);
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, FlowProgress> answered_;
};

// The host: its application, and what it hears of playbacks.
class Host final : public AriEventHandler {
 public:
  void OnConnected(const Incarnation&) override {}
  void OnDisconnected(const Incarnation&, const absl::Status&) override {}
  void OnEvent(const Incarnation&, const json& event, WallTime) override {
    const std::string type = Text(event, "type");
    const json* const playback = Member(event, "playback");
    if (playback == nullptr) return;
    const std::lock_guard lock(mutex_);
    std::vector<std::string>& running = running_[Text(*playback, "target_uri")];
    const std::string id = Text(*playback, "id");
    if (type == "PlaybackStarted") running.push_back(id);
    if (type == "PlaybackFinished") {
      const auto ended = std::find(running.begin(), running.end(), id);
      if (ended != running.end()) running.erase(ended);
    }
  }
  // The one that is heard now; empty when none. Others wait for its end.
  std::string Playing(const std::string& channel_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = running_.find("channel:" + channel_id);
    return found == running_.end() || found->second.empty() ? "" : found->second.front();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::vector<std::string>> running_;  // by target, in order
};

class ResumerHarness final : public conformance::FlowResumerHarness {
 public:
  ~ResumerHarness() override {
    if (Server() == nullptr) return;
    if (blocked_) Server()->Signal(SIGCONT);
    Server()->Cli("channel request hangup all");
    if (host_connections_ != nullptr) {
      EXPECT_TRUE(FakeAri::WaitFor([&] { return Get("/ari/channels") == json::array(); }))
          << Get("/ari/channels").dump();
      for (const json& bridge : Get("/ari/bridges")) {
        (void)Ask("DELETE", "/ari/bridges/" + EscapeUri(Text(bridge, "id")));
      }
    }
    for (const auto& [id, phone] : phones_) {
      for (const std::string& violation : phone->violations()) ADD_FAILURE() << violation;
    }
    if (driver_ != nullptr) driver_->Stop();
  }

  absl::StatusOr<std::shared_ptr<FlowResumer>> Make() override {
    if (absl::Status status = Begin(); !status.ok()) return status;
    AriInstanceOptions instance = Server()->Ari();
    instance.url = "http://127.0.0.1:" + std::to_string(proxy_->port());
    auto connections = Connect(instance, "controller-" + std::to_string(++controllers_));
    if (!connections.ok()) return connections.status();
    return MakeAriFlowResumer(*connections, {});
  }

  absl::StatusOr<FlowResumer::ResumeParams> NewRecovered() override { return Recover({}, {}); }

  // A channel that was made with what `prepare`, if any, gives for a session with this flow.
  absl::StatusOr<FlowResumer::ResumeParams> Recover(
      FlowState flow, const std::function<FlowResumer::Variables(const Session&)>& prepare) {
    if (absl::Status status = Begin(); !status.ok()) return status;
    auto phone = std::make_unique<SipPhone>("phone", SipPhone::Conduct::kAnswers);
    static int count = 0;
    FlowResumer::ResumeParams params;
    params.session.id = "f" + std::to_string(++count);
    params.session.channel_id = "1700000000." + std::to_string(count);
    params.session.flow = std::move(flow);
    params.session.flow.stasis_app = kHost;
    if (params.session.flow.bridge) params.session.group = params.session.flow.bridge->id;
    params.died_at = SystemClock().Now();
    params.instance = kInstance;
    params.channel_id = ToChannelId({{params.session.id, 0}, 1});
    MediaServerDriver::CreateParams create;
    create.instance = kInstance;
    create.channel_id = params.channel_id;
    create.endpoint = "phone";
    create.variables = phone->Variables();
    if (prepare) create.flow_variables = prepare(params.session);
    phones_[create.channel_id] = std::move(phone);
    if (absl::Status made = driver_->Create(CallContext::WithTimeout(seconds(5)), create);
        !made.ok()) {
      return made;
    }
    if (!FakeAri::WaitFor([&] { return answers_->Of(create.channel_id).has_value(); })) {
      return absl::InternalError("the phone did not answer");
    }
    return params;
  }
  FlowProgress ProgressOf(const std::string& channel_id) const {
    return answers_->Of(channel_id).value_or(FlowProgress::kUnknown);
  }
  absl::Status BearWith(const std::string& channel_id,
                        const FlowResumer::Variables& variables) override {
    for (const auto& [name, value] : variables) {
      absl::Status set = Ask("POST", "/ari/channels/" + EscapeUri(channel_id) + "/variable",
                             {{"variable", name}, {"value", value}});
      if (!set.ok()) return set;
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::set<std::string>> BridgeOf(const std::string& channel_id) override {
    for (const json& bridge : Get("/ari/bridges")) {
      const std::vector<std::string> list = TextList(bridge, "channels");
      const std::set<std::string> members(list.begin(), list.end());
      if (members.contains(channel_id)) return members;
    }
    return std::set<std::string>();
  }

  // ARI has no list of a channel's playbacks, and one that waits for another's end is heard of
  // nowhere. So a last one is put behind them all, and each is ended when it is heard, until it is
  // the last one's turn.
  absl::StatusOr<int> Playbacks(const std::string& channel_id) override {
    static int fences = 0;
    const std::string fence = kFence + std::to_string(++fences);
    absl::Status queued = Ask("POST", "/ari/channels/" + EscapeUri(channel_id) + "/play/" + fence,
                              {{"media", {Sound()}}});
    if (!queued.ok()) return queued;
    for (int count = 0;; ++count) {
      if (!FakeAri::WaitFor([&] { return !host_->Playing(channel_id).empty(); })) {
        return absl::InternalError("no playback is heard");
      }
      const std::string playing = host_->Playing(channel_id);
      absl::Status ended;
      // It cannot be controlled yet right after its first event.
      if (!FakeAri::WaitFor([&] {
            ended = Ask("DELETE", "/ari/playbacks/" + playing);
            return ended.ok();
          })) {
        return ended;
      }
      if (!FakeAri::WaitFor([&] { return host_->Playing(channel_id) != playing; })) {
        return absl::InternalError("a playback did not end: is it there twice?");
      }
      if (playing == fence) return count;
    }
  }
  std::string Sound() const override { return sound_.uri(); }

  absl::Status BreakConnection() override {
    proxy_->Break();
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    proxy_->Mend();
    return absl::OkStatus();
  }
  absl::Status BlockInstance() override {
    blocked_ = true;
    Server()->Signal(SIGSTOP);
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    blocked_ = false;
    Server()->Signal(SIGCONT);
    return absl::OkStatus();
  }

 private:
  absl::Status Begin() {
    if (Server() == nullptr) return absl::UnimplementedError("there is no Asterisk");
    if (driver_ != nullptr) return absl::OkStatus();
    auto host = Connect(Server()->Ari(), kHost);
    if (!host.ok()) return host.status();
    host_connections_ = *host;
    host_connections_->AddHandler(host_);
    auto connections = Connect(Server()->Ari(), "recovering");
    if (!connections.ok()) return connections.status();
    auto driver = MakeAriDriver(*connections);
    if (!driver.ok()) return driver.status();
    proxy_ = std::make_unique<TcpProxy>(
        std::stoi(Server()->Ari().url.substr(Server()->Ari().url.rfind(':') + 1)));
    driver_ = *driver;
    return driver_->Start(answers_);
  }

  // One request to the server itself.
  absl::StatusOr<AriReply> Send(const std::string& method, const std::string& path,
                                const json& body) {
    return host_connections_->Request(CallContext::WithTimeout(seconds(5)), kInstance, method, path,
                                      body.is_null() ? "" : body.dump());
  }
  absl::Status Ask(const std::string& method, const std::string& path, const json& body = nullptr) {
    const auto reply = Send(method, path, body);
    if (!reply.ok()) return reply.status();
    if (reply->http_status / 100 == 2) return absl::OkStatus();
    return absl::InternalError(method + " " + path + ": " + std::to_string(reply->http_status) +
                               " " + reply->body);
  }
  json Get(const std::string& path) {
    const auto reply = Send("GET", path, nullptr);
    if (!reply.ok()) return json();
    return ParseJson(reply->body).value_or(json());
  }

  const SoundFile sound_;
  const std::shared_ptr<Host> host_ = std::make_shared<Host>();
  const std::shared_ptr<Answers> answers_ = std::make_shared<Answers>();
  std::map<std::string, std::unique_ptr<SipPhone>> phones_;
  std::unique_ptr<TcpProxy> proxy_;
  std::shared_ptr<AriConnections> host_connections_;
  std::shared_ptr<MediaServerDriver> driver_;
  int controllers_ = 0;
  bool blocked_ = false;
};

// One that the module is told, and that is back when the answer is reported.
class FlowOfTheServer : public ::testing::Test {
 protected:
  void SetUp() override {
    if (Server() == nullptr) GTEST_SKIP() << "there is no Asterisk";
    auto resumer = harness_.Make();
    ASSERT_TRUE(resumer.ok()) << resumer.status();
    resumer_ = *resumer;
    flow_.bridge = BridgeMembership{"room", "", "mixing", "", false};
    flow_.playback = Playback{};
    flow_.playback->id = "p-server";
    flow_.playback->media = {harness_.Sound()};
    flow_.playback->item_started = SystemClock().Now();
  }
  absl::StatusOr<FlowResumer::ResumeParams> Recover() {
    return harness_.Recover(flow_, [this](const Session& session) {
      return resumer_->Prepare(session, SystemClock().Now());
    });
  }
  absl::Status Resume(const FlowResumer::ResumeParams& params) {
    return resumer_->Resume(CallContext::WithTimeout(seconds(5)), params);
  }

  ResumerHarness harness_;
  std::shared_ptr<FlowResumer> resumer_;
  FlowState flow_;
};

TEST_F(FlowOfTheServer, IsBackWhenTheAnswerIsReported) {
  const auto recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  EXPECT_EQ(harness_.ProgressOf(recovered->channel_id), FlowProgress::kDone);
  EXPECT_EQ(*harness_.BridgeOf(recovered->channel_id), std::set{recovered->channel_id});
  EXPECT_EQ(*harness_.Playbacks(recovered->channel_id), 1);
}

TEST_F(FlowOfTheServer, IsNotDoubledByAControllerThatDidNotHearOfIt_FR3) {
  auto recovered = Recover();
  ASSERT_TRUE(recovered.ok()) << recovered.status();
  recovered->first = false;
  EXPECT_EQ(Resume(*recovered), absl::OkStatus());
  EXPECT_EQ(*harness_.BridgeOf(recovered->channel_id), std::set{recovered->channel_id});
  EXPECT_EQ(*harness_.Playbacks(recovered->channel_id), 1);
}

const bool registered = (conformance::RegisterFlowResumerConformance(
                             "AriFlowResumer", [] { return std::make_unique<ResumerHarness>(); }),
                         true);

}  // namespace
}  // namespace sipheal::inline v0_1::internal
