// SPDX-License-Identifier: Apache-2.0
#include "sip/compact_sdp.h"

#include <cstring>
#include <string>

#include "sip/sdp_lines.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

// What is done with a line.
enum class Line { kDrop, kKeep, kCrypto, kFingerprint, kIce, kDirection, kSendRecv };

Line KindOfAttribute(std::string_view attribute) {
  if (attribute.empty()) return Line::kDrop;
  switch (attribute.front()) {
    case 'c':
      return attribute.starts_with("crypto") ? Line::kCrypto : Line::kDrop;
    case 'f':
      return attribute.starts_with("fingerprint") ? Line::kFingerprint : Line::kDrop;
    case 'i':
      if (attribute.starts_with("ice-ufrag")) return Line::kIce;
      return attribute == "inactive" ? Line::kDirection : Line::kDrop;
    case 'r':
      if (attribute.starts_with("rtpmap:")) {
        return IsDynamicRtpmap(attribute.substr(7)) ? Line::kKeep : Line::kDrop;
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
  std::string_view line;
  while (NextLine(&body, &line)) {
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
