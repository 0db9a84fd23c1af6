// SPDX-License-Identifier: Apache-2.0
// A small SIP message for the tests of the pcap reader, and how they read a file.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "sipheal/adapters/pcap.h"
#include "tests/pcap/pcap_builder.h"

namespace sipheal::testing {

inline constexpr int kProtoIpip = 4;
inline constexpr int kProtoTcp = 6;
inline constexpr int kProtoUdp = 17;
inline constexpr int kProtoIpv6 = 41;
inline constexpr int kProtoGre = 47;

// Its Call-ID is "c" and the number.
inline std::string Message(int number, std::string_view body = "") {
  return "MESSAGE sip:b@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK" +
         std::to_string(number) + "\r\nFrom: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c" +
         std::to_string(number) +
         "\r\nCSeq: 1 MESSAGE\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

// The message in a datagram from 192.0.2.1:5060 to 192.0.2.2:5062.
inline std::string Ip4Message(int number) {
  return Ip4(1, 2, kProtoUdp, Udp(5060, 5062, Message(number)));
}
inline std::string Ip6Message(int number) {
  return Ip6(1, 2, kProtoUdp, Udp(5060, 5062, Message(number)));
}

inline PcapContents Read(const std::string& file, const PcapOptions& options = {}) {
  const TempFile temp(file);
  absl::StatusOr<PcapContents> contents = ReadPcap(temp.path(), options);
  EXPECT_TRUE(contents.ok()) << contents.status();
  return contents.ok() ? *std::move(contents) : PcapContents();
}

inline std::vector<std::string> Texts(const PcapContents& contents) {
  std::vector<std::string> texts;
  for (const sip::CapturedMessage& message : contents.messages) texts.push_back(message.bytes);
  return texts;
}

// "c1@4": the message's number in its Call-ID, and its frame.
inline std::vector<std::string> Numbers(const PcapContents& contents) {
  std::vector<std::string> numbers;
  for (const sip::CapturedMessage& message : contents.messages) {
    const std::size_t at = message.bytes.find("Call-ID: ") + 9;
    numbers.push_back(message.bytes.substr(at, message.bytes.find('\r', at) - at) + "@" +
                      std::to_string(message.sequence));
  }
  return numbers;
}

// Segments of one direction, from port 40000 to 5060, cut at `cuts`.
inline std::vector<std::string> Segments(std::string_view stream,
                                         const std::vector<std::size_t>& cuts,
                                         std::uint32_t first) {
  std::vector<std::string> frames;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= cuts.size(); ++i) {
    const std::size_t end = i < cuts.size() ? cuts[i] : stream.size();
    frames.push_back(Ethernet(Ip4(1, 2, kProtoTcp,
                                  Tcp(40000, 5060, first + static_cast<std::uint32_t>(begin),
                                      stream.substr(begin, end - begin)))));
    begin = end;
  }
  return frames;
}

}  // namespace sipheal::testing
