// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sipheal/adapters/pcap.h"
#include "tests/hep/hep_builder.h"
#include "tests/pcap/pcap_builder.h"
#include "tests/pcap/sip_frames.h"

namespace sipheal {
namespace {

using namespace testing;  // NOLINT: the builders of this test
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(PcapReader, ReadsUdpOfEveryLinkTypeItKnows) {
  const std::string ip4 = Ip4(1, 2, kProtoUdp, Udp(5060, 5062, Message(1)));
  const std::string ip6 = Ip6(1, 2, kProtoUdp, Udp(5060, 5062, Message(1)));
  struct Case {
    const char* what;
    std::string frame;
    std::uint32_t link_type;
    const char* source;
  };
  const Case cases[] = {
      {"Ethernet", Ethernet(ip4), kLinkEthernet, "192.0.2.1:5060"},
      {"Ethernet with padding", Ethernet(ip4) + "padpad", kLinkEthernet, "192.0.2.1:5060"},
      {"Ethernet, IPv6", Ethernet(ip6, 0x86dd), kLinkEthernet, "[2001:db8::1]:5060"},
      {"VLAN", Ethernet(Net16(5) + Net16(0x0800) + ip4, 0x8100), kLinkEthernet, "192.0.2.1:5060"},
      {"stacked VLAN", Ethernet(Net16(5) + Net16(0x8100) + Net16(6) + Net16(0x86dd) + ip6, 0x88a8),
       kLinkEthernet, "[2001:db8::1]:5060"},
      {"raw IPv4", ip4, kLinkRaw, "192.0.2.1:5060"},
      {"raw IPv6", ip6, kLinkRaw, "[2001:db8::1]:5060"},
      {"cooked", std::string(14, '\0') + Net16(0x0800) + ip4, kLinkCooked, "192.0.2.1:5060"},
      {"cooked v2", Net16(0x86dd) + std::string(18, '\0') + ip6, kLinkCooked2,
       "[2001:db8::1]:5060"},
      {"BSD loopback", Host32(2) + ip4, kLinkNull, "192.0.2.1:5060"},
      {"OpenBSD loopback", Net32(24) + ip6, kLinkLoop, "[2001:db8::1]:5060"},
      {"IP in IP", Ethernet(Ip4(9, 8, kProtoIpip, ip4)), kLinkEthernet, "192.0.2.1:5060"},
      {"GRE with key and sequence",
       Ethernet(Ip4(9, 8, kProtoGre, Net16(0x3000) + Net16(0x86dd) + Net32(1) + Net32(2) + ip6)),
       kLinkEthernet, "[2001:db8::1]:5060"},
      {"GRE with Ethernet in it",
       Ethernet(Ip4(9, 8, kProtoGre, Net16(0) + Net16(0x6558) + Ethernet(ip4))), kLinkEthernet,
       "192.0.2.1:5060"},
      {"GTP-U with an extension header",
       Ethernet(Ip4(9, 8, kProtoUdp,
                    Udp(2152, 2152,
                        std::string("\x34\xff", 2) + Net16(0) + Net32(77) + Net16(0) +
                            std::string("\0\x85", 2) + std::string("\x01\0\0\0", 4) + ip4))),
       kLinkEthernet, "192.0.2.1:5060"},
  };
  for (const Case& c : cases) {
    for (const bool ng : {false, true}) {
      const PcapContents contents =
          Read(ng ? PcapngFile({c.frame}, c.link_type) : PcapFile({c.frame}, c.link_type));
      ASSERT_EQ(contents.messages.size(), 1u) << c.what << (ng ? " in pcapng" : " in pcap");
      const sip::CapturedMessage& message = contents.messages[0];
      EXPECT_EQ(message.bytes, Message(1)) << c.what;
      EXPECT_EQ(message.source.ToString(), c.source) << c.what;
      EXPECT_EQ(message.destination.port, 5062) << c.what;
      EXPECT_EQ(message.transport, sip::Transport::kUdp) << c.what;
      EXPECT_EQ(message.sequence, 1u) << c.what;
      EXPECT_EQ(message.time.time_since_epoch().count(), 1001'000250) << c.what;
    }
  }
}

TEST(PcapReader, PutsFragmentsTogetherWhateverTheirOrder) {
  const std::string udp = Udp(5060, 5060, Message(1, std::string(3000, 'x')));
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < udp.size(); at += 800) {
    const bool last = at + 800 >= udp.size();
    pieces.push_back(Ethernet(Ip4(1, 2, kProtoUdp, udp.substr(at, 800),
                                  static_cast<std::uint32_t>(at / 8) | (last ? 0 : 0x2000))));
  }
  std::sort(pieces.begin(), pieces.end());
  do {
    const PcapContents contents = Read(PcapFile(pieces));
    ASSERT_THAT(Texts(contents), ElementsAre(Message(1, std::string(3000, 'x'))));
    EXPECT_EQ(contents.messages[0].sequence, pieces.size());  // the frame that completes it
    EXPECT_EQ(contents.lost_fragments, 0u);
  } while (std::next_permutation(pieces.begin(), pieces.end()));

  pieces.erase(pieces.begin() + 1);
  const PcapContents contents = Read(PcapFile(pieces));
  EXPECT_TRUE(contents.messages.empty());
  EXPECT_EQ(contents.lost_fragments, 1u);
}

TEST(PcapReader, Ipv6FragmentsBehindExtensionHeadersAreRead) {
  const std::string udp = Udp(5060, 5060, Message(1, std::string(1000, 'y')));
  const auto fragment = [&](std::size_t at, std::size_t size, bool last) {
    return Ethernet(
        Ip6(1, 2, 0,
            std::string("\x2c\0", 2) + std::string(6, '\0') +  // hop-by-hop, then 44
                std::string("\x11\0", 2) + Net16(static_cast<std::uint32_t>(at) | (last ? 0 : 1)) +
                Net32(99) + udp.substr(at, size)),
        0x86dd);
  };
  const PcapContents contents =
      Read(PcapFile({fragment(800, 4000, true), fragment(0, 800, false)}));
  EXPECT_THAT(Texts(contents), ElementsAre(Message(1, std::string(1000, 'y'))));
}

TEST(PcapReader, TcpStreamsAreFramedHoweverTheyAreCutOrShuffled) {
  const std::string stream = Message(1, "body one") + "\r\n\r\n" + Message(2) + Message(3, "three");
  std::mt19937 random(11);  // NOLINT: a fixed seed
  for (int round = 0; round < 200; ++round) {
    std::vector<std::size_t> cuts;
    for (unsigned i = random() % 6; i > 0; --i) cuts.push_back(1 + random() % (stream.size() - 1));
    std::sort(cuts.begin(), cuts.end());
    cuts.erase(std::unique(cuts.begin(), cuts.end()), cuts.end());
    const std::uint32_t first = round % 2 == 0 ? 1000 : 0xffffffff - 200;  // across the wrap
    std::vector<std::string> frames = Segments(stream, cuts, first);
    frames.push_back(frames[random() % frames.size()]);  // a retransmission
    std::shuffle(frames.begin(), frames.end(), random);
    frames.insert(frames.begin(),
                  Ethernet(Ip4(1, 2, kProtoTcp, Tcp(40000, 5060, first - 1, "", kSyn))));
    const PcapContents contents = Read(PcapFile(frames));
    ASSERT_THAT(Texts(contents),
                ElementsAre(Message(1, "body one"), Message(2), Message(3, "three")))
        << "round " << round;
    EXPECT_EQ(contents.messages[0].transport, sip::Transport::kTcp);
    EXPECT_EQ(contents.stream_gaps, 0u);
  }
}

TEST(PcapReader, AHoleInAStreamCostsNoMoreThanTheMessagesInIt) {
  const std::string stream = Message(1) + Message(2) + Message(3) + Message(4);
  const std::size_t size = Message(1).size();
  std::vector<std::string> frames = Segments(stream, {size, size + 50, 2 * size, 3 * size}, 500);
  frames.erase(frames.begin() + 1);  // the head of message 2
  const PcapContents contents = Read(PcapFile(frames));
  EXPECT_THAT(Texts(contents), ElementsAre(Message(1), Message(3), Message(4)));
  EXPECT_EQ(contents.stream_gaps, 1u);
}

TEST(PcapReader, ACaptureThatBeginsInsideAConnectionIsReadFromTheNextMessageOn) {
  const std::string stream = Message(1) + Message(2);
  const std::size_t size = Message(1).size();
  std::vector<std::string> frames = Segments(stream, {30, size}, 500);
  frames.erase(frames.begin());
  EXPECT_THAT(Texts(Read(PcapFile(frames))), ElementsAre(Message(2)));
  // Wherever the segments end: the next start line may go over two of them.
  for (std::size_t cut = 31; cut < stream.size(); ++cut) {
    frames = Segments(stream, {30, cut}, 500);
    frames.erase(frames.begin());
    EXPECT_THAT(Texts(Read(PcapFile(frames))), ElementsAre(Message(2))) << "cut at " << cut;
  }
}

// RFC 3261 7.1: the version is compared without its letter case, though all write it in capitals.
TEST(PcapReader, TheVersionBehindAHoleMayBeInSmallLetters) {
  std::string second = Message(2);
  second.replace(second.find("SIP/2.0"), 7, "sip/2.0");
  std::string answer = Message(3);
  answer.replace(0, answer.find("\r\n"), "sip/2.0 200 OK");
  for (const std::string& next : {second, answer}) {
    const std::string stream = Message(1) + next;
    for (std::size_t cut = 31; cut < stream.size(); ++cut) {
      std::vector<std::string> frames = Segments(stream, {30, cut}, 500);
      frames.erase(frames.begin());
      EXPECT_THAT(Texts(Read(PcapFile(frames))), ElementsAre(next)) << "cut at " << cut;
    }
  }
}

TEST(PcapReader, AnotherConnectionOnTheSamePortsIsAnotherStream) {
  std::vector<std::string> frames = Segments(Message(1).substr(0, 60), {}, 500);
  frames.push_back(Ethernet(Ip4(1, 2, kProtoTcp, Tcp(40000, 5060, 77, "", kSyn))));
  for (const std::string& frame : Segments(Message(2), {40}, 78)) frames.push_back(frame);
  EXPECT_THAT(Texts(Read(PcapFile(frames))), ElementsAre(Message(2)));
}

TEST(PcapReader, OtherTrafficIsLeftOut) {
  const std::vector<std::string> frames = {
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(53, 53, "not sip at all"))),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, "\r\n\r\n"))),
      Ethernet(Ip4(1, 2, kProtoTcp, Tcp(80, 81, 1, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"))),
      Ethernet(std::string(40, 'a'), 0x0806),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, Message(1)))),
  };
  const PcapContents contents = Read(PcapFile(frames));
  EXPECT_THAT(Texts(contents), ElementsAre(Message(1)));
  EXPECT_EQ(contents.messages[0].sequence, 5u);
  EXPECT_EQ(contents.frames, 5u);
  EXPECT_EQ(contents.not_ip, 1u);
}

