// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/hep_packet.h"

#include <random>
#include <string>

#include "gtest/gtest.h"
#include "tests/hep/hep_builder.h"

namespace sipheal::sip {
namespace {

using sipheal::testing::Be16;
using sipheal::testing::Be32;
using sipheal::testing::HepChunk;
using sipheal::testing::HepFrame;

std::string FromHex(std::string_view hex) {
  std::string bytes;
  int high = -1;
  for (const char c : hex) {
    int digit;
    if (c >= '0' && c <= '9') {
      digit = c - '0';
    } else if (c >= 'a' && c <= 'f') {
      digit = c - 'a' + 10;
    } else {
      continue;
    }
    if (high < 0) {
      high = digit;
    } else {
      bytes.push_back(static_cast<char>(high << 4 | digit));
      high = -1;
    }
  }
  return bytes;
}

// The example packet of the HEP specification, 113 octets.
const char kSpecExample[] =
    "48455033 0071 "
    "0000 0001 0007 02 "
    "0000 0002 0007 11 "
    "0000 0003 000a d4ca0001 "
    "0000 0004 000a 527400d3 "
    "0000 0007 0008 2eea "
    "0000 0008 0008 13c4 "
    "0000 0009 000a 4e4982cb "
    "0000 000a 000a 0001d4c0 "
    "0000 000b 0007 01 "
    "0000 000c 000a 000000e4 "
    "0000 000f 0014 494e56495445207369703a626f62";

TEST(HepPacket, DecodesTheExampleOfTheSpecification) {
  const std::string bytes = FromHex(kSpecExample);
  ASSERT_EQ(bytes.size(), 113u);
  HepPacket packet;
  ASSERT_EQ(DecodeHep(bytes, packet), HepError::kNone);
  EXPECT_EQ(packet.message.bytes, "INVITE sip:bob");
  EXPECT_EQ(packet.message.source.ToString(), "212.202.0.1:12010");
  EXPECT_EQ(packet.message.destination.ToString(), "82.116.0.211:5060");
  EXPECT_EQ(packet.message.transport, Transport::kUdp);
  EXPECT_EQ(packet.message.time.time_since_epoch().count(), 1313440459'120000);
  EXPECT_EQ(packet.protocol_type, kHepSip);
  EXPECT_TRUE(packet.has_agent_id);
  EXPECT_EQ(packet.agent_id, 228u);
  EXPECT_FALSE(packet.has_auth_key);
}

TEST(HepPacket, ReadsIpv6AgentNameKeyAndCorrelationInAnyOrder) {
  std::string v6(16, '\0');
  v6[0] = 0x20;
  v6[1] = 0x01;
  v6[2] = 0x0d;
  v6[3] = static_cast<char>(0xb8);
  v6[15] = 1;
  const std::string bytes =
      HepFrame(HepChunk(0x0f, "BYE x SIP/2.0") + HepChunk(0x13, "media-1") +
               HepChunk(0x0e, "secret") + HepChunk(0x11, "a@b") + HepChunk(0x06, v6) +
               HepChunk(0x05, v6) + HepChunk(0x02, std::string(1, 22)));
  HepPacket packet;
  ASSERT_EQ(DecodeHep(bytes, packet), HepError::kNone);
  EXPECT_EQ(packet.message.source.ip.ToString(), "2001:db8::1");
  EXPECT_EQ(packet.message.agent, "media-1");
  EXPECT_EQ(packet.auth_key, "secret");
  EXPECT_EQ(packet.correlation_id, "a@b");
  EXPECT_EQ(packet.message.transport, Transport::kTls);
  EXPECT_FALSE(packet.has_agent_id);
}

TEST(HepPacket, SkipsUnknownTypesAndEveryChunkOfAVendor) {
  const std::string bytes = HepFrame(HepChunk(0x0f, "forged payload", 5) + HepChunk(0x0c, "x", 4) +
                                     HepChunk(0x7777, "future") + HepChunk(0x0f, "real payload") +
                                     HepChunk(0x13, "forged name", 2));
  HepPacket packet;
  ASSERT_EQ(DecodeHep(bytes, packet), HepError::kNone);
  EXPECT_EQ(packet.message.bytes, "real payload");
  EXPECT_EQ(packet.message.agent, "");
  EXPECT_FALSE(packet.has_agent_id);
}

TEST(HepPacket, RefusesWhatIsNoWholeHep3PacketAndSaysWhy) {
  const std::string good = FromHex(kSpecExample);
  const std::string payload = HepChunk(0x0f, "p");
  std::string v1 = {1, 16, 2, 17};
  v1 += std::string(12, 'x') + "INVITE";
  std::string v2 = {2, 28, 2, 17};
  v2 += std::string(24, 'x') + "INVITE";
  struct Case {
    const char* what;
    std::string bytes;
    HepError error;
  };
  const Case cases[] = {
      {"nothing", "", HepError::kNotHep},
      {"a SIP message", "INVITE sip:bob SIP/2.0\r\n\r\n", HepError::kNotHep},
      {"half the magic", "HE", HepError::kNotHep},
      {"the magic alone", "HEP3", HepError::kTruncated},
      {"HEPv1", v1, HepError::kVersion1},
      {"HEPv2", v2, HepError::kVersion2},
      {"an EEP packet", "EEP3" + good.substr(4), HepError::kNotHep},
      {"one byte cut off", good.substr(0, 112), HepError::kTruncated},
      {"one byte too many", good + "x", HepError::kTotalLength},
      {"a total length below the header", HepFrame(payload, 5), HepError::kTruncated},
      {"a total length of zero", HepFrame(payload, 0), HepError::kTruncated},
      {"a chunk of length 0", HepFrame(HepChunk(0x0f, "p", 0, 0)), HepError::kChunkLength},
      {"a chunk of length 5", HepFrame(HepChunk(0x0f, "p", 0, 5)), HepError::kChunkLength},
      {"a chunk past the end", HepFrame(HepChunk(0x0f, "p", 0, 8)), HepError::kChunkLength},
      {"a chunk of 65535", HepFrame(HepChunk(0x0f, "p", 0, 65535)), HepError::kChunkLength},
      {"half a chunk header", HepFrame(payload + "abcde"), HepError::kChunkLength},
      {"a short address", HepFrame(payload + HepChunk(0x03, "abc")), HepError::kChunkSize},
      {"a long address", HepFrame(payload + HepChunk(0x05, "abcd")), HepError::kChunkSize},
      {"an empty port", HepFrame(payload + HepChunk(0x07, "")), HepError::kChunkSize},
      {"a wide protocol", HepFrame(payload + HepChunk(0x0b, "ab")), HepError::kChunkSize},
      {"a narrow agent id", HepFrame(payload + HepChunk(0x0c, "ab")), HepError::kChunkSize},
      {"only a compressed payload", HepFrame(HepChunk(0x10, "zzz")), HepError::kCompressed},
      {"no payload", HepFrame(HepChunk(0x0b, "\x01")), HepError::kNoPayload},
      {"an empty payload", HepFrame(HepChunk(0x0f, "")), HepError::kNoPayload},
  };
  for (const Case& c : cases) {
    HepPacket packet;
    EXPECT_EQ(DecodeHep(c.bytes, packet), c.error)
        << c.what << ": " << ToString(DecodeHep(c.bytes, packet));
  }
}

TEST(HepPacket, AnImpossibleTimeIsNoTime) {
  HepPacket packet;
  const std::string payload = HepChunk(0x0f, "p");
  ASSERT_EQ(DecodeHep(HepFrame(payload + HepChunk(0x0a, Be32(5))), packet), HepError::kNone);
  EXPECT_EQ(packet.message.time, CaptureTime{});
  ASSERT_EQ(DecodeHep(HepFrame(payload + HepChunk(0x09, Be32(1'700'000'000)) +
                               HepChunk(0x0a, Be32(1'000'000))),
                      packet),
            HepError::kNone);
  EXPECT_EQ(packet.message.time, CaptureTime{});
}

// Garbage in every form: the views of what is accepted stay inside the packet.
TEST(HepPacket, NeverLooksOutsideThePacketWhateverItHolds) {
  std::mt19937 random(20240711);  // NOLINT: a fixed seed
  const std::string good = FromHex(kSpecExample);
  int accepted = 0;
  for (int round = 0; round < 200'000; ++round) {
    std::string bytes = good.substr(0, round % 3 == 0 ? random() % (good.size() + 1) : good.size());
    for (unsigned flips = random() % 5; flips > 0 && !bytes.empty(); --flips) {
      bytes[random() % bytes.size()] = static_cast<char>(random());
    }
    // A block of exactly this size, so that a sanitizer sees a step outside.
    const std::string block(bytes);
    HepPacket packet;
    if (DecodeHep(block, packet) != HepError::kNone) continue;
    ++accepted;
    for (const std::string_view view :
         {packet.message.bytes, packet.message.agent, packet.auth_key, packet.correlation_id}) {
      if (view.empty()) continue;
      ASSERT_GE(view.data(), block.data());
      ASSERT_LE(view.data() + view.size(), block.data() + block.size());
    }
  }
  EXPECT_GT(accepted, 1000);
}

TEST(HepFrameLength, CutsAStreamAndRefusesWhatCannotBeFollowed) {
  HepError error;
  const std::string frame = HepFrame(HepChunk(0x0f, "payload"));
  for (std::size_t have = 0; have < kHepHeaderSize; ++have) {
    EXPECT_EQ(HepFrameLength(std::string_view(frame).substr(0, have), error), 0u);
    EXPECT_EQ(error, HepError::kNone) << have;
  }
  EXPECT_EQ(HepFrameLength(frame + frame, error), frame.size());
  EXPECT_EQ(HepFrameLength("HTTP", error), 0u);
  EXPECT_EQ(error, HepError::kNotHep);
  EXPECT_EQ(HepFrameLength("X", error), 0u);
  EXPECT_EQ(error, HepError::kNotHep);
  EXPECT_EQ(HepFrameLength("HEP3" + Be16(6), error), 0u);
  EXPECT_EQ(error, HepError::kTruncated);
}

}  // namespace
}  // namespace sipheal::sip
