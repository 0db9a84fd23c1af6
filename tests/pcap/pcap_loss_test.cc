// SPDX-License-Identifier: Apache-2.0
// What a capture does not have: cut packets, fragments that are missing or hostile, holes in
// streams; and which frame a message in pieces belongs to.
#include <algorithm>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/message_view.h"
#include "tests/pcap/sip_frames.h"

namespace sipheal {
namespace {

using namespace testing;  // NOLINT: the builders of this test
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::StartsWith;

std::string Body(std::size_t size) { return std::string(size, 'x'); }

// A datagram in fragments of 800 bytes.
std::vector<std::string> Pieces(const std::string& message, std::uint32_t id = 7) {
  const std::string udp = Udp(5060, 5060, message);
  std::vector<std::string> pieces;
  for (std::size_t at = 0; at < udp.size(); at += 800) {
    const bool last = at + 800 >= udp.size();
    pieces.push_back(Ethernet(Ip4(1, 2, kProtoUdp, udp.substr(at, 800),
                                  static_cast<std::uint32_t>(at / 8) | (last ? 0 : 0x2000), id)));
  }
  return pieces;
}

TEST(PcapLoss, AMessageWhoseBodyWasCutKeepsItsHeadersAndIsCounted) {
  const std::string message = Message(1, Body(900));
  const std::vector<std::string> frames = {Ethernet(Ip4(1, 2, kProtoUdp, Udp(5060, 5060, message))),
                                           Ethernet(Ip4Message(2))};
  const PcapContents contents = Read(PcapFile(frames, kLinkEthernet, 400));
  EXPECT_THAT(Numbers(contents), ElementsAre("c1@1", "c2@2"));
  EXPECT_EQ(contents.cut_messages, 1u);
  sip::MessageView view;
  EXPECT_TRUE(view.Parse(std::string_view(contents.messages[0].bytes)).ok());
  EXPECT_TRUE(view.body_truncated());
}

TEST(PcapLoss, AStreamIsReadOnBehindASegmentThatWasCut) {
  const std::string stream = Message(1, Body(900)) + Message(2);
  const PcapContents contents =
      Read(PcapFile(Segments(stream, {Message(1, Body(900)).size()}, 100), kLinkEthernet, 400));
  EXPECT_THAT(Numbers(contents), ElementsAre("c1@1", "c2@2"));
  EXPECT_EQ(contents.cut_messages, 1u);
  EXPECT_EQ(contents.stream_gaps, 1u);
}

// A filter by port lets only the first fragment through: the others have no ports.
TEST(PcapLoss, TheFirstFragmentAloneGivesTheHeadersOnceTheOthersCannotCome) {
  std::vector<std::string> frames = {Pieces(Message(1, Body(3000)))[0], Ethernet(Ip4Message(2)),
                                     Ethernet(Ip4Message(3)), Ethernet(Ip4Message(4))};
  const PcapContents contents = Read(PcapFile(frames));
  EXPECT_THAT(Numbers(contents), ElementsAre("c1@1", "c2@2", "c3@3", "c4@4"));
  EXPECT_EQ(contents.messages[0].time.time_since_epoch().count(), 1001'000250);
  EXPECT_EQ(contents.cut_messages, 1u);
  EXPECT_EQ(contents.lost_fragments, 1u);
  // At frame 2 they might still come: what the receiver did not have is not read.
  EXPECT_THAT(Numbers(Read(PcapFile(frames), {.last_frame = 2})), ElementsAre("c2@2"));
  // A file that ends says that nothing more comes.
  EXPECT_THAT(Numbers(Read(PcapFile({frames[0]}))), ElementsAre("c1@1"));
  // Of a packet without its begin, nothing.
  EXPECT_THAT(Numbers(Read(PcapFile({Pieces(Message(1, Body(3000)))[1]}))), IsEmpty());
}

TEST(PcapLoss, FragmentsThatOverlapAreHostileAndTheirPacketIsDropped) {
  const std::string message = Message(1, Body(1500));
  const std::string udp = Udp(5060, 5060, message);
  const auto piece = [&](std::size_t at, std::size_t size, bool last) {
    return Ethernet(Ip4(1, 2, kProtoUdp, udp.substr(at, size),
                        static_cast<std::uint32_t>(at / 8) | (last ? 0 : 0x2000)));
  };
  const std::string first = piece(0, 800, false);
  const std::string last = piece(800, 4000, true);
  std::string other = first;
  other[100] ^= 1;  // the same place, another byte
  EXPECT_THAT(Numbers(Read(PcapFile({first, last}))), ElementsAre("c1@2"));
  EXPECT_THAT(Numbers(Read(PcapFile({first, first, last}))), ElementsAre("c1@3"));
  EXPECT_THAT(Numbers(Read(PcapFile({first, other, last}))), IsEmpty());
  EXPECT_THAT(Numbers(Read(PcapFile({first, piece(8, 16, false), last}))), IsEmpty());
  EXPECT_THAT(Numbers(Read(PcapFile({piece(640, 800, false), first, last}))), IsEmpty());
  EXPECT_THAT(Numbers(Read(PcapFile({last, piece(808, 8, false), first}))), IsEmpty());
  EXPECT_THAT(Numbers(Read(PcapFile({piece(1600, 8, false), piece(800, 16, true), first}))),
              IsEmpty());
}

TEST(PcapLoss, PiecesSeenAgainBehindTheWholePacketAreNoHole) {
  const std::vector<std::string> pieces = Pieces(Message(1, Body(3000)));
  ASSERT_GE(pieces.size(), 2u);
  // Each frame twice, as a capture of all interfaces has it; the packet again; its first piece.
  std::vector<std::string> twice;
  for (const std::string& piece : pieces) twice.insert(twice.end(), {piece, piece});
  std::vector<std::string> again = pieces;
  again.insert(again.end(), pieces.begin(), pieces.end());
  std::vector<std::string> first = pieces;
  first.push_back(pieces[0]);
  for (const std::vector<std::string>& frames : {twice, again, first}) {
    const PcapContents contents = Read(PcapFile(frames));
    EXPECT_THAT(Texts(contents), ElementsAre(Message(1, Body(3000))));
    EXPECT_EQ(contents.lost_fragments, 0u);
    EXPECT_EQ(contents.cut_messages, 0u);
  }
  // Another packet under the same id is one of its own.
  std::vector<std::string> other = pieces;
  for (const std::string& piece : Pieces(Message(2, Body(3001)))) other.push_back(piece);
  EXPECT_THAT(Texts(Read(PcapFile(other))),
              ElementsAre(Message(1, Body(3000)), Message(2, Body(3001))));
}

TEST(PcapLoss, AnIdThatComesBackLaterNamesAnotherPacket) {
  std::vector<std::string> frames = {Pieces(Message(1, Body(1000)))[1]};
  for (int i = 0; i < 3; ++i) frames.push_back(Ethernet(Ip4Message(9)));  // three seconds
  for (const std::string& piece : Pieces(Message(2, Body(1000)))) frames.push_back(piece);
  EXPECT_THAT(Numbers(Read(PcapFile(frames))), ElementsAre("c9@2", "c9@3", "c9@4", "c2@6"));
}

TEST(PcapLoss, AMessageInPiecesBelongsToTheFrameThatCompletesIt) {
  const std::string stream = Message(1) + Message(2) + Message(3);
  const std::size_t size = Message(1).size();
  // 1 | head of 2 | tail of 2 and 3
  std::vector<std::string> frames = Segments(stream, {size, size + 50}, 500);
  EXPECT_THAT(Numbers(Read(PcapFile(frames))), ElementsAre("c1@1", "c2@3", "c3@3"));
  EXPECT_THAT(Numbers(Read(PcapFile(frames), {.last_frame = 2})), ElementsAre("c1@1"));
  // The head of 2 comes last: before it, the receiver could read neither 2 nor 3.
  std::swap(frames[1], frames[2]);
  EXPECT_THAT(Numbers(Read(PcapFile(frames))), ElementsAre("c1@1", "c2@3", "c3@3"));
}

PcapContents ReadFiles(const std::vector<std::string>& files, const PcapOptions& options = {}) {
  PcapReader reader(options);
  for (const std::string& file : files) EXPECT_TRUE(reader.Add(TempFile(file).path()).ok());
  return reader.Finish();
}

TEST(PcapLoss, WhatOneFileBreaksOffGoesOnInTheNext) {
  const std::string stream = Message(1) + Message(2) + Message(3);
  const std::vector<std::string> segments = Segments(stream, {Message(1).size() + 50}, 500);
  const std::vector<std::string> pieces = Pieces(Message(4, Body(1000)));
  ASSERT_EQ(pieces.size(), 2u);
  const std::string first = PcapngFile({segments[0], pieces[1]});
  const std::string second = PcapngFile({pieces[0], segments[1]});
  const PcapContents contents = ReadFiles({first, second});
  EXPECT_THAT(Numbers(contents), ElementsAre("c1@1", "c4@3", "c2@4", "c3@4"));
  EXPECT_EQ(contents.frames, 4u);
  EXPECT_EQ(contents.lost_fragments, 0u);
  EXPECT_THAT(Numbers(ReadFiles({first, second}, {.last_frame = 3})), ElementsAre("c1@1", "c4@3"));
}

TEST(PcapLoss, AnOlderFileBehindANewerOneIsNoContinuation) {
  // What it holds of the stream lies before what was read, and is read all the same.
  const std::string stream = Message(1) + Message(2);
  const std::vector<std::string> segments = Segments(stream, {Message(1).size()}, 500);
  const std::string older = PcapFile({segments[0]});
  const std::string newer = PcapFile({Ethernet(Ip4Message(9)), segments[1]});
  EXPECT_THAT(Numbers(ReadFiles({newer, older})), ElementsAre("c9@1", "c2@2", "c1@3"));
  EXPECT_THAT(Numbers(ReadFiles({older, newer})), ElementsAre("c1@1", "c9@2", "c2@3"));
}

TEST(PcapLoss, AFileThatCannotBeReadDoesNotKeepTheNextOnesOut) {
  const std::string bytes = PcapFile({Ethernet(Ip4Message(1)), Ethernet(Ip4Message(2))});
  const TempFile cut(bytes.substr(0, bytes.size() - 5));
  const TempFile good(bytes);
  PcapReader reader;
  EXPECT_EQ(reader.Add("/nonexistent.pcap").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(reader.Add(cut.path()).code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(reader.Add(good.path()).ok());
  EXPECT_THAT(Numbers(reader.Finish()), ElementsAre("c1@1", "c1@2", "c2@3"));
}

TEST(PcapLoss, WhatStandsBehindALostSegmentBelongsToItsOwnFrame) {
  const std::string stream = Message(1) + Message(2) + Message(3) + Message(4);
  const std::size_t size = Message(1).size();
  std::vector<std::string> frames = Segments(stream, {size, size + 50, 3 * size}, 500);
  frames.erase(frames.begin() + 1);           // the head of 2
  frames.push_back(Ethernet(Ip4Message(9)));  // later, elsewhere
  const PcapContents contents = Read(PcapFile(frames));
  // Message 3 begins within a segment, behind the tail of 2.
  EXPECT_THAT(Numbers(contents), ElementsAre("c1@1", "c3@2", "c4@3", "c9@4"));
  EXPECT_EQ(contents.messages[1].time.time_since_epoch().count(), 1002'000250);
  EXPECT_EQ(contents.stream_gaps, 1u);
}

TEST(PcapLoss, ASegmentSentAgainWithMoreIsReadWhole) {
  const std::string stream = Message(1) + Message(2);
  const auto at = [&](std::size_t begin, std::size_t size) {
    return Ethernet(
        Ip4(1, 2, kProtoTcp,
            Tcp(40000, 5060, static_cast<std::uint32_t>(begin), stream.substr(begin, size))));
  };
  const std::string syn =
      Ethernet(Ip4(1, 2, kProtoTcp, Tcp(40000, 5060, static_cast<std::uint32_t>(-1), "", kSyn)));
  EXPECT_THAT(Numbers(Read(PcapFile({syn, at(100, 10), at(100, 1000), at(0, 100)}))),
              ElementsAre("c1@4", "c2@4"));
  // A SYN that was captured twice is no new connection.
  EXPECT_THAT(Numbers(Read(PcapFile({syn, at(0, 100), syn, at(100, 1000)}))),
              ElementsAre("c1@4", "c2@4"));
}

TEST(PcapLoss, TheBeginOfAStartLineIsNotJoinedWithWhatStandsBehindAHole) {
  const std::string first = Message(1);
  const std::string second = Message(2);
  const std::string third = Message(3);
  const std::size_t user = first.find("b@");
  // "MESSAGE sip:b", a hole, and from "0.2.2 SIP/2.0" of the next message on.
  const std::size_t begin = first.size() + second.find("2 SIP/2.0");
  std::vector<std::string> lost =
      Segments(first + second + third, {user + 1, begin, first.size() + second.size()}, 500);
  lost.erase(lost.begin() + 1);
  const std::vector<std::string> texts = Texts(Read(PcapFile(lost)));
  EXPECT_THAT(texts, Not(Contains(StartsWith("MESSAGE sip:b2 SIP/2.0"))));
  EXPECT_THAT(texts, Contains(third));
}

TEST(PcapLoss, HalfAMessageAtTheEndIsNoMessage) {
  const std::string stream = Message(1) + Message(2, Body(100));
  EXPECT_THAT(Numbers(Read(PcapFile(Segments(stream.substr(0, stream.size() - 1), {}, 1)))),
              ElementsAre("c1@1"));
}

// The time and the memory that a file takes must not grow faster than the file.
TEST(PcapLoss, ManyTinySegmentsAreReadInTimeLinearInTheFile) {
  const std::string stream = Message(1, Body(60'000)) + Message(2);
  std::vector<std::size_t> cuts;
  for (std::size_t at = 1; at < stream.size(); ++at) cuts.push_back(at);
  std::vector<std::string> frames = Segments(stream, cuts, 1);
  EXPECT_EQ(Read(PcapFile(frames)).messages.size(), 2u);
  std::reverse(frames.begin(), frames.end());  // all wait, more than may
  const PcapContents contents = Read(PcapFile(frames));
  EXPECT_EQ(contents.frames, frames.size());
}

}  // namespace
}  // namespace sipheal
