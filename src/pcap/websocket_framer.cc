// SPDX-License-Identifier: Apache-2.0
#include "pcap/websocket_framer.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "pcap/byte_reader.h"
#include "pcap/tcp_streams.h"

namespace sipheal::inline v0_1::pcap {
namespace {

constexpr std::size_t kMaxMessage = 256 * 1024;

enum Opcode : std::uint8_t { kContinuation = 0, kText = 1, kBinary = 2, kClose = 8, kPong = 10 };

struct FrameHead {
  bool last = false;
  std::uint8_t opcode = 0;
  std::size_t size = 0;  // of the head
  std::uint64_t payload = 0;
  std::array<char, 4> mask{};  // zero: none
  bool known = false;          // no reserved bit, no unknown opcode
};

// False when there are too few bytes.
bool ReadHead(std::string_view bytes, FrameHead& head) {
  if (bytes.size() < 2) return false;
  head.last = (Byte(bytes, 0) & 0x80) != 0;
  head.opcode = Byte(bytes, 0) & 0x0f;
  head.known = (Byte(bytes, 0) & 0x70) == 0 &&
               (head.opcode <= kBinary || (head.opcode >= kClose && head.opcode <= kPong));
  const bool masked = (Byte(bytes, 1) & 0x80) != 0;
  head.payload = Byte(bytes, 1) & 0x7f;
  head.size = 2;
  if (head.payload == 126) {
    head.payload = Be16(bytes, 2);
    head.size = 4;
  } else if (head.payload == 127) {
    head.payload = std::uint64_t{Be32(bytes, 2)} << 32 | Be32(bytes, 6);
    head.size = 10;
  }
  if (masked) {
    const std::string_view mask = After(bytes, head.size).substr(0, 4);
    std::copy(mask.begin(), mask.end(), head.mask.begin());
    head.size += 4;
  }
  return bytes.size() >= head.size;
}

void AppendUnmasked(std::string_view payload, const FrameHead& head, std::string& out) {
  const std::size_t begin = out.size();
  out.append(payload);
  for (std::size_t i = 0; i < payload.size(); ++i) {
    out[begin + i] = static_cast<char>(out[begin + i] ^ head.mask[i % 4]);
  }
}

}  // namespace

void WebSocketFramer::Append(std::string_view bytes) {
  buffer_.erase(0, begin_);
  begin_ = 0;
  buffer_ += bytes;
}

WebSocketFramer::Step WebSocketFramer::Next(std::string* message) {
  for (;;) {
    const std::string_view rest = std::string_view(buffer_).substr(begin_);
    FrameHead head;
    if (!ReadHead(rest, head)) return Step::kNeedMore;
    if (!head.known || head.payload > kMaxMessage - std::min(kMaxMessage, message_.size())) {
      return Step::kFailed;
    }
    if (rest.size() - head.size < head.payload) return Step::kNeedMore;
    begin_ += head.size + head.payload;
    if (head.opcode >= kClose) continue;  // close, ping and pong may stand between the frames
    AppendUnmasked(rest.substr(head.size, head.payload), head, message_);
    if (!head.last) continue;
    message->clear();
    message->swap(message_);
    return Step::kMessage;
  }
}

WebSocketFramer::Step LooksLikeFramedSip(std::string_view bytes) {
  using Step = WebSocketFramer::Step;
  constexpr std::size_t kSome = 512;  // a start line
  if (bytes.empty() || ((Byte(bytes, 0) & 0x7f) != kText && (Byte(bytes, 0) & 0x7f) != kBinary)) {
    return Step::kFailed;
  }
  FrameHead head;
  if (!ReadHead(bytes, head)) return Step::kNeedMore;
  if (head.payload > kMaxMessage) return Step::kFailed;
  std::string begin;
  AppendUnmasked(bytes.substr(head.size, std::min<std::uint64_t>(head.payload, kSome)), head,
                 begin);
  if (LooksLikeSip(begin)) return Step::kMessage;
  const bool whole = begin.size() >= std::min<std::uint64_t>(head.payload, kSome);
  return whole || begin.find('\n') != begin.npos ? Step::kFailed : Step::kNeedMore;
}

}  // namespace sipheal::inline v0_1::pcap
