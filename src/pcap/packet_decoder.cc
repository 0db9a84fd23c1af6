// SPDX-License-Identifier: Apache-2.0
#include "pcap/packet_decoder.h"

#include <array>
#include <cstring>

#include "pcap/byte_reader.h"

namespace sipheal::inline v0_1::pcap {
namespace {

// Tunnels in tunnels, VLAN tags and extension headers: no honest packet has more.
constexpr int kMaxDepth = 8;
constexpr std::uint16_t kGtpPort = 2152;
constexpr std::uint16_t kVxlanPort = 4789;

constexpr std::uint8_t kProtoIpv4 = 4;
constexpr std::uint8_t kProtoTcp = 6;
constexpr std::uint8_t kProtoUdp = 17;
constexpr std::uint8_t kProtoIpv6 = 41;
constexpr std::uint8_t kProtoGre = 47;

// LINKTYPE_... of https://www.tcpdump.org/linktypes.html, which the files hold. Of raw IP there are
// three: the number, and what two families of systems wrote in its place.
constexpr int kLinkNull = 0;
constexpr int kLinkEthernet = 1;
constexpr int kLinkPpp = 9;
constexpr int kLinkRawOfLinux = 12;
constexpr int kLinkRawOfOpenBsd = 14;
constexpr int kLinkPppHdlc = 50;
constexpr int kLinkRaw = 101;
constexpr int kLinkLoop = 108;
constexpr int kLinkLinuxCooked = 113;
constexpr int kLinkIpv4 = 228;
constexpr int kLinkIpv6 = 229;
constexpr int kLinkLinuxCooked2 = 276;

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
    case kLinkNull:
    case kLinkEthernet:
    case kLinkPpp:
    case kLinkRawOfLinux:
    case kLinkRawOfOpenBsd:
    case kLinkPppHdlc:
    case kLinkRaw:
    case kLinkLoop:
    case kLinkLinuxCooked:
    case kLinkIpv4:
    case kLinkIpv6:
    case kLinkLinuxCooked2:
      return true;
    default:
      return false;
  }
}

bool PacketDecoder::Decode(int link_type, std::string_view frame, const Stamp& stamp) {
  HandOut(fragments_.TakeExpired(stamp.time));
  origin_ = Origin();
  origin_.stamp = stamp;
  if (!Knows(link_type)) return false;
  switch (link_type) {
    case kLinkEthernet:
      return Ethernet(frame, 0);
    case kLinkNull:  // a family number in the byte order of whoever captured: the IP version tells
    case kLinkLoop:
      return Ip(After(frame, 4), 0);
    case kLinkPpp:
    case kLinkPppHdlc:
      return Ppp(frame, 0);
    case kLinkLinuxCooked:
      return EtherType(Be16(frame, 14), After(frame, 16), 0);
    case kLinkLinuxCooked2:
      return EtherType(Be16(frame, 0), After(frame, 20), 0);
    default:
      return Ip(frame, 0);
  }
}

void PacketDecoder::HandOut(std::vector<Fragments::Incomplete> incomplete) {
  for (const Fragments::Incomplete& packet : incomplete) {
    origin_ = Origin();
    origin_.stamp = packet.stamp;
    constexpr std::size_t kSome = 1;  // how much is missing, nobody knows
    Payload(packet.protocol, {packet.source, packet.destination}, packet.bytes, kSome, 0);
  }
}

void PacketDecoder::EnterTunnel(const IpAddresses& ip) {
  if (!origin_.outer_source.empty()) return;
  origin_.outer_source = ip.source;
  origin_.outer_destination = ip.destination;
}

bool PacketDecoder::Ethernet(std::string_view bytes, int depth) {
  const std::uint16_t type = Be16(bytes, 12);
  // IEEE 802.3 with LLC and SNAP: a length where the type would be.
  if (type < 0x0600 && Be16(bytes, 14) == 0xaaaa) {
    return EtherType(Be16(bytes, 20), After(bytes, 22), depth);
  }
  return EtherType(type, After(bytes, 14), depth);
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
    case 0x8847:
    case 0x8848:
      return Mpls(bytes, depth + 1);
    case 0x8864:  // PPPoE session: six bytes before the PPP protocol
      return Ppp(After(bytes, 6), depth + 1);
    default:
      return false;
  }
}

// RFC 1661, with or without the address and control of RFC 1662.
bool PacketDecoder::Ppp(std::string_view bytes, int depth) {
  if (Be16(bytes, 0) == 0xff03) bytes = After(bytes, 2);
  const std::uint16_t protocol = Be16(bytes, 0);
  return (protocol == 0x0021 || protocol == 0x0057) && Ip(After(bytes, 2), depth);
}

