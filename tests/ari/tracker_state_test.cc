// SPDX-License-Identifier: Apache-2.0
#include "ari/tracker_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "ari/ari_json.h"
#include "tests/ari/ari_fixture.h"

namespace sipheal {
namespace {

using internal::TrackerState;
using nlohmann::json;
using std::chrono::milliseconds;
using testing::AtMs;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::ReadFixture;
using testing::RecordedEvent;
using testing::Sessions;

const Incarnation kLife{"ast-1", "2026-11-23T01:34:45.000+0000"};

// Plays a fixture up to and with the last event of a section.
class Replay {
 public:
  explicit Replay(const std::string& name) : events_(ReadFixture(name)), state(kLife, "sipheal") {
    state.Connected();
  }
  Sessions& Through(const std::string& section) {
    std::size_t end = next_;
    for (std::size_t i = next_; i < events_.size(); ++i) {
      if (events_[i].section == section) end = i + 1;
    }
    EXPECT_GT(end, next_) << "no events of section " << section;
    for (; next_ < end; ++next_) {
      state.Apply(events_[next_].event, AtMs(events_[next_].at_ms));
      last_ms = events_[next_].at_ms;
      sessions.Take(state);
    }
    return sessions;
  }

 private:
  std::vector<RecordedEvent> events_;
  std::size_t next_ = 0;

 public:
  TrackerState state;
  Sessions sessions;
  double last_ms = 0;
};

json Channel(const std::string& id, const std::string& endpoint, const std::string& state,
             const std::string& application = "Stasis", const std::string& data = "host") {
  return {{"id", id},
          {"name", "PJSIP/" + endpoint + "-0000002a"},
          {"state", state},
          {"protocol_id", "call-" + id},
          {"creationtime", "2027-01-15T08:00:00.000+0000"},
          {"dialplan",
           {{"context", "default"},
            {"exten", "100"},
            {"priority", 1},
            {"app_name", application},
            {"app_data", data}}}};
}
// What the engine says of a recovered channel.
Session SuccessorOn(const std::string& channel_id, std::uint32_t epoch) {
  Session record;
  record.id = "abc";
  record.epoch = epoch;
  record.incarnation = kLife;
  record.call_id = "first@phone";
  record.channel_id = channel_id;
  return record;
}

json Event(const std::string& type, const json& channel) {
  return {{"type", type}, {"application", "sipheal"}, {"channel", channel}};
}
json Varset(const json& channel, const std::string& name, const std::string& value) {
  json event = Event("ChannelVarset", channel);
  event["variable"] = name;
  event["value"] = value;
  return event;
}
json BridgeEvent(const std::string& type, const json& channel, const std::string& bridge) {
  json event = Event(type, channel);
  event["bridge"] = {{"id", bridge},
                     {"name", ""},
                     {"bridge_type", "mixing"},
                     {"technology", "simple_bridge"},
                     {"creator", "Stasis"},
                     {"channels", json::array()}};
  return event;
}
json PlaybackEvent(const std::string& type, const std::string& id, const std::string& target,
                   const std::string& media, const std::string& next, int stamp) {
  json playback = {{"id", id}, {"media_uri", media}, {"target_uri", target}, {"language", "en"}};
  if (!next.empty()) playback["next_media_uri"] = next;
  return {{"type", type}, {"timestamp", std::to_string(stamp)}, {"playback", playback}};
}

TEST(TrackerState, MakesASessionOfAnInboundCallOfAnotherApplication) {
  Replay replay("inbound_playback");
  const Session* session = replay.Through("var").Of("alice");
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(session->id, MakeSessionId(kLife, session->channel_id));
  EXPECT_EQ(session->epoch, 0u);
  EXPECT_EQ(session->state, SessionState::kUp);
  EXPECT_TRUE(session->call_id.ends_with("@mini")) << session->call_id;
  EXPECT_TRUE(session->answered_at.has_value());
  EXPECT_EQ(session->flow.stasis_app, "host");
  EXPECT_THAT(session->flow.stasis_args, ElementsAre("one", "two words"));
  EXPECT_EQ(session->flow.dialplan.extension, "stasis");
  EXPECT_EQ(session->flow.host_data, "x,\"y\"");
  EXPECT_EQ(session->group, "");
}

TEST(TrackerState, IsRingingUntilAnsweredAndEndsWithTheChannel) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  json channel = Channel("c1", "phone", "Ring");
  channel["protocol_id"] = "";  // as in the ChannelCreated of an inbound call
  state.Apply(Event("ChannelCreated", channel), AtMs(0));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 0u) << "no Call-ID yet, so no dialog to be recovered";
  state.Apply(Event("ChannelDialplan", Channel("c1", "phone", "Ring")), AtMs(1));
  sessions.Take(state);
  ASSERT_NE(sessions.Of("phone"), nullptr);
  EXPECT_EQ(sessions.Of("phone")->state, SessionState::kRinging);
  state.Apply(Event("ChannelStateChange", Channel("c1", "phone", "Up")), AtMs(700));
  sessions.Take(state);
  EXPECT_EQ(sessions.Of("phone")->state, SessionState::kUp);
  EXPECT_EQ(sessions.Of("phone")->answered_at, AtMs(700));
  EXPECT_EQ(sessions.Of("phone")->created_at, AtMs(0));
  state.Apply(Event("ChannelDestroyed", Channel("c1", "phone", "Up")), AtMs(900));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 0u);
  // A late event does not raise it.
  state.Apply(Varset(Channel("c1", "phone", "Up"), "RTPAUDIOQOS", "x"), AtMs(901));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 0u);
}