TEST(PcapReader, TheLetterCaseOfTheVersionSaysNothing) {
  std::string request = Message(1);
  request.replace(request.find(" SIP/2.0\r\n"), 5, " sip/");
  const std::string response = "Sip/2.0 200 OK\r\n" + request.substr(request.find("Via:"));
  std::vector<std::string> frames = {
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, request))),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, response))),
  };
  frames.push_back(Segments(request, {}, 500)[0]);
  EXPECT_THAT(Texts(Read(PcapFile(frames))), ElementsAre(request, response, request));
}

TEST(PcapReader, HepInACaptureGivesTheAddressesThatTheAgentSaw) {
  sip::CapturedMessage inner;
  inner.bytes = Message(7);
  inner.source = *sip::Endpoint::Parse("198.51.100.1:5060");
  inner.destination = *sip::Endpoint::Parse("198.51.100.2:5080");
  inner.transport = sip::Transport::kUdp;
  inner.time = sip::CaptureTime(std::chrono::microseconds(1'700'000'000'123456));
  const std::string hep = HepPacketOf(inner, {42, "", ""});
  const std::string rtcp = HepPacketOf(inner, {42, "", ""}, 5);
  sip::CapturedMessage twice = inner;
  twice.transport = sip::Transport::kTcp;
  twice.bytes = Message(8) + Message(9) + Message(10).substr(0, 20);
  std::vector<std::string> frames = {
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, hep))),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, rtcp))),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, hep.substr(0, 60)))),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, HepPacketOf(twice, {0, "edge", ""})))),
  };
  for (const std::string& frame : Segments(hep + hep, {10, 200}, 5)) frames.push_back(frame);
  const PcapContents contents = Read(PcapFile(frames));
  EXPECT_THAT(Texts(contents),
              ElementsAre(Message(7), Message(8), Message(9), Message(7), Message(7)));
  const sip::CapturedMessage& message = contents.messages[0];
  EXPECT_EQ(message.source.ToString(), "198.51.100.1:5060");
  EXPECT_EQ(message.agent, "42");
  EXPECT_EQ(message.time, inner.time);
  EXPECT_EQ(contents.messages[1].agent, "edge");
  EXPECT_EQ(contents.hep_packets, 5u);
  EXPECT_EQ(contents.hep_refused, 1u);
}

