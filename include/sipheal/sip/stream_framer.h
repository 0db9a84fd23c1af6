// SPDX-License-Identifier: Apache-2.0
// Cuts SIP messages out of TCP, TLS or WebSocket bytes (RFC 3261 18.3): by Content-Length, with
// keep-alive CRLFs between messages.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"

namespace sipheal::inline v0_1::sip {

// The complete messages in one captured buffer, as views into it. Asterisk's HEP sends the whole
// receive buffer of a stream once for each message that it parsed from it: several messages,
// keep-alives, and a tail of the next one, which is left out. For datagrams use the buffer as it
// is: what follows the first message there is no message (RFC 4475 3.1.1.8).
SIPHEAL_EXPORT std::vector<std::string_view> SplitStreamBuffer(std::string_view buffer);

// Reassembles the messages of one direction of one connection.
//
// Not thread-safe. Holds at most `max_bytes` that do not yet make a message; when more come, or
// when bytes cannot be SIP, it drops forward to the next thing that looks like a start line.
class SIPHEAL_EXPORT StreamFramer {
 public:
  explicit StreamFramer(std::size_t max_bytes = 256 * 1024) : max_bytes_(max_bytes) {}

  // Appends bytes that came in order.
  void Append(std::string_view bytes);
  // Takes the next complete message into `message`; false when there is none yet. Over all calls
  // linear in the bytes, whatever pieces they come in.
  bool Next(std::string* message);
  // Takes the message at hand, of which no more will come, when its headers are whole and only its
  // body is cut; false, and nothing is taken, when they are not.
  bool TakeCut(std::string* message);
  // A hole in the stream: forgets what is incomplete.
  void Reset();
  // Bytes held that do not make a message yet.
  std::size_t pending() const { return buffer_.size() - begin_; }
  // Bytes dropped because they could not be framed.
  std::size_t dropped() const { return dropped_; }

 private:
  friend std::vector<std::string_view> SplitStreamBuffer(std::string_view buffer);

  enum class Step : std::uint8_t { kMessage, kNeedMore, kNotSip };
  // How far the message at hand was read. Places count from its first byte.
  struct Progress {
    std::size_t line = 0;      // the first line that was not read yet
    std::size_t searched = 0;  // up to here for that line's end
    std::size_t body = 0;      // Content-Length, if it was seen
    std::size_t size = 0;      // of the whole message; 0: the headers have not ended
  };
  static Step Frame(std::string_view text, Progress& progress);

  std::string buffer_;
  std::size_t begin_ = 0;  // what lies before it was consumed
  Progress progress_;
  std::size_t max_bytes_;
  std::size_t dropped_ = 0;
};

}  // namespace sipheal::inline v0_1::sip
