// SPDX-License-Identifier: Apache-2.0
// From a frame of a capture file to the UDP datagrams and TCP segments in it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

#include "pcap/fragments.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::pcap {

struct Segment {
  sip::Endpoint source;
  sip::Endpoint destination;
  std::uint32_t sequence = 0;
  bool syn = false;
  bool fin = false;
  bool rst = false;
  std::string_view bytes;
  // Bytes that the segment had but the capture cut off.
  std::size_t cut = 0;
};

class PacketDecoder {
 public:
  struct Sink {
    std::function<void(const sip::Endpoint& source, const sip::Endpoint& destination,
                       std::string_view bytes)>
        datagram;
    std::function<void(const Segment&)> segment;
  };

  // `link_type` as pcap_datalink() gives it.
  PacketDecoder(int link_type, Sink sink) : link_type_(link_type), sink_(std::move(sink)) {}

  static bool Knows(int link_type);
  // False when there was no IP packet in it that could be read.
  bool Decode(std::string_view frame);
  std::uint64_t lost_fragments() const { return fragments_.lost(); }

 private:
  bool Ethernet(std::string_view bytes, int depth);
  bool EtherType(std::uint16_t type, std::string_view bytes, int depth);
  bool Ip(std::string_view bytes, int depth);
  bool Ipv4(std::string_view bytes, int depth);
  bool Ipv6(std::string_view bytes, int depth);
  // `cut`: how many bytes of the payload the capture does not have.
  bool Payload(std::uint8_t protocol, const sip::IpAddress& source,
               const sip::IpAddress& destination, std::string_view bytes, std::size_t cut,
               int depth);
  bool Udp(const sip::IpAddress& source, const sip::IpAddress& destination, std::string_view bytes,
           int depth);
  bool Tcp(const sip::IpAddress& source, const sip::IpAddress& destination, std::string_view bytes,
           std::size_t cut);
  bool Gre(std::string_view bytes, int depth);
  bool Gtp(std::string_view bytes, int depth);

  int link_type_;
  Sink sink_;
  Fragments fragments_;
};

}  // namespace sipheal::inline v0_1::pcap
