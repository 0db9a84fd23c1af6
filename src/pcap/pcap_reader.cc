// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "pcap/capture_file.h"
#include "pcap/hep_legacy.h"
#include "pcap/packet_decoder.h"
#include "pcap/tcp_streams.h"
#include "sipheal/adapters/pcap.h"
#include "sipheal/sip/hep_packet.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1 {
namespace {

// Gathers the messages of a capture.
class Collector {
 public:
  explicit Collector(PcapContents& contents) : contents_(contents) { Open(); }
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  void TakeFrame(const pcap::Frame& frame) {
    ++contents_.frames;
    contents_.last_time = std::max(contents_.last_time, frame.time);
    if (!decoder_->Decode(frame.link_type, frame.bytes, {contents_.frames, frame.time})) {
      ++contents_.not_ip;
    }
  }

  // What comes now is no continuation: what is not whole yet will not be.
  void StartOver() {
    Close(true);
    Open();
  }

  // `whole`: the capture was read to its end, so that nothing more can come.
  void Finish(bool whole) {
    Close(whole);
    Sort();
  }

 private:
  void Open() {
    streams_.emplace([this](const pcap::StreamMessage& message) { TakeStreamMessage(message); });
    decoder_.emplace(pcap::PacketDecoder::Sink{
        [this](const pcap::Datagram& datagram) { TakeDatagram(datagram); },
        [this](const pcap::Segment& segment) { streams_->Add(segment); }});
  }

  void Close(bool whole) {
    if (whole) decoder_->Finish();
    streams_->Finish();
    contents_.stream_gaps += streams_->gaps();
    contents_.lost_fragments += decoder_->lost_fragments();
  }

  void TakeDatagram(const pcap::Datagram& datagram) {
    if (datagram.bytes.starts_with("HEP3")) {
      TakeHep(datagram.origin, datagram.bytes);
    } else if (const auto legacy = pcap::DecodeLegacyHep(datagram.bytes)) {
      ++contents_.hep_packets;
      pcap::Origin agents = datagram.origin;
      agents.outer_source = {};
      TakeSip(agents, legacy->source, legacy->destination, legacy->transport, legacy->payload);
    } else if (pcap::LooksLikeSip(datagram.bytes)) {
      TakeSip(datagram.origin, datagram.source, datagram.destination, sip::Transport::kUdp,
              datagram.bytes);
      if (datagram.cut) ++contents_.cut_messages;
    }
  }

  void TakeStreamMessage(const pcap::StreamMessage& message) {
    if (message.kind == pcap::StreamKind::kHep) {
      TakeHep(message.origin, message.bytes);
      return;
    }
    const bool web_socket = message.kind == pcap::StreamKind::kWebSocket;
    TakeSip(message.origin, message.source, message.destination,
            web_socket ? sip::Transport::kWs : sip::Transport::kTcp, message.bytes);
    if (message.cut) ++contents_.cut_messages;
  }

  void TakeSip(const pcap::Origin& origin, const sip::Endpoint& source,
               const sip::Endpoint& destination, sip::Transport transport, std::string_view bytes) {
    // Empty lines before the start line are to be ignored (RFC 3261 7.5).
    bytes.remove_prefix(std::min(bytes.size(), bytes.find_first_not_of("\r\n")));
    if (!origin.outer_source.empty()) {
      contents_.tunnelled.push_back(
          {contents_.messages.size(), origin.outer_source, origin.outer_destination});
    }
    sip::CapturedMessage& message = contents_.messages.emplace_back();
    message.bytes = bytes;
    message.source = source;
    message.destination = destination;
    message.transport = transport;
    message.time = origin.stamp.time;
    message.sequence = origin.stamp.frame;
  }

