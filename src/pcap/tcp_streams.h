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
#include "pcap/websocket_framer.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1::pcap {

// What a direction carries. Told by how a segment begins, so that a capture that starts in the
// middle of a connection is still read.
enum class StreamKind : std::uint8_t { kUnknown, kSip, kHep, kWebSocket };

// A whole SIP message or HEP packet, as `kind` says; or, `cut`, a message of which the capture has
// no more.
struct StreamMessage {
  // The frame that completed it: without it the receiver could not have read it.
  Origin origin;
  sip::Endpoint source;
  sip::Endpoint destination;
  StreamKind kind = StreamKind::kUnknown;
  std::string_view bytes;
  bool cut = false;
};

class TcpStreams {
 public:
  using Take = std::function<void(const StreamMessage&)>;

  explicit TcpStreams(Take take) : take_(std::move(take)) {}

  void Add(const Segment& segment);
  // The end of the capture: what waits behind a hole is read without what is missing.
  void Finish();
  std::uint64_t gaps() const { return gaps_; }

 private:
  static constexpr std::size_t kMaxStreams = 4096;
  static constexpr std::size_t kMaxWaitingBytes = 1 << 20;       // of one stream
  static constexpr std::size_t kMaxAllWaitingBytes = 32u << 20;  // of all
  static constexpr std::size_t kWaitingOverhead = 192;           // memory of one waiting segment
  static constexpr std::size_t kMaxHeldBytes = 16u << 20;        // of messages not whole yet

  using Key = std::tuple<sip::Endpoint, sip::Endpoint>;
  struct Waiting {
    std::string bytes;
    std::size_t cut = 0;
    Origin origin;
    std::size_t cost() const { return bytes.size() + kWaitingOverhead; }
  };
  struct Stream {
    Key key;
    bool started = false;
    bool has_syn = false;
    std::uint32_t first = 0;  // the sequence number of its SYN
    // Place of the next byte. Sequence numbers wrap; this does not, and its low 32 bits are the
    // sequence number.
    std::int64_t next = 0;
    StreamKind kind = StreamKind::kUnknown;
    bool was_sip = false;  // before a hole
    sip::StreamFramer framer;
    std::string head;  // too little to tell the kind
    std::string hep;   // less than one packet
    WebSocketFramer web_socket;
    std::map<std::int64_t, Waiting> waiting;  // came too early; by place
    std::size_t waiting_cost = 0;
    Origin newest;  // of all that was read
    std::size_t held() const {
      return framer.pending() + head.size() + hep.size() + web_socket.pending();
    }
  };
  using Streams = std::list<Stream>;

  Stream& Find(const Key& key);
  void DropOldest();
  void Restart(Stream& stream, std::uint32_t next);
  void Place(Stream& stream, const Segment& segment);
  void Wait(Stream& stream, std::int64_t place, const Segment& segment);
  // Reads what is new in a segment that leaves no hole before it.
  void Read(Stream& stream, std::int64_t place, std::string_view bytes, std::size_t cut,
            const Origin& origin);
  // Reads the waiting segments that follow without a hole.
  void Advance(Stream& stream);
  // Gives up what is missing before the first waiting segment.
  void SkipHole(Stream& stream);
  void Consume(Stream& stream, std::string_view bytes);
  void ConsumeHep(Stream& stream, std::string_view bytes);
  void ConsumeWebSocket(Stream& stream, std::string_view bytes);
  // Finds out what an unknown stream carries; empty: nothing that is read, or not told yet.
  std::string_view Recognise(Stream& stream, std::string_view bytes, std::string& joined);
  void Hole(Stream& stream);
  void HandOut(const Stream& stream, StreamKind kind, std::string_view bytes, bool cut);

  Take take_;
  Streams streams_;  // most recently used last
  std::map<Key, Streams::iterator> by_key_;
  std::size_t waiting_cost_ = 0;
  std::size_t held_ = 0;
  std::uint64_t gaps_ = 0;
};

// Whether a message may begin with these bytes.
bool LooksLikeSip(std::string_view bytes);

}  // namespace sipheal::inline v0_1::pcap
