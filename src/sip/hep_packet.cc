// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/hep_packet.h"

#include <array>
#include <chrono>
#include <cstring>

namespace sipheal::inline v0_1::sip {
namespace {

// Chunk types of vendor 0 that are read (HEP revision 37, "Generic chunk types").
enum Chunk : std::uint16_t {
  kIpProtocol = 0x02,
  kSourceV4 = 0x03,
  kDestinationV4 = 0x04,
  kSourceV6 = 0x05,
  kDestinationV6 = 0x06,
  kSourcePort = 0x07,
  kDestinationPort = 0x08,
  kSeconds = 0x09,
  kMicroseconds = 0x0a,
  kProtocolType = 0x0b,
  kAgentId = 0x0c,
  kAuthKey = 0x0e,
  kPayload = 0x0f,
  kCompressedPayload = 0x10,
  kCorrelationId = 0x11,
  kAgentName = 0x13,
};

// The size of the data of each chunk type up to 0x13 that has a fixed one; 0: any size.
constexpr std::array<std::uint8_t, 0x14> kFixedSize = {0, 1, 1, 4, 4, 16, 16, 2, 2, 4,
                                                       4, 1, 4, 2, 0, 0,  0,  0, 2, 0};
constexpr std::size_t kChunkHeaderSize = 6;

std::uint16_t Read16(const char* at) {
  return static_cast<std::uint16_t>(static_cast<unsigned char>(at[0]) << 8 |
                                    static_cast<unsigned char>(at[1]));
}

std::uint32_t Read32(const char* at) {
  return static_cast<std::uint32_t>(Read16(at)) << 16 | Read16(at + 2);
}

IpAddress ReadV4(const char* at) {
  std::array<std::uint8_t, 4> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return IpAddress::V4(bytes);
}

IpAddress ReadV6(const char* at) {
  std::array<std::uint8_t, 16> bytes;
  std::memcpy(bytes.data(), at, bytes.size());
  return IpAddress::V6(bytes);
}

// Kamailio writes 22 for TLS, WS and WSS alike; Asterisk writes 6 for all of them.
Transport TransportOf(std::uint8_t ip_protocol) {
  switch (ip_protocol) {
    case 6:
      return Transport::kTcp;
    case 17:
      return Transport::kUdp;
    case 22:
      return Transport::kTls;
    default:
      return Transport::kUnknown;
  }
}

HepError CheckMagic(std::string_view bytes) {
  if (bytes.size() >= 4 && std::memcmp(bytes.data(), "HEP3", 4) == 0) return HepError::kNone;
  // HEPv1 and v2 begin with their version and the length of their header: 8 bytes and two
  // addresses, and in v2 a time stamp of 10 or, padded, 12.
  if (bytes.size() >= 2 && (bytes[0] == 1 || bytes[0] == 2)) {
    const auto length = static_cast<unsigned char>(bytes[1]);
    const bool v1 = bytes[0] == 1;
    const unsigned stamp = v1 ? 0 : 10;
    if (length == 16 + stamp || length == 40 + stamp) {
      return v1 ? HepError::kVersion1 : HepError::kVersion2;
    }
    if (!v1 && (length == 28 || length == 52)) return HepError::kVersion2;
  }
  return HepError::kNotHep;
}

}  // namespace

std::string_view ToString(HepError error) {
  switch (error) {
    case HepError::kNone:
      return "none";
    case HepError::kNotHep:
      return "not_hep";
    case HepError::kVersion1:
      return "version_1";
    case HepError::kVersion2:
      return "version_2";
    case HepError::kTruncated:
      return "truncated";
    case HepError::kTotalLength:
      return "total_length";
    case HepError::kChunkLength:
      return "chunk_length";
    case HepError::kChunkSize:
      return "chunk_size";
    case HepError::kCompressed:
      return "compressed";
    case HepError::kNoPayload:
      return "no_payload";
  }
  return "unknown";
}

HepError DecodeHep(std::string_view bytes, HepPacket& packet) {
  if (const HepError error = CheckMagic(bytes); error != HepError::kNone) return error;
  if (bytes.size() < kHepHeaderSize) return HepError::kTruncated;
  const std::size_t total = Read16(bytes.data() + 4);
  if (total < kHepHeaderSize || total > bytes.size()) return HepError::kTruncated;
  if (total < bytes.size()) return HepError::kTotalLength;

  packet = HepPacket();
  bool compressed = false;
  std::uint32_t seconds = 0;
  std::uint32_t microseconds = 0;
  std::string_view rest = bytes.substr(kHepHeaderSize);
  while (!rest.empty()) {
    if (rest.size() < kChunkHeaderSize) return HepError::kChunkLength;
    const std::uint16_t vendor = Read16(rest.data());
    const std::uint16_t type = Read16(rest.data() + 2);
    const std::size_t length = Read16(rest.data() + 4);
    if (length < kChunkHeaderSize || length > rest.size()) return HepError::kChunkLength;
    const std::string_view data = rest.substr(kChunkHeaderSize, length - kChunkHeaderSize);
    rest.remove_prefix(length);
    if (vendor != 0) continue;  // a vendor's types are its own: 0x0f of vendor 5 is no payload
    if (type < kFixedSize.size() && kFixedSize[type] != 0 && data.size() != kFixedSize[type]) {
      return HepError::kChunkSize;
    }
    switch (type) {
      case kIpProtocol:
        packet.message.transport = TransportOf(static_cast<std::uint8_t>(data[0]));
        break;
      case kSourceV4:
        packet.message.source.ip = ReadV4(data.data());
        break;
      case kDestinationV4:
        packet.message.destination.ip = ReadV4(data.data());
        break;
      case kSourceV6:
        packet.message.source.ip = ReadV6(data.data());
        break;
      case kDestinationV6:
        packet.message.destination.ip = ReadV6(data.data());
        break;
      case kSourcePort:
        packet.message.source.port = Read16(data.data());
        break;
      case kDestinationPort:
        packet.message.destination.port = Read16(data.data());
        break;
      case kSeconds:
        seconds = Read32(data.data());
        break;
      case kMicroseconds:
        microseconds = Read32(data.data());
        break;
      case kProtocolType:
        packet.protocol_type = static_cast<std::uint8_t>(data[0]);
        break;
      case kAgentId:
        packet.agent_id = Read32(data.data());
        packet.has_agent_id = true;
        break;
      case kAuthKey:
        packet.auth_key = data;
        packet.has_auth_key = true;
        break;
      case kPayload:
        packet.message.bytes = data;
        break;
      case kCompressedPayload:
        compressed = true;
        break;
      case kCorrelationId:
        packet.correlation_id = data;
        break;
      case kAgentName:
        packet.message.agent = data;
        break;
      default:
        break;
    }
  }
  if (packet.message.bytes.empty()) {
    return compressed ? HepError::kCompressed : HepError::kNoPayload;
  }
  // Some agents send a null time, or microseconds that are none: then the time is not known.
  if (seconds != 0 && microseconds < 1'000'000) {
    packet.message.time =
        CaptureTime(std::chrono::seconds(seconds)) + std::chrono::microseconds(microseconds);
  }
  return HepError::kNone;
}

std::size_t HepFrameLength(std::string_view bytes, HepError& error) {
  error = HepError::kNone;
  if (bytes.size() < kHepHeaderSize) {
    // What is there must at least be the beginning of the magic.
    if (std::string_view("HEP3").substr(0, bytes.size()) != bytes.substr(0, 4)) {
      error = HepError::kNotHep;
    }
    return 0;
  }
  error = CheckMagic(bytes);
  if (error != HepError::kNone) return 0;
  const std::size_t total = Read16(bytes.data() + 4);
  if (total <= kHepHeaderSize) error = HepError::kTruncated;
  return error == HepError::kNone ? total : 0;
}

}  // namespace sipheal::inline v0_1::sip
