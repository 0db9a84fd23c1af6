// SPDX-License-Identifier: Apache-2.0
// Cuts SIP messages out of the bytes of a WebSocket (RFC 6455 5, RFC 7118): one in each message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sipheal::inline v0_1::pcap {

// One direction of one connection, from the begin of a frame on.
class WebSocketFramer {
 public:
  enum class Step { kMessage, kNeedMore, kFailed };

  void Append(std::string_view bytes);
  // Takes the next whole message. kFailed: no WebSocket, or compressed, or larger than any SIP.
  Step Next(std::string* message);
  std::size_t pending() const { return buffer_.size() - begin_ + message_.size(); }

 private:
  std::string buffer_;
  std::size_t begin_ = 0;  // what lies before it was consumed
  std::string message_;    // of the frames so far
};

// Whether a frame with the begin of a SIP message stands here; kNeedMore: too little to tell.
WebSocketFramer::Step LooksLikeFramedSip(std::string_view bytes);

}  // namespace sipheal::inline v0_1::pcap
