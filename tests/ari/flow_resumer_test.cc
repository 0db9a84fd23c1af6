// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>
#include <utility>

#include "ari/connections.h"
#include "ari/flow_hints.h"
#include "ari/flow_plan.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using ::testing::ElementsAre;
using testing::FakeAri;
using ::testing::HasSubstr;

constexpr WallTime kDeath{std::chrono::seconds(1'800'000'000)};

// What a server has of bridges, playbacks and recordings, answered as Asterisk 22 does, every
// request kept.
class BridgeServer {
 public:
  explicit BridgeServer(FakeAri& fake) {
    fake.OnRequest([this](const FakeAri::Request& request) { return Answer(request); });
  }

  std::set<std::string> channels = {"c1", "c2", "c3"};
  std::map<std::string, std::set<std::string>> bridges;
  std::map<std::string, int> posts;  // how often each playback or recording was begun
  std::set<std::string> running;
  std::map<std::string, int> refuse;  // path -> status
  int bridges_to_lose = 0;            // so many that are made are gone at once
  bool on_hold = false;
  std::string server_flow;  // what the server says of the flow that it was told
  bool host_connected = true;
  bool host_hears_all = false;  // it subscribed to all channels: none is named then

  std::vector<std::string> log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }
  json body(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return bodies_[path];
  }
  template <typename Function>
  auto With(Function function) {
    const std::lock_guard lock(mutex_);
    return function();
  }

 private:
  static FakeAri::Answer Json(int status, const json& body) { return {status, body.dump()}; }
  static FakeAri::Answer Missing() { return Json(404, {{"message", "not found"}}); }

  std::optional<FakeAri::Answer> Answer(const FakeAri::Request& request) {
    if (request.path.find("/asterisk/") != std::string::npos ||
        request.path.find("/events") != std::string::npos) {
      return std::nullopt;
    }
    const std::lock_guard lock(mutex_);
    const bool by_the_connection = request.path.rfind("/ari/applications/", 0) == 0;
    if (request.method != "GET" && !by_the_connection)
      log_.push_back(request.method + " " + request.path.substr(4));
    const json body = json::parse(request.body, nullptr, false);
    if (!body.is_discarded()) bodies_[request.path.substr(4)] = body;
    if (const auto refused = refuse.find(request.path.substr(4)); refused != refuse.end()) {
      return Json(refused->second, {{"message", "refused"}});
    }
    std::vector<std::string> part;
    for (std::size_t begin = 5; begin <= request.path.size();) {
      const std::size_t end = std::min(request.path.find('/', begin), request.path.size());
      part.push_back(request.path.substr(begin, end - begin));
      begin = end + 1;
    }
    if (part[0] == "applications") {
      if (!host_connected) return Missing();
      const std::set<std::string> all = {"__AST_CHANNEL_ALL_TOPIC"};
      return Json(200, {{"name", part[1]}, {"channel_ids", host_hears_all ? all : moved_}});
    }
    if (part[0] == "bridges") return Bridges(request.method, part, body);
    if (part[0] == "playbacks" || part[0] == "recordings") {
      return running.contains(part.back()) ? Json(200, {{"id", part.back()}, {"state", "playing"}})
                                           : Missing();
    }
    if (!channels.contains(part[1])) return Missing();
    if (part.size() == 2)
      return Json(200, {{"id", part[1]}, {"dialplan", {{"app_name", "Stasis"}}}});
    if (part[2] == "variable" && request.method == "GET") {
      if (request.query != "variable=PJSIP_RECOVERY_FLOW_RESULT")
        return Json(200, {{"value", on_hold ? "1" : "0"}});
      return server_flow.empty() ? Missing() : Json(200, {{"value", server_flow}});
    }
    if (part[2] == "hold") on_hold = true;
    if (part[2] == "move") moved_.insert(part[1]);
    if (part[2] == "play") return Begin(part[3]);
    if (part[2] == "record") return Begin(body.at("name"));
    return FakeAri::Answer{204, ""};
  }

  FakeAri::Answer Begin(const std::string& id) {
    ++posts[id];
    running.insert(id);
    return Json(201, {{"id", id}, {"state", "queued"}});
  }

  FakeAri::Answer Bridges(const std::string& method, const std::vector<std::string>& part,
                          const json& body) {
    const auto show = [this](const std::string& id) {
      return json{{"id", id}, {"bridge_class", "stasis"}, {"channels", bridges[id]}};
    };
    if (part.size() == 1) {
      json all = json::array();
      for (const auto& [id, members] : bridges) all.push_back(show(id));
      return Json(200, all);
    }
    const bool there = bridges.contains(part[1]);
    if (part.size() == 2 && method == "POST") {
      if (there) return Json(409, {{"message", "exists"}});
      const FakeAri::Answer made = Json(200, show(part[1]));
      if (bridges_to_lose > 0) {
        --bridges_to_lose;
        bridges.erase(part[1]);
      }
      return made;
    }
    if (!there) return Missing();
    if (part.size() == 2) return Json(200, show(part[1]));
    if (part[2] == "addChannel") {
      const std::string channel = body.at("channel");
      if (!channels.contains(channel)) return Json(400, {{"message", "Channel not found"}});
      for (auto& [id, members] : bridges) members.erase(channel);
      bridges[part[1]].insert(channel);
    }
    if (part[2] == "play") return Begin(part[3]);
    if (part[2] == "record") return Begin(body.at("name"));
    return {204, ""};
  }

  std::mutex mutex_;
  std::vector<std::string> log_;
  std::map<std::string, json> bodies_;
  std::set<std::string> moved_;
};

class FlowResumerTest : public ::testing::Test {
 protected:
  FlowResumerTest() : fake_(*FakeAri::Start({})), server_(*fake_) {
    AriOptions options;
    AriInstanceOptions instance;
    instance.name = "b";
    instance.url = fake_->url();
    instance.user = "sipheal";
    instance.password = "secret";
    options.instances = {instance};
    connections_ = *ConnectAri(options);
    resumer_ = *MakeAriFlowResumer(connections_, {});
  }

  static FlowResumer::ResumeParams Params(const std::string& id, const std::string& channel) {
    FlowResumer::ResumeParams params;
    params.session.id = id;
    params.session.flow.stasis_app = "sipheal";
    params.died_at = kDeath;
    params.instance = "b";
    params.channel_id = channel;
    return params;
  }
  static void InBridge(FlowResumer::ResumeParams& params, const std::string& bridge) {
    params.session.flow.bridge = BridgeMembership{bridge, "", "mixing", "", false};
    params.session.group = bridge;
  }
  static Playback Playing(milliseconds position) {
    Playback playback;
    playback.id = "p";
    playback.media = {"sound:a", "sound:b", "sound:c"};
    playback.item = 1;
    playback.item_started = kDeath - position;
    playback.language = "en";
    return playback;
  }
  // As the Healer hands it over the first time.
  static FlowResumer::ResumeParams First(const std::string& id, const std::string& channel) {
    FlowResumer::ResumeParams params = Params(id, channel);
    params.first = true;
    return params;
  }
  // What was asked since the last call of this method, but for what the connection itself asks.
  std::vector<std::string> Asked() {
    std::vector<std::string> asked;
    const std::vector<FakeAri::Request> requests = fake_->requests();
    for (std::size_t i = std::exchange(seen_, requests.size()); i < requests.size(); ++i) {
      const FakeAri::Request& request = requests[i];
      const auto begins = [&](const char* with) { return request.path.rfind(with, 0) == 0; };
      if (begins("/ari/asterisk/") || begins("/ari/events")) continue;
      if (begins("/ari/applications/") && request.method != "GET") continue;
      asked.push_back(request.method + " " + request.path.substr(4));
    }
    return asked;
  }
  absl::Status Resume(const FlowResumer::ResumeParams& params) {
    return resumer_->Resume(CallContext::WithTimeout(std::chrono::seconds(5)), params);
  }

  // The server's thread calls into `server_`: it ends before that.
  void TearDown() override { fake_.reset(); }

  std::unique_ptr<FakeAri> fake_;
  BridgeServer server_;
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<FlowResumer> resumer_;
  std::size_t seen_ = 0;
};

TEST_F(FlowResumerTest, DoesWhatKeepsTheChannelBusyLast) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  params.session.flow.stasis_args = {"a", "b"};
  InBridge(params, "room");
  params.session.flow.held_by_us = true;
  params.session.flow.muted_in = true;
  params.session.flow.playback = Playing(milliseconds(2500));
  params.session.flow.recordings = {{"talk", "wav", true, {}}};
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ElementsAre("POST /channels/c1/variable", "POST /bridges/room",
                                         "POST /bridges/room/addChannel", "POST /channels/c1/hold",
                                         "POST /channels/c1/mute", "POST /channels/c1/move",
                                         "POST /bridges/room/record", "POST /channels/c1/play/p"));
  EXPECT_EQ(server_.body("/channels/c1/play/p"),
            json({{"media", {"sound:b", "sound:c"}}, {"offsetms", 2400}, {"lang", "en"}}));
  EXPECT_EQ(server_.body("/channels/c1/move"), json({{"app", "host"}, {"appArgs", "a,b"}}));
  EXPECT_EQ(server_.body("/channels/c1/mute"), json({{"direction", "in"}}));
  EXPECT_EQ(server_.body("/bridges/room/record")["name"], "talk-part2");
  const internal::FlowHints note =
      internal::ParseFlowHints(server_.body("/channels/c1/variable")["value"].get<std::string>());
  EXPECT_EQ(note.stasis, (internal::FlowHints::StasisApp{"host", {"a", "b"}}));
  EXPECT_EQ(note.playback, (internal::FlowHints::PlaybackList{
                               "p", {"sound:a", "sound:b", "sound:c"}, 1, milliseconds(2400)}));
  EXPECT_THAT(note.recordings,
              ElementsAre(internal::FlowHints::RecordingParts{"talk-part2", {"talk"}}));
}

