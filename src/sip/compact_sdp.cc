// SPDX-License-Identifier: Apache-2.0
#include "sip/compact_sdp.h"

#include <cstring>
#include <string>

#include "sip/find_line_end.h"
#include "sip/text.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

// What is done with a line.
enum class Line { kDrop, kKeep, kCrypto, kFingerprint, kIce, kDirection, kSendRecv };

bool HasPrefix(std::string_view text, std::string_view prefix) {
  return text.size() >= prefix.size() &&
         std::memcmp(text.data(), prefix.data(), prefix.size()) == 0;
}

// "101 telephone-event/8000": whether the payload type is a dynamic one.
bool IsDynamic(std::string_view rtpmap) {
  while (!rtpmap.empty() && rtpmap.front() == ' ') rtpmap.remove_prefix(1);
  const std::optional<std::uint32_t> number =
      ParseUnsigned(rtpmap.substr(0, rtpmap.find(' ')), 127);
  return number && *number >= 96;
}

Line KindOfAttribute(std::string_view attribute) {
  if (attribute.empty()) return Line::kDrop;
  switch (attribute.front()) {
    case 'c':
      return HasPrefix(attribute, "crypto") ? Line::kCrypto : Line::kDrop;
    case 'f':
      return HasPrefix(attribute, "fingerprint") ? Line::kFingerprint : Line::kDrop;
    case 'i':
      if (HasPrefix(attribute, "ice-ufrag")) return Line::kIce;
      return attribute == "inactive" ? Line::kDirection : Line::kDrop;
    case 'r':
      if (HasPrefix(attribute, "rtpmap:")) {
        return IsDynamic(attribute.substr(7)) ? Line::kKeep : Line::kDrop;
      }
      return attribute == "recvonly" ? Line::kDirection : Line::kDrop;
    case 's':
      if (attribute == "sendrecv") return Line::kSendRecv;
      return attribute == "sendonly" ? Line::kDirection : Line::kDrop;
    default:
      return Line::kDrop;
  }
}

Line KindOf(std::string_view line) {
  if (line.size() < 2 || line[1] != '=') return Line::kDrop;
  switch (line[0]) {
    case 'o':
    case 'c':
    case 'm':
      return Line::kKeep;
    case 'a':
      return KindOfAttribute(line.substr(2));
    default:
      return Line::kDrop;
  }
}

char* Write(std::string_view line, char* out) {
  std::memcpy(out, line.data(), line.size());
  out += line.size();
  *out = '\n';
  return out + 1;
}

}  // namespace

std::size_t WriteCompactSdp(std::string_view body, char* const out) {
  char* at = out;
  bool crypto = false;
  bool fingerprint = false;
  bool ice = false;
  bool directed = false;  // another direction than the default was given
  // Keys and fingerprints are facts to refuse on, not values to keep: one line says that there are
  // any.
  const auto once = [&at](bool* seen, std::string_view line) {
    if (!*seen) at = Write(line, at);
    *seen = true;
  };
  const char* next = body.data();
  const char* const end = next + body.size();
  while (next != end) {
    const char* const begin = next;
    const char* stop = FindLineEnd(begin, end);
    next = stop == end ? end : stop + 1;
    // A doubled CR, too, so that what is reduced once stays as it is.
    while (stop != begin && stop[-1] == '\r') --stop;
    const std::string_view line(begin, static_cast<std::size_t>(stop - begin));
    switch (KindOf(line)) {
      case Line::kDrop:
        break;
      case Line::kCrypto:
        once(&crypto, "a=crypto");
        break;
      case Line::kFingerprint:
        once(&fingerprint, "a=fingerprint");
        break;
      case Line::kIce:
        once(&ice, "a=ice-ufrag");
        break;
      case Line::kSendRecv:
        if (directed) at = Write(line, at);
        break;
      case Line::kDirection:
        directed = true;
        at = Write(line, at);
        break;
      case Line::kKeep:
        at = Write(line, at);
        break;
    }
  }
  return static_cast<std::size_t>(at - out);
}

void AppendCompactSdp(std::string_view body, std::string* out) {
  const std::size_t before = out->size();
  out->resize(before + CompactSdpRoom(body));
  out->resize(before + WriteCompactSdp(body, out->data() + before));
}

}  // namespace sipheal::inline v0_1::sip
