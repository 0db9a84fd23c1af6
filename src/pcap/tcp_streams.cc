// SPDX-License-Identifier: Apache-2.0
#include "pcap/tcp_streams.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "sipheal/sip/hep_packet.h"

namespace sipheal::inline v0_1::pcap {
namespace {

// How far `b` lies after `a`; negative: before (RFC 1982 arithmetic).
std::int64_t Distance(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(b - a); }

// A jump so far ahead is another connection between the same ports, whose SYN was not captured.
constexpr std::int64_t kMaxJump = 16 << 20;

// The ports by which a connection whose first bytes were not captured is taken for SIP.
bool IsSipPort(std::uint16_t port) { return port == 5060 || port == 5061; }

// The letter case of the version says nothing (RFC 3261 7.1).
bool BeginsIgnoringCase(std::string_view text, std::string_view upper) {
  const auto same = [](char a, char b) { return (a >= 'a' && a <= 'z' ? a - 'a' + 'A' : a) == b; };
  return text.size() >= upper.size() && std::equal(upper.begin(), upper.end(), text.begin(),
                                                   [&](char b, char a) { return same(a, b); });
}

StreamKind KindOf(std::string_view bytes) {
  if (bytes.starts_with("HEP3")) return StreamKind::kHep;
  if (LooksLikeFramedSip(bytes) == WebSocketFramer::Step::kMessage) return StreamKind::kWebSocket;
  return LooksLikeSip(bytes) ? StreamKind::kSip : StreamKind::kUnknown;
}

// The first bytes of a start line, or of a HEP packet, of which more is to come.
bool MayBecomeKnown(std::string_view bytes) {
  constexpr std::size_t kMaxHead = 4096;
  if (bytes.size() > kMaxHead) return false;
  if (LooksLikeFramedSip(bytes) == WebSocketFramer::Step::kNeedMore) return !bytes.empty();
  while (!bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) bytes.remove_prefix(1);
  if (std::string_view("HEP3").starts_with(bytes)) return true;
  if (bytes.find('\n') != std::string_view::npos) return false;
  const std::string_view word = bytes.substr(0, bytes.find(' '));
  constexpr std::string_view kVersion = "SIP/2.0";
  if (word.size() <= kVersion.size() && BeginsIgnoringCase(word, kVersion.substr(0, word.size()))) {
    return true;
  }
  return word.size() <= 32 &&
         std::all_of(word.begin(), word.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

// The first line, not the first bytes, that begins a message; npos: none does.
std::size_t FindStartLine(std::string_view bytes) {
  for (std::size_t line = bytes.find('\n'); line != bytes.npos; line = bytes.find('\n', line + 1)) {
    const std::string_view rest = bytes.substr(line + 1);
    if (rest.empty() || rest.front() == '\r' || rest.front() == '\n') continue;
    if (LooksLikeSip(rest)) return line + 1;
  }
  return bytes.npos;
}

}  // namespace

bool LooksLikeSip(std::string_view bytes) {
  while (!bytes.empty() && (bytes.front() == '\r' || bytes.front() == '\n')) bytes.remove_prefix(1);
  if (BeginsIgnoringCase(bytes, "SIP/2.0 ")) return true;
  // A method, a space, and the version at the end of the line.
  std::size_t method = 0;
  while (method < bytes.size() && method < 32 && bytes[method] > ' ' && bytes[method] < 127 &&
         bytes[method] != ':') {
    ++method;
  }
  if (method == 0 || method >= bytes.size() || bytes[method] != ' ') return false;
  const std::string_view line = bytes.substr(0, bytes.find('\n'));
  for (std::size_t at = method; at != line.npos; at = line.find(' ', at + 1)) {
    if (BeginsIgnoringCase(line.substr(at), " SIP/")) return true;
  }
  return false;
}

TcpStreams::Stream& TcpStreams::Find(const Key& key) {
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    streams_.splice(streams_.end(), streams_, found->second);
    return streams_.back();
  }
  if (streams_.size() >= kMaxStreams) DropOldest();
  streams_.emplace_back();
  streams_.back().key = key;
  by_key_[key] = std::prev(streams_.end());
  return streams_.back();
}

void TcpStreams::DropOldest() {
  waiting_cost_ -= streams_.front().waiting_cost;
  held_ -= streams_.front().held();
  by_key_.erase(streams_.front().key);
  streams_.pop_front();
}

void TcpStreams::Restart(Stream& stream, std::uint32_t next) {
  waiting_cost_ -= stream.waiting_cost;
  const Key key = stream.key;
  stream = Stream();
  stream.key = key;
  stream.started = true;
  stream.next = next;
}

void TcpStreams::Add(const Segment& segment) {
  Stream& stream = Find(Key(segment.source, segment.destination));
  const std::size_t held = stream.held();
  Place(stream, segment);
  held_ = held_ - held + stream.held();
  while (held_ > kMaxHeldBytes && streams_.size() > 1) DropOldest();
}

void TcpStreams::Place(Stream& stream, const Segment& segment) {
  std::uint32_t sequence = segment.sequence;
  if (segment.syn) {
    // The SYN of a new connection; one seen twice changes nothing.
    if (!stream.started || !stream.has_syn || stream.first != sequence) {
      Restart(stream, sequence + 1);
      stream.has_syn = true;
      stream.first = sequence;
    }
    ++sequence;
  }
  if (segment.bytes.empty() && segment.cut == 0) return;
  if (!stream.started) Restart(stream, sequence);
  std::int64_t ahead = Distance(static_cast<std::uint32_t>(stream.next), sequence);
  if (ahead > kMaxJump || ahead < -kMaxJump) {
    Restart(stream, sequence);
    ahead = 0;
  }
  if (ahead > 0) {
    Wait(stream, stream.next + ahead, segment);
    return;
  }
  Read(stream, stream.next + ahead, segment.bytes, segment.cut, segment.origin);
  Advance(stream);
}

void TcpStreams::Wait(Stream& stream, std::int64_t place, const Segment& segment) {
  const auto [entry, added] = stream.waiting.try_emplace(place);
  Waiting& waiting = entry->second;
  // Sent again, it may bring more than before.
  if (!added && waiting.bytes.size() >= segment.bytes.size()) return;
  const std::size_t before = added ? 0 : waiting.cost();
  waiting.bytes = segment.bytes;
  waiting.cut = segment.cut;
  waiting.origin = segment.origin;
  stream.waiting_cost += waiting.cost() - before;
  waiting_cost_ += waiting.cost() - before;
  while (!stream.waiting.empty() &&
         (stream.waiting_cost > kMaxWaitingBytes || waiting_cost_ > kMaxAllWaitingBytes)) {
    SkipHole(stream);
  }
}

void TcpStreams::Read(Stream& stream, std::int64_t place, std::string_view bytes, std::size_t cut,
                      const Origin& origin) {
  const std::int64_t end = place + static_cast<std::int64_t>(bytes.size() + cut);
  if (end <= stream.next) return;  // all of it was seen before
  if (stream.newest.stamp.frame <= origin.stamp.frame) stream.newest = origin;
  const auto known = static_cast<std::size_t>(stream.next - place);
  stream.next = end;
  if (known < bytes.size()) Consume(stream, bytes.substr(known));
  if (cut > 0) Hole(stream);
}

void TcpStreams::Advance(Stream& stream) {
  while (!stream.waiting.empty() && stream.waiting.begin()->first <= stream.next) {
    const auto node = stream.waiting.extract(stream.waiting.begin());
    const Waiting& waiting = node.mapped();
    stream.waiting_cost -= waiting.cost();
    waiting_cost_ -= waiting.cost();
    Read(stream, node.key(), waiting.bytes, waiting.cut, waiting.origin);
  }
}

void TcpStreams::SkipHole(Stream& stream) {
  if (stream.waiting.empty()) return;
  Hole(stream);
  stream.next = stream.waiting.begin()->first;
  Advance(stream);
}

void TcpStreams::Finish() {
  for (Stream& stream : streams_) {
    while (!stream.waiting.empty()) SkipHole(stream);
  }
}

void TcpStreams::Hole(Stream& stream) {
  stream.head.clear();  // what comes behind the hole does not go on with it
  if (stream.kind == StreamKind::kUnknown) return;
  ++gaps_;
  std::string message;
  if (stream.kind == StreamKind::kSip && stream.framer.TakeCut(&message)) {
    HandOut(stream, StreamKind::kSip, message, true);
  }
  stream.was_sip = stream.kind == StreamKind::kSip;
  stream.framer.Reset();
  stream.hep.clear();
  stream.web_socket = {};
  stream.kind = StreamKind::kUnknown;  // until a segment brings what can be read again
}

void TcpStreams::HandOut(const Stream& stream, StreamKind kind, std::string_view bytes, bool cut) {
  take_({stream.newest, std::get<0>(stream.key), std::get<1>(stream.key), kind, bytes, cut});
}

std::string_view TcpStreams::Recognise(Stream& stream, std::string_view bytes,
                                       std::string& joined) {
  if (!stream.head.empty()) {
    joined = std::exchange(stream.head, std::string()).append(bytes);
    if (KindOf(joined) != StreamKind::kUnknown || MayBecomeKnown(joined)) bytes = joined;
  }
  stream.kind = KindOf(bytes);
  if (stream.kind != StreamKind::kUnknown) return bytes;
  if (MayBecomeKnown(bytes)) {
    stream.head = bytes;
    return {};
  }
  // The tail of a message whose begin is missing, and perhaps the next one behind it.
  const auto& [source, destination] = stream.key;
  if (stream.was_sip || IsSipPort(source.port) || IsSipPort(destination.port)) {
    if (const std::size_t at = FindStartLine(bytes); at != bytes.npos) {
      stream.kind = StreamKind::kSip;
      return bytes.substr(at);
    }
    // It may begin at the end of this segment.
    const std::string_view last = bytes.substr(bytes.rfind('\n') + 1);
    if (!last.empty() && MayBecomeKnown(last)) stream.head = last;
  }
  return {};
}

void TcpStreams::Consume(Stream& stream, std::string_view bytes) {
  std::string joined;
  if (stream.kind == StreamKind::kUnknown) bytes = Recognise(stream, bytes, joined);
  if (stream.kind == StreamKind::kHep) {
    ConsumeHep(stream, bytes);
  } else if (stream.kind == StreamKind::kWebSocket) {
    ConsumeWebSocket(stream, bytes);
  } else if (stream.kind == StreamKind::kSip) {
    stream.framer.Append(bytes);
    std::string message;
    while (stream.framer.Next(&message)) HandOut(stream, StreamKind::kSip, message, false);
  }
}

void TcpStreams::ConsumeWebSocket(Stream& stream, std::string_view bytes) {
  stream.web_socket.Append(bytes);
  std::string message;
  WebSocketFramer::Step step;
  while ((step = stream.web_socket.Next(&message)) == WebSocketFramer::Step::kMessage) {
    if (LooksLikeSip(message)) HandOut(stream, StreamKind::kWebSocket, message, false);
  }
  if (step == WebSocketFramer::Step::kFailed) Hole(stream);
}

void TcpStreams::ConsumeHep(Stream& stream, std::string_view bytes) {
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
    HandOut(stream, StreamKind::kHep, rest.substr(0, length), false);
    rest.remove_prefix(length);
  }
  stream.hep.erase(0, stream.hep.size() - rest.size());
}

}  // namespace sipheal::inline v0_1::pcap
