// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

#include "ari/connections.h"
#include "ari/write_behind.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/testing/fake_ari.h"
#include "sipheal/testing/forwarding_session_store.h"

namespace sipheal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using testing::FakeAri;

// A store that hangs, fails or throws as told, and is the one in memory otherwise.
class MoodyStore : public testing::ForwardingSessionStore {
 public:
  MoodyStore() : ForwardingSessionStore(MakeMemorySessionStore()) {}

  enum class Mood { kGood, kFail, kHang, kThrow };
  std::atomic<Mood> mood{Mood::kGood};
  std::atomic<int> puts{0};

  absl::StatusOr<PutResult> Put(const CallContext& ctx, const PutParams& params) override {
    ++puts;
    switch (mood.load()) {
      case Mood::kGood:
        return ForwardingSessionStore::Put(ctx, params);
      case Mood::kFail:
        return absl::UnavailableError("away");
      case Mood::kThrow:
        throw std::runtime_error("thrown");
      case Mood::kHang:
        while (mood == Mood::kHang && ctx.Remaining(SystemClock().Monotonic()).count() > 0) {
          std::this_thread::yield();
        }
        return absl::DeadlineExceededError("hung");
    }
    return absl::InternalError("");
  }

  std::vector<Session> Sessions() {
    std::vector<Session> sessions;
    if (const auto page = List({}, {}); page.ok()) sessions = page->sessions;
    return sessions;
  }
};

Session Make(const std::string& id, SessionState state = SessionState::kUp) {
  Session session;
  session.id = id;
  session.incarnation = {"a", "1"};
  session.state = state;
  session.call_id = id + "@x";
  session.channel_id = "c" + id;
  return session;
}

internal::WriteBehind::Options Quick() {
  internal::WriteBehind::Options options;
  options.gather = milliseconds(5);
  options.store_timeout = milliseconds(20);
  options.log = NullLogSink();
  options.telemetry = NullTelemetrySink();
  return options;
}

TEST(WriteBehind, NeverStallsOnADeadStoreAndLosesNothing_F81) {
  const auto store = std::make_shared<MoodyStore>();
  internal::WriteBehind writer(store, Quick());
  writer.Start();
  for (const auto mood :
       {MoodyStore::Mood::kFail, MoodyStore::Mood::kHang, MoodyStore::Mood::kThrow}) {
    store->mood = mood;
    const int before_adding = store->puts;
    for (int i = 0; i < 1000; ++i) writer.Add({Make(std::to_string(i))});
    EXPECT_LT(store->puts - before_adding, 1000) << "Add waits for the store";
    const int before = store->puts;
    ASSERT_TRUE(FakeAri::WaitFor([&] { return store->puts > before; }));
    EXPECT_EQ(writer.Flush(CallContext::WithTimeout(milliseconds(30))).code(),
              absl::StatusCode::kDeadlineExceeded);
  }
  writer.Add({Make("7", SessionState::kEnded)});
  store->mood = MoodyStore::Mood::kGood;
  EXPECT_EQ(writer.Flush(CallContext::WithTimeout(std::chrono::seconds(10))), absl::OkStatus());
  EXPECT_EQ(store->Sessions().size(), 999u);
  EXPECT_EQ(writer.pending(), 0u);
}

TEST(WriteBehind, FlushDoesNotWaitForTheGathering_F60) {
  const auto store = std::make_shared<MoodyStore>();
  internal::WriteBehind::Options options = Quick();
  options.gather = std::chrono::hours(1);
  internal::WriteBehind writer(store, options);
  writer.Start();
  writer.Add({Make("1")});
  EXPECT_EQ(writer.Flush(CallContext::WithTimeout(std::chrono::seconds(5))), absl::OkStatus());
  EXPECT_EQ(store->Sessions().size(), 1u);
  std::stop_source stop;
  stop.request_stop();
  CallContext cancelled;
  cancelled.stop = stop.get_token();
  store->mood = MoodyStore::Mood::kFail;
  writer.Add({Make("2")});
  EXPECT_EQ(writer.Flush(cancelled).code(), absl::StatusCode::kCancelled);
  store->mood = MoodyStore::Mood::kGood;
  writer.Stop();
  EXPECT_EQ(store->Sessions().size(), 2u) << "Stop writes what is pending";
}

