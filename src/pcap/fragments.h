// SPDX-License-Identifier: Apache-2.0
// Puts fragmented IP packets together (RFC 791 3.2, RFC 8200 4.5).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "pcap/stamp.h"
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
  Stamp stamp;
};

class Fragments {
 public:
  // A packet whose other pieces never came: a filter by port drops them, since they have no ports.
  struct Incomplete {
    sip::IpAddress source;
    sip::IpAddress destination;
    std::uint8_t protocol = 0;
    std::string bytes;  // from the packet's first byte on, as far as there is no hole
    Stamp stamp;        // of the last piece in `bytes`
  };

  // The whole payload, once its last missing piece has come. A packet of which two pieces claim the
  // same bytes is dropped as a whole (RFC 5722): nobody honest sends one, and hosts differ in what
  // they would read. The same piece seen twice is no such claim,
  // also behind the whole packet: it is not given again.
  std::optional<std::string> Add(const Fragment& fragment);
  // Packets that were waited for long enough by now, and whose begin is there.
  std::vector<Incomplete> TakeExpired(sip::CaptureTime now);
  // The same at the end of the capture: all that are left.
  std::vector<Incomplete> TakeRest();
  // Packets of which a piece never came, and those still in pieces.
  std::uint64_t lost() const;

 private:
  // Pieces follow each other within milliseconds; hosts wait for up to a minute.
  static constexpr std::chrono::seconds kPatience{2};
  static constexpr std::size_t kMaxPackets = 1024;
  static constexpr std::size_t kMaxPayload = 65535;
  static constexpr std::size_t kMaxBytes = 16u << 20;
  static constexpr std::size_t kPieceOverhead = 128;

  using Key = std::tuple<sip::IpAddress, sip::IpAddress, std::uint32_t, std::uint8_t>;
  struct Piece {
    std::string bytes;
    Stamp stamp;
  };
  struct Packet {
    Key key;
    std::map<std::size_t, Piece> pieces;  // by offset; none overlaps another
    std::size_t held = 0;                 // bytes in them
    std::size_t cost = 0;                 // memory they take
    std::optional<std::size_t> size;
    bool hostile = false;
    bool whole = false;  // kept for a while, to know its pieces when they are seen again
    sip::CaptureTime newest{};
  };
  using Packets = std::list<Packet>;  // oldest first

  static bool Holds(const Packet& packet, const Fragment& fragment);
  bool Insert(Packet& packet, const Fragment& fragment);
  void Forget(Packets::iterator packet);
  void Drop(Packets::iterator packet);
  void GiveUp(Packets::iterator packet, std::vector<Incomplete>& out);

  Packets packets_;
  std::map<Key, Packets::iterator> by_key_;
  std::size_t cost_ = 0;
  std::uint64_t lost_ = 0;
};

}  // namespace sipheal::inline v0_1::pcap