TEST_F(FlowResumerTest, DoesNothingTwice_FR3) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  InBridge(params, "room");
  params.session.flow.held_by_us = true;
  params.session.flow.playback = Playing(milliseconds(2500));
  params.session.flow.recordings = {{"talk", "wav", false, {}}};
  ASSERT_EQ(Resume(params), absl::OkStatus());
  const std::size_t before = server_.log().size();
  ASSERT_EQ(Resume(params), absl::OkStatus());
  // Another controller, which remembers nothing.
  auto second = *MakeAriFlowResumer(connections_, {});
  ASSERT_EQ(second->Resume(CallContext::WithTimeout(std::chrono::seconds(5)), params),
            absl::OkStatus());
  const std::vector<std::string> log = server_.log();
  const std::vector<std::string> again(log.begin() + static_cast<std::ptrdiff_t>(before),
                                       log.end());
  EXPECT_THAT(again, ::testing::IsEmpty());
}

// Asterisk carries a command out, the setting of a variable too, when the channel's playback or
// recording has ended.
TEST_F(FlowResumerTest, CommandsNothingToAChannelThatPlaysOrIsRecordedAlready_FR3) {
  server_.running = {"p", "talk-part2"};
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  InBridge(params, "room");
  params.session.flow.held_by_us = true;
  params.session.flow.playback = Playing(milliseconds(2500));
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ::testing::IsEmpty());
  params.session.flow.playback.reset();
  params.session.flow.recordings = {{"talk", "wav", false, {}}};
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ::testing::IsEmpty());
  // What the bridge plays and records keeps no channel waiting.
  params.session.flow.recordings[0].on_bridge = true;
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ::testing::Contains("POST /channels/c1/move"));
}

