// SPDX-License-Identifier: Apache-2.0
// Puts fragmented IP packets together (RFC 791 3.2, RFC 8200 4.5).
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>

#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::pcap {

struct Fragment {
  sip::IpAddress source;
  sip::IpAddress destination;
  std::uint32_t id = 0;
  std::uint8_t protocol = 0;  // of the whole packet
  std::size_t offset = 0;     // in bytes
  bool last = false;
  std::string_view bytes;
};

class Fragments {
 public:
  // The whole payload, once its last missing piece has come. Pieces that overlap with other bytes
  // than those already there are left out: the first to come counts.
  std::optional<std::string> Add(const Fragment& fragment);
  // Packets given up, and those still in pieces.
  std::uint64_t lost() const { return lost_ + packets_.size(); }

 private:
  static constexpr std::size_t kMaxPackets = 1024;
  static constexpr std::size_t kMaxPayload = 65535;

  using Key = std::tuple<sip::IpAddress, sip::IpAddress, std::uint32_t, std::uint8_t>;
  struct Packet {
    std::map<std::size_t, std::string> pieces;  // by offset
    std::optional<std::size_t> size;
  };

  std::map<Key, Packet> packets_;
  std::deque<Key> order_;  // oldest first; may name packets that are whole by now
  std::uint64_t lost_ = 0;
};

}  // namespace sipheal::inline v0_1::pcap