// RFC 3032: labels, the last with its bottom bit set; then IP, as its version shows.
bool PacketDecoder::Mpls(std::string_view bytes, int depth) {
  for (int labels = 0; labels < kMaxDepth; ++labels) {
    const bool bottom = (Byte(bytes, 2) & 1) != 0;
    bytes = After(bytes, 4);
    if (bottom) return Ip(bytes, depth);
  }
  return false;
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
  const IpAddresses ip{V4At(bytes, 12), V4At(bytes, 16)};
  const bool more = (flags & 0x2000) != 0;
  const std::size_t offset = static_cast<std::size_t>(flags & 0x1fff) * 8;
  // The begin of a packet that the capture cut can never be completed.
  if (offset == 0 && (!more || cut > 0)) return Payload(protocol, ip, payload, cut, depth);
  if (cut > 0) return false;
  return Piece(
      {ip.source, ip.destination, Be16(bytes, 4), protocol, offset, !more, payload, origin_.stamp},
      depth);
}

bool PacketDecoder::Piece(const Fragment& fragment, int depth) {
  const std::optional<std::string> whole = fragments_.Add(fragment);
  return !whole.has_value() ||
         Payload(fragment.protocol, {fragment.source, fragment.destination}, *whole, 0, depth);
}

bool PacketDecoder::Ipv6(std::string_view bytes, int depth) {
  if (bytes.size() < 40) return false;
  const std::size_t length = Be16(bytes, 4);
  std::string_view rest = bytes.substr(40);
  if (length != 0) rest = rest.substr(0, length);
  const std::size_t cut = length > rest.size() ? length - rest.size() : 0;
  std::uint8_t next = Byte(bytes, 6);
  const IpAddresses ip{V6At(bytes, 8), V6At(bytes, 24)};
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
        if (rest.size() < 8) return false;
        const std::uint16_t flags = Be16(rest, 2);
        const auto offset = static_cast<std::size_t>(flags & 0xfff8);
        const std::string_view piece = rest.substr(8);
        if (offset == 0 && cut > 0) return Payload(Byte(rest, 0), ip, piece, cut, depth);
        if (cut > 0) return false;
        return Piece({ip.source, ip.destination, Be32(rest, 4), Byte(rest, 0), offset,
                      (flags & 1) == 0, piece, origin_.stamp},
                     depth);
      }
      default:
        return Payload(next, ip, rest, cut, depth);
    }
  }
  return false;
}

bool PacketDecoder::Payload(std::uint8_t protocol, const IpAddresses& ip, std::string_view bytes,
                            std::size_t cut, int depth) {
  switch (protocol) {
    case kProtoUdp:
      return Udp(ip, bytes, cut, depth);
    case kProtoTcp:
      return Tcp(ip, bytes, cut);
    case kProtoIpv4:
    case kProtoIpv6:
      EnterTunnel(ip);
      return Ip(bytes, depth + 1);
    case kProtoGre:
      EnterTunnel(ip);
      return Gre(bytes, depth + 1);
    default:
      return true;  // an IP packet, of which nothing is wanted
  }
}

bool PacketDecoder::Udp(const IpAddresses& ip, std::string_view bytes, std::size_t cut, int depth) {
  if (bytes.size() < 8) return false;
  const sip::Endpoint source{ip.source, Be16(bytes, 0)};
  const sip::Endpoint destination{ip.destination, Be16(bytes, 2)};
  const std::size_t length = Be16(bytes, 4);
  std::string_view payload = bytes.substr(8);
  if (length >= 8) payload = payload.substr(0, length - 8);
  const Origin here = origin_;
  if (source.port == kGtpPort || destination.port == kGtpPort) {
    EnterTunnel(ip);
    if (Gtp(payload, depth + 1)) return true;
  } else if (destination.port == kVxlanPort) {
    EnterTunnel(ip);
    if (Vxlan(payload, depth + 1)) return true;
  }
  origin_ = here;  // it was no tunnel
  sink_.datagram({origin_, source, destination, payload, cut > 0});
  return true;
}

bool PacketDecoder::Tcp(const IpAddresses& ip, std::string_view bytes, std::size_t cut) {
  const std::size_t header = static_cast<std::size_t>(Byte(bytes, 12) >> 4) * 4;
  if (header < 20 || bytes.size() < header) return false;
  const bool syn = (Byte(bytes, 13) & 0x02) != 0;
  sink_.segment({origin_,
                 {ip.source, Be16(bytes, 0)},
                 {ip.destination, Be16(bytes, 2)},
                 Be32(bytes, 4),
                 syn,
                 bytes.substr(header),
                 cut});
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
  const std::string_view payload = After(bytes, header);
  switch (Be16(bytes, 2)) {
    case 0x6558:  // Ethernet
      return Ethernet(payload, depth);
    case 0x88be:  // ERSPAN, a switch's remote mirror: type II has a header of its own, type I none
      return Ethernet((flags & 0x1000) != 0 ? After(payload, 8) : payload, depth);
    default:
      return EtherType(Be16(bytes, 2), payload, depth);
  }
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

// RFC 7348: flags that say that there is a network number, then Ethernet.
bool PacketDecoder::Vxlan(std::string_view bytes, int depth) {
  return depth <= kMaxDepth && (Byte(bytes, 0) & 0x08) != 0 && Ethernet(After(bytes, 8), depth);
}

}  // namespace sipheal::inline v0_1::pcap