TEST_F(FlowResumerTest, MovesAChannelOnceToAnApplicationThatHearsAllChannels_FR3) {
  server_.With([&] { return server_.host_hears_all = true; });
  for (FlowResumer::ResumeParams params : {First("s", "c1"), Params("t", "c2")}) {
    params.session.flow.stasis_app = "host";
    ASSERT_EQ(Resume(params), absl::OkStatus());
    params.first = false;
    ASSERT_EQ(Resume(params), absl::OkStatus());
    const std::vector<std::string> log = server_.log();
    EXPECT_EQ(std::count(log.begin(), log.end(), "POST /channels/" + params.channel_id + "/move"),
              1);
  }
}

TEST_F(FlowResumerTest, PausesAPlaybackThatAnEarlierResumeCouldNotPause) {
  server_.running.insert("p");
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.playback = Playing(milliseconds(2500));
  params.session.flow.playback->paused = true;
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ElementsAre("POST /playbacks/p/control"));
}

TEST_F(FlowResumerTest, BeginsABridgesPlaybackOnceForAllMembersAtTheSameTime_FR3_FR4) {
  std::vector<FlowResumer::ResumeParams> all;
  for (int i = 1; i <= 3; ++i) {
    FlowResumer::ResumeParams params = Params("s" + std::to_string(i), "c" + std::to_string(i));
    InBridge(params, "room");
    params.session.flow.playback = Playing(milliseconds(700));
    params.session.flow.playback->on_bridge = true;
    params.session.flow.recordings = {{"talk-part2", "wav", true, {"talk"}}};
    all.push_back(params);
  }
  std::vector<std::thread> threads;
  std::array<absl::Status, 3> statuses;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { statuses[i] = Resume(all[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_EQ(status, absl::OkStatus());
  EXPECT_THAT(server_.bridges["room"], ::testing::UnorderedElementsAre("c1", "c2", "c3"));
  EXPECT_EQ(server_.posts["p"], 1);
  EXPECT_EQ(server_.posts["talk-part3"], 1);
  // Short sound: it has ended, then a member comes late. Its end is not played again.
  server_.With([&] { return server_.running.clear(); });
  EXPECT_EQ(Resume(all[0]), absl::OkStatus());
  EXPECT_EQ(server_.posts["p"], 1);
}

TEST_F(FlowResumerTest, MakesABridgeThatIsGoneAgainOnceForAllMembersAtTheSameTime_FR3) {
  server_.bridges_to_lose = 1;
  std::vector<FlowResumer::ResumeParams> all;
  for (int i = 1; i <= 3; ++i) {
    all.push_back(Params("s" + std::to_string(i), "c" + std::to_string(i)));
    InBridge(all.back(), "room");
    all.back().first = true;
  }
  std::vector<std::thread> threads;
  std::array<absl::Status, 3> statuses;
  for (std::size_t i = 0; i < 3; ++i) {
    threads.emplace_back([&, i] { statuses[i] = Resume(all[i]); });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_EQ(status, absl::OkStatus());
  EXPECT_THAT(server_.bridges["room"], ::testing::UnorderedElementsAre("c1", "c2", "c3"));
  const std::vector<std::string> log = server_.log();
  EXPECT_EQ(std::count(log.begin(), log.end(), "POST /bridges/room"), 2);
}

TEST_F(FlowResumerTest, MeetsAPartnerOfTheHostsGroupWhereThatIs_F55_FR4) {
  server_.bridges["elsewhere"] = {"c2"};
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.group = "call-7";
  params.partners = {{"t", "b", "c2", /*lived_there=*/true}};
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.bridges["elsewhere"], ::testing::UnorderedElementsAre("c1", "c2"));
}

TEST_F(FlowResumerTest, JoinsNobodyToASessionThatWasInNoBridge_FR4) {
  // c3 was in none; the others were talking. c4 lives there, and is in none either.
  std::vector<FlowResumer::ResumeParams> all = {Params("s", "c1"), Params("t", "c2"),
                                                Params("u", "c3")};
  InBridge(all[0], "room");
  InBridge(all[1], "room");
  for (FlowResumer::ResumeParams& params : all) {
    params.session.group = "call-7";
    params.partners.push_back({"v", "b", "c4", /*lived_there=*/true});
    for (const FlowResumer::ResumeParams& other : all) {
      if (other.channel_id == params.channel_id) continue;
      params.partners.push_back({other.session.id, "b", other.channel_id});
    }
  }
  for (const int turn : {2, 0, 1, 2}) ASSERT_EQ(Resume(all[turn]), absl::OkStatus());
  ASSERT_EQ(server_.bridges.size(), 1u);
  EXPECT_THAT(server_.bridges["room"], ::testing::UnorderedElementsAre("c1", "c2"));
}

TEST_F(FlowResumerTest, MakesNothingForAChannelThatIsGone_F65) {
  FlowResumer::ResumeParams params = Params("s", "gone");
  InBridge(params, "room");
  const absl::Status status = Resume(params);
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_TRUE(server_.bridges.empty());
}

TEST_F(FlowResumerTest, WaitsForTheHostsApplicationInsteadOfDoingHalf) {
  server_.With([&] { return server_.host_connected = false; });
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  const absl::Status status = Resume(params);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr("host"));
  EXPECT_TRUE(server_.log().empty());
}

TEST_F(FlowResumerTest, ForTheFirstTimeAsksNothingButTheApplicationOnceASecond) {
  const auto begun = std::chrono::steady_clock::now();
  int looked = 0;
  for (const char* channel : {"c1", "c2", "c3"}) {
    FlowResumer::ResumeParams params = First(channel, channel);
    params.session.flow.stasis_app = "host";
    params.session.flow.held_by_us = true;
    params.session.flow.playback = Playing(milliseconds(2500));
    params.session.flow.playback->id = std::string("p-") + channel;
    ASSERT_EQ(Resume(params), absl::OkStatus());
    std::vector<std::string> asked = Asked();
    if (!asked.empty() && asked.front() == "GET /applications/host") {
      ++looked;
      asked.erase(asked.begin());
    }
    const std::string path = std::string("/channels/") + channel;
    EXPECT_THAT(asked, ElementsAre("POST " + path + "/hold", "POST " + path + "/move",
                                   "POST " + path + "/play/p-" + channel));
  }
  const auto seconds =
      std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now() - begun);
  EXPECT_GE(looked, 1);
  EXPECT_LE(looked, 1 + seconds.count());
}

TEST_F(FlowResumerTest, LooksForTheApplicationOnceForACrowd) {
  fake_->Behave({.path = "/ari/applications/host",
                 .fault = FakeAri::Fault::kNone,
                 .answer = {},
                 .delay = milliseconds(100)});
  std::array<absl::Status, 3> statuses;
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < statuses.size(); ++i) {
    threads.emplace_back([&, i] {
      FlowResumer::ResumeParams params = First("s", "c" + std::to_string(i + 1));
      params.session.flow.stasis_app = "host";
      statuses[i] = Resume(params);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& status : statuses) EXPECT_EQ(status, absl::OkStatus());
  const std::vector<std::string> asked = Asked();
  EXPECT_EQ(std::count(asked.begin(), asked.end(), "GET /applications/host"), 1)
      << ::testing::PrintToString(asked);
}

TEST_F(FlowResumerTest, DoesNotRememberThatTheApplicationWasNotThere) {
  server_.With([&] { return server_.host_connected = false; });
  FlowResumer::ResumeParams params = First("s", "c1");
  params.session.flow.stasis_app = "host";
  EXPECT_TRUE(absl::IsUnavailable(Resume(params)));
  server_.With([&] { return server_.host_connected = true; });
  EXPECT_EQ(Resume(params), absl::OkStatus());
}

TEST_F(FlowResumerTest, MakesABridgeForItsFirstLegAlone) {
  FlowResumer::ResumeParams params = First("s", "c1");
  InBridge(params, "room");
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(Asked(), ElementsAre("POST /bridges/room", "POST /bridges/room/addChannel"));
  params = First("t", "c2");
  InBridge(params, "room");
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(Asked(), ElementsAre("POST /bridges/room/addChannel"));

  // The host has destroyed it meanwhile.
  server_.With([&] { return server_.bridges.erase("room"); });
  params = First("u", "c3");
  InBridge(params, "room");
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(Asked(), ElementsAre("POST /bridges/room/addChannel", "POST /bridges/room",
                                   "POST /bridges/room/addChannel"));
  EXPECT_THAT(server_.bridges["room"], ElementsAre("c3"));
}

TEST_F(FlowResumerTest, TakesABridgeThatAnotherControllerMade_FR4) {
  server_.bridges["room"] = {"c1"};
  FlowResumer::ResumeParams params = First("t", "c2");
  InBridge(params, "room");
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.bridges["room"], ::testing::UnorderedElementsAre("c1", "c2"));
}

TEST_F(FlowResumerTest, LooksForABridgesPlaybackAlsoTheFirstTime_FR3) {
  server_.running.insert("p");  // another controller resumed a partner
  FlowResumer::ResumeParams params = First("s", "c1");
  InBridge(params, "room");
  params.session.flow.playback = Playing(milliseconds(700));
  params.session.flow.playback->on_bridge = true;
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_EQ(server_.posts["p"], 0);
}

TEST_F(FlowResumerTest, PreparesTheNoteThatItWouldWriteOtherwise_FR8) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  params.session.flow.stasis_args = {"a", "\"b\",\r\n"};
  params.session.flow.muted_out = true;
  params.session.flow.playback = Playing(milliseconds(2500));
  params.session.flow.recordings = {{"talk", "wav", false, {}}};
  const FlowResumer::Variables prepared = resumer_->Prepare(params.session, params.died_at);
  ASSERT_EQ(prepared.size(), 1u);
  EXPECT_EQ(prepared[0].first, "SIPHEAL_FLOW");
  EXPECT_TRUE(Asked().empty()) << "it asked the server";
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_EQ(server_.body("/channels/c1/variable"),
            json({{"variable", prepared[0].first}, {"value", prepared[0].second}}));
  // Nothing is to be noted of a channel that does nothing.
  EXPECT_TRUE(resumer_->Prepare(Params("t", "c2").session, kDeath).empty());
}

