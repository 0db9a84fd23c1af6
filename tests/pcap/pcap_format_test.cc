// SPDX-License-Identifier: Apache-2.0
// The two file formats in all their dialects: byte orders, clocks, interfaces, and what is wrong
// with files.
#include <chrono>
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
using ::testing::HasSubstr;

std::int64_t Micros(const sip::CapturedMessage& message) {
  return message.time.time_since_epoch().count();
}

TEST(PcapFormat, PcapIsReadInBothByteOrdersAndWithNanoseconds) {
  const std::string frame = Ethernet(Ip4Message(1));
  for (const bool big : {false, true}) {
    const auto n32 = [&](std::uint32_t value) { return big ? Net32(value) : Host32(value); };
    for (const bool nano : {false, true}) {
      const auto size = static_cast<std::uint32_t>(frame.size());
      const std::string version = big ? Net16(2) + Net16(4) : Host32(0x00040002);
      const std::string file = n32(nano ? 0xa1b23c4d : 0xa1b2c3d4) + version + n32(0) + n32(0) +
                               n32(65535) + n32(kLinkEthernet) + n32(1'700'000'000) +
                               n32(nano ? 123'456'789 : 123'456) + n32(size) + n32(size) + frame;
      const PcapContents contents = Read(file);
      ASSERT_THAT(Numbers(contents), ElementsAre("c1@1")) << big << nano;
      EXPECT_EQ(Micros(contents.messages[0]), 1'700'000'000'123'456);
    }
  }
}

TEST(PcapFormat, EachInterfaceOfAPcapngHasItsOwnLinkTypeAndClock) {
  for (const bool big : {false, true}) {
    Pcapng file(big);
    const auto resolution = [&](char value) { return file.Option(9, std::string(1, value)); };
    file.Interface(kLinkEthernet);  // microseconds when nothing is said
    file.Interface(kLinkNull, resolution(9));
    file.Interface(kLinkCooked, resolution(static_cast<char>(0x80 | 10)));  // 1/1024 s
    file.Interface(kLinkRaw, file.Option(14, file.N64(3600)) + resolution(3));
    file.Interface(kLinkCooked2, resolution(12));
    file.Block(4, "names of hosts");  // of no interest
    file.Packet(0, 1'000'000'250, Ethernet(Ip4Message(1)));
    file.Packet(1, 1'000'000'250'999, Host32(2) + Ip4Message(2));
    file.Packet(2, 1000 * 1024 + 512, std::string(14, '\0') + Net16(0x0800) + Ip4Message(3));
    file.Packet(3, 1'000'250, Ip6Message(4));
    file.Packet(4, 1000'000'000'000'000 + 999'999,
                Net16(0x0800) + std::string(18, '\0') + Ip4Message(5));
    file.Section().Interface(kLinkRaw);  // a new section has new interfaces
    file.Packet(0, 7, Ip4Message(6));
    const PcapContents contents = Read(file.file());
    ASSERT_THAT(Numbers(contents), ElementsAre("c1@1", "c2@2", "c3@3", "c4@4", "c5@5", "c6@6"));
    EXPECT_EQ(Micros(contents.messages[0]), 1000'000'250);
    EXPECT_EQ(Micros(contents.messages[1]), 1000'000'250);
    EXPECT_EQ(Micros(contents.messages[2]), 1000'500'000);
    EXPECT_EQ(Micros(contents.messages[3]), 4600'250'000);
    EXPECT_EQ(Micros(contents.messages[4]), 1000'000'000);
    EXPECT_EQ(Micros(contents.messages[5]), 7);
    EXPECT_EQ(contents.messages[3].source.ToString(), "[2001:db8::1]:5060");
    EXPECT_EQ(contents.last_time, contents.messages[3].time);
  }
}

TEST(PcapFormat, SimpleAndObsoletePacketBlocksAreFramesToo) {
  const std::string frame = Ethernet(Ip4Message(2));
  const auto size = static_cast<std::uint32_t>(frame.size());
  Pcapng file;
  file.Interface(kLinkEthernet).Packet(0, 5'000'000, Ethernet(Ip4Message(1)));
  file.Block(3, file.N32(size) + frame);
  file.Block(2, file.N16(0) + file.N16(0) + file.N32(0) + file.N32(9) + file.N32(size) +
                    file.N32(size) + Ethernet(Ip4Message(3)));
  const PcapContents contents = Read(file.file());
  ASSERT_THAT(Numbers(contents), ElementsAre("c1@1", "c2@2", "c3@3"));
  EXPECT_EQ(Micros(contents.messages[1]), 5'000'000);  // it has no time: that of the one before
  EXPECT_EQ(Micros(contents.messages[2]), 9);
}

TEST(PcapFormat, TimesThatNoClockShowsArePutToTheEnds) {
  Pcapng file;
  const auto resolution = [&](char value) { return file.Option(9, std::string(1, value)); };
  file.Interface(kLinkRaw, resolution(0));
  file.Interface(kLinkRaw, file.Option(14, file.N64(0x8000'0000'0000'0000)));
  file.Interface(kLinkRaw, resolution(static_cast<char>(0xff)));  // 2^127 ticks a second
  file.Interface(kLinkRaw, resolution(127));
  file.Interface(kLinkRaw, resolution(static_cast<char>(0x80 | 63)));
  for (std::uint32_t i = 0; i < 5; ++i) file.Packet(i, ~std::uint64_t{0}, Ip4Message(1));
  const PcapContents contents = Read(file.file());
  ASSERT_EQ(contents.messages.size(), 5u);
  EXPECT_EQ(Micros(contents.messages[0]), 253'402'300'799'000'000);
  EXPECT_EQ(Micros(contents.messages[1]) / 1'000'000, 0);
  EXPECT_EQ(Micros(contents.messages[2]), 0);
  EXPECT_EQ(Micros(contents.messages[3]), 0);
  EXPECT_EQ(Micros(contents.messages[4]), 1'999'999);
}

TEST(PcapFormat, InterfacesThatCannotBeReadArePassedOverAndNamed) {
  Pcapng file;
  file.Interface(220).Interface(kLinkRaw);  // USB, as "any" interface brings
  file.Packet(0, 1, "usb").Packet(1, 2, Ip4Message(2)).Packet(7, 3, "of no interface");
  const PcapContents contents = Read(file.file());
  EXPECT_THAT(Numbers(contents), ElementsAre("c2@2"));
  EXPECT_EQ(contents.frames, 3u);
  EXPECT_EQ(contents.not_ip, 2u);
  EXPECT_THAT(contents.unread_links, HasSubstr("USB_LINUX"));

  Pcapng other;
  const TempFile only(other.Interface(220).Packet(0, 1, "usb").file());
  const absl::Status status = ReadPcap(only.path()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("USB_LINUX"));
}

TEST(PcapFormat, DamageIsNamedByItsByteAndWhatStandsBeforeIsRead) {
  const std::string good =
      Pcapng().Interface(kLinkRaw).Packet(0, 1, Ip4Message(1)).Packet(0, 2, Ip4Message(2)).file();
  const std::string one = Pcapng().Interface(kLinkRaw).Packet(0, 1, Ip4Message(1)).file();
  std::string wrong_tail = good;
  wrong_tail[good.size() - 1] = 1;
  struct Case {
    const char* what;
    std::string file;
    std::size_t at;
  };
  const Case cases[] = {
      {"cut in a packet", good.substr(0, good.size() - 20), one.size()},
      {"cut in a head", one + good.substr(one.size(), 5), one.size()},
      {"no length", one + Host32(6) + Host32(0) + good, one.size()},
      {"a length of 4 GB", one + Host32(6) + Host32(0xfffffffc) + good, one.size()},
      {"two lengths", wrong_tail, one.size()},
      {"an odd length", one + Host32(6) + Host32(33) + good, one.size()},
      {"a section of no byte order", one + std::string("\n\r\r\n", 4) + Host32(28) + "abcdefgh",
       one.size()},
  };
  for (const Case& c : cases) {
    const TempFile file(c.file);
    const absl::Status status = ReadPcap(file.path()).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << c.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr("byte " + std::to_string(c.at) + " "))
        << c.what;
    EXPECT_THAT(std::string(status.message()), HasSubstr("frame 2")) << c.what;
    const PcapContents kept = Read(c.file, {.keep_damaged = true});
    EXPECT_THAT(Numbers(kept), ElementsAre("c1@1")) << c.what;
    EXPECT_NE(kept.damage, "") << c.what;
  }
}

TEST(PcapFormat, WhatIsNoCaptureIsSaid) {
  const TempFile empty("");
  EXPECT_THAT(std::string(ReadPcap(empty.path()).status().message()), HasSubstr("is empty"));
  EXPECT_THAT(std::string(ReadPcap(::testing::TempDir()).status().message()),
              HasSubstr("cannot be read"));
  // As long as a section header, and none.
  const TempFile text("\n\n\n\nwhatever stands here it is no capture");
  EXPECT_FALSE(ReadPcap(text.path()).ok());
}

}  // namespace
}  // namespace sipheal
