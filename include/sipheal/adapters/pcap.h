// SPDX-License-Identifier: Apache-2.0
// Reads the SIP messages out of capture files, for tests, for support, and for `sipheal dialogs`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
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
  // Of a message that was found in a tunnel.
  struct Tunnelled {
    std::size_t message = 0;  // its place in `messages`
    // The outermost addresses; the message's own are the innermost.
    sip::IpAddress outer_source;
    sip::IpAddress outer_destination;
  };

  // In the order of the frames that completed them; `sequence` is that frame's number. A HEP packet
  // gives the addresses, time and agent that it states.
  std::vector<sip::CapturedMessage> messages;
  std::vector<Tunnelled> tunnelled;
  sip::CaptureTime last_time{};      // of the newest frame read
  std::uint64_t frames = 0;          // read
  std::uint64_t not_ip = 0;          // frames that hold no IP packet that could be read
  std::uint64_t hep_packets = 0;     // taken
  std::uint64_t hep_refused = 0;     // began as HEP, but could not be decoded
  std::uint64_t stream_gaps = 0;     // holes in TCP streams that carried SIP or HEP
  std::uint64_t lost_fragments = 0;  // IP packets of which a fragment was missing
  // Messages whose end the capture does not have, since it cut packets or dropped fragments. Their
  // headers count; the parser flags the body.
  std::uint64_t cut_messages = 0;
  std::string unread_links;  // link types of frames that were passed over; empty: none
  std::string damage;        // empty: the file was read to its end
};

// Reads a pcap or pcapng file, of either byte order, with times of any resolution (cut to
// microseconds); a pcapng may have interfaces of several link types: Ethernet (VLAN tags, also
// stacked, MPLS, PPPoE), raw IP, PPP, Linux cooked v1 and v2, BSD loopback. IPv4 and IPv6 with
// fragments; IP in IP, GRE, ERSPAN, VXLAN and GTP-U, whose inner addresses count; UDP, and TCP with
// reassembly; SIP, also in WebSockets, and HEP3 over either; HEP of versions 1 and 2 over UDP.
//
// A message that came in pieces belongs to the frame without which it could not have been read.
// Bytes that the capture does not have are no reason to drop what it has: a message with whole
// headers is kept, and a TCP stream is read on behind a hole.
//
// NotFound when there is no such file, InvalidArgument when it is no capture or of a link type that
// is not read, DataLoss with the frame's number when it is damaged. Time is linear in the file.
// Memory: the messages, and at most 80 MiB of packets and streams that are not whole yet.
// Thread-safe.
SIPHEAL_EXPORT absl::StatusOr<PcapContents> ReadPcap(const std::string& path,
                                                     const PcapOptions& options = {});

// The same for a capture in several files, as a ring of files has it: frames are counted through,
// and packets and streams that one file breaks off go on in the next, if that is not older. Not
// thread-safe.
class SIPHEAL_EXPORT PcapReader {
 public:
  explicit PcapReader(PcapOptions options = {});  // `keep_damaged` means nothing here
  ~PcapReader();
  PcapReader(const PcapReader&) = delete;
  PcapReader& operator=(const PcapReader&) = delete;

  // Reads the next file. Errors as of ReadPcap; what stood before one was read, and the next file
  // can be.
  absl::Status Add(const std::string& path);
  // All of the files, once. `damage` is empty.
  PcapContents Finish();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sipheal::inline v0_1