TEST(PcapReader, StopsAfterTheLastFrameAskedFor) {
  std::vector<std::string> frames;
  for (int i = 1; i <= 5; ++i) {
    frames.push_back(Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, Message(i)))));
  }
  PcapOptions options;
  options.last_frame = 2;
  EXPECT_THAT(Texts(Read(PcapFile(frames), options)), ElementsAre(Message(1), Message(2)));
  options = {};
  options.last_time = sip::CaptureTime(std::chrono::seconds(1003));  // frame 3 is 250 us later
  EXPECT_THAT(Texts(Read(PcapFile(frames), options)), ElementsAre(Message(1), Message(2)));
}

TEST(PcapReader, ErrorsNameTheFileAndTheFrame) {
  EXPECT_EQ(ReadPcap("/nonexistent/x.pcap").status().code(), absl::StatusCode::kNotFound);

  const TempFile text("this is no capture file, but long enough to look at");
  const absl::Status no_capture = ReadPcap(text.path()).status();
  EXPECT_EQ(no_capture.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(no_capture.message()), HasSubstr(text.path()));

  const TempFile wifi(PcapFile({"frame"}, 105));
  const absl::Status link = ReadPcap(wifi.path()).status();
  EXPECT_EQ(link.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(link.message()), HasSubstr("IEEE802_11"));

  const std::string frame = Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, Message(1))));
  const std::string whole = PcapFile({frame, frame});
  const TempFile broken(whole.substr(0, whole.size() - 10));
  const absl::Status damaged = ReadPcap(broken.path()).status();
  EXPECT_EQ(damaged.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(damaged.message()), HasSubstr(broken.path()));
  EXPECT_THAT(std::string(damaged.message()), HasSubstr("frame 2"));
  PcapOptions options;
  options.keep_damaged = true;
  const absl::StatusOr<PcapContents> kept = ReadPcap(broken.path(), options);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_THAT(Texts(*kept), ElementsAre(Message(1)));
  EXPECT_THAT(kept->damage, HasSubstr("frame 2"));

  options = {};
  options.max_messages = 1;
  const TempFile many(whole);
  EXPECT_EQ(ReadPcap(many.path(), options).status().code(), absl::StatusCode::kResourceExhausted);
}

