// SPDX-License-Identifier: Apache-2.0
// Writes HEP3 packets for tests, right ones and wrong ones.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sipheal/sip/captured_message.h"

namespace sipheal::testing {

inline std::string Be16(std::uint32_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}
inline std::string Be32(std::uint32_t value) { return Be16(value >> 16) + Be16(value & 0xffff); }

// One chunk; `length` replaces the true length when it is not negative.
inline std::string HepChunk(std::uint16_t type, std::string_view data, std::uint16_t vendor = 0,
                            int length = -1) {
  const std::size_t size = length >= 0 ? static_cast<std::size_t>(length) : data.size() + 6;
  return Be16(vendor) + Be16(type) + Be16(static_cast<std::uint32_t>(size)) + std::string(data);
}

// A packet around chunks; `length` replaces the true length when it is not negative.
inline std::string HepFrame(std::string_view chunks, int length = -1) {
  const std::size_t size = length >= 0 ? static_cast<std::size_t>(length) : chunks.size() + 6;
  return "HEP3" + Be16(static_cast<std::uint32_t>(size)) + std::string(chunks);
}

// How an agent presents itself.
struct HepAgent {
  std::uint32_t id = 0;
  std::string name;      // no chunk when empty
  std::string auth_key;  // no chunk when empty
};

// The packet that Asterisk sends for a captured message: a fixed block, addresses, key, Call-ID,
// name, payload (res/res_hep.c).
inline std::string HepPacketOf(const sip::CapturedMessage& message, const HepAgent& agent,
                               std::uint8_t protocol_type = 1) {
  const bool v4 = message.source.ip.is_v4();
  const std::uint8_t ip_protocol = message.transport == sip::Transport::kUdp ? 17 : 6;
  const auto address = [](const sip::IpAddress& ip) {
    return std::string(reinterpret_cast<const char*>(ip.bytes().data()), ip.is_v4() ? 4 : 16);
  };
  const auto us = static_cast<std::uint64_t>(message.time.time_since_epoch().count());
  std::string chunks;
  chunks += HepChunk(0x01, std::string(1, v4 ? 2 : 10));
  chunks += HepChunk(0x02, std::string(1, static_cast<char>(ip_protocol)));
  chunks += HepChunk(0x07, Be16(message.source.port));
  chunks += HepChunk(0x08, Be16(message.destination.port));
  chunks += HepChunk(0x09, Be32(static_cast<std::uint32_t>(us / 1'000'000)));
  chunks += HepChunk(0x0a, Be32(static_cast<std::uint32_t>(us % 1'000'000)));
  chunks += HepChunk(0x0b, std::string(1, static_cast<char>(protocol_type)));
  chunks += HepChunk(0x0c, Be32(agent.id));
  chunks += HepChunk(v4 ? 0x03 : 0x05, address(message.source.ip));
  chunks += HepChunk(v4 ? 0x04 : 0x06, address(message.destination.ip));
  if (!agent.auth_key.empty()) chunks += HepChunk(0x0e, agent.auth_key);
  chunks += HepChunk(0x11, "call-id-of-the-agent");
  if (!agent.name.empty()) chunks += HepChunk(0x13, agent.name);
  chunks += HepChunk(0x0f, message.bytes);
  return HepFrame(chunks);
}

}  // namespace sipheal::testing
