// SPDX-License-Identifier: Apache-2.0
// Reads the SIP messages out of capture files, for tests, for support, and for `sipheal dialogs`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1 {

struct PcapOptions {
  // The last frame read, counted from 1, inclusive: as if the capture had ended there.
  std::optional<std::uint64_t> last_frame;
  // Frames later than this are not read.
  std::optional<sip::CaptureTime> last_time;
  // A file that breaks off, or is damaged from some frame on, gives what stood before, with
  // PcapContents::damage set. Otherwise it is an error.
  bool keep_damaged = false;
  // More is ResourceExhausted.
  std::size_t max_messages = 5'000'000;
};

struct PcapContents {
  // In the order of the frames that completed them; `sequence` is that frame's number. A HEP packet
  // gives the addresses, time and agent that it states.
  std::vector<sip::CapturedMessage> messages;
  std::uint64_t frames = 0;          // read
  std::uint64_t not_ip = 0;          // frames that hold no IP packet that could be read
  std::uint64_t hep_packets = 0;     // taken
  std::uint64_t hep_refused = 0;     // began as HEP, but could not be decoded
  std::uint64_t stream_gaps = 0;     // holes in TCP streams that carried SIP or HEP
  std::uint64_t lost_fragments = 0;  // IP packets of which a fragment was missing
  std::string damage;                // empty: the file was read to its end
};

// Reads a pcap or pcapng file: Ethernet (VLAN tags, also stacked), raw IP, Linux cooked v1 and v2,
// BSD loopback; IPv4 and IPv6 with fragments; IP in IP, GRE and GTP-U, whose inner addresses count;
// UDP, and TCP with reassembly; SIP, and HEP3 over either.
//
// NotFound when there is no such file, InvalidArgument when it is no capture or of a link type that
// is not read, DataLoss with the frame's number when it is damaged. Memory: the messages, and at
// most 64 MiB of packets and streams that are not whole yet. Thread-safe.
SIPHEAL_EXPORT absl::StatusOr<PcapContents> ReadPcap(const std::string& path,
                                                     const PcapOptions& options = {});

}  // namespace sipheal::inline v0_1
