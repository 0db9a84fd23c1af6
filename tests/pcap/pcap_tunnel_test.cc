// SPDX-License-Identifier: Apache-2.0
// Packets in packets: the innermost addresses are the message's, the outermost are told beside it.
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

std::string Gtp(std::string_view packet) {
  return std::string("\x30\xff\0\0\0\0\0\1", 8) + std::string(packet);
}

TEST(PcapTunnel, TheInnerAddressesAreTheMessagesAndTheOuterOnesAreTold) {
  const std::string ip4 = Ip4Message(1);
  const std::string ip6 = Ip6Message(1);
  struct Case {
    const char* what;
    std::string packet;
    std::uint32_t type;
    const char* source;
    const char* outer;
  };
  const Case cases[] = {
      {"4 in 4", Ip4(9, 8, kProtoIpip, ip4), 0x0800, "192.0.2.1:5060", "192.0.2.9"},
      {"6 in 4", Ip4(9, 8, kProtoIpv6, ip6), 0x0800, "[2001:db8::1]:5060", "192.0.2.9"},
      {"4 in 6", Ip6(9, 8, kProtoIpip, ip4), 0x86dd, "192.0.2.1:5060", "2001:db8::9"},
      {"6 in 6", Ip6(9, 8, kProtoIpv6, ip6), 0x86dd, "[2001:db8::1]:5060", "2001:db8::9"},
      {"GRE", Ip4(9, 8, kProtoGre, Net16(0) + Net16(0x0800) + ip4), 0x0800, "192.0.2.1:5060",
       "192.0.2.9"},
      {"GTP-U", Ip4(9, 8, kProtoUdp, Udp(2152, 2152, Gtp(ip6))), 0x0800, "[2001:db8::1]:5060",
       "192.0.2.9"},
      {"GTP-U in GRE",
       Ip4(9, 8, kProtoGre,
           Net16(0) + Net16(0x0800) + Ip4(7, 6, kProtoUdp, Udp(2152, 2152, Gtp(ip4)))),
       0x0800, "192.0.2.1:5060", "192.0.2.9"},
      {"VXLAN",
       Ip4(9, 8, kProtoUdp, Udp(50000, 4789, std::string("\x08\0\0\0\0\0\1\0", 8) + Ethernet(ip4))),
       0x0800, "192.0.2.1:5060", "192.0.2.9"},
      {"ERSPAN I", Ip4(9, 8, kProtoGre, Net16(0) + Net16(0x88be) + Ethernet(ip4)), 0x0800,
       "192.0.2.1:5060", "192.0.2.9"},
      {"ERSPAN II",
       Ip4(9, 8, kProtoGre,
           Net16(0x1000) + Net16(0x88be) + Net32(5) + std::string(8, '\x11') +
               Ethernet(ip6, 0x86dd)),
       0x0800, "[2001:db8::1]:5060", "192.0.2.9"},
  };
  for (const Case& c : cases) {
    const PcapContents contents =
        Read(PcapFile({Ethernet(Ip4Message(9)), Ethernet(c.packet, c.type)}));
    ASSERT_THAT(Numbers(contents), ElementsAre("c9@1", "c1@2")) << c.what;
    EXPECT_EQ(contents.messages[1].source.ToString(), c.source) << c.what;
    EXPECT_EQ(contents.messages[1].destination.port, 5062) << c.what;
    ASSERT_EQ(contents.tunnelled.size(), 1u) << c.what;
    EXPECT_EQ(contents.tunnelled[0].message, 1u) << c.what;
    EXPECT_EQ(contents.tunnelled[0].outer_source.ToString(), c.outer) << c.what;
    EXPECT_EQ(contents.tunnelled[0].outer_destination.ToString().back(), '8') << c.what;
  }
}

TEST(PcapTunnel, LinksAroundIpAreOpened) {
  const std::string ip4 = Ip4Message(1);
  struct Case {
    const char* what;
    std::string frame;
    std::uint32_t link_type;
  };
  const Case cases[] = {
      {"MPLS, two labels", Ethernet(std::string("\0\1\0\xff\0\2\1\xff", 8) + ip4, 0x8847),
       kLinkEthernet},
      {"PPPoE", Ethernet(std::string("\x11\0\0\1\0\0", 6) + Net16(0x0021) + ip4, 0x8864),
       kLinkEthernet},
      {"LLC and SNAP", Ethernet(std::string("\xaa\xaa\x03\0\0\0", 6) + Net16(0x0800) + ip4, 300),
       kLinkEthernet},
      {"PPP", Net16(0xff03) + Net16(0x0021) + ip4, 9},
      {"PPP without address", Net16(0x0021) + ip4, 50},
  };
  for (const Case& c : cases) {
    const PcapContents contents = Read(PcapFile({c.frame}, c.link_type));
    ASSERT_THAT(Numbers(contents), ElementsAre("c1@1")) << c.what;
    EXPECT_EQ(contents.messages[0].source.ToString(), "192.0.2.1:5060") << c.what;
    EXPECT_THAT(contents.tunnelled, IsEmpty()) << c.what;
  }
}

