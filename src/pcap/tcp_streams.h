// SPDX-License-Identifier: Apache-2.0
// Puts the bytes of TCP connections in order, each direction by itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "pcap/packet_decoder.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1::pcap {

// What a direction carries. Told by how a segment begins, so that a capture that starts in the
// middle of a connection is still read.
enum class StreamKind : std::uint8_t { kUnknown, kSip, kHep };

class TcpStreams {
 public:
  // A whole SIP message, or a whole HEP packet.
  using Take = std::function<void(const sip::Endpoint& source, const sip::Endpoint& destination,
                                  StreamKind kind, std::string_view bytes)>;

  explicit TcpStreams(Take take) : take_(std::move(take)) {}

  void Add(const Segment& segment);
  // The end of the capture: what waits behind a hole is read without what is missing.
  void Finish();
  std::uint64_t gaps() const { return gaps_; }

 private:
  static constexpr std::size_t kMaxStreams = 4096;
  static constexpr std::size_t kMaxWaitingBytes = 1 << 20;       // of one stream
  static constexpr std::size_t kMaxAllWaitingBytes = 32u << 20;  // of all

  using Key = std::tuple<sip::Endpoint, sip::Endpoint>;
  struct Stream {
    Key key;
    bool started = false;
    std::uint32_t next = 0;  // sequence number of the next byte
    StreamKind kind = StreamKind::kUnknown;
    sip::StreamFramer framer;
    std::string head;  // too little to tell the kind
    std::string hep;   // less than one packet
    std::map<std::uint32_t, std::string> waiting;  // came too early; by sequence number
    std::size_t waiting_bytes = 0;
  };
  using Streams = std::list<Stream>;

  Stream& Find(const Key& key);
  void Restart(Stream& stream, std::uint32_t next);
  // Takes the waiting segments that follow without a hole.
  void Advance(Stream& stream);
  // Gives up what is missing before the first waiting segment.
  void SkipHole(Stream& stream);
  void Consume(Stream& stream, std::string_view bytes);
  void Hole(Stream& stream);

  Take take_;
  Streams streams_;  // most recently used last
  std::map<Key, Streams::iterator> by_key_;
  std::size_t waiting_bytes_ = 0;
  std::uint64_t gaps_ = 0;
};

// Whether a message may begin with these bytes.
bool LooksLikeSip(std::string_view bytes);

}  // namespace sipheal::inline v0_1::pcap