TEST_F(FlowResumerTest, TellsTheServerAFlowThatItCanPutBackAsAWhole_FR8) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  InBridge(params, "room");
  const FlowResumer::Variables prepared = resumer_->Prepare(params.session, params.died_at);
  ASSERT_EQ(prepared.size(), 2u);
  EXPECT_EQ(prepared[0].first, "SIPHEAL_FLOW");
  EXPECT_EQ(prepared[1].first, "PJSIP_RECOVERY_FLOW");
  EXPECT_EQ(json::parse(prepared[1].second)["bridge"]["id"], "room");
}

TEST_F(FlowResumerTest, DoesNothingMoreWhenTheServerHasDoneIt) {
  FlowResumer::ResumeParams params = First("s", "c1");
  params.session.flow.stasis_app = "host";
  InBridge(params, "room");
  params.done_by_server = true;
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(Asked(), ::testing::IsEmpty());
}

TEST_F(FlowResumerTest, AsksWhatTheServerDidBeforeItDoesThatAgain_FR3) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.stasis_app = "host";
  InBridge(params, "room");
  params.session.flow.playback = Playing(milliseconds(2500));
  server_.With([&] { return server_.server_flow = "underway"; });
  params.died_at = SystemClock().Now();
  EXPECT_TRUE(absl::IsUnavailable(Resume(params)));
  params.died_at -= std::chrono::seconds(11);
  EXPECT_EQ(Resume(params), absl::OkStatus()) << "the host keeps the channel busy";
  server_.With([&] { return server_.server_flow = "done"; });
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ::testing::IsEmpty());
  server_.With([&] { return server_.server_flow = "failed;reason=the playback did not begin"; });
  EXPECT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(server_.log(), ::testing::Contains("POST /bridges/room/addChannel"));
  EXPECT_EQ(server_.posts["p"], 1);
}

