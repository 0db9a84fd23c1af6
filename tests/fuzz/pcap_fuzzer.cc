// SPDX-License-Identifier: Apache-2.0
// Fuzzes the way from a capture file to SIP messages. The first byte chooses: a whole pcapng file,
// or frames of one link type, each behind its length in two bytes.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <string_view>

#include "pcap/hep_legacy.h"
#include "pcap/packet_decoder.h"
#include "pcap/pcapng_file.h"
#include "pcap/tcp_streams.h"

namespace {

using namespace sipheal;  // NOLINT

class Reader {
 public:
  void Take(int link_type, std::string_view frame, sip::CaptureTime time) {
    decoder_.Decode(link_type, frame, {++frames_, time});
  }
  void Finish() {
    decoder_.Finish();
    streams_.Finish();
  }

 private:
  std::size_t bytes_ = 0;
  std::uint64_t frames_ = 0;
  pcap::TcpStreams streams_{
      [this](const pcap::StreamMessage& message) { bytes_ += message.bytes.size(); }};
  pcap::PacketDecoder decoder_{{[this](const pcap::Datagram& datagram) {
                                  bytes_ += pcap::LooksLikeSip(datagram.bytes)
                                                ? datagram.bytes.size()
                                                : 0;
                                },
                                [this](const pcap::Segment& segment) { streams_.Add(segment); }}};
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  constexpr std::array kLinks = {1, 101, 0, 113, 276, 9};
  std::string_view input(reinterpret_cast<const char*>(data) + 1, size - 1);
  Reader reader;
  if (data[0] >= kLinks.size()) {
    pcap::PcapngFile file(fmemopen(const_cast<char*>(input.data()), input.size(), "rb"));
    while (const std::optional<pcap::Frame> frame = file.Next()) {
      reader.Take(frame->link_type, frame->bytes, frame->time);
    }
  }
  while (data[0] < kLinks.size() && input.size() >= 2) {
    const std::size_t length = static_cast<std::size_t>(static_cast<unsigned char>(input[0]) << 8 |
                                                        static_cast<unsigned char>(input[1]));
    input.remove_prefix(2);
    reader.Take(kLinks[data[0]], input.substr(0, length), {});
    input.remove_prefix(std::min(length, input.size()));
  }
  reader.Finish();
  return 0;
}
