// SPDX-License-Identifier: Apache-2.0
#include "pcap/tcp_streams.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "sipheal/sip/hep_packet.h"

namespace sipheal::inline v0_1::pcap {
namespace {

// How far `b` lies after `a`; negative: before (RFC 1982 arithmetic).
std::int32_t Distance(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(b - a); }

// A jump so far ahead is another connection between the same ports, whose SYN was not captured.
constexpr std::int32_t kMaxJump = 16 << 20;

StreamKind KindOf(std::string_view bytes) {
  if (bytes.starts_with("HEP3")) return StreamKind::kHep;
  return LooksLikeSip(bytes) ? StreamKind::kSip : StreamKind::kUnknown;
}

// The first bytes of a start line, or of a HEP packet, of which more is to come.
bool MayBecomeKnown(std::string_view bytes) {
  constexpr std::size_t kMaxHead = 4096;
  if (bytes.size() > kMaxHead) return false;
  while (!bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) bytes.remove_prefix(1);
  if (std::string_view("HEP3").starts_with(bytes)) return true;
  if (bytes.find('\n') != std::string_view::npos) return false;
  const std::string_view word = bytes.substr(0, bytes.find(' '));
  if (std::string_view("SIP/2.0").starts_with(word)) return true;
  return word.size() <= 32 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

}  // namespace

bool LooksLikeSip(std::string_view bytes) {
  while (!bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) bytes.remove_prefix(1);
  if (bytes.starts_with("SIP/2.0 ")) return true;
  // A method, a space, and the version at the end of the line.
  std::size_t method = 0;
  while (method < bytes.size() && method < 32 && bytes[method] > ' ' && bytes[method] < 127 &&
         bytes[method] != ':') {
    ++method;
  }
  if (method == 0 || method >= bytes.size() || bytes[method] != ' ') return false;
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  return line.find(" SIP/") != std::string_view::npos;
}

TcpStreams::Stream& TcpStreams::Find(const Key& key) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    streams_.splice(streams_.end(), streams_, found->second);
    return streams_.back();
  }
  if (streams_.size() >= kMaxStreams) {
    waiting_bytes_ -= streams_.front().waiting_bytes;
    by_key_.erase(streams_.front().key);
    streams_.pop_front();
  }
  streams_.emplace_back();
  streams_.back().key = key;
  by_key_[key] = std::prev(streams_.end());
  return streams_.back();
}

void TcpStreams::Restart(Stream& stream, std::uint32_t next) {
  waiting_bytes_ -= stream.waiting_bytes;
  const Key key = stream.key;
  stream = Stream();
  stream.key = key;
  stream.started = true;
  stream.next = next;
}

void TcpStreams::Add(const Segment& segment) {
  Stream& stream = Find(Key(segment.source, segment.destination));
  std::uint32_t sequence = segment.sequence;
  if (segment.syn) {
    ++sequence;
    // The SYN of a new connection; a retransmitted one changes nothing.
    if (!stream.started || stream.next != sequence) Restart(stream, sequence);
  }
  const std::string_view all = segment.bytes;
  if (all.empty()) return;
  if (!stream.started) Restart(stream, sequence);
  std::int32_t ahead = Distance(stream.next, sequence);
  if (ahead > kMaxJump || ahead < -kMaxJump) {
    Restart(stream, sequence);
    ahead = 0;
  }
  if (ahead > 0) {
    const auto [entry, added] = stream.waiting.try_emplace(sequence, all);
    if (added) {
      stream.waiting_bytes += all.size();
      waiting_bytes_ += all.size();
    }
    if (stream.waiting_bytes > kMaxWaitingBytes || waiting_bytes_ > kMaxAllWaitingBytes) {
      SkipHole(stream);
    }
    return;
  }
  const auto known = static_cast<std::size_t>(-static_cast<std::int64_t>(ahead));
  if (known < all.size()) {
    const std::string_view fresh = all.substr(known);
    stream.next += static_cast<std::uint32_t>(fresh.size());
    Consume(stream, fresh);
  }
  if (segment.cut > 0) {
    stream.next += static_cast<std::uint32_t>(segment.cut);
    Hole(stream);
  }
  Advance(stream);
}

void TcpStreams::Advance(Stream& stream) {
  while (!stream.waiting.empty()) {
    // The map is ordered by number; across the wrap the nearest may stand at its other end.
    auto nearest = stream.waiting.begin();
    for (auto it = stream.waiting.begin(); it != stream.waiting.end(); ++it) {
      if (Distance(stream.next, it->first) < Distance(stream.next, nearest->first)) nearest = it;
    }
    const std::int32_t ahead = Distance(stream.next, nearest->first);
    if (ahead > 0) return;
    const std::string bytes = std::move(nearest->second);
    stream.waiting.erase(nearest);
    stream.waiting_bytes -= bytes.size();
    waiting_bytes_ -= bytes.size();
    const auto known = static_cast<std::size_t>(-static_cast<std::int64_t>(ahead));
    if (known >= bytes.size()) continue;
    stream.next += static_cast<std::uint32_t>(bytes.size() - known);
    Consume(stream, std::string_view(bytes).substr(known));
  }
}

void TcpStreams::SkipHole(Stream& stream) {
  if (stream.waiting.empty()) return;
  std::uint32_t nearest = stream.waiting.begin()->first;
  for (const auto& [sequence, bytes] : stream.waiting) {
    if (Distance(stream.next, sequence) < Distance(stream.next, nearest)) nearest = sequence;
  }
  Hole(stream);
  stream.next = nearest;
  Advance(stream);
}

void TcpStreams::Finish() {
  for (Stream& stream : streams_) {
    while (!stream.waiting.empty()) SkipHole(stream);
  }
}

void TcpStreams::Hole(Stream& stream) {
  if (stream.kind == StreamKind::kUnknown) return;
  ++gaps_;
  stream.framer.Reset();
  stream.hep.clear();
  stream.kind = StreamKind::kUnknown;  // until a segment begins with what can be read again
}

void TcpStreams::Consume(Stream& stream, std::string_view bytes) {
  const auto& [source, destination] = stream.key;
  std::string joined;
  if (stream.kind == StreamKind::kUnknown) {
    if (!stream.head.empty()) {
      joined = std::exchange(stream.head, std::string()).append(bytes);
      if (KindOf(joined) != StreamKind::kUnknown || MayBecomeKnown(joined)) bytes = joined;
    }
    stream.kind = KindOf(bytes);
    if (stream.kind == StreamKind::kUnknown) {
      if (MayBecomeKnown(bytes)) stream.head = bytes;
      return;
    }
  }
  if (stream.kind == StreamKind::kSip) {
    stream.framer.Append(bytes);
    std::string message;
    while (stream.framer.Next(&message)) {
      take_(source, destination, StreamKind::kSip, message);
    }
    return;
  }
  stream.hep.append(bytes);
  std::string_view rest = stream.hep;
  for (;;) {
    sip::HepError error;
    const std::size_t length = sip::HepFrameLength(rest, error);
    if (error != sip::HepError::kNone) {
      Hole(stream);
      return;
    }
    if (length == 0 || length > rest.size()) break;
    take_(source, destination, StreamKind::kHep, rest.substr(0, length));
    rest.remove_prefix(length);
  }
  stream.hep.erase(0, stream.hep.size() - rest.size());
}

}  // namespace sipheal::inline v0_1::pcap
