// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/stream_framer.h"

#include <algorithm>

#include "sip/text.h"
#include "sipheal/sip/header_id.h"

namespace sipheal::inline v0_1::sip {
namespace {

enum class FrameStep { kMessage, kNeedMore, kNotSip };

// The size of the message at the front of `text`. Without a Content-Length a stream cannot be
// framed (RFC 3261 18.3); such a message is taken to have no body, and what follows shows if that
// is wrong.
FrameStep FrameOne(std::string_view text, std::size_t* size) {
  std::size_t at = text.find('\n');
  if (at == text.npos) return FrameStep::kNeedMore;
  std::string_view start = text.substr(0, at);
  if (!start.empty() && start.back() == '\r') start.remove_suffix(1);
  const bool response = EqualsIgnoreCase(start.substr(0, 4), "SIP/");
  const bool request =
      start.size() > 8 && EqualsIgnoreCase(start.substr(start.size() - 8), " SIP/2.0");
  if (!response && !request) return FrameStep::kNotSip;
  std::size_t length = 0;
  ++at;
  while (at < text.size()) {
    const std::size_t end = text.find('\n', at);
    if (end == text.npos) return FrameStep::kNeedMore;
    std::string_view line = text.substr(at, end - at);
    at = end + 1;
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (line.empty()) {
      if (length > text.size() - at) {
        *size = at + length;
        return FrameStep::kNeedMore;
      }
      *size = at + length;
      return FrameStep::kMessage;
    }
    const std::size_t colon = line.find(':');
    if (colon != line.npos &&
        HeaderIdFromName(TrimLws(line.substr(0, colon))) == HeaderId::kContentLength) {
      std::optional<std::uint32_t> value = ParseUnsigned(TrimLws(line.substr(colon + 1)), 1u << 26);
      if (!value) return FrameStep::kNotSip;
      length = *value;
    }
  }
  return FrameStep::kNeedMore;
}

// Keep-alives: any CR and LF between messages (RFC 3261 7.5, RFC 5626 3.5.1).
std::size_t SkipKeepAlives(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && (text[at] == '\r' || text[at] == '\n' || text[at] == '\0')) ++at;
  return at;
}

}  // namespace

void StreamFramer::Append(std::string_view bytes) {
  // What was consumed is cut off here, once for each append, so that framing stays linear.
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (buffer_.size() + bytes.size() > max_bytes_) {
    dropped_ += buffer_.size();
    buffer_.clear();
    if (bytes.size() > max_bytes_) {
      dropped_ += bytes.size() - max_bytes_;
      bytes = bytes.substr(bytes.size() - max_bytes_);
    }
  }
  buffer_ += bytes;
}

bool StreamFramer::Next(std::string* message) {
  for (;;) {
    std::string_view rest = std::string_view(buffer_).substr(begin_);
    const std::size_t skipped = SkipKeepAlives(rest);
    begin_ += skipped;
    rest.remove_prefix(skipped);
    std::size_t size = 0;
    switch (FrameOne(rest, &size)) {
      case FrameStep::kMessage:
        message->assign(rest.substr(0, size));
        begin_ += size;
        return true;
      case FrameStep::kNeedMore:
        return false;
      case FrameStep::kNotSip: {
        // Try again from the next line.
        const std::size_t line = rest.find('\n') + 1;
        dropped_ += line;
        begin_ += line;
        break;
      }
    }
  }
}

void StreamFramer::Reset() {
  dropped_ += buffer_.size() - begin_;
  buffer_.clear();
  begin_ = 0;
}

std::vector<std::string_view> SplitStreamBuffer(std::string_view buffer) {
  std::vector<std::string_view> messages;
  while (!buffer.empty()) {
    buffer.remove_prefix(SkipKeepAlives(buffer));
    std::size_t size = 0;
    const FrameStep step = FrameOne(buffer, &size);
    if (step == FrameStep::kMessage) {
      messages.push_back(buffer.substr(0, size));
      buffer.remove_prefix(size);
    } else if (step == FrameStep::kNotSip) {
      const std::size_t end = buffer.find('\n');
      if (end == buffer.npos) break;
      buffer.remove_prefix(end + 1);
    } else {
      break;
    }
  }
  return messages;
}

}  // namespace sipheal::inline v0_1::sip
