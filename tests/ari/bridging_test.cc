// SPDX-License-Identifier: Apache-2.0
// Engine and ARI resumer together, at scale: who is with whom after a crash.
#include <mutex>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "sipheal/adapters/ari.h"
#include "sipheal/testing/fake_ari.h"
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using testing::FakeAri;
using ::testing::Pair;

// The bridges of one server, as its ARI makes and fills them; what else it is asked to do is kept.
class Bridges {
 public:
  explicit Bridges(FakeAri& fake) {
    fake.OnRequest([this](const FakeAri::Request& request) { return Answer(request); });
  }

  std::map<std::string, std::set<std::string>> members() {
    const std::lock_guard lock(mutex_);
    return members_;
  }
  std::map<std::string, json> made() {
    const std::lock_guard lock(mutex_);
    return made_;
  }
  std::vector<std::string> others() {
    const std::lock_guard lock(mutex_);
    return others_;
  }

 private:
  static FakeAri::Answer Json(int status, const json& body) { return {status, body.dump()}; }

  std::optional<FakeAri::Answer> Answer(const FakeAri::Request& request) {
    const std::lock_guard lock(mutex_);
    const std::string prefix = "/ari/bridges";
    if (request.path.rfind(prefix, 0) != 0) {
      if (request.path.rfind("/ari/channels/", 0) != 0) return std::nullopt;
      if (request.method == "GET") return Json(200, {{"id", request.path.substr(14)}});
      others_.push_back(request.method + " " + request.path);
      return FakeAri::Answer{204, ""};
    }
    const auto show = [this](const std::string& id) {
      return json{{"id", id}, {"bridge_class", "stasis"}, {"channels", members_.at(id)}};
    };
    if (request.path == prefix) {
      json all = json::array();
      for (const auto& [id, channels] : members_) all.push_back(show(id));
      return Json(200, all);
    }
    std::string id = request.path.substr(prefix.size() + 1);
    const std::string action = "/addChannel";
    const json body = json::parse(request.body, nullptr, false);
    if (id.size() > action.size() && id.ends_with(action)) {
      id.resize(id.size() - action.size());
      if (!members_.contains(id)) return Json(404, {{"message", "Bridge not found"}});
      // As in Asterisk, a channel is in one bridge.
      for (auto& [other, channels] : members_) channels.erase(body.at("channel"));
      members_[id].insert(body.at("channel"));
      return FakeAri::Answer{204, ""};
    }
    if (id.find('/') != std::string::npos) {
      others_.push_back(request.method + " " + request.path);
      return FakeAri::Answer{204, ""};
    }
    if (request.method == "POST") {
      if (members_.contains(id)) return Json(409, {{"message", "exists"}});
      members_[id];
      made_[id] = body;
      return Json(200, show(id));
    }
    if (!members_.contains(id)) return Json(404, {{"message", "Bridge not found"}});
    return Json(200, show(id));
  }

  std::mutex mutex_;
  std::map<std::string, std::set<std::string>> members_;
  std::map<std::string, json> made_;  // the bodies they were made with
  std::vector<std::string> others_;   // playbacks, recordings and all else that was asked for
};

class BridgingTest : public ::testing::Test {
 protected:
  BridgingTest() {
    AriOptions options;
    for (const char* name : {"ast-2", "ast-3"}) {
      fakes_.push_back(*FakeAri::Start({}));
      bridges_[name] = std::make_unique<Bridges>(*fakes_.back());
      AriInstanceOptions instance;
      instance.name = name;
      instance.url = fakes_.back()->url();
      instance.user = "sipheal";
      instance.password = "secret";
      options.instances.push_back(instance);
    }
    connections_ = *ConnectAri(options);
    world_.flow = *MakeAriFlowResumer(connections_, {});
  }
  // The servers' threads call into `bridges_`: they end before that.
  void TearDown() override { fakes_.clear(); }

  static HealerOptions Options() {
    HealerOptions options = Controller::Options();
    // The engine's clock stands still while the resumer talks to the servers.
    options.plugin_timeout = std::chrono::minutes(2);
    return options;
  }

  // A leg that is up in `bridge`; the group is the host's own, or the bridge's.
  void AddLeg(int number, const std::string& bridge, const std::string& group,
              const std::string& name = "") {
    Session session = world_.MakeSession(number);
    session.group = group;
    session.flow.stasis_app = "sipheal";
    session.flow.bridge = BridgeMembership{bridge, name, "mixing", "", false};
    world_.Put(session);
    world_.capture->AddDialog(World::Dialog(session.call_id));
  }