TEST(TrackerState, FollowsAPlaybackThroughAPause) {
  Replay replay("inbound_playback");
  const Session* session = replay.Through("play").Of("alice");
  ASSERT_TRUE(session->flow.playback.has_value());
  EXPECT_EQ(session->flow.playback->id, "p1");
  EXPECT_THAT(session->flow.playback->media, ElementsAre("sound:long"));
  EXPECT_EQ(session->flow.playback->language, "en");
  EXPECT_FALSE(session->flow.playback->on_bridge);
  const double started = replay.last_ms;
  EXPECT_EQ(session->flow.playback->PositionAt(AtMs(started + 200)), milliseconds(200));
  // The pause shows in GET /playbacks/p1 alone.
  const json playing = {{"id", "p1"}, {"media_uri", "sound:long"}, {"state", "playing"}};
  const json paused = {{"id", "p1"}, {"media_uri", "sound:long"}, {"state", "paused"}};
  replay.state.ObservePlayback("p1", &playing, AtMs(started + 200));
  replay.state.ObservePlayback("p1", &paused, AtMs(started + 400));
  replay.sessions.Take(replay.state);
  session = replay.sessions.Of("alice");
  EXPECT_TRUE(session->flow.playback->paused);
  EXPECT_EQ(session->flow.playback->PositionAt(AtMs(started + 9000)), milliseconds(300));
  session = replay.Through("unpause").Of("alice");
  EXPECT_FALSE(session->flow.playback->paused);
  EXPECT_EQ(session->flow.playback->PositionAt(AtMs(replay.last_ms + 50)), milliseconds(350));
  session = replay.Through("stop").Of("alice");
  EXPECT_FALSE(session->flow.playback.has_value());
}

TEST(TrackerState, FollowsAListOfSoundsItemByItem) {
  Replay replay("inbound_playback");
  replay.Through("stop");
  std::vector<std::size_t> items;
  std::size_t last = 99;
  for (const RecordedEvent& recorded : ReadFixture("inbound_playback")) {
    if (recorded.section != "list") continue;
    replay.state.Apply(recorded.event, AtMs(recorded.at_ms));
    replay.sessions.Take(replay.state);
    const auto& playback = replay.sessions.Of("alice")->flow.playback;
    if (!playback) break;
    if (playback->item != last) items.push_back(last = playback->item);
    EXPECT_EQ(playback->media[playback->item],
              internal::Text(
                  recorded.event["playback"],
                  recorded.event["type"] == "PlaybackContinuing" ? "next_media_uri" : "media_uri"));
    EXPECT_LE(playback->PositionAt(AtMs(recorded.at_ms)), milliseconds(1));
  }
  EXPECT_THAT(items, ElementsAre(0, 1, 2));
}

