// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/address.h"

#include <algorithm>
#include <cstdio>

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

struct TransportName {
  Transport transport;
  std::string_view name;
};
constexpr TransportName kTransportNames[] = {
    {Transport::kUdp, "udp"}, {Transport::kTcp, "tcp"}, {Transport::kTls, "tls"},
    {Transport::kWs, "ws"},   {Transport::kWss, "wss"},
};

// Exactly four decimal numbers up to 255.
bool ParseV4(std::string_view text, std::uint8_t* out) {
  std::size_t at = 0;
  for (int part = 0; part < 4; ++part) {
    if (part > 0) {
      if (at >= text.size() || text[at] != '.') return false;
      ++at;
    }
    unsigned value = 0;
    std::size_t digits = 0;
    while (at < text.size() && IsDigit(text[at]) && digits < 4) {
      value = value * 10 + static_cast<unsigned>(text[at] - '0');
      ++at;
      ++digits;
    }
    if (digits == 0 || digits > 3 || value > 255) return false;
    out[part] = static_cast<std::uint8_t>(value);
  }
  return at == text.size();
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool ParseV6(std::string_view text, std::array<std::uint8_t, 16>* out) {
  std::array<std::uint8_t, 16> head{};
  std::array<std::uint8_t, 16> tail{};
  std::size_t head_size = 0;
  std::size_t tail_size = 0;
  bool gap = false;
  std::size_t at = 0;
  if (text.substr(0, 2) == "::") {
    gap = true;
    at = 2;
  }
  while (at < text.size()) {
    std::array<std::uint8_t, 16>& side = gap ? tail : head;
    std::size_t& size = gap ? tail_size : head_size;
    std::size_t end = text.find(':', at);
    std::string_view group = text.substr(at, end == text.npos ? text.npos : end - at);
    if (group.find('.') != group.npos) {
      if (end != text.npos || head_size + tail_size + 4 > 16) return false;
      if (!ParseV4(group, side.data() + size)) return false;
      size += 4;
      at = text.size();
      break;
    }
    if (group.empty() || group.size() > 4 || head_size + tail_size + 2 > 16) return false;
    unsigned value = 0;
    for (char c : group) {
      int digit = HexValue(c);
      if (digit < 0) return false;
      value = value * 16 + static_cast<unsigned>(digit);
    }
    side[size++] = static_cast<std::uint8_t>(value >> 8);
    side[size++] = static_cast<std::uint8_t>(value);
    if (end == text.npos) {
      at = text.size();
      break;
    }
    at = end + 1;
    if (at == text.size()) return false;  // ends with one colon
    if (text[at] == ':') {
      if (gap) return false;
      gap = true;
      ++at;
      // RFC 5118 section 4.10: the grammar of RFC 3261 allows a third colon before an IPv4 part.
      if (at < text.size() && text[at] == ':') ++at;
    }
  }
  if (gap ? head_size + tail_size > 14 : head_size != 16) return false;
  out->fill(0);
  std::copy_n(head.begin(), head_size, out->begin());
  std::copy_n(tail.begin(), tail_size, out->end() - static_cast<std::ptrdiff_t>(tail_size));
  return true;
}

}  // namespace

std::string_view ToString(Transport transport) {
  for (const TransportName& entry : kTransportNames) {
    if (entry.transport == transport) return entry.name;
  }
  return "unknown";
}

Transport TransportFromString(std::string_view text) {
  for (const TransportName& entry : kTransportNames) {
    if (EqualsIgnoreCase(entry.name, text)) return entry.transport;
  }
  return Transport::kUnknown;
}

IpAddress IpAddress::V4(const std::array<std::uint8_t, 4>& bytes) {
  IpAddress address;
  std::copy(bytes.begin(), bytes.end(), address.bytes_.begin());
  address.family_ = 4;
  return address;
}

IpAddress IpAddress::V6(const std::array<std::uint8_t, 16>& bytes) {
  static constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0,    0,
                                                           0, 0, 0, 0, 0xff, 0xff};
  if (std::equal(kMapped.begin(), kMapped.end(), bytes.begin())) {
    return V4({bytes[12], bytes[13], bytes[14], bytes[15]});
  }
  IpAddress address;
  address.bytes_ = bytes;
  address.family_ = 6;
  return address;
}

