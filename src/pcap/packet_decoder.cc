// SPDX-License-Identifier: Apache-2.0
#include "pcap/packet_decoder.h"

#include <pcap/dlt.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "pcap/byte_reader.h"

namespace sipheal::inline v0_1::pcap {
namespace {

// Tunnels in tunnels, VLAN tags and extension headers: no honest packet has more.
constexpr int kMaxDepth = 8;
constexpr std::uint16_t kGtpPort = 2152;

constexpr std::uint8_t kProtoIpv4 = 4;
constexpr std::uint8_t kProtoTcp = 6;
constexpr std::uint8_t kProtoUdp = 17;
constexpr std::uint8_t kProtoIpv6 = 41;
constexpr std::uint8_t kProtoGre = 47;

sip::IpAddress V4At(std::string_view bytes, std::size_t at) {
  std::array<std::uint8_t, 4> address;
  std::memcpy(address.data(), bytes.data() + at, address.size());
  return sip::IpAddress::V4(address);
}

sip::IpAddress V6At(std::string_view bytes, std::size_t at) {
  std::array<std::uint8_t, 16> address;
  std::memcpy(address.data(), bytes.data() + at, address.size());
  return sip::IpAddress::V6(address);
}

}  // namespace

bool PacketDecoder::Knows(int link_type) {
  switch (link_type) {
    case DLT_EN10MB:
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6:
    case DLT_NULL:
    case DLT_LOOP:
    case DLT_LINUX_SLL:
    case DLT_LINUX_SLL2:
      return true;
    default:
      return false;
  }
}

bool PacketDecoder::Decode(std::string_view frame) {
  switch (link_type_) {
    case DLT_EN10MB:
      return Ethernet(frame, 0);
    case DLT_NULL:  // a family number in the byte order of whoever captured: the IP version tells
    case DLT_LOOP:
      return Ip(After(frame, 4), 0);
    case DLT_LINUX_SLL:
      return EtherType(Be16(frame, 14), After(frame, 16), 0);
    case DLT_LINUX_SLL2:
      return EtherType(Be16(frame, 0), After(frame, 20), 0);
    default:
      return Ip(frame, 0);
  }
}

bool PacketDecoder::Ethernet(std::string_view bytes, int depth) {
  return EtherType(Be16(bytes, 12), After(bytes, 14), depth);
}

bool PacketDecoder::EtherType(std::uint16_t type, std::string_view bytes, int depth) {
  if (depth > kMaxDepth) return false;
  switch (type) {
    case 0x0800:
    case 0x86dd:
      return Ip(bytes, depth);
    case 0x8100:  // VLAN, and two kinds of stacked VLAN
    case 0x88a8:
    case 0x9100:
      return EtherType(Be16(bytes, 2), After(bytes, 4), depth + 1);
    case 0x8864: {  // PPPoE session: six bytes, then the PPP protocol
      const std::uint16_t ppp = Be16(bytes, 6);
      return (ppp == 0x0021 || ppp == 0x0057) && Ip(After(bytes, 8), depth + 1);
    }
    default:
      return false;
  }
}

bool PacketDecoder::Ip(std::string_view bytes, int depth) {
  if (depth > kMaxDepth) return false;
  switch (Byte(bytes, 0) >> 4) {
    case 4:
      return Ipv4(bytes, depth);
    case 6:
      return Ipv6(bytes, depth);
    default:
      return false;
  }
}

bool PacketDecoder::Ipv4(std::string_view bytes, int depth) {
  const std::size_t header = static_cast<std::size_t>(Byte(bytes, 0) & 0x0f) * 4;
  if (header < 20 || bytes.size() < header) return false;
  std::size_t total = Be16(bytes, 2);
  if (total == 0) total = bytes.size();  // segmentation offload: the card would have filled it in
  if (total < header) return false;
  const std::string_view packet = bytes.substr(0, total);  // without the frame's padding
  const std::string_view payload = packet.substr(header);
  const std::size_t cut = total - packet.size();
  const std::uint16_t flags = Be16(bytes, 6);
  const std::uint8_t protocol = Byte(bytes, 9);
  const sip::IpAddress source = V4At(bytes, 12);
  const sip::IpAddress destination = V4At(bytes, 16);
  const bool more = (flags & 0x2000) != 0;
  const std::size_t offset = static_cast<std::size_t>(flags & 0x1fff) * 8;
  if (!more && offset == 0) return Payload(protocol, source, destination, payload, cut, depth);
  if (cut > 0) return false;
  const std::optional<std::string> whole =
      fragments_.Add({source, destination, Be16(bytes, 4), protocol, offset, !more, payload});
  return !whole.has_value() || Payload(protocol, source, destination, *whole, 0, depth);
}

bool PacketDecoder::Ipv6(std::string_view bytes, int depth) {
  if (bytes.size() < 40) return false;
  const std::size_t length = Be16(bytes, 4);
  std::string_view rest = bytes.substr(40);
  if (length != 0) rest = rest.substr(0, length);
  std::size_t cut = length > rest.size() ? length - rest.size() : 0;
  std::uint8_t next = Byte(bytes, 6);
  const sip::IpAddress source = V6At(bytes, 8);
  const sip::IpAddress destination = V6At(bytes, 24);
  for (int headers = 0; headers < kMaxDepth; ++headers) {
    switch (next) {
      case 0:    // hop-by-hop options
      case 43:   // routing
      case 60:   // destination options
      case 135:  // mobility
        next = Byte(rest, 0);
        rest = After(rest, (static_cast<std::size_t>(Byte(rest, 1)) + 1) * 8);
        break;
      case 51:  // authentication: counted in words of four bytes
        next = Byte(rest, 0);
        rest = After(rest, (static_cast<std::size_t>(Byte(rest, 1)) + 2) * 4);
        break;
      case 44: {  // fragment
        if (rest.size() < 8 || cut > 0) return false;
        const std::uint16_t flags = Be16(rest, 2);
        const std::optional<std::string> whole = fragments_.Add(
            {source, destination, Be32(rest, 4), Byte(rest, 0),
             static_cast<std::size_t>(flags & 0xfff8), (flags & 1) == 0, rest.substr(8)});
        return !whole.has_value() || Payload(Byte(rest, 0), source, destination, *whole, 0, depth);
      }
      default:
        return Payload(next, source, destination, rest, cut, depth);
    }
  }
  return false;
}

bool PacketDecoder::Payload(std::uint8_t protocol, const sip::IpAddress& source,
                            const sip::IpAddress& destination, std::string_view bytes,
                            std::size_t cut, int depth) {
  switch (protocol) {
    case kProtoUdp:
      return Udp(source, destination, bytes, depth);
    case kProtoTcp:
      return Tcp(source, destination, bytes, cut);
    case kProtoIpv4:
    case kProtoIpv6:
      return Ip(bytes, depth + 1);
    case kProtoGre:
      return Gre(bytes, depth + 1);
    default:
      return true;  // an IP packet, of which nothing is wanted
  }
}

bool PacketDecoder::Udp(const sip::IpAddress& source, const sip::IpAddress& destination,
                        std::string_view bytes, int depth) {
  if (bytes.size() < 8) return false;
  const sip::Endpoint from{source, Be16(bytes, 0)};
  const sip::Endpoint to{destination, Be16(bytes, 2)};
  const std::size_t length = Be16(bytes, 4);
  std::string_view payload = bytes.substr(8);
  if (length >= 8) payload = payload.substr(0, length - 8);
  if ((from.port == kGtpPort || to.port == kGtpPort) && Gtp(payload, depth + 1)) return true;
  sink_.datagram(from, to, payload);
  return true;
}

bool PacketDecoder::Tcp(const sip::IpAddress& source, const sip::IpAddress& destination,
                        std::string_view bytes, std::size_t cut) {
  const std::size_t header = static_cast<std::size_t>(Byte(bytes, 12) >> 4) * 4;
  if (header < 20 || bytes.size() < header) return false;
  const std::uint8_t flags = Byte(bytes, 13);
  Segment segment;
  segment.source = {source, Be16(bytes, 0)};
  segment.destination = {destination, Be16(bytes, 2)};
  segment.sequence = Be32(bytes, 4);
  segment.fin = (flags & 0x01) != 0;
  segment.syn = (flags & 0x02) != 0;
  segment.rst = (flags & 0x04) != 0;
  segment.bytes = bytes.substr(header);
  segment.cut = cut;
  sink_.segment(segment);
  return true;
}

// RFC 2784 and 2890: flags, the payload's ethertype, then what the flags announce.
bool PacketDecoder::Gre(std::string_view bytes, int depth) {
  if (bytes.size() < 4) return false;
  const std::uint16_t flags = Be16(bytes, 0);
  if ((flags & 0x0007) != 0) return false;  // version 1 is PPTP
  std::size_t header = 4;
  for (const std::uint16_t flag : {0x8000, 0x2000, 0x1000}) {  // checksum, key, sequence
    if ((flags & flag) != 0) header += 4;
  }
  const std::uint16_t type = Be16(bytes, 2);
  if (type == 0x6558) return Ethernet(After(bytes, header), depth);
  return EtherType(type, After(bytes, header), depth);
}

// 3GPP TS 29.281: a G-PDU carries an IP packet.
bool PacketDecoder::Gtp(std::string_view bytes, int depth) {
  const std::uint8_t flags = Byte(bytes, 0);
  if (bytes.size() < 8 || flags >> 4 != 3 || Byte(bytes, 1) != 0xff) return false;
  std::string_view rest = bytes.substr(8);
  if ((flags & 0x07) != 0) {
    std::uint8_t next = (flags & 0x04) != 0 ? Byte(rest, 3) : 0;
    rest = After(rest, 4);
    for (int extensions = 0; next != 0; ++extensions) {
      const std::size_t length = static_cast<std::size_t>(Byte(rest, 0)) * 4;
      if (length == 0 || length > rest.size() || extensions > kMaxDepth) return false;
      next = Byte(rest, length - 1);
      rest = After(rest, length);
    }
  }
  return Ip(rest, depth);
}

}  // namespace sipheal::inline v0_1::pcap
