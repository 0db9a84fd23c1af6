// SPDX-License-Identifier: Apache-2.0
#include "ari/server_flow.h"

#include <gtest/gtest.h>

#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

constexpr WallTime kDeath{std::chrono::seconds(1'800'000'000)};

// In the host's application, in a bridge, with a playback that began three seconds before.
Session Plain() {
  Session session;
  session.group = "b1";
  FlowState& flow = session.flow;
  flow.stasis_app = "host";
  flow.stasis_args = {"a", "b,c"};
  flow.bridge = BridgeMembership{};
  flow.bridge->id = "b1";
  flow.bridge->name = "support";
  flow.playback = Playback{};
  flow.playback->id = "p1";
  flow.playback->media = {"sound:before", "sound:now", "sound:next"};
  flow.playback->item = 1;
  flow.playback->item_started = kDeath - std::chrono::seconds(3);
  flow.playback->language = "de";
  return session;
}

std::string FlowOf(const Session& session) {
  return ServerFlowOf(session, kDeath, "sipheal", milliseconds(100));
}

TEST(ServerFlow, IsTheApplicationTheBridgeAndTheRestOfThePlayback) {
  EXPECT_EQ(json::parse(FlowOf(Plain())), json::parse(R"(
    {"stasis": {"app": "host", "args": ["a", "b,c"]},
     "bridge": {"id": "b1", "type": "mixing", "name": "support"},
     "playback": {"id": "p1", "media": ["sound:now", "sound:next"], "offset_ms": 2900,
                  "language": "de"}})"));
}

TEST(ServerFlow, IsTheApplicationAloneWhenTheCallDidNothing) {
  Session session;
  session.flow.stasis_app = "host";
  EXPECT_EQ(json::parse(FlowOf(session)),
            json::parse(R"({"stasis": {"app": "host", "args": []}})"));
}

TEST(ServerFlow, LeavesAPlaybackThatWasOverAlone) {
  Session session = Plain();
  session.flow.playback->item = 3;
  EXPECT_FALSE(json::parse(FlowOf(session)).contains("playback"));
}

TEST(ServerFlow, IsNoneWhenTheModuleCannotPutAllOfItBack) {
  const std::pair<const char*, std::function<void(Session&)>> more[] = {
      {"outside Stasis", [](Session& s) { s.flow.stasis_app.clear(); }},
      {"sipheal's own application", [](Session& s) { s.flow.stasis_app = "sipheal"; }},
      {"held", [](Session& s) { s.flow.held_by_us = true; }},
      {"music", [](Session& s) { s.flow.music_on_hold = true; }},
      {"muted in", [](Session& s) { s.flow.muted_in = true; }},
      {"muted out", [](Session& s) { s.flow.muted_out = true; }},
      {"recorded", [](Session& s) { s.flow.recordings.emplace_back(); }},
      {"paused", [](Session& s) { s.flow.playback->paused = true; }},
      {"a playback of the bridge", [](Session& s) { s.flow.playback->on_bridge = true; }},
      {"a group of the host's", [](Session& s) { s.group = "call-7"; }},
      {"a group, but no bridge", [](Session& s) { s.flow.bridge.reset(); }},
      {"too long", [](Session& s) { s.flow.stasis_args.assign(1, std::string(5000, 'x')); }},
  };
  for (const auto& [what, change] : more) {
    Session session = Plain();
    change(session);
    EXPECT_EQ(FlowOf(session), "") << what;
  }
}

TEST(ServerFlow, ItsResultSaysWhatIsLeftToDo) {
  EXPECT_EQ(ParseServerFlowResult("done"), FlowProgress::kDone);
  EXPECT_EQ(ParseServerFlowResult("left"), FlowProgress::kDone) << "its host has taken it on";
  EXPECT_EQ(ParseServerFlowResult("none;reason=not there"), FlowProgress::kNotBegun);
  for (const char* text : {"", "underway", "failed;reason=x", "done?", ";done"}) {
    EXPECT_EQ(ParseServerFlowResult(text), FlowProgress::kUnknown) << text;
  }
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
