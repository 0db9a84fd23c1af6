// SPDX-License-Identifier: Apache-2.0
#include "pcap/hep_legacy.h"

#include <array>
#include <cstring>

#include "pcap/byte_reader.h"
#include "pcap/tcp_streams.h"

namespace sipheal::inline v0_1::pcap {
namespace {

template <std::size_t kSize>
std::array<std::uint8_t, kSize> Bytes(std::string_view bytes, std::size_t at) {
  std::array<std::uint8_t, kSize> out;
  std::memcpy(out.data(), bytes.data() + at, kSize);
  return out;
}

}  // namespace

// Version, length of the headers, family, protocol, ports; both addresses; in version 2 seconds,
// microseconds and the agent's number, padded to twelve bytes. FreeSWITCH counts these twelve in
// the length; Kamailio, OpenSIPS and captagent do not.
std::optional<LegacyHep> DecodeLegacyHep(std::string_view bytes) {
  constexpr std::uint8_t kIpv4 = 2;  // AF_INET and AF_INET6 of Linux
  constexpr std::uint8_t kIpv6 = 10;
  constexpr std::size_t kFixed = 8;
  constexpr std::size_t kTime = 12;
  const std::uint8_t version = Byte(bytes, 0);
  const std::uint8_t family = Byte(bytes, 2);
  if ((version != 1 && version != 2) || (family != kIpv4 && family != kIpv6)) return std::nullopt;
  const std::size_t address = family == kIpv4 ? 4 : 16;
  const std::size_t addresses = kFixed + 2 * address;
  const std::size_t length = addresses + (version == 2 ? kTime : 0);
  const std::uint8_t told = Byte(bytes, 1);
  if (told != length && told != addresses) return std::nullopt;
  if (!LooksLikeSip(After(bytes, length))) return std::nullopt;
  LegacyHep hep;
  switch (Byte(bytes, 3)) {
    case 17:
      hep.transport = sip::Transport::kUdp;
      break;
    case 6:
      hep.transport = sip::Transport::kTcp;
      break;
    default:
      break;
  }
  const auto ip = [&](std::size_t at) {
    return family == kIpv4 ? sip::IpAddress::V4(Bytes<4>(bytes, at))
                           : sip::IpAddress::V6(Bytes<16>(bytes, at));
  };
  hep.source = {ip(kFixed), Be16(bytes, 4)};
  hep.destination = {ip(kFixed + address), Be16(bytes, 6)};
  hep.payload = bytes.substr(length);
  return hep;
}

}  // namespace sipheal::inline v0_1::pcap