TEST(TrackerState, CountsEachItemOfABridgesListOnceThoughItsEventsComeTwice) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  const json channel = Channel("c1", "phone", "Up");
  state.Apply(BridgeEvent("ChannelEnteredBridge", channel, "b1"), AtMs(0));
  const auto twice = [&](const json& event, double ms) {
    state.Apply(event, AtMs(ms));
    state.Apply(event, AtMs(ms + 0.4));
  };
  const std::vector<std::string> media = {"sound:a", "sound:b", "sound:a", "sound:b", "sound:c"};
  for (std::size_t i = 0; i + 1 < media.size(); ++i) {
    const double ms = 1000.0 * static_cast<double>(i);
    const int stamp = static_cast<int>(2 * i);
    twice(PlaybackEvent("PlaybackStarted", "p", "bridge:b1", media[i], media[i + 1], stamp), ms);
    sessions.Take(state);
    ASSERT_EQ(sessions.Of("phone")->flow.playback->item, i);
    EXPECT_TRUE(sessions.Of("phone")->flow.playback->on_bridge);
    // The copies may interleave: continuing, started, continuing, started.
    const json over =
        PlaybackEvent("PlaybackContinuing", "p", "bridge:b1", media[i], media[i + 1], stamp + 1);
    const json next = PlaybackEvent("PlaybackStarted", "p", "bridge:b1", media[i + 1],
                                    i + 2 < media.size() ? media[i + 2] : "", stamp + 2);
    for (const json& event : {over, next, over, next}) state.Apply(event, AtMs(ms + 999));
    sessions.Take(state);
    ASSERT_EQ(sessions.Of("phone")->flow.playback->item, i + 1);
  }
  EXPECT_EQ(sessions.Of("phone")->flow.playback->media, media);
}

TEST(TrackerState, TakesTheWholeListAndTheOffsetFromTheFlowVariable) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  const json channel = Channel("c1", "phone", "Up");
  internal::FlowHints hints;
  hints.playback = {{"p", {"sound:a", "sound:b", "sound:c", "sound:d"}, 1, milliseconds(2500)}};
  state.Apply(Varset(channel, "SIPHEAL_FLOW", internal::FormatFlowHints(hints)), AtMs(0));
  state.Apply(PlaybackEvent("PlaybackStarted", "p", "channel:c1", "sound:b", "sound:c", 1),
              AtMs(10));
  sessions.Take(state);
  const Playback first = *sessions.Of("phone")->flow.playback;
  EXPECT_THAT(first.media, ElementsAre("sound:a", "sound:b", "sound:c", "sound:d"));
  EXPECT_EQ(first.item, 1u);
  EXPECT_EQ(first.PositionAt(AtMs(110)), milliseconds(2600));
  state.Apply(PlaybackEvent("PlaybackContinuing", "p", "channel:c1", "sound:b", "sound:c", 2),
              AtMs(500));
  state.Apply(PlaybackEvent("PlaybackStarted", "p", "channel:c1", "sound:c", "sound:d", 3),
              AtMs(501));
  sessions.Take(state);
  EXPECT_EQ(sessions.Of("phone")->flow.playback->item, 2u);
  EXPECT_EQ(sessions.Of("phone")->flow.playback->PositionAt(AtMs(601)), milliseconds(100));
}

TEST(TrackerState, TakesTheOffsetOfAPlaybackOfOneSoundAndTakesItOnce) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  const json channel = Channel("c1", "phone", "Up");
  internal::FlowHints hints;
  hints.playback = {{"p", {"sound:a"}, 0, milliseconds(4000)}};
  const json varset = Varset(channel, "SIPHEAL_FLOW", internal::FormatFlowHints(hints));
  state.Apply(varset, AtMs(0));
  state.Apply(PlaybackEvent("PlaybackStarted", "p", "channel:c1", "sound:a", "", 1), AtMs(10));
  state.Apply(varset, AtMs(20));
  sessions.Take(state);
  EXPECT_EQ(sessions.Of("phone")->flow.playback->PositionAt(AtMs(110)), milliseconds(4100));
}

TEST(TrackerState, SeesThePhonesHoldAndOursOnlyWhenAsked) {
  Replay replay("hold");
  EXPECT_FALSE(replay.Through("ari-unhold").Of("alice")->flow.held_by_us);
  replay.state.SetOnHold(replay.sessions.Of("alice")->channel_id, true);
  replay.sessions.Take(replay.state);
  EXPECT_TRUE(replay.sessions.Of("alice")->flow.held_by_us);
  EXPECT_THAT(replay.state.ChannelsThatMayBeHeld(), ::testing::SizeIs(1));
  EXPECT_TRUE(replay.Through("peer-hold").Of("alice")->flow.held_by_peer);
  EXPECT_FALSE(replay.Through("peer-unhold").Of("alice")->flow.held_by_peer);
}

