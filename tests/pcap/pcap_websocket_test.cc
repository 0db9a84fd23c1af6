// SPDX-License-Identifier: Apache-2.0
// SIP in WebSockets (RFC 7118).
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sipheal/adapters/pcap.h"
#include "tests/pcap/sip_frames.h"

namespace sipheal {
namespace {

using namespace testing;  // NOLINT: the builders of this test
using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int kText = 1;
constexpr int kPing = 9;

// A WebSocket frame; `mask` empty: none, as servers send.
std::string Frame(std::string payload, const std::string& mask = "", int opcode = kText,
                  bool last = true) {
  const auto size = static_cast<std::uint32_t>(payload.size());
  std::string frame(1, static_cast<char>((last ? 0x80 : 0) | opcode));
  const int masked = mask.empty() ? 0 : 0x80;
  if (size < 126) {
    frame += static_cast<char>(masked | static_cast<int>(size));
  } else if (size < 65536) {
    frame += static_cast<char>(masked | 126) + Net16(size);
  } else {
    frame += static_cast<char>(masked | 127) + Net32(0) + Net32(size);
  }
  for (std::size_t i = 0; !mask.empty() && i < payload.size(); ++i) {
    payload[i] = static_cast<char>(payload[i] ^ mask[i % 4]);
  }
  return frame + mask + payload;
}

const std::string kUpgrade =
    "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n";
const std::string kMask("\x12\x9a\x01\xff", 4);

TEST(PcapWebSocket, MessagesOfBothSidesAreUnmaskedAndCutByFrames) {
  const std::string stream = kUpgrade + Frame(Message(1), kMask) + Frame("\r\n\r\n", kMask) +
                             Frame(Message(2, std::string(70'000, 'x')), kMask) + Frame(Message(3));
  // The handshake is a segment of its own: its sender waits for the answer.
  const PcapContents contents =
      Read(PcapFile(Segments(stream, {kUpgrade.size(), 30'000, 60'000}, 1)));
  EXPECT_THAT(Texts(contents),
              ElementsAre(Message(1), Message(2, std::string(70'000, 'x')), Message(3)));
  EXPECT_EQ(contents.messages[0].transport, sip::Transport::kWs);
  EXPECT_EQ(contents.messages[0].sequence, 2u);
  EXPECT_EQ(contents.messages[0].source.ToString(), "192.0.2.1:40000");
}

TEST(PcapWebSocket, HoweverTheStreamIsCutTheMessagesAreTheSame) {
  const std::string frames =
      Frame(Message(1), kMask) + Frame("", kMask, kPing) +
      Frame(Message(2).substr(0, 100), kMask, kText, false) + Frame("ping", kMask, kPing) +
      Frame(Message(2).substr(100), kMask, 0, true) + Frame(Message(3), kMask);
  std::mt19937 random(3);  // NOLINT: a fixed seed
  for (int round = 0; round < 100; ++round) {
    std::vector<std::size_t> cuts = {kUpgrade.size()};
    for (std::size_t at = kUpgrade.size();;) {
      at += 1 + random() % (round % 2 == 0 ? 5 : 400);
      if (at >= kUpgrade.size() + frames.size()) break;
      cuts.push_back(at);
    }
    ASSERT_THAT(Texts(Read(PcapFile(Segments(kUpgrade + frames, cuts, 1)))),
                ElementsAre(Message(1), Message(2), Message(3)))
        << round;
  }
}

TEST(PcapWebSocket, ACaptureThatBeginsLateOrHasAHoleIsReadFromTheNextSegmentOn) {
  const std::string one = Frame(Message(1), kMask);
  const std::string two = Frame(Message(2), kMask);
  std::vector<std::string> segments =
      Segments(one + two + one, {one.size() / 2, one.size(), one.size() + two.size()}, 1);
  segments.erase(segments.begin());
  EXPECT_THAT(Texts(Read(PcapFile(segments))), ElementsAre(Message(2), Message(1)));
}

TEST(PcapWebSocket, WhatIsCompressedOrNoSipIsLeftOut) {
  std::string compressed = Frame(Message(1));
  compressed[0] = static_cast<char>(0xc1);
  EXPECT_THAT(Texts(Read(PcapFile(Segments(compressed, {}, 1)))), IsEmpty());
  EXPECT_THAT(Texts(Read(PcapFile(Segments(Frame("{\"json\":1}\n"), {}, 1)))), IsEmpty());
  // A length of 2^63 takes neither memory nor the messages before it.
  const std::string lie = Frame(Message(1)) + "\x81\x7f" + Net32(0x7fffffff) + Net32(0) + "x";
  EXPECT_THAT(Texts(Read(PcapFile(Segments(lie, {}, 1)))), ElementsAre(Message(1)));
}

}  // namespace
}  // namespace sipheal