TEST_F(FlowResumerTest, WritesANoteThatIsTooLongForTheBirthOfTheChannel) {
  FlowResumer::ResumeParams params = First("s", "c1");
  params.session.flow.stasis_app = "host";
  params.session.flow.stasis_args = {std::string(5000, 'x')};
  EXPECT_TRUE(resumer_->Prepare(params.session, params.died_at).empty());
  ASSERT_EQ(Resume(params), absl::OkStatus());
  EXPECT_THAT(Asked(), ElementsAre("GET /applications/host", "POST /channels/c1/variable",
                                   "POST /channels/c1/move"));
  const internal::FlowHints note =
      internal::ParseFlowHints(server_.body("/channels/c1/variable")["value"].get<std::string>());
  EXPECT_EQ(note.stasis, (internal::FlowHints::StasisApp{"host", params.session.flow.stasis_args}));
}

TEST_F(FlowResumerTest, MapsAnswersToWhatMayBeTriedAgain_FR5) {
  FlowResumer::ResumeParams params = Params("s", "c1");
  InBridge(params, "room");
  for (const auto& [http, code] : {std::pair(409, absl::StatusCode::kUnavailable),
                                   std::pair(500, absl::StatusCode::kUnavailable),
                                   std::pair(503, absl::StatusCode::kUnavailable),
                                   std::pair(400, absl::StatusCode::kFailedPrecondition),
                                   std::pair(403, absl::StatusCode::kPermissionDenied)}) {
    server_.With(
        [&, status = http] { return server_.refuse["/bridges/room/addChannel"] = status; });
    EXPECT_EQ(Resume(params).code(), code) << http;
  }
  fake_->Kill();
  EXPECT_TRUE(absl::IsUnavailable(Resume(params)));
}