TEST(TrackerState, FollowsBridgesAndKeepsNoStaleGroup_F60) {
  Replay replay("bridge");
  replay.Through("bridge-add");
  const Session* alice = replay.sessions.Of("alice");
  ASSERT_TRUE(alice->flow.bridge.has_value());
  EXPECT_EQ(alice->flow.bridge->id, "b1");
  EXPECT_EQ(alice->flow.bridge->name, "Room One");
  EXPECT_EQ(alice->flow.bridge->type, "mixing");
  EXPECT_FALSE(alice->flow.bridge->conference);
  EXPECT_EQ(alice->group, "b1");
  EXPECT_EQ(replay.sessions.Of("bob")->group, "b1");
  EXPECT_EQ(replay.sessions.Of("bob")->flow.stasis_app, "host");
  EXPECT_THAT(replay.sessions.Of("bob")->flow.stasis_args, ElementsAre("outbound"));
  EXPECT_EQ(replay.sessions.size(), 2u) << "Announcer and Recorder channels are no sessions";
  EXPECT_EQ(replay.Through("move-bridge").Of("alice")->group, "b2");
  EXPECT_EQ(replay.Through("move-back").Of("alice")->group, "b1");
  alice = replay.Through("remove").Of("alice");
  EXPECT_EQ(alice->group, "");
  EXPECT_FALSE(alice->flow.bridge.has_value());
  EXPECT_EQ(replay.sessions.Of("bob")->group, "b1");
}

TEST(TrackerState, GivesABridgesPlaybackAndRecordingToItsMembers) {
  Replay replay("bridge");
  replay.Through("bridge-rec");
  for (const char* endpoint : {"alice", "bob"}) {
    const FlowState& flow = replay.sessions.Of(endpoint)->flow;
    ASSERT_TRUE(flow.playback.has_value()) << endpoint;
    EXPECT_TRUE(flow.playback->on_bridge);
    ASSERT_EQ(flow.recordings.size(), 1u) << endpoint;
    EXPECT_EQ(flow.recordings[0].name, "rec2");
    EXPECT_EQ(flow.recordings[0].format, "wav");
    EXPECT_TRUE(flow.recordings[0].on_bridge);
  }
  replay.Through("bridge-play-rec-stop");
  EXPECT_FALSE(replay.sessions.Of("bob")->flow.playback.has_value());
  EXPECT_THAT(replay.sessions.Of("bob")->flow.recordings, IsEmpty());
}

TEST(TrackerState, FollowsAChannelIntoOurApplicationAndOutToTheDialplan) {
  Replay replay("bridge");
  EXPECT_EQ(replay.Through("remove").Of("alice")->flow.stasis_app, "host");
  const Session* alice = replay.Through("move-app").Of("alice");
  EXPECT_EQ(alice->flow.stasis_app, "sipheal");
  EXPECT_THAT(alice->flow.stasis_args, ElementsAre("x", "y"));
  EXPECT_EQ(replay.Through("move-app-back").Of("alice")->flow.stasis_app, "host");
  EXPECT_EQ(replay.Through("hangup-bob").Of("bob"), nullptr);
  alice = replay.Through("continue").Of("alice");
  EXPECT_EQ(alice->flow.stasis_app, "");
  EXPECT_EQ(alice->flow.dialplan.extension, "plain");
  EXPECT_EQ(alice->flow.dialplan.priority, 2);
  EXPECT_EQ(alice->flow.dialplan.application, "Playback");
  EXPECT_EQ(replay.Through("bye").size(), 0u);
}

TEST(TrackerState, SeesRecordingsOfAChannel) {
  Replay replay("recording");
  const Session* session = replay.Through("rec").Of("alice");
  ASSERT_EQ(session->flow.recordings.size(), 1u);
  EXPECT_EQ(session->flow.recordings[0].name, "rec1");
  EXPECT_FALSE(session->flow.recordings[0].on_bridge);
  EXPECT_THAT(replay.Through("rec-stop").Of("alice")->flow.recordings, IsEmpty());
}

