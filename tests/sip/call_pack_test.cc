// SPDX-License-Identifier: Apache-2.0
// Quiet calls are kept packed: nothing may be lost by it.
#include "sip/call_pack.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "tests/sip/call_script.h"

namespace sipheal::testing {
namespace {

std::string TextsAfterPacking(std::string_view texts) {
  std::string packed;
  std::string unpacked = "something before";
  sip::PackTexts(texts, &packed);
  sip::UnpackTexts(packed, &unpacked);
  return unpacked;
}

std::string Random(std::mt19937& random, std::size_t size, unsigned kinds) {
  std::string text;
  for (std::size_t i = 0; i < size; ++i) text += static_cast<char>(random() % kinds);
  return text;
}

TEST(CallPack, TextsReadBackAsTheyWere) {
  std::mt19937 random(1);
  for (unsigned kinds : {1u, 2u, 5u, 256u}) {
    for (std::size_t size = 0; size < 600; ++size) {
      const std::string text = Random(random, size, kinds);
      ASSERT_EQ(TextsAfterPacking(text), text) << kinds << " kinds of bytes, " << size;
    }
  }
}

TEST(CallPack, TheLargestTextsReadBackAsTheyWere) {
  std::mt19937 random(2);
  for (unsigned kinds : {1u, 3u, 256u}) {
    const std::string text = Random(random, 60'000, kinds);
    EXPECT_EQ(TextsAfterPacking(text), text) << kinds;
  }
}

TEST(CallPack, TextsOfACallBecomeLessThanHalf) {
  std::string texts;
  for (const char* ip : {"192.0.2.10", "198.51.100.7"}) {
    for (const char* version : {"1", "2"}) texts += Sdp(ip, 20000, version);
  }
  std::string packed;
  sip::PackTexts(texts, &packed);
  EXPECT_LT(packed.size(), texts.size() / 2);
}

TEST(CallPack, RecordsReadBackAsTheyWereAndWhatFollowsStays) {
  std::mt19937 random(3);
  for (std::size_t words = 0; words < 100; ++words) {
    std::string records = Random(random, words * 8, 256);
    for (char& byte : records) {
      if (random() % 2 == 0) byte = 0;
    }
    std::string packed;
    sip::PackRecords(records, &packed);
    packed += "rest";
    std::string unpacked;
    EXPECT_EQ(sip::UnpackRecords(packed, records.size(), &unpacked), "rest");
    ASSERT_EQ(unpacked, records);
  }
}

// A call with a fork, forged versions of its messages, re-INVITEs of both sides and an open
// request.
CallScript Rich() {
  CallScript call;
  const std::vector<std::string> routes = {"<sip:198.51.100.9;lr>", "<sip:203.0.113.4;lr>"};
  Request invite = call.Send({.sdp = Sdp("192.0.2.10", 20000, "1")});
  call.Reply(invite, {.status = 183, .to_tag = "fork", .record_route = routes});
  call.Reply(invite,
             {.to_tag = "b", .record_route = routes, .sdp = Sdp("198.51.100.7", 30000, "1")});
  call.Reply(invite, {.to_tag = "b", .contact = "<sip:forged@203.0.113.99>"});
  call.Send({.method = "ACK", .to_tag = "b", .route = {routes[1], routes[0]}});
  Request refresh =
      call.Receive(call.FromCallee({.cseq = 7, .sdp = Sdp("198.51.100.7", 30000, "2")}));
  call.Reply(refresh, {.sdp = Sdp("192.0.2.10", 20000, "2", "recvonly")});
  call.Receive(call.FromCallee({.method = "ACK", .cseq = 7}));
  Request second = call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "3")});
  call.Reply(second, {.status = 491, .to_tag = "b"});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b", .branch = second.branch});
  call.Send({.method = "UPDATE", .cseq = 3, .to_tag = "b"});
  return call;
}

TEST(Folder, ACallThatWasQuietAtAnyPointEndsInTheSameState) {
  const CallScript call = Rich();
  sip::DialogFolder never_quiet(call.server);
  for (const sip::CapturedMessage& message : call.messages) never_quiet.Fold(message);
  const std::vector<sip::DialogState> wanted = never_quiet.Snapshot(call.call_id);
  ASSERT_FALSE(wanted.empty());
  for (std::size_t quiet_at = 1; quiet_at <= call.messages.size(); ++quiet_at) {
    sip::DialogFolder folder(call.server);
    for (std::size_t i = 0; i < call.messages.size(); ++i) {
      if (i == quiet_at) folder.Sweep(call.messages[i].time + std::chrono::seconds(60));
      folder.Fold(call.messages[i]);
    }
    if (quiet_at == call.messages.size()) {
      folder.Sweep(call.messages.back().time + std::chrono::seconds(60));
    }
    EXPECT_EQ(folder.Snapshot(call.call_id), wanted) << "quiet before message " << quiet_at;
  }
}

// Another capture point has another clock and may hand over late.
TEST(Folder, ALateCopyWithAnEarlierTimeMovesNothingElseOfAQuietCall) {
  const CallScript call = Rich();
  CallScript answer = call;
  answer.messages.clear();
  answer.Reply({.sent = true, .branch = "z9hG4bK1"}, {.status = 100});
  const sip::CapturedMessage trying = answer.messages[0];
  sip::CapturedMessage earlier = trying;
  earlier.time = call.messages[0].time - std::chrono::seconds(5);
  sip::DialogFolder awake(call.server);
  sip::DialogFolder quiet(call.server);
  for (sip::DialogFolder* folder : {&awake, &quiet}) {
    for (const sip::CapturedMessage& message : call.messages) folder->Fold(message);
    folder->Fold(trying);
  }
  quiet.Sweep(trying.time + std::chrono::seconds(60));
  for (sip::DialogFolder* folder : {&awake, &quiet}) {
    EXPECT_EQ(folder->Fold(earlier).result, sip::FoldResult::kDuplicate);
  }
  EXPECT_EQ(quiet.Snapshot(call.call_id), awake.Snapshot(call.call_id));
}

TEST(Folder, AQuietCallOfTwoEndpointsAndOneRefreshTakesLessThanAKilobyte) {
  CallScript call;
  call.AnsweredByPeer({"<sip:198.51.100.9;lr>"});
  Request refresh = call.Send({.cseq = 2, .to_tag = "b", .sdp = Sdp("192.0.2.10", 20000, "2")});
  call.Reply(refresh, {.sdp = Sdp("198.51.100.7", 30000, "2")});
  call.Send({.method = "ACK", .cseq = 2, .to_tag = "b"});
  sip::DialogFolder folder(call.server);
  const std::size_t empty = folder.size_bytes();
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  folder.Sweep(call.messages.back().time + std::chrono::seconds(60));
  EXPECT_LT(folder.size_bytes() - empty, 1024u);
}

TEST(Folder, TracksOnlyWhatItHolds) {
  CallScript call;
  call.AnsweredByPeer();
  sip::DialogFolder folder(call.server);
  EXPECT_FALSE(folder.Tracks(call.call_id));
  for (const sip::CapturedMessage& message : call.messages) folder.Fold(message);
  EXPECT_TRUE(folder.Tracks(call.call_id));
  EXPECT_FALSE(folder.Tracks("another"));
  folder.Forget(call.call_id);
  EXPECT_FALSE(folder.Tracks(call.call_id));
}

}  // namespace
}  // namespace sipheal::testing
