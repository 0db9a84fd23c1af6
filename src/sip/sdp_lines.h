// SPDX-License-Identifier: Apache-2.0
// The lines of a session description, as its reduction and its reading must see them alike.
#pragma once

#include <optional>
#include <string_view>

#include "sip/find_line_end.h"
#include "sip/text.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::sip {

// The line that ends with the line feed at `stop`, without its line end (a doubled CR, too, so that
// what is reduced once stays as it is).
inline std::string_view LineUpTo(const char* begin, const char* stop) {
  while (stop != begin && stop[-1] == '\r') --stop;
  return {begin, static_cast<std::size_t>(stop - begin)};
}

// Takes the next line off `text`; false at the end.
inline bool NextLine(std::string_view* text, std::string_view* line) {
  if (text->empty()) return false;
  const char* const begin = text->data();
  const char* const end = begin + text->size();
  const char* const stop = FindLineEnd(begin, end);
  const char* const next = stop == end ? end : stop + 1;
  *line = LineUpTo(begin, stop);
  *text = {next, static_cast<std::size_t>(end - next)};
  return true;
}

// The body is not all that its sender wrote: the capture ends within it, or Content-Length does,
// behind which it goes on. What follows a whole one is padding, or another message.
bool EndsWithinBody(const MessageView& message);  // of which something follows
inline bool IsBodyCut(const MessageView& message) {
  return message.body_truncated() || (!message.rest().empty() && EndsWithinBody(message));
}

// "101 telephone-event/8000": whether the payload type is a dynamic one (RFC 3551 6).
inline bool IsDynamicRtpmap(std::string_view rtpmap) {
  while (!rtpmap.empty() && rtpmap.front() == ' ') rtpmap.remove_prefix(1);
  std::size_t size = 0;  // of a few digits
  while (size < rtpmap.size() && rtpmap[size] != ' ') ++size;
  const std::optional<std::uint32_t> number = ParseUnsigned(rtpmap.substr(0, size), 127);
  return number && *number >= 96;
}

}  // namespace sipheal::inline v0_1::sip