TEST(TrackerState, TracksCallsOutsideStasis) {
  Replay dial("dial");
  dial.Through("dial");
  const Session* caller = dial.sessions.Of("alice");
  const Session* called = dial.sessions.Of("bob");
  ASSERT_NE(caller, nullptr);
  ASSERT_NE(called, nullptr);
  EXPECT_EQ(caller->flow.stasis_app, "");
  EXPECT_EQ(caller->flow.dialplan.application, "Dial");
  EXPECT_EQ(called->flow.dialplan.application, "AppDial");
  EXPECT_FALSE(caller->group.empty());
  EXPECT_EQ(caller->group, called->group);
  EXPECT_EQ(dial.Through("dial-bye").size(), 0u);

  Replay conference("confbridge");
  conference.Through("conf");
  EXPECT_EQ(conference.sessions.size(), 3u);
  for (const auto& [key, session] : conference.sessions.all()) {
    ASSERT_TRUE(session.flow.bridge.has_value());
    EXPECT_TRUE(session.flow.bridge->conference);
    EXPECT_EQ(session.flow.bridge->name, "room1");
    EXPECT_EQ(session.flow.dialplan.application, "ConfBridge");
    EXPECT_EQ(session.group, session.flow.bridge->id);
  }
  EXPECT_TRUE(conference.Through("conf-hold").Of("alice")->flow.held_by_peer);
  EXPECT_EQ(conference.Through("conf-bye").size(), 0u);
}