std::optional<IpAddress> IpAddress::Parse(std::string_view text) {
  if (text.size() >= 2 && text.front() == '[' && text.back() == ']') {
    text = text.substr(1, text.size() - 2);
    if (text.find(':') == text.npos) return std::nullopt;
  }
  if (text.find(':') == text.npos) {
    std::array<std::uint8_t, 4> bytes{};
    if (!ParseV4(text, bytes.data())) return std::nullopt;
    return V4(bytes);
  }
  if (std::size_t zone = text.find('%'); zone != text.npos) text = text.substr(0, zone);
  std::array<std::uint8_t, 16> bytes{};
  if (!ParseV6(text, &bytes)) return std::nullopt;
  return V6(bytes);
}

bool IpAddress::IsUnspecified() const {
  return family_ != 0 && std::all_of(bytes_.begin(), bytes_.end(), [](auto b) { return b == 0; });
}

bool IpAddress::IsLoopback() const {
  if (is_v4()) return bytes_[0] == 127;
  return is_v6() && bytes_[15] == 1 &&
         std::all_of(bytes_.begin(), bytes_.end() - 1, [](auto b) { return b == 0; });
}

bool IpAddress::IsLinkLocal() const {
  if (is_v4()) return bytes_[0] == 169 && bytes_[1] == 254;
  return is_v6() && bytes_[0] == 0xfe && (bytes_[1] & 0xc0) == 0x80;
}

bool IpAddress::IsMulticast() const {
  if (is_v4()) return (bytes_[0] & 0xf0) == 0xe0;
  return is_v6() && bytes_[0] == 0xff;
}

bool IpAddress::IsBroadcast() const {
  return is_v4() &&
         std::all_of(bytes_.begin(), bytes_.begin() + 4, [](auto b) { return b == 255; });
}

bool IpAddress::IsPrivate() const {
  if (is_v4()) {
    return bytes_[0] == 10 || (bytes_[0] == 172 && (bytes_[1] & 0xf0) == 16) ||
           (bytes_[0] == 192 && bytes_[1] == 168) || (bytes_[0] == 100 && (bytes_[1] & 0xc0) == 64);
  }
  return is_v6() && (bytes_[0] & 0xfe) == 0xfc;
}

std::string IpAddress::ToString() const {
  char buffer[48];
  if (is_v4()) {
    std::snprintf(buffer, sizeof buffer, "%u.%u.%u.%u", bytes_[0], bytes_[1], bytes_[2], bytes_[3]);
    return buffer;
  }
  if (!is_v6()) return {};
  // RFC 5952: the longest run of two or more zero groups, the first of equals, becomes "::".
  unsigned groups[8];
  for (std::size_t i = 0; i < 8; ++i) groups[i] = (bytes_[2 * i] << 8) | bytes_[2 * i + 1];
  int best = -1;
  int best_size = 1;
  for (int i = 0; i < 8; ++i) {
    int size = 0;
    while (i + size < 8 && groups[i + size] == 0) ++size;
    if (size > best_size) {
      best = i;
      best_size = size;
    }
  }
  std::string text;
  for (int i = 0; i < 8; ++i) {
    if (i == best) {
      text += "::";
      i += best_size - 1;
      continue;
    }
    if (!text.empty() && text.back() != ':') text += ':';
    std::snprintf(buffer, sizeof buffer, "%x", groups[i]);
    text += buffer;
  }
  return text;
}

std::optional<Endpoint> Endpoint::Parse(std::string_view text) {
  std::string_view host = text;
  std::string_view port;
  if (!text.empty() && text.front() == '[') {
    std::size_t close = text.find(']');
    if (close == text.npos) return std::nullopt;
    host = text.substr(0, close + 1);
    if (close + 1 < text.size()) {
      if (text[close + 1] != ':') return std::nullopt;
      port = text.substr(close + 2);
      if (port.empty()) return std::nullopt;
    }
  } else if (std::size_t colon = text.find(':');
             colon != text.npos && text.find(':', colon + 1) == text.npos) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    if (port.empty()) return std::nullopt;
  }
  Endpoint endpoint;
  std::optional<IpAddress> ip = IpAddress::Parse(host);
  if (!ip) return std::nullopt;
  endpoint.ip = *ip;
  if (!port.empty()) {
    std::optional<std::uint32_t> number = ParseUnsigned(port, 65535);
    if (!number || *number == 0) return std::nullopt;
    endpoint.port = static_cast<std::uint16_t>(*number);
  }
  return endpoint;
}

std::string Endpoint::ToString() const {
  std::string text = ip.ToString();
  if (port == 0) return text;
  if (ip.is_v6()) text = "[" + text + "]";
  return text + ":" + std::to_string(port);
}

}  // namespace sipheal::inline v0_1::sip