  // After a recovery: the legs of each bridge, by number, over both servers.
  std::map<std::string, std::set<int>> Legs(const Controller& controller) {
    std::map<std::string, int> number_of;  // by "instance/channel"
    for (const SessionReport& report : controller.heard->outcomes) {
      number_of[report.to.instance + "/" + report.channel_id] = std::stoi(report.call_id.substr(5));
    }
    std::map<std::string, std::set<int>> legs;
    for (const auto& [instance, bridges] : bridges_) {
      for (const auto& [id, channels] : bridges->members()) {
        for (const std::string& channel : channels) {
          const auto number = number_of.find(instance + "/" + channel);
          EXPECT_NE(number, number_of.end()) << "a stranger in " << id << ": " << channel;
          if (number != number_of.end()) legs[instance + "/" + id].insert(number->second);
        }
      }
    }
    return legs;
  }

  World world_;
  std::vector<std::unique_ptr<FakeAri>> fakes_;
  std::map<std::string, std::unique_ptr<Bridges>> bridges_;
  std::shared_ptr<AriConnections> connections_;
};

// 500 pairs, their phones answering in any order. Legs 2i and 2i + 1 are a pair; each third pair
// has a group of its host's, under another name than its bridge.
TEST_F(BridgingTest, F57_EachOfFiveHundredPairsGetsItsOwnPartner) {
  constexpr int kPairs = 500;
  std::mt19937 random(20261123);
  std::vector<int> order(2 * kPairs);
  for (int i = 0; i < 2 * kPairs; ++i) order[static_cast<std::size_t>(i)] = i;
  std::shuffle(order.begin(), order.end(), random);
  for (const int leg : order) {
    const int pair = leg / 2;
    const std::string bridge = absl::StrFormat("pair-%d", pair);
    AddLeg(leg, bridge, pair % 3 == 0 ? absl::StrFormat("call of host %d", pair) : bridge);
    world_.servers->ScriptPhone(absl::StrFormat("call-%d", leg),
                                {{.delay = milliseconds(random() % 3'000)}});
  }
  Controller controller(world_, Options());
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(2 * kPairs)) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 2 * kPairs)))
      << controller.Reasons();

  std::set<int> bridged;
  for (const auto& [bridge, legs] : Legs(controller)) {
    ASSERT_EQ(legs.size(), 2u) << bridge << " has leg " << *legs.begin();
    EXPECT_EQ(*legs.begin() / 2, *legs.rbegin() / 2) << bridge << " joins two calls";
    const int pair = *legs.begin() / 2;
    EXPECT_TRUE(bridge.ends_with(absl::StrFormat("/pair-%d", pair))) << bridge;
    bridged.insert(legs.begin(), legs.end());
  }
  EXPECT_EQ(bridged.size(), 2u * kPairs) << "some legs are alone";
  std::set<std::string> used;
  for (const SessionReport& report : controller.heard->outcomes) used.insert(report.to.instance);
  EXPECT_EQ(used.size(), 2u) << "both servers took calls";
}

// Every member of a conference was on the dead server: whoever comes first makes it again, and
// nothing is played or said to anybody.
TEST_F(BridgingTest, F58_F59_AConferenceOfTenMeetsAgainInSilence) {
  for (int i = 0; i < 10; ++i) {
    AddLeg(i, "conference", "conference", "Monday");
    world_.servers->ScriptPhone(absl::StrFormat("call-%d", i),
                                {{.delay = milliseconds(100 * ((i * 7) % 10))}});
  }
  Controller controller(world_, Options());
  controller.Start();
  controller.Kill("ast-1");
  ASSERT_TRUE(controller.RunUntilOutcomes(10)) << controller.Reasons();
  const auto legs = Legs(controller);
  ASSERT_EQ(legs.size(), 1u);
  EXPECT_EQ(legs.begin()->second.size(), 10u);
  int made = 0;
  for (const auto& [instance, bridges] : bridges_) {
    for (const auto& [id, body] : bridges->made()) {
      ++made;
      EXPECT_EQ(id, "conference");
      EXPECT_EQ(body, json({{"type", "mixing"}, {"name", "Monday"}}));
    }
    for (const std::string& other : bridges->others()) {
      EXPECT_TRUE(other.ends_with("/variable")) << other;
    }
  }
  EXPECT_EQ(made, 1);
}

}  // namespace
}  // namespace sipheal