TEST(TrackerState, ReadsTheHostsVariables_F64_F70) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  const json channel = Channel("c1", "phone", "Up");
  state.Apply(Event("ChannelStateChange", channel), AtMs(0));
  sessions.Take(state);
  EXPECT_TRUE(sessions.Of("phone")->recover);
  state.Apply(Varset(channel, "SIPHEAL_RECOVER", "no"), AtMs(1));
  state.Apply(Varset(channel, "SIPHEAL_ENDS_AT", "1800000060.5"), AtMs(1));
  state.Apply(Varset(channel, "SIPHEAL_GROUP", "call-7"), AtMs(1));
  sessions.Take(state);
  const Session* session = sessions.Of("phone");
  EXPECT_FALSE(session->recover);
  EXPECT_EQ(session->ends_at, AtMs(60'500));
  EXPECT_EQ(session->group, "call-7");
  state.Apply(BridgeEvent("ChannelEnteredBridge", channel, "b1"), AtMs(2));
  sessions.Take(state);
  EXPECT_EQ(sessions.Of("phone")->group, "call-7") << "the host's group goes before the bridge";
  state.Apply(Varset(channel, "SIPHEAL_ENDS_AT", "tomorrow"), AtMs(3));
  state.Apply(Varset(channel, "SIPHEAL_RECOVER", "yes"), AtMs(3));
  state.Apply(Varset(channel, "SIPHEAL_GROUP", ""), AtMs(3));
  sessions.Take(state);
  EXPECT_TRUE(sessions.Of("phone")->recover);
  EXPECT_EQ(sessions.Of("phone")->group, "b1");
}

TEST(TrackerState, EmitsARecoveredChannelOnlyWithItsRecordAndKeepsWhatThatKnew) {
  TrackerState state(kLife, "sipheal");
  state.Connected();
  Sessions sessions;
  const std::string channel_id = ToChannelId({{"abc", 0}, 2});
  json channel = Channel(channel_id, "phone", "Up", "Stasis", "sipheal");
  channel["protocol_id"] = "random";
  state.Apply(Event("StasisStart", channel), AtMs(0));
  state.Apply(BridgeEvent("ChannelEnteredBridge", channel, "b1"), AtMs(1));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 0u);
  EXPECT_TRUE(state.WantsSuccessors());

  Session record = SuccessorOn(ToChannelId({{"abc", 0}, 1}), 1);  // of an attempt that failed
  record.local_tag = "l";
  record.remote_tag = "r";
  record.created_at = AtMs(-60'000);
  record.answered_at = AtMs(-50'000);
  record.deaths = 1;
  record.recovered_at = AtMs(0);
  record.flow.stasis_app = "host";
  record.flow.stasis_args = {"a"};
  record.flow.host_data = "kept";
  record.flow.muted_in = true;
  record.flow.dialplan = {"default", "100", 3, "Stasis", "host,a"};
  state.SetSuccessor(record);
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 0u) << "the record of another attempt is not this channel's";
  record.channel_id = channel_id;
  state.SetSuccessor(record);
  sessions.Take(state);
  const Session* session = sessions.Of("phone");
  ASSERT_NE(session, nullptr);
  EXPECT_FALSE(state.WantsSuccessors());
  EXPECT_EQ(session->epoch, 1u);
  EXPECT_EQ(session->call_id, "first@phone");
  EXPECT_EQ(session->local_tag, "l");
  EXPECT_EQ(session->created_at, AtMs(-60'000));
  EXPECT_EQ(session->answered_at, AtMs(-50'000));
  EXPECT_EQ(session->deaths, 1u);
  EXPECT_EQ(session->flow.stasis_app, "host");
  EXPECT_EQ(session->flow.host_data, "kept");
  EXPECT_TRUE(session->flow.muted_in);
  EXPECT_EQ(session->flow.dialplan.priority, 3);
  EXPECT_EQ(session->flow.bridge->id, "b1");
  EXPECT_EQ(session->group, "b1");
  // The store says it has no such record after all: asked for again.
  state.ForgetSuccessor({"abc", 1});
  EXPECT_TRUE(state.WantsSuccessors());
}

TEST(TrackerState, EndsARecoveredSessionWhoseChannelEndedBeforeItsRecordWasThere) {
  TrackerState state(kLife, "sipheal");
  const std::string channel_id = ToChannelId({{"abc", 4}, 1});
  const json channel = Channel(channel_id, "phone", "Up", "Stasis", "sipheal");
  state.Apply(Event("StasisStart", channel), AtMs(0));
  state.Apply(Event("ChannelDestroyed", channel), AtMs(1));
  EXPECT_THAT(state.TakeChanged(), IsEmpty());
  state.SetSuccessor(SuccessorOn(channel_id, 5));
  const std::vector<Session> changed = state.TakeChanged();
  ASSERT_EQ(changed.size(), 1u);
  EXPECT_EQ(changed[0].state, SessionState::kEnded);
  EXPECT_EQ(changed[0].epoch, 5u);
}

TEST(TrackerState, ReadsTheWholeStateAndEndsWhatIsGoneAfterAReconnect) {
  TrackerState state(kLife, "sipheal");
  Sessions sessions;
  state.Connected();
  state.Apply(Event("ChannelStateChange", Channel("stays", "a", "Up")), AtMs(0));
  state.Apply(Event("ChannelStateChange", Channel("leaves", "b", "Up")), AtMs(0));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 2u);

  state.Connected();  // the socket was away; then, before the answers came, one new call
  state.Apply(BridgeEvent("ChannelEnteredBridge", Channel("new", "d", "Up"), "b2"), AtMs(5000));
  const json channels = {Channel("stays", "a", "Up"), Channel("missed", "c", "Up")};
  const json bridges = {{{"id", "b1"},
                         {"name", "n"},
                         {"bridge_type", "mixing"},
                         {"technology", "softmix"},
                         {"creator", "Stasis"},
                         {"channels", {"stays", "missed", "new"}}}};
  state.Adopt(channels, bridges, AtMs(5001));
  sessions.Take(state);
  EXPECT_EQ(sessions.size(), 3u);
  EXPECT_EQ(sessions.Of("b"), nullptr);
  EXPECT_EQ(sessions.Of("a")->group, "b1");
  EXPECT_EQ(sessions.Of("c")->group, "b1");
  EXPECT_EQ(sessions.Of("c")->created_at, internal::ParseTime("2027-01-15T08:00:00.000+0000"));
  EXPECT_EQ(sessions.Of("d")->group, "b2") << "the event is newer than the answer";
}

TEST(TrackerState, TakesOverWhatAnEarlierTrackerStored_F66) {
  TrackerState first(kLife, "sipheal");
  Sessions before;
  const json channel = Channel("c1", "phone", "Up");
  first.Apply(Event("ChannelStateChange", channel), AtMs(0));
  first.Apply(Varset(channel, "SIPHEAL_HOST_DATA", "h"), AtMs(0));
  first.Apply(PlaybackEvent("PlaybackStarted", "p", "channel:c1", "sound:a", "", 1), AtMs(100));
  before.Take(first);
  Session gone = *before.Of("phone");
  gone.id = "gone";
  gone.channel_id = "c0";
  gone.endpoint = "other";

  TrackerState second(kLife, "sipheal");
  Sessions after;
  second.Connected();
  second.Adopt(json::array({channel}), json::array(), AtMs(9000));
  EXPECT_THAT(second.AdoptStored({*before.Of("phone"), gone}), ElementsAre("c0"));
  after.Take(second);
  ASSERT_NE(after.Of("phone"), nullptr);
  second.ChannelGone("c0");
  after.Take(second);
  EXPECT_EQ(after.ended, 1);
  const Session* session = after.Of("phone");
  ASSERT_NE(session, nullptr);
  EXPECT_EQ(*session, *before.Of("phone"));
  EXPECT_EQ(session->flow.playback->PositionAt(AtMs(9000)), milliseconds(8900));
  second.ObservePlayback("p", nullptr, AtMs(9001));  // 404
  after.Take(second);
  EXPECT_FALSE(after.Of("phone")->flow.playback.has_value());
}

// Its server was silent, its session was claimed, and nobody took it: the record is another one
// now.
TEST(TrackerState, GoesOnWithTheNewerRecordOfAChannelThatNobodyTook_F90) {
  for (const std::string& id : {std::string("c1"), ToChannelId({{"abc", 0}, 1})}) {
    TrackerState state(kLife, "sipheal");
    Sessions sessions;
    const json channel = Channel(id, "phone", "Up");
    state.Apply(Event("ChannelStateChange", channel), AtMs(0));
    state.Apply(PlaybackEvent("PlaybackStarted", "p", "channel:" + id, "sound:a", "", 1), AtMs(1));
    Session record = SuccessorOn(id, 1);
    record.endpoint = "phone";
    state.SetSuccessor(record);
    sessions.Take(state);
    ASSERT_NE(sessions.Of("phone"), nullptr) << id;
    record = *sessions.Of("phone");
    ++record.epoch;
    // While the server hung, or right after, the playback came to its end.
    state.Apply(PlaybackEvent("PlaybackFinished", "p", "channel:" + id, "sound:a", "", 2), AtMs(2));
    sessions.Take(state);

    EXPECT_THAT(state.AdoptStored({record}), IsEmpty());
    sessions.Take(state);
    const Session* session = sessions.Of("phone");
    ASSERT_NE(session, nullptr) << id;
    EXPECT_EQ(session->epoch, record.epoch) << id;
    EXPECT_FALSE(session->flow.playback.has_value()) << id;
    const int changes = sessions.changes;
    EXPECT_THAT(state.AdoptStored({record}), IsEmpty());
    sessions.Take(state);
    EXPECT_EQ(sessions.changes, changes) << "said already";
    state.Apply(Event("ChannelDestroyed", channel), AtMs(3));
    const std::vector<Session> ended = state.TakeChanged();
    ASSERT_EQ(ended.size(), 1u) << id;
    EXPECT_EQ(ended[0].key(), record.key()) << id;
  }
}

TEST(TrackerState, SurvivesAnyJson) {
  TrackerState state(kLife, "sipheal");
  const std::vector<RecordedEvent> events = ReadFixture("bridge");
  std::mt19937 random(7);
  const std::vector<json> junk = {
      nullptr, 1, -1.5, "x", true, json::array(), json::object(), "\xff", json::array({1, nullptr}),
      1e300};
  for (int round = 0; round < 300; ++round) {
    for (const RecordedEvent& recorded : events) {
      json event = recorded.event;
      const json flat = event.flatten();
      auto victim = flat.begin();
      std::advance(victim, random() % flat.size());
      event[json::json_pointer(victim.key())] = junk[random() % junk.size()];
      state.Apply(event, AtMs(recorded.at_ms));
      if (random() % 5 == 0) state.Adopt(event, junk[random() % junk.size()], AtMs(recorded.at_ms));
      state.TakeChanged();
    }
  }
}

// A plain model of the same rules, without time: what each channel is, thought about in the
// simplest way.
struct PlainChannel {
  bool up = false;
  std::string bridge;
  bool held = false;
  std::string group;
};

TEST(TrackerState, AgreesWithAPlainModelOnRandomSequences) {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    std::mt19937 random(seed);
    TrackerState state(kLife, "sipheal");
    state.Connected();
    Sessions sessions;
    std::map<std::string, PlainChannel> model;
    int made = 0;
    const auto snapshot = [&](const std::string& id) {
      return Channel(id, "e" + id, model[id].up ? "Up" : "Ring");
    };
    for (int step = 0; step < 400; ++step) {
      if (model.empty() || random() % 8 == 0) {
        const std::string id = "c" + std::to_string(++made);
        model[id] = {};
        state.Apply(Event("ChannelCreated", snapshot(id)), AtMs(step));
      } else {
        auto entry = model.begin();
        std::advance(entry, random() % model.size());
        const std::string id = entry->first;
        PlainChannel& channel = entry->second;
        const std::string bridge = "b" + std::to_string(random() % 3);
        switch (random() % 8) {
          case 0:
            channel.up = true;
            state.Apply(Event("ChannelStateChange", snapshot(id)), AtMs(step));
            break;
          case 1:
          case 2:
            channel.bridge = bridge;
            state.Apply(BridgeEvent("ChannelEnteredBridge", snapshot(id), bridge), AtMs(step));
            break;
          case 3:
            if (channel.bridge == bridge) channel.bridge.clear();
            state.Apply(BridgeEvent("ChannelLeftBridge", snapshot(id), bridge), AtMs(step));
            break;
          case 4:
            channel.held = random() % 2 == 0;
            state.Apply(Event(channel.held ? "ChannelHold" : "ChannelUnhold", snapshot(id)),
                        AtMs(step));
            break;
          case 5:
            channel.group = random() % 2 == 0 ? "" : "g" + std::to_string(random() % 3);
            state.Apply(Varset(snapshot(id), "SIPHEAL_GROUP", channel.group), AtMs(step));
            break;
          case 6: {  // the socket is lost; two changes go unseen; then everything is read anew
            channel.up = true;
            channel.bridge = bridge;
            if (model.size() > 3 && random() % 2 == 0) model.erase(model.begin());
            state.Connected();
            json channels = json::array();
            std::map<std::string, json> members;
            for (const auto& [other, plain] : model) {
              channels.push_back(snapshot(other));
              if (!plain.bridge.empty()) members[plain.bridge].push_back(other);
            }
            json bridges = json::array();
            for (const auto& [name, ids] : members) {
              json one = BridgeEvent("", {}, name)["bridge"];
              one["channels"] = ids;
              bridges.push_back(one);
            }
            state.Adopt(channels, bridges, AtMs(step));
            break;
          }
          default:
            if (random() % 3 != 0) break;
            state.Apply(Event("ChannelDestroyed", snapshot(id)), AtMs(step));
            model.erase(entry);
        }
      }
      sessions.Take(state);
      ASSERT_EQ(sessions.size(), model.size()) << "seed " << seed << " step " << step;
      for (const auto& [id, plain] : model) {
        const Session* session = sessions.Of("e" + id);
        ASSERT_NE(session, nullptr) << "seed " << seed << " step " << step << " " << id;
        const std::string bridge = session->flow.bridge ? session->flow.bridge->id : "";
        ASSERT_EQ(session->state == SessionState::kUp, plain.up) << seed << " " << step;
        ASSERT_EQ(bridge, plain.bridge) << "seed " << seed << " step " << step << " " << id;
        ASSERT_EQ(session->group, plain.group.empty() ? plain.bridge : plain.group);
        ASSERT_EQ(session->flow.held_by_peer, plain.held);
      }
    }
  }
}

TEST(AriTime, ReadsBothFormsAndRefusesTheRest) {
  EXPECT_EQ(internal::ParseTime("1970-01-02T00:00:01.5Z"),
            WallTime(std::chrono::microseconds(86'401'500'000)));
  EXPECT_EQ(internal::ParseTime("1970-01-01T02:00:00+0200"), WallTime());
  EXPECT_EQ(internal::ParseTime("12.25"), WallTime(std::chrono::microseconds(12'250'000)));
  for (const char* bad : {"", "x", "-1", "1e99", "nan", "1970-13-01T00:00:00Z",
                          "1970-01-01T00:00:00", "1970-01-01", "12 "}) {
    EXPECT_EQ(internal::ParseTime(bad), std::nullopt) << bad;
  }
}

}  // namespace
}  // namespace sipheal
