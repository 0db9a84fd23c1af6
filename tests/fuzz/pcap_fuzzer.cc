// SPDX-License-Identifier: Apache-2.0
// Fuzzes the way from a frame to SIP messages: the first byte chooses the link type, then frames,
// each behind its length in two bytes.
#include <pcap/dlt.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "pcap/packet_decoder.h"
#include "pcap/tcp_streams.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sipheal;  // NOLINT
  if (size == 0) return 0;
  constexpr std::array kLinks = {DLT_EN10MB, DLT_RAW, DLT_NULL, DLT_LINUX_SLL, DLT_LINUX_SLL2};
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::size_t bytes = 0;
  pcap::TcpStreams streams([&](const sip::Endpoint&, const sip::Endpoint&, pcap::StreamKind,
                               std::string_view message) { bytes += message.size(); });
  pcap::PacketDecoder decoder(
      kLinks[data[0] % kLinks.size()],
      {[&](const sip::Endpoint&, const sip::Endpoint&, std::string_view datagram) {
         bytes += pcap::LooksLikeSip(datagram) ? datagram.size() : 0;
       },
       [&](const pcap::Segment& segment) { streams.Add(segment); }});
  while (input.size() >= 2) {
    const std::size_t length = static_cast<std::size_t>(static_cast<unsigned char>(input[0]) << 8 |
                                                        static_cast<unsigned char>(input[1]));
    input.remove_prefix(2);
    decoder.Decode(input.substr(0, length));
    input.remove_prefix(std::min(length, input.size()));
  }
  streams.Finish();
  return 0;
}
