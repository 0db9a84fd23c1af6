// SPDX-License-Identifier: Apache-2.0
#include "homer/gather.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"
#include "sipheal/sip/stream_framer.h"

namespace sipheal::inline v0_1::internal::homer {
namespace {

constexpr int kSip = 1;

// Kamailio writes 22 for TLS and WebSocket alike, Asterisk 6 for all that is not UDP.
sip::Transport TransportOf(int protocol) {
  switch (protocol) {
    case 6:
      return sip::Transport::kTcp;
    case 17:
      return sip::Transport::kUdp;
    case 22:
      return sip::Transport::kTls;
    default:
      return sip::Transport::kUnknown;
  }
}

sip::Endpoint EndpointOf(std::string_view ip, std::uint16_t port) {
  sip::Endpoint endpoint;
  endpoint.ip = sip::IpAddress::Parse(ip).value_or(sip::IpAddress());
  endpoint.port = port;
  return endpoint;
}

// Of messages of one time.
bool IsSame(const sip::CapturedMessage& a, const sip::CapturedMessage& b) {
  return a.source == b.source && a.destination == b.destination && a.agent == b.agent &&
         a.bytes == b.bytes;
}

std::uint64_t FingerprintOf(const sip::CapturedMessage& message) {
  const std::size_t hash = std::hash<std::string_view>()(message.bytes) * 31 +
                           std::hash<std::string_view>()(message.agent);
  return (hash ^ static_cast<std::size_t>(message.time.time_since_epoch().count())) *
         0x9e3779b97f4a7c15u;
}

}  // namespace

Gatherer::Gatherer(std::vector<std::string> agents, std::size_t max_rows, std::size_t max_bytes)
    : agents_(std::move(agents)), max_rows_(max_rows), max_bytes_(max_bytes) {}

absl::Status Gatherer::CountBytes(std::size_t bytes) {
  bytes_ += bytes;
  if (bytes_ <= max_bytes_) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrFormat(
      "HOMER's answers have more than max_bytes = %d: ask for fewer Call-IDs at a time or raise it",
      max_bytes_));
}

absl::Status Gatherer::Add(const Row& row) {
  if (++rows_ > max_rows_) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "HOMER's answers have more than max_rows = %d: ask for fewer Call-IDs at a time or raise "
        "it",
        max_rows_));
  }
  if (row.payload_type != kSip || row.raw.empty()) return absl::OkStatus();
  if (!agents_.empty() && std::find(agents_.begin(), agents_.end(), row.agent) == agents_.end()) {
    return absl::OkStatus();
  }
  const sip::Transport transport = TransportOf(row.protocol);
  if (!sip::IsStream(transport)) {
    AddMessage(row, row.raw, transport);
    return absl::OkStatus();
  }
  const std::vector<std::string_view> pieces = sip::SplitStreamBuffer(row.raw);
  for (const std::string_view piece : pieces) AddMessage(row, piece, transport);
  // HOMER drops NUL and what is not UTF-8 from a body, which then is shorter than its
  // Content-Length says.
  if (pieces.empty()) AddMessage(row, row.raw, transport);
  return absl::OkStatus();
}

void Gatherer::AddMessage(const Row& row, std::string_view bytes, sip::Transport transport) {
  if (!view_.Parse(bytes).ok()) return;  // no evidence of anything
  const auto wanted = found_.find(view_.call_id());
  if (wanted == found_.end()) return;
  sip::CapturedMessage message;
  message.bytes = bytes;
  message.source = EndpointOf(row.source_ip, row.source_port);
  message.destination = EndpointOf(row.destination_ip, row.destination_port);
  message.transport = transport;
  message.time = sip::CaptureTime(std::chrono::microseconds(row.time_us));
  message.agent = row.agent;
  Found& found = wanted->second;
  found.messages.push_back(std::move(message));
  found.row_ids.push_back(row.id);
}

void Gatherer::Sort() {
  for (auto& one : found_) {
    Found& found = one.second;
    std::vector<std::size_t> order(found.messages.size());
    std::iota(order.begin(), order.end(), 0);
    // Stable: the pieces of one buffer stay in their order.
    std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return std::tie(found.messages[a].time, found.row_ids[a]) <
             std::tie(found.messages[b].time, found.row_ids[b]);
    });
    std::vector<sip::CapturedMessage> sorted;
    sorted.reserve(order.size());
    found.fingerprint = 0;
    std::size_t first = 0;  // of those of the row at hand, in `sorted`
    for (std::size_t i = 0; i < order.size(); ++i) {
      sip::CapturedMessage& message = found.messages[order[i]];
      if (i == 0 || sorted.back().time != message.time ||
          found.row_ids[order[i - 1]] != found.row_ids[order[i]]) {
        first = sorted.size();
      }
      const auto begin = sorted.begin() + static_cast<std::ptrdiff_t>(first);
      if (std::any_of(begin, sorted.end(),
                      [&](const sip::CapturedMessage& known) { return IsSame(known, message); })) {
        continue;
      }
      found.fingerprint += FingerprintOf(message);
      sorted.push_back(std::move(message));
      sorted.back().sequence = sorted.size();
    }
    found.messages = std::move(sorted);
    found.row_ids.clear();
  }
}

Gatherer::Found Gatherer::Take(const std::string& call_id) { return std::move(found_.at(call_id)); }

}  // namespace sipheal::inline v0_1::internal::homer
