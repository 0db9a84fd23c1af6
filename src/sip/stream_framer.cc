// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/stream_framer.h"

#include <optional>

#include "sip/text.h"
#include "sipheal/sip/header_id.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Keep-alives: any CR and LF between messages (RFC 3261 7.5, RFC 5626 3.5.1).
std::size_t SkipKeepAlives(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size() && (text[at] == '\r' || text[at] == '\n' || text[at] == '\0')) ++at;
  return at;
}

}  // namespace

// Finds the end of the message at the front of `text`, going on where it stopped before. Without a
// Content-Length a stream cannot be framed (RFC 3261 18.3); such a message is taken to have no
// body, and what follows shows if that is wrong.
StreamFramer::Step StreamFramer::Frame(std::string_view text, Progress& progress) {
  while (progress.size == 0) {
    const std::size_t end = text.find('\n', progress.searched);
    if (end == text.npos) {
      progress.searched = text.size();
      return Step::kNeedMore;
    }
    std::string_view line = text.substr(progress.line, end - progress.line);
    if (!line.empty() && line.back() == '\r') line.remove_suffix(1);
    if (progress.line == 0) {
      const bool response = EqualsIgnoreCase(line.substr(0, 4), "SIP/");
      const bool request =
          line.size() > 8 && EqualsIgnoreCase(line.substr(line.size() - 8), " SIP/2.0");
      if (!response && !request) return Step::kNotSip;
    } else if (line.empty()) {
      progress.size = end + 1 + progress.body;
    } else if (const std::size_t colon = line.find(':');
               colon != line.npos &&
               HeaderIdFromName(TrimLws(line.substr(0, colon))) == HeaderId::kContentLength) {
      const std::optional<std::uint32_t> value =
          ParseUnsigned(TrimLws(line.substr(colon + 1)), 1u << 26);
      if (!value) return Step::kNotSip;
      progress.body = *value;
    }
    progress.line = progress.searched = end + 1;
  }
  return progress.size <= text.size() ? Step::kMessage : Step::kNeedMore;
}

void StreamFramer::Append(std::string_view bytes) {
  // What was consumed is cut off here, once for each append, so that framing stays linear.
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (buffer_.size() + bytes.size() > max_bytes_) {
    dropped_ += buffer_.size();
    buffer_.clear();
    progress_ = {};
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
    switch (Frame(rest, progress_)) {
      case Step::kMessage:
        message->assign(rest.substr(0, progress_.size));
        begin_ += progress_.size;
        progress_ = {};
        return true;
      case Step::kNeedMore:
        return false;
      case Step::kNotSip: {
        // Try again from the next line.
        const std::size_t line = rest.find('\n') + 1;
        dropped_ += line;
        begin_ += line;
        progress_ = {};
        break;
      }
    }
  }
}

bool StreamFramer::TakeCut(std::string* message) {
  if (progress_.size == 0) return false;
  message->assign(buffer_, begin_);
  buffer_.clear();
  begin_ = 0;
  progress_ = {};
  return true;
}

void StreamFramer::Reset() {
  dropped_ += buffer_.size() - begin_;
  buffer_.clear();
  begin_ = 0;
  progress_ = {};
}

std::vector<std::string_view> SplitStreamBuffer(std::string_view buffer) {
  std::vector<std::string_view> messages;
  while (!buffer.empty()) {
    buffer.remove_prefix(SkipKeepAlives(buffer));
    StreamFramer::Progress progress;
    const StreamFramer::Step step = StreamFramer::Frame(buffer, progress);
    if (step == StreamFramer::Step::kMessage) {
      messages.push_back(buffer.substr(0, progress.size));
      buffer.remove_prefix(progress.size);
    } else if (step == StreamFramer::Step::kNotSip) {
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