TEST(WriteBehind, IsBoundedAndAsksForAComparisonWhenTheStoreIsBack_F81) {
  const auto store = std::make_shared<MoodyStore>();
  store->mood = MoodyStore::Mood::kFail;
  std::atomic<bool> compared{false};
  internal::WriteBehind::Options options = Quick();
  options.overflowed = [&] { compared = true; };
  internal::WriteBehind writer(store, options);
  writer.Start();
  for (int i = 0; i < 70'000; ++i) writer.Add({Make(std::to_string(i))});
  EXPECT_LE(writer.pending(), 65'536u);
  EXPECT_FALSE(compared);
  store->mood = MoodyStore::Mood::kGood;
  EXPECT_TRUE(FakeAri::WaitFor([&] { return compared.load(); }, std::chrono::seconds(20)));
}

TEST(WriteBehind, NamesRecoveredSessionsThatTheStoreDoesNotHave) {
  const auto store = std::make_shared<MoodyStore>();
  std::vector<SessionKey> unknown;
  internal::WriteBehind::Options options = Quick();
  options.unknown = [&](const SessionKey& key) { unknown.push_back(key); };
  internal::WriteBehind writer(store, options);
  writer.Start();
  Session recovered = Make("1");
  recovered.epoch = 1;
  writer.Add({recovered, Make("2")});
  EXPECT_EQ(writer.Flush(CallContext::WithTimeout(std::chrono::seconds(5))), absl::OkStatus());
  writer.Stop();
  EXPECT_THAT(unknown, ::testing::ElementsAre(SessionKey{"1", 1}));
  EXPECT_EQ(store->Sessions().size(), 1u);
}

class TrackerTest : public ::testing::Test {
 protected:
  TrackerTest() : fake_(*FakeAri::Start({})), store_(std::make_shared<MoodyStore>()) {
    fake_->OnRequest([this](const FakeAri::Request& request) -> std::optional<FakeAri::Answer> {
      if (request.path == "/ari/channels" && request.method == "GET") {
        const std::lock_guard lock(mutex_);
        return FakeAri::Answer{200, channels_.dump()};
      }
      if (request.path == "/ari/bridges") return FakeAri::Answer{200, "[]"};
      if (request.query.find("onhold") != std::string::npos) {
        const std::lock_guard lock(mutex_);
        const std::string rest = request.path.substr(std::string("/ari/channels/").size());
        ++hold_questions_;
        const bool held = held_.contains(rest.substr(0, rest.find('/')));
        return FakeAri::Answer{200, json{{"value", held ? "1" : "0"}}.dump()};
      }
      return std::nullopt;
    });
    AriOptions options;
    AriInstanceOptions instance;
    instance.name = "a";
    instance.url = fake_->url();
    instance.user = "sipheal";
    instance.password = "secret";
    options.instances = {instance};
    options.reconnect_min = milliseconds(5);
    options.reconnect_max = milliseconds(20);
    connections_ = *ConnectAri(options);
    tracker_ = *MakeAriTracker(connections_, store_, {});
  }

  static json Channel(const std::string& id, const std::string& name = "PJSIP/phone-00000001") {
    return {{"id", id},
            {"name", name},
            {"state", "Up"},
            {"protocol_id", id + "@phone"},
            {"creationtime", "2027-01-15T08:00:00.000+0000"},
            {"dialplan",
             {{"context", "default"},
              {"exten", "1"},
              {"priority", 1},
              {"app_name", "Stasis"},
              {"app_data", "host"}}}};
  }
  void SetChannels(json channels) {
    const std::lock_guard lock(mutex_);
    channels_ = std::move(channels);
  }
  std::set<std::string> Stored() {
    std::set<std::string> ids;
    for (const Session& session : store_->Sessions()) ids.insert(session.channel_id);
    return ids;
  }
  bool WaitStored(const std::set<std::string>& ids) {
    return FakeAri::WaitFor([&] { return Stored() == ids; });
  }
  bool WaitConnected() {
    return FakeAri::WaitFor([&] { return connections_->Connected("a").has_value(); });
  }

  // The server's thread calls into this fixture: it ends before what it uses.
  void TearDown() override { fake_.reset(); }

  std::unique_ptr<FakeAri> fake_;
  std::shared_ptr<MoodyStore> store_;
  std::shared_ptr<AriConnections> connections_;
  std::shared_ptr<AriTracker> tracker_;
  std::mutex mutex_;
  json channels_ = json::array();
  std::set<std::string> held_;  // channels that their server has put on hold
  int hold_questions_ = 0;
};

// No event tells of it, so channels are asked in turn.
TEST_F(TrackerTest, FindsAHoldOfOursThatCameLater) {
  SetChannels({Channel("c1"), Channel("c2")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitStored({"c1", "c2"}));
  const auto held = [&] {
    std::set<std::string> ids;
    for (const Session& session : store_->Sessions()) {
      if (session.flow.held_by_us) ids.insert(session.channel_id);
    }
    return ids;
  };
  const auto hold = [&](std::set<std::string> ids) {
    const std::lock_guard lock(mutex_);
    held_ = std::move(ids);
  };
  EXPECT_TRUE(held().empty());
  hold({"c2"});
  EXPECT_TRUE(FakeAri::WaitFor([&] { return held() == std::set<std::string>{"c2"}; }));
  hold({});
  EXPECT_TRUE(FakeAri::WaitFor([&] { return held().empty(); }));
}

TEST_F(TrackerTest, AsksNoChannelForAHoldThatCannotHaveOne) {
  json outside = Channel("c1");
  outside["dialplan"]["app_name"] = "Dial";
  json ringing = Channel("c2");
  ringing["state"] = "Ring";
  SetChannels({outside, ringing});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitStored({"c1", "c2"}));
  const auto asked = [&] {
    const std::lock_guard lock(mutex_);
    return hold_questions_;
  };
  ASSERT_TRUE(FakeAri::WaitFor([&] { return asked() == 2; })) << "once at the connect";
  SetChannels({outside, ringing, Channel("c3")});
  fake_->ResetEventSockets();
  ASSERT_TRUE(FakeAri::WaitFor([&] { return asked() >= 2 + 3 + 2; })) << "c3 is asked in turn";
  for (const Session& session : store_->Sessions()) EXPECT_FALSE(session.flow.held_by_us);
}

TEST_F(TrackerTest, ReadsTheStateAtEachConnectAndEndsWhatIsGone) {
  SetChannels({Channel("c1"), Channel("c2"), Channel("l", "Local/x@y-00000001;1")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  EXPECT_TRUE(WaitStored({"c1", "c2"}));
  SetChannels({Channel("c2"), Channel("c3")});
  fake_->ResetEventSockets();
  EXPECT_TRUE(WaitStored({"c2", "c3"}));
}

TEST_F(TrackerTest, KeepsTheSessionsOfADeadIncarnation) {
  SetChannels({Channel("c1")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitStored({"c1"}));
  fake_->Kill();
  ASSERT_TRUE(FakeAri::WaitFor([&] { return !connections_->Connected("a"); }));
  EXPECT_EQ(tracker_->Flush(CallContext::WithTimeout(std::chrono::seconds(5))), absl::OkStatus());
  EXPECT_THAT(Stored(), ::testing::ElementsAre("c1"));
  SetChannels({Channel("c9")});
  fake_->Revive("2026-01-02T00:00:00.000+0000");
  EXPECT_TRUE(WaitStored({"c1", "c9"})) << "the new life has its own sessions, the old one's stay";
}

TEST_F(TrackerTest, EndsStoredSessionsOfThisLifeWhoseChannelIsGone_F66) {
  Session old = Make("old");
  old.incarnation = {"a", "2026-01-01T00:00:00.000+0000"};
  Session other = Make("other");
  other.incarnation = {"b", "1"};
  ASSERT_TRUE(store_->Put({}, {.sessions = {old, other}}).ok());
  SetChannels({Channel("c1")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  EXPECT_TRUE(WaitStored({"c1", "cother"}));
}

// While its session was claimed the store took nothing of the channel.
TEST_F(TrackerTest, ResyncBringsTheStoreUpToDateWithACallThatNobodyTook_F90) {
  SetChannels({Channel("c1"), Channel("c2")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitStored({"c1", "c2"}));
  SessionStore::ClaimParams claim;
  claim.owner = "engine";
  const std::vector<Session> before = store_->Sessions();
  for (const Session& session : before) claim.sessions.push_back(session.key());
  const auto leases = store_->Claim({}, claim);
  ASSERT_TRUE(leases.ok());
  SetChannels({Channel("c1")});
  json held = {{"type", "ChannelHold"}, {"channel", Channel("c1")}};
  fake_->SendEvent(held.dump());
  fake_->SendEvent(json{{"type", "ChannelDestroyed"}, {"channel", Channel("c2")}}.dump());
  SessionStore::AdvanceParams finish;
  for (std::size_t i = 0; i < before.size(); ++i) {
    SessionStore::AdvanceParams::Step step;
    step.entry.session = before[i].key();
    step.entry.fence = (*leases)[i]->fence;
    step.entry.stage = RecoveryStage::kFinished;
    step.entry.outcome = Outcome::kRecovered;
    step.successor = before[i];
    ++step.successor->epoch;
    finish.steps.push_back(step);
  }
  ASSERT_TRUE(store_->Advance({}, finish).ok());
  ASSERT_EQ(tracker_->Flush(CallContext::WithTimeout(std::chrono::seconds(5))), absl::OkStatus());
  EXPECT_THAT(Stored(), ::testing::ElementsAre("c1", "c2"));
  tracker_->Resync("nobody");
  tracker_->Resync("a");
  EXPECT_TRUE(FakeAri::WaitFor([&] {
    const std::vector<Session> now = store_->Sessions();
    return now.size() == 1 && now[0].epoch == 1 && now[0].flow.held_by_peer;
  }));
}

TEST_F(TrackerTest, FlushBringsTheLastEventIntoTheStore_F60) {
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitConnected());
  const json event = {
      {"type", "ChannelStateChange"}, {"application", "sipheal"}, {"channel", Channel("c1")}};
  fake_->SendEvent(event.dump());
  json last = event;
  last["type"] = "ChannelEnteredBridge";
  last["bridge"] = {{"id", "new"}, {"bridge_type", "mixing"}, {"channels", {"c1"}}};
  fake_->SendEvent(last.dump());
  EXPECT_TRUE(FakeAri::WaitFor([&] {
    EXPECT_EQ(tracker_->Flush(CallContext::WithTimeout(std::chrono::seconds(5))), absl::OkStatus());
    const std::vector<Session> sessions = store_->Sessions();
    return sessions.size() == 1 && sessions[0].group == "new";
  }));
}

TEST_F(TrackerTest, SurvivesAnythingOnTheSocketAndADeadStore_F81) {
  store_->mood = MoodyStore::Mood::kHang;
  SetChannels({Channel("c1")});
  ASSERT_EQ(tracker_->Start(), absl::OkStatus());
  ASSERT_TRUE(WaitConnected());
  for (const char* text : {"{", "[]", "{\"type\":5}", "{\"type\":\"ChannelDestroyed\"}", "",
                           "{\"type\":\"PlaybackStarted\",\"playback\":[]}",
                           "{\"type\":\"ChannelVarset\",\"channel\":{}}"}) {
    fake_->SendEvent(text);
  }
  ASSERT_TRUE(FakeAri::WaitFor([&] { return store_->puts > 0; }));
  store_->mood = MoodyStore::Mood::kGood;
  EXPECT_TRUE(WaitStored({"c1"}));
  tracker_->Stop();
  tracker_->Stop();
  EXPECT_FALSE(tracker_->Start().ok());
}

TEST(MakeAriTracker, RefusesWrongOptions) {
  EXPECT_TRUE(absl::IsInvalidArgument(MakeAriTracker(nullptr, nullptr, {}).status()));
}

}  // namespace
}  // namespace sipheal
