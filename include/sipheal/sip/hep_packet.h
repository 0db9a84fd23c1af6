// SPDX-License-Identifier: Apache-2.0
// One HEP3 packet, decoded without a copy. HEP (Homer Encapsulation Protocol, revision 37) is how
// media servers and proxies send what they see to a collector. The decoder is pure: no I/O, no
// allocation, and every byte is hostile. Sockets and who may send are the HEP receiver's matter
// (adapters/hep.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::sip {

// Why a packet was refused. A closed list: each is a counter.
enum class HepError : std::uint8_t {
  kNone,
  kNotHep,       // no known magic
  kVersion1,     // HEPv1: no time stamp, no agent; not taken
  kVersion2,     // HEPv2: time in the sender's byte order, no agent name; not taken
  kTruncated,    // shorter than its header, or than the total length it states
  kTotalLength,  // more bytes than the total length it states
  kChunkLength,  // a chunk shorter than its own header, or past the end of the packet
  kChunkSize,    // a chunk of fixed size with another size
  kCompressed,   // the payload is compressed (chunk 0x10); not taken
  kNoPayload,
};
inline constexpr int kHepErrorCount = static_cast<int>(HepError::kNoPayload) + 1;
// The name that counters and logs use: "not_hep", "version_1", ...
SIPHEAL_EXPORT std::string_view ToString(HepError error);

inline constexpr std::size_t kHepHeaderSize = 6;
inline constexpr std::size_t kHepMaxPacket = 65535;  // the total length has 16 bits
// Chunk 0x0b: what the payload is.
inline constexpr std::uint8_t kHepSip = 1;

// The views point into the packet.
struct HepPacket {
  // The payload with its addresses and time. `agent` is the agent's name, empty when the packet has
  // none (agent_id then tells who); `sequence` is for the receiver to set. A zero time means that
  // the packet had none.
  CapturedMessageView message;
  std::uint8_t protocol_type = 0;  // kHepSip, or RTCP, logs, ... which are not SIP; 0: not given
  std::uint32_t agent_id = 0;
  bool has_agent_id = false;
  bool has_auth_key = false;
  std::string_view auth_key;  // as sent, in the clear; never log it
  std::string_view correlation_id;
};

// Decodes one whole packet, as a datagram brings it or as HepFrameLength cut it from a stream. What
// follows a fault is not looked at, and `packet` is then unspecified. Chunks of unknown type or of
// any vendor but 0 are skipped. Thread-safe.
SIPHEAL_EXPORT HepError DecodeHep(std::string_view bytes, HepPacket& packet);

// For a stream of HEP3 packets: the length of the packet that begins at `bytes`; 0 when fewer than
// kHepHeaderSize bytes are there yet. When no HEP3 packet can begin so, `error` tells why: the
// stream cannot be followed any further.
SIPHEAL_EXPORT std::size_t HepFrameLength(std::string_view bytes, HepError& error);

}  // namespace sipheal::inline v0_1::sip
