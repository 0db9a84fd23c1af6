// SPDX-License-Identifier: Apache-2.0
#include <pcap/pcap.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>
#include <utility>

#include "absl/strings/str_format.h"
#include "pcap/packet_decoder.h"
#include "pcap/tcp_streams.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/hep_packet.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1 {
namespace {

struct CloseCapture {
  void operator()(pcap_t* capture) const { pcap_close(capture); }
};
using Capture = std::unique_ptr<pcap_t, CloseCapture>;

// Gathers the messages of one file.
class Collector {
 public:
  Collector(int link_type, PcapContents& contents)
      : contents_(contents),
        streams_([this](const sip::Endpoint& source, const sip::Endpoint& destination,
                        pcap::StreamKind kind, std::string_view bytes) {
          if (kind == pcap::StreamKind::kHep) {
            TakeHep(bytes);
          } else {
            TakeSip(source, destination, sip::Transport::kTcp, bytes);
          }
        }),
        decoder_(link_type,
                 {[this](const sip::Endpoint& source, const sip::Endpoint& destination,
                         std::string_view bytes) { TakeDatagram(source, destination, bytes); },
                  [this](const pcap::Segment& segment) { streams_.Add(segment); }}) {}

  void TakeFrame(sip::CaptureTime time, std::string_view bytes) {
    time_ = time;
    ++contents_.frames;
    if (!decoder_.Decode(bytes)) ++contents_.not_ip;
  }

  void Finish() {
    streams_.Finish();
    contents_.stream_gaps = streams_.gaps();
    contents_.lost_fragments = decoder_.lost_fragments();
  }

 private:
  void TakeDatagram(const sip::Endpoint& source, const sip::Endpoint& destination,
                    std::string_view bytes) {
    if (bytes.starts_with("HEP3")) {
      TakeHep(bytes);
    } else if (pcap::LooksLikeSip(bytes)) {
      TakeSip(source, destination, sip::Transport::kUdp, bytes);
    }
  }

  void TakeSip(const sip::Endpoint& source, const sip::Endpoint& destination,
               sip::Transport transport, std::string_view bytes) {
    sip::CapturedMessage& message = contents_.messages.emplace_back();
    message.bytes = bytes;
    message.source = source;
    message.destination = destination;
    message.transport = transport;
    message.time = time_;
    message.sequence = contents_.frames;
  }

  void TakeHep(std::string_view bytes) {
    sip::HepPacket packet;
    if (sip::DecodeHep(bytes, packet) != sip::HepError::kNone) {
      ++contents_.hep_refused;
      return;
    }
    ++contents_.hep_packets;
    if (packet.protocol_type != sip::kHepSip) return;
    const auto add = [&](std::string_view part) {
      TakeSip(packet.message.source, packet.message.destination, packet.message.transport, part);
      sip::CapturedMessage& message = contents_.messages.back();
      if (packet.message.time != sip::CaptureTime{}) message.time = packet.message.time;
      if (!packet.message.agent.empty()) {
        message.agent = packet.message.agent;
      } else if (packet.has_agent_id) {
        message.agent = absl::StrFormat("%d", packet.agent_id);
      }
    };
    if (packet.message.transport == sip::Transport::kUdp) {
      add(packet.message.bytes);
      return;
    }
    for (const std::string_view part : sip::SplitStreamBuffer(packet.message.bytes)) add(part);
  }

  PcapContents& contents_;
  sip::CaptureTime time_{};
  pcap::TcpStreams streams_;
  pcap::PacketDecoder decoder_;
};

absl::StatusOr<Capture> Open(const std::string& path) {
  std::FILE* const file = std::fopen(path.c_str(), "rb");
  if (file == nullptr) {
    const int error = errno;
    const std::string text =
        absl::StrFormat("%s: cannot be opened: %s", path, std::strerror(error));
    return error == ENOENT ? absl::NotFoundError(text) : absl::InvalidArgumentError(text);
  }
  std::array<char, PCAP_ERRBUF_SIZE> error{};
  Capture capture(pcap_fopen_offline(file, error.data()));  // owns the file from here on
  if (capture == nullptr) {
    std::fclose(file);
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: is no pcap or pcapng file: %s: convert it with editcap -F pcapng",
                        path, error.data()));
  }
  const int link_type = pcap_datalink(capture.get());
  if (!pcap::PacketDecoder::Knows(link_type)) {
    const char* const name = pcap_datalink_val_to_name(link_type);
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: link type %s is not read: capture on Ethernet, cooked or raw IP", path,
                        name != nullptr ? std::string(name) : absl::StrFormat("%d", link_type)));
  }
  return capture;
}

}  // namespace

absl::StatusOr<PcapContents> ReadPcap(const std::string& path, const PcapOptions& options) {
  absl::StatusOr<Capture> capture = Open(path);
  if (!capture.ok()) return capture.status();
  PcapContents contents;
  Collector collector(pcap_datalink(capture->get()), contents);
  while (!options.last_frame.has_value() || contents.frames < *options.last_frame) {
    pcap_pkthdr* header = nullptr;
    const unsigned char* data = nullptr;
    const int result = pcap_next_ex(capture->get(), &header, &data);
    if (result == PCAP_ERROR_BREAK) break;  // the end of the file
    if (result != 1) {
      contents.damage = absl::StrFormat("%s: frame %d: %s", path, contents.frames + 1,
                                        pcap_geterr(capture->get()));
      if (!options.keep_damaged) return absl::DataLossError(contents.damage);
      break;
    }
    const sip::CaptureTime time = sip::CaptureTime(std::chrono::seconds(header->ts.tv_sec)) +
                                  std::chrono::microseconds(header->ts.tv_usec);
    if (options.last_time.has_value() && time > *options.last_time) {
      ++contents.frames;  // its number is taken, though it is not read
      continue;
    }
    collector.TakeFrame(time, {reinterpret_cast<const char*>(data), header->caplen});
    if (contents.messages.size() > options.max_messages) {
      return absl::ResourceExhaustedError(
          absl::StrFormat("%s: frame %d: more than %d messages: split the file or raise the limit",
                          path, contents.frames, options.max_messages));
    }
  }
  collector.Finish();
  return contents;
}

}  // namespace sipheal::inline v0_1