TEST(PcapTunnel, FragmentsOfTheTunnelAndInItArePutTogether) {
  // The inner packet is fragmented.
  const std::string udp = Udp(5060, 5060, Message(1, std::string(1000, 'x')));
  const auto inner = [&](std::size_t at, std::size_t size, bool last) {
    return Ethernet(Ip4(9, 8, kProtoIpip,
                        Ip4(1, 2, kProtoUdp, udp.substr(at, size),
                            static_cast<std::uint32_t>(at / 8) | (last ? 0 : 0x2000))));
  };
  PcapContents contents = Read(PcapFile({inner(800, 4000, true), inner(0, 800, false)}));
  ASSERT_THAT(Numbers(contents), ElementsAre("c1@2"));
  EXPECT_EQ(contents.tunnelled.size(), 1u);
  // The outer one is.
  const std::string tunnel = Ip4(1, 2, kProtoUdp, udp);
  const auto outer = [&](std::size_t at, std::size_t size, bool last) {
    return Ethernet(Ip4(9, 8, kProtoIpip, tunnel.substr(at, size),
                        static_cast<std::uint32_t>(at / 8) | (last ? 0 : 0x2000)));
  };
  contents = Read(PcapFile({outer(0, 800, false), outer(800, 4000, true)}));
  ASSERT_THAT(Numbers(contents), ElementsAre("c1@2"));
  EXPECT_EQ(contents.messages[0].source.ToString(), "192.0.2.1:5060");
}

TEST(PcapTunnel, StreamsInATunnelKeepItsAddresses) {
  const std::string stream = Message(1);
  std::vector<std::string> frames;
  for (const std::size_t at : {std::size_t{0}, std::size_t{60}}) {
    frames.push_back(Ethernet(Ip4(9, 8, kProtoIpip,
                                  Ip4(1, 2, kProtoTcp,
                                      Tcp(40000, 5060, static_cast<std::uint32_t>(at),
                                          stream.substr(at, at == 0 ? 60 : 4000))))));
  }
  const PcapContents contents = Read(PcapFile(frames));
  ASSERT_THAT(Numbers(contents), ElementsAre("c1@2"));
  EXPECT_EQ(contents.messages[0].source.ToString(), "192.0.2.1:40000");
  ASSERT_EQ(contents.tunnelled.size(), 1u);
  EXPECT_EQ(contents.tunnelled[0].outer_source.ToString(), "192.0.2.9");
}

TEST(PcapTunnel, WhatOnlyLooksLikeATunnelIsReadForWhatItIs) {
  // SIP on the port of GTP-U and of VXLAN.
  for (const int port : {2152, 4789}) {
    const PcapContents contents =
        Read(PcapFile({Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, port, Message(1))))}));
    ASSERT_THAT(Numbers(contents), ElementsAre("c1@1")) << port;
    EXPECT_THAT(contents.tunnelled, IsEmpty()) << port;
  }
}

TEST(PcapTunnel, HepOfOldVersionsGivesTheAddressesThatTheAgentSaw) {
  const auto hep = [](int version, bool v6, std::string_view time, std::string_view payload,
                      bool time_counts = true) {
    const std::string addresses = v6 ? V6(3) + V6(4) : V4(3) + V4(4);
    const std::size_t length = 8 + addresses.size() + (time_counts ? time.size() : 0);
    return std::string{static_cast<char>(version), static_cast<char>(length),
                       static_cast<char>(v6 ? 10 : 2), '\x11'} +
           Net16(5060) + Net16(5080) + addresses + std::string(time) + std::string(payload);
  };
  const std::string time(12, '\x55');
  for (const bool v6 : {false, true}) {
    for (const int version : {1, 2}) {
      const std::string packet = hep(version, v6, version == 2 ? time : "", Message(1));
      const PcapContents contents =
          Read(PcapFile({Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, packet)))}));
      ASSERT_THAT(Numbers(contents), ElementsAre("c1@1")) << version << v6;
      const sip::CapturedMessage& message = contents.messages[0];
      EXPECT_EQ(message.bytes, Message(1));
      EXPECT_EQ(message.source.ToString(), v6 ? "[2001:db8::3]:5060" : "192.0.2.3:5060");
      EXPECT_EQ(message.destination.port, 5080);
      EXPECT_EQ(message.transport, sip::Transport::kUdp);
      EXPECT_EQ(message.time.time_since_epoch().count(), 1001'000250);
      EXPECT_EQ(contents.hep_packets, 1u);
    }
  }
  // Whether the time counts in the length of the headers depends on who sends.
  EXPECT_THAT(Numbers(Read(PcapFile({Ethernet(Ip4(
                  1, 2, kProtoUdp, Udp(9000, 9060, hep(2, false, time, Message(1), false))))}))),
              ElementsAre("c1@1"));
  // Of no SIP, cut, or with a length that does not fit: none.
  for (const std::string& packet :
       {hep(1, false, "", "no sip"), hep(2, false, time, Message(1)).substr(0, 20),
        hep(1, false, time, Message(1)), hep(3, false, "", Message(1))}) {
    EXPECT_THAT(Numbers(Read(PcapFile({Ethernet(Ip4(1, 2, kProtoUdp, Udp(9000, 9060, packet)))}))),
                IsEmpty());
  }
}

TEST(PcapTunnel, TunnelsInTunnelsEndSomewhere) {
  std::string packet = Ip4Message(1);
  for (int i = 0; i < 20; ++i) packet = Ip4(9, 8, kProtoIpip, packet);
  EXPECT_THAT(Numbers(Read(PcapFile({Ethernet(packet)}))), IsEmpty());
  std::string labels;
  for (int i = 0; i < 200; ++i) labels += std::string("\0\1\0\xff", 4);
  EXPECT_THAT(Numbers(Read(PcapFile({Ethernet(labels, 0x8847)}))), IsEmpty());
}

}  // namespace
}  // namespace sipheal