TEST_F(FlowResumerTest, DoesNotEndACallForARecordingThatCannotGoOn) {
  server_.With([&] { return server_.refuse["/channels/c1/record"] = 409; });
  FlowResumer::ResumeParams params = Params("s", "c1");
  params.session.flow.recordings = {{"talk", "wav", false, {}}};
  EXPECT_EQ(Resume(params), absl::OkStatus());
}

TEST_F(FlowResumerTest, EndsInTimeWhenTheServerHangs_FR2) {
  fake_->Behave(
      {.path = "/ari/channels", .fault = FakeAri::Fault::kHang, .answer = {}, .delay = {}});
  const FlowResumer::ResumeParams params = Params("s", "c1");
  EXPECT_EQ(resumer_->Resume(CallContext::WithTimeout(milliseconds(50)), params).code(),
            absl::StatusCode::kDeadlineExceeded);
  std::stop_source stop;
  CallContext ctx;
  ctx.stop = stop.get_token();
  stop.request_stop();
  EXPECT_EQ(resumer_->Resume(ctx, params).code(), absl::StatusCode::kCancelled);
}

TEST(AcceptFlow, SaysWhyAFlowCannotBeResumed_FR6) {
  Session session;
  session.flow.dialplan = {"default", "100", 2, "Queue", "sales"};
  absl::Status status = internal::AcceptFlow(session, false);
  EXPECT_TRUE(absl::IsFailedPrecondition(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("Queue(sales) at default,100,2"));
  EXPECT_EQ(internal::AcceptFlow(session, true), absl::OkStatus());
  session.flow.dialplan.application = "AppDial";
  EXPECT_TRUE(absl::IsFailedPrecondition(internal::AcceptFlow(session, true)));

  session.flow.stasis_app = "host";
  EXPECT_EQ(internal::AcceptFlow(session, false), absl::OkStatus());
  Playback playback;
  playback.id = "p";
  playback.media = {"http://played.already/", "sound:a"};
  playback.item = 1;
  session.flow.playback = playback;
  EXPECT_EQ(internal::AcceptFlow(session, false), absl::OkStatus());
  session.flow.playback->item = 0;
  EXPECT_TRUE(absl::IsFailedPrecondition(internal::AcceptFlow(session, false)));
  session.flow.playback->media = {"sound:a\r\nb"};
  EXPECT_TRUE(absl::IsFailedPrecondition(internal::AcceptFlow(session, false)));
}

TEST(ResumeOffset, IsThePositionLessTheOverlapOfWhatCanBeSeeked) {
  Playback playback;
  playback.media = {"sound:a", "number:42"};
  playback.item_started = kDeath - milliseconds(1000);
  playback.skipped = milliseconds(300);
  EXPECT_EQ(internal::ResumeOffset(playback, kDeath, milliseconds(100)), milliseconds(1200));
  EXPECT_EQ(internal::ResumeOffset(playback, kDeath - milliseconds(990), milliseconds(250)),
            milliseconds(60));
  EXPECT_EQ(internal::ResumeOffset(playback, kDeath - milliseconds(5000), milliseconds(250)),
            milliseconds(50));
  playback.paused = true;
  playback.paused_at = milliseconds(800);
  EXPECT_EQ(internal::ResumeOffset(playback, kDeath, milliseconds(100)), milliseconds(800));
  playback.item = 1;
  EXPECT_EQ(internal::ResumeOffset(playback, kDeath, milliseconds(100)), milliseconds(0));
}

TEST(NextPartName, CountsFromTheFirstRecording) {
  EXPECT_EQ(internal::NextPartName({"talk", "wav", false, {}}), "talk-part2");
  EXPECT_EQ(internal::NextPartName({"talk-part2", "wav", false, {"talk"}}), "talk-part3");
}

TEST(FlowHints, SurviveTheWayThroughTheVariableAndAnyText) {
  internal::FlowHints hints;
  hints.stasis = {{"app", {"a", "\"b\",\r\n"}}};
  hints.playback = {{"p", {"sound:a", "sound:b"}, 1, milliseconds(7)}};
  hints.recordings = {{"r", {"q"}}};
  hints.held = true;
  hints.muted_out = false;
  EXPECT_EQ(internal::ParseFlowHints(internal::FormatFlowHints(hints)), hints);
  for (const char* bad : {"", "{", "[]", "{\"playback\":{\"id\":\"p\",\"media\":[1],\"item\":9}}",
                          "{\"held\":\"x\"}", "{\"recordings\":[null]}", "{\"stasis\":1}"}) {
    EXPECT_EQ(internal::ParseFlowHints(bad), internal::FlowHints()) << bad;
  }
}

}  // namespace
}  // namespace sipheal