// Whatever the bytes are: an answer, in bounded time, and no step outside (sanitizers).
TEST(PcapReader, SurvivesFlippedAndCutFrames) {
  const std::string ip4 = Ip4(1, 2, kProtoUdp, Udp(5060, 5062, Message(1)));
  const std::vector<std::string> good = {
      Ethernet(ip4),
      Ethernet(Ip6(1, 2, kProtoUdp, Udp(5060, 5062, Message(1))), 0x86dd),
      Ethernet(Ip4(9, 8, kProtoGre, Net16(0x3000) + Net16(0x0800) + Net32(1) + Net32(2) + ip4)),
      Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, Message(1)), 0x2000)),
      Ethernet(Ip4(1, 2, kProtoTcp, Tcp(40000, 5060, 5, Message(2)))),
      Ethernet(Ip4(9, 8, kProtoUdp, Udp(2152, 2152, std::string("\x30\xff\0\0\0\0\0\1", 8) + ip4))),
  };
  std::mt19937 random(5);  // NOLINT: a fixed seed
  std::size_t messages = 0;
  for (int round = 0; round < 100; ++round) {
    std::vector<std::string> frames;
    for (int i = 0; i < 50; ++i) {
      std::string frame = good[random() % good.size()];
      for (unsigned flips = random() % 4; flips > 0; --flips) {
        frame[random() % std::min<std::size_t>(frame.size(), 70)] = static_cast<char>(random());
      }
      if (random() % 4 == 0) frame.resize(random() % frame.size());
      frames.push_back(frame);
    }
    messages += Read(PcapFile(frames)).messages.size();
  }
  EXPECT_GT(messages, 100u);
}

}  // namespace
}  // namespace sipheal
