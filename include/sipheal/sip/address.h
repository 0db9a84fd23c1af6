// SPDX-License-Identifier: Apache-2.0
// Internet addresses and transports as a capture gives them. Values only: nothing here resolves
// names or opens sockets.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sipheal/export.h"

namespace sipheal::inline v0_1::sip {

// The transport of a SIP message. A capture may say kTcp where TLS or WebSocket was used
// (Asterisk's HEP does); the Via of the message is then the better witness.
enum class Transport : std::uint8_t { kUnknown, kUdp, kTcp, kTls, kWs, kWss };

// "udp", "tcp", "tls", "ws", "wss" or "unknown".
SIPHEAL_EXPORT std::string_view ToString(Transport transport);
// Ignores letter case. Anything else gives kUnknown.
SIPHEAL_EXPORT Transport TransportFromString(std::string_view text);
// True for all but UDP and unknown: the peer is reached over a connection.
constexpr bool IsStream(Transport transport) {
  return transport != Transport::kUdp && transport != Transport::kUnknown;
}
constexpr bool IsSecure(Transport transport) {
  return transport == Transport::kTls || transport == Transport::kWss;
}

// An IPv4 or IPv6 address in binary form, so that two spellings of one address are equal. An
// IPv4-mapped IPv6 address (::ffff:1.2.3.4) becomes the IPv4 address (RFC 5118 section 4.9).
class SIPHEAL_EXPORT IpAddress {
 public:
  IpAddress() = default;
  // Bytes in network order.
  static IpAddress V4(const std::array<std::uint8_t, 4>& bytes);
  static IpAddress V6(const std::array<std::uint8_t, 16>& bytes);
  // "192.0.2.1", "2001:db8::1", "[2001:db8::1]". Also takes the three-colon form that RFC 5118
  // section 4.10 asks for. Empty when the text is no address.
  static std::optional<IpAddress> Parse(std::string_view text);

  bool empty() const { return family_ == 0; }
  bool is_v4() const { return family_ == 4; }
  bool is_v6() const { return family_ == 6; }
  bool IsUnspecified() const;  // 0.0.0.0 or ::
  bool IsLoopback() const;
  bool IsLinkLocal() const;
  bool IsMulticast() const;
  bool IsBroadcast() const;
  bool IsPrivate() const;  // RFC 1918, RFC 6598, fc00::/7
  // Without brackets; empty text for an empty address.
  std::string ToString() const;
  // 4 or 16 bytes in network order; of an IPv4 address the first four count.
  const std::array<std::uint8_t, 16>& bytes() const { return bytes_; }

  friend auto operator<=>(const IpAddress&, const IpAddress&) = default;

 private:
  std::array<std::uint8_t, 16> bytes_{};
  std::uint8_t family_ = 0;
};

// An address with a port; port 0 means not known.
struct SIPHEAL_EXPORT Endpoint {
  IpAddress ip;
  std::uint16_t port = 0;

  // "192.0.2.1:5060", "[2001:db8::1]:5060", "192.0.2.1". Empty when the text is neither.
  static std::optional<Endpoint> Parse(std::string_view text);
  // As Parse reads it; without the port when that is 0.
  std::string ToString() const;

  friend auto operator<=>(const Endpoint&, const Endpoint&) = default;
};

}  // namespace sipheal::inline v0_1::sip
