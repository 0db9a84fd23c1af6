// SPDX-License-Identifier: Apache-2.0
// F78: one bad field does not cost the call. F79: a corrupt record does not cost the controller.
// F84: every field comes back. F98: releases mix.
#include "model/session_codec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

namespace sipheal {
namespace {

using internal::DecodedSession;
using internal::DecodeSession;
using internal::EncodeSession;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

WallTime At(int seconds) { return WallTime(std::chrono::seconds(seconds)); }

// Every field differs from its default.
Session Full() {
  Session s;
  s.id = "0123456789abcdef";
  s.epoch = 3;
  s.incarnation = {"ast1", "2026-01-01T00:00:00"};
  s.state = SessionState::kRinging;
  s.call_id = "call@192.0.2.1";
  s.local_tag = "as1";
  s.remote_tag = "ph1";
  s.channel_id = "1767225600.1";
  s.channel_name = "PJSIP/phone-00000001";
  s.endpoint = "phone";
  s.group = "call-7";
  s.created_at = At(1);
  s.answered_at = At(2);
  s.ends_at = At(3);
  s.recover = false;
  s.recovered_at = At(4);
  s.deaths = 1;
  s.flow.stasis_app = "ivr";
  s.flow.stasis_args = {"a", "", "c"};
  s.flow.bridge = BridgeMembership{"b1", "sales", "mixing", "softmix", true};
  s.flow.playback =
      Playback{"p1", {"sound:a", "sound:b"},        1,    At(5), std::chrono::milliseconds(6),
               true, std::chrono::milliseconds(-7), "en", true};
  s.flow.recordings = {{"r1", "wav", true, {"r0", "r00"}}, {"r2", "gsm", false, {}}};
  s.flow.held_by_us = true;
  s.flow.held_by_peer = true;
  s.flow.music_on_hold = true;
  s.flow.muted_in = true;
  s.flow.muted_out = true;
  s.flow.dialplan = {"from-phones", "100", -1, "Queue", "support,t"};
  s.flow.host_data = std::string("\0\r\n\xff{}", 6);
  return s;
}

// These break the build when a field is added: add it to Full(), and to the codec.
[[maybe_unused]] void EveryFieldIsNamedInFull(Session s) {
  auto& [id, epoch, incarnation, state, call_id, local_tag, remote_tag, channel_id, channel_name,
         endpoint, group, created_at, answered_at, ends_at, recover, recovered_at, deaths, flow] =
      s;
  auto& [app, args, bridge, playback, recordings, held_us, held_peer, moh, muted_in, muted_out,
         dialplan, host_data] = flow;
  [[maybe_unused]] auto& [b1, b2, b3, b4, b5] = *bridge;
  [[maybe_unused]] auto& [p1, p2, p3, p4, p5, p6, p7, p8, p9] = *playback;
  [[maybe_unused]] auto& [r1, r2, r3, r4] = recordings[0];
  [[maybe_unused]] auto& [d1, d2, d3, d4, d5] = dialplan;
}

DecodedSession Decode(const std::string& bytes) {
  return DecodeSession(Full().key(), Full().incarnation, bytes);
}

std::string Field(int tag, const std::string& value) {
  return std::string(1, static_cast<char>(tag)) + static_cast<char>(value.size()) + value;
}
const std::string kHead = {'S', 1};

TEST(SessionCodec, BringsEveryFieldBack) {
  const DecodedSession decoded = Decode(EncodeSession(Full()));
  EXPECT_EQ(decoded.session, Full());
  EXPECT_THAT(decoded.damaged, IsEmpty());
}

TEST(SessionCodec, BringsDefaultsBack) {
  Session empty;
  const DecodedSession decoded = DecodeSession({}, {}, EncodeSession(empty));
  EXPECT_EQ(decoded.session, empty);
  EXPECT_THAT(decoded.damaged, IsEmpty());
}

TEST(SessionCodec, SkipsFieldsOfANewerRelease) {
  std::string bytes = EncodeSession(Full());
  bytes += Field(99, "what a later release keeps") + Field(2, "call-2");
  const DecodedSession decoded = Decode(bytes);
  EXPECT_EQ(decoded.session.call_id, "call-2") << "fields after an unknown one are read";
  EXPECT_EQ(decoded.session.flow, Full().flow);
  EXPECT_THAT(decoded.damaged, IsEmpty());
}

TEST(SessionCodec, GivesFieldsThatAnOlderReleaseLacksTheirDefault) {
  const DecodedSession decoded = Decode(kHead + Field(2, "call-1") + Field(7, "phone"));
  EXPECT_EQ(decoded.session.call_id, "call-1");
  EXPECT_EQ(decoded.session.endpoint, "phone");
  EXPECT_TRUE(decoded.session.recover);
  EXPECT_EQ(decoded.session.state, SessionState::kUp);
  EXPECT_THAT(decoded.damaged, IsEmpty());
}

// The bytes as this format first wrote them: what lies in databases must stay readable.
TEST(SessionCodec, ReadsTheFirstFormat) {
  const std::string golden = std::string("S\x01", 2) + std::string("\x01\x01\x01", 3) +
                             std::string("\x02\x02id", 4) + std::string("\x09\x02\x80\x01", 4) +
                             std::string("\x0f\x05\x01\x03ivr", 7);
  const DecodedSession decoded = Decode(golden);
  EXPECT_EQ(decoded.session.state, SessionState::kUp);
  EXPECT_EQ(decoded.session.call_id, "id");
  EXPECT_EQ(decoded.session.created_at.time_since_epoch().count(), 64);
  EXPECT_EQ(decoded.session.flow.stasis_app, "ivr");
  EXPECT_THAT(decoded.damaged, IsEmpty());
}

TEST(SessionCodec, LosesOnlyTheFieldThatIsDamaged) {
  const std::string bytes = kHead + Field(1, "\x09") + Field(2, "call-1") + Field(9, "\xff\xff") +
                            Field(15, Field(6, "\x07") + Field(12, "mine"));
  const DecodedSession decoded = Decode(bytes);
  EXPECT_EQ(decoded.session.call_id, "call-1");
  EXPECT_EQ(decoded.session.flow.host_data, "mine");
  EXPECT_EQ(decoded.session.created_at, WallTime{});
  EXPECT_THAT(decoded.damaged, ElementsAre("state", "created_at", "flow.held_by_us"));
}

TEST(SessionCodec, KeepsWhatStandsBeforeACut) {
  const std::string whole = EncodeSession(Full());
  for (std::size_t size = 0; size < whole.size(); ++size) {
    const DecodedSession decoded = Decode(whole.substr(0, size));
    EXPECT_EQ(decoded.session.key(), Full().key());
    if (size > 2 + 3 + 2 + Full().call_id.size()) {
      EXPECT_EQ(decoded.session.call_id, Full().call_id) << "cut at " << size;
    }
  }
}

TEST(SessionCodec, SaysWhenNothingCanBeRead) {
  for (const std::string& bytes : {std::string(), std::string("S"), std::string("{\"a\":1}"),
                                   std::string("S\x02", 2) + Field(2, "x")}) {
    const DecodedSession decoded = Decode(bytes);
    EXPECT_THAT(decoded.damaged, Contains("record"));
    EXPECT_EQ(decoded.session.incarnation, Full().incarnation);
  }
}

TEST(SessionCodec, SurvivesRandomDamage) {
  std::mt19937 random(20260101);
  const std::string whole = EncodeSession(Full());
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = whole;
    for (int flips = 1 + static_cast<int>(random() % 4); flips > 0; --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % bytes.size());
    EXPECT_EQ(Decode(bytes).session.key(), Full().key());
  }
}

}  // namespace
}  // namespace sipheal