  void TakeHep(const pcap::Origin& origin, std::string_view bytes) {
    sip::HepPacket packet;
    if (sip::DecodeHep(bytes, packet) != sip::HepError::kNone) {
      ++contents_.hep_refused;
      return;
    }
    ++contents_.hep_packets;
    if (packet.protocol_type != sip::kHepSip) return;
    pcap::Origin agents = origin;
    agents.outer_source = {};  // a tunnel around HEP is between agent and collector
    const auto add = [&](std::string_view part) {
      TakeSip(agents, packet.message.source, packet.message.destination, packet.message.transport,
              part);
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

  // What was waited for in vain came out late: back to the order of the frames.
  void Sort() {
    const auto earlier = [](const sip::CapturedMessage& a, const sip::CapturedMessage& b) {
      return a.sequence < b.sequence;
    };
    std::vector<sip::CapturedMessage>& messages = contents_.messages;
    if (std::is_sorted(messages.begin(), messages.end(), earlier)) return;
    std::vector<std::size_t> order(messages.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return messages[a].sequence < messages[b].sequence;
    });
    std::vector<sip::CapturedMessage> sorted;
    sorted.reserve(messages.size());
    std::vector<std::size_t> place(messages.size());
    for (const std::size_t old : order) {
      place[old] = sorted.size();
      sorted.push_back(std::move(messages[old]));
    }
    messages = std::move(sorted);
    for (PcapContents::Tunnelled& entry : contents_.tunnelled) entry.message = place[entry.message];
  }

  PcapContents& contents_;
  std::optional<pcap::TcpStreams> streams_;
  std::optional<pcap::PacketDecoder> decoder_;
};

}  // namespace

class PcapReader::Impl {
 public:
  explicit Impl(PcapOptions options) : options_(std::move(options)), collector_(contents_) {}

  absl::Status Add(const std::string& path) {
    if (AtLastFrame()) return absl::OkStatus();
    absl::StatusOr<std::unique_ptr<pcap::CaptureFile>> file = pcap::OpenCapture(path);
    if (!file.ok()) return file.status();
    std::set<int> unknown_links;
    bool known_link = false;
    bool first = true;
    while (!AtLastFrame()) {
      const std::optional<pcap::Frame> frame = (*file)->Next();
      if (!frame.has_value()) break;
      // Files that are not in the order of time, or of several capture points.
      if (std::exchange(first, false) && frame->time < contents_.last_time - kDisorder) {
        collector_.StartOver();
      }
      if (pcap::PacketDecoder::Knows(frame->link_type)) {
        known_link = true;
      } else {
        unknown_links.insert(frame->link_type);
      }
      if (options_.last_time.has_value() && frame->time > *options_.last_time) {
        ++contents_.frames;  // its number is taken, though it is not read
        continue;
      }
      collector_.TakeFrame(*frame);
      if (contents_.messages.size() > options_.max_messages) {
        return absl::ResourceExhaustedError(absl::StrFormat(
            "%s: frame %d: more than %d messages: split the file or raise the limit", path,
            contents_.frames, options_.max_messages));
      }
    }
    if (!unknown_links.empty() && !known_link) {
      return absl::InvalidArgumentError(
          absl::StrFormat("%s: link type %s is not read: capture on Ethernet, cooked or raw IP",
                          path, LinkNames(unknown_links)));
    }
    unread_links_.merge(unknown_links);
    if (const std::string damage = (*file)->damage(); !damage.empty()) {
      return absl::DataLossError(
          absl::StrFormat("%s: frame %d: %s: copy the file again, or cut it there with editcap",
                          path, contents_.frames + 1, damage));
    }
    return absl::OkStatus();
  }

  PcapContents Finish() {
    // Read to the end, nothing more can come.
    collector_.Finish(!AtLastFrame() && !options_.last_time.has_value());
    contents_.unread_links = LinkNames(unread_links_);
    return std::move(contents_);
  }

 private:
  // How far a frame may stand behind a later one where it was captured.
  static constexpr std::chrono::milliseconds kDisorder{100};

  bool AtLastFrame() const {
    return options_.last_frame.has_value() && contents_.frames >= *options_.last_frame;
  }

  static std::string LinkNames(const std::set<int>& links) {
    std::string names;
    for (const int link : links) {
      names += (names.empty() ? "" : ", ") + pcap::LinkTypeName(link);
    }
    return names;
  }

  PcapOptions options_;
  PcapContents contents_;
  Collector collector_;
  std::set<int> unread_links_;
};

PcapReader::PcapReader(PcapOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
PcapReader::~PcapReader() = default;
absl::Status PcapReader::Add(const std::string& path) { return impl_->Add(path); }
PcapContents PcapReader::Finish() { return impl_->Finish(); }

absl::StatusOr<PcapContents> ReadPcap(const std::string& path, const PcapOptions& options) {
  PcapReader reader(options);
  const absl::Status status = reader.Add(path);
  const bool damaged = absl::IsDataLoss(status);
  if (!status.ok() && !(damaged && options.keep_damaged)) return status;
  PcapContents contents = reader.Finish();
  if (damaged) contents.damage = std::string(status.message());
  return contents;
}

}  // namespace sipheal::inline v0_1
