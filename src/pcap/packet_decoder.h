// SPDX-License-Identifier: Apache-2.0
// From a frame of a capture file to the UDP datagrams and TCP segments in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>
#include <utility>
#include <vector>

#include "pcap/fragments.h"
#include "pcap/stamp.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::pcap {

// Where a datagram or segment was found. Of a packet in a tunnel, the outermost addresses too.
struct Origin {
  Stamp stamp;
  sip::IpAddress outer_source;  // empty: no tunnel
  sip::IpAddress outer_destination;
};

struct Datagram {
  Origin origin;
  sip::Endpoint source;
  sip::Endpoint destination;
  std::string_view bytes;
  bool cut = false;  // the capture does not have all of it
};

struct Segment {
  Origin origin;
  sip::Endpoint source;
  sip::Endpoint destination;
  std::uint32_t sequence = 0;
  bool syn = false;
  std::string_view bytes;
  // Bytes that the segment had but the capture cut off.
  std::size_t cut = 0;
};

class PacketDecoder {
 public:
  struct Sink {
    std::function<void(const Datagram&)> datagram;
    std::function<void(const Segment&)> segment;
  };

  explicit PacketDecoder(Sink sink) : sink_(std::move(sink)) {}

  // Link types as files name them (LINKTYPE_...).
  static bool Knows(int link_type);
  // False when there was no IP packet in it that could be read.
  bool Decode(int link_type, std::string_view frame, const Stamp& stamp);
  // The true end of the capture: hands out what is left of packets whose other fragments are not in
  // it.
  void Finish() { HandOut(fragments_.TakeRest()); }
  std::uint64_t lost_fragments() const { return fragments_.lost(); }

 private:
  struct IpAddresses {
    sip::IpAddress source;
    sip::IpAddress destination;
  };

  bool Ethernet(std::string_view bytes, int depth);
  bool EtherType(std::uint16_t type, std::string_view bytes, int depth);
  bool Ppp(std::string_view bytes, int depth);
  bool Mpls(std::string_view bytes, int depth);
  bool Ip(std::string_view bytes, int depth);
  bool Ipv4(std::string_view bytes, int depth);
  bool Ipv6(std::string_view bytes, int depth);
  bool Piece(const Fragment& fragment, int depth);
  // `cut`: how many bytes of the payload the capture does not have.
  bool Payload(std::uint8_t protocol, const IpAddresses& ip, std::string_view bytes,
               std::size_t cut, int depth);
  bool Udp(const IpAddresses& ip, std::string_view bytes, std::size_t cut, int depth);
  bool Tcp(const IpAddresses& ip, std::string_view bytes, std::size_t cut);
  bool Gre(std::string_view bytes, int depth);
  bool Gtp(std::string_view bytes, int depth);
  bool Vxlan(std::string_view bytes, int depth);
  // Notes the outermost addresses; to be called before what is in a tunnel is read.
  void EnterTunnel(const IpAddresses& ip);
  void HandOut(std::vector<Fragments::Incomplete> incomplete);

  Sink sink_;
  Fragments fragments_;
  Origin origin_;  // of the frame in hand
};

}  // namespace sipheal::inline v0_1::pcap
