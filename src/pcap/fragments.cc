// SPDX-License-Identifier: Apache-2.0
#include "pcap/fragments.h"

namespace sipheal::inline v0_1::pcap {

std::optional<std::string> Fragments::Add(const Fragment& fragment) {
  if (fragment.offset + fragment.bytes.size() > kMaxPayload) return std::nullopt;
  const Key key(fragment.source, fragment.destination, fragment.id, fragment.protocol);
  const auto [entry, added] = packets_.try_emplace(key);
  if (added) {
    order_.push_back(key);
    while (order_.size() > kMaxPackets) {
      if (order_.front() != key) lost_ += packets_.erase(order_.front());
      order_.pop_front();
    }
  }
  Packet& packet = entry->second;
  packet.pieces.try_emplace(fragment.offset, fragment.bytes);
  if (fragment.last && !packet.size) packet.size = fragment.offset + fragment.bytes.size();
  if (!packet.size) return std::nullopt;

  std::string whole;
  for (const auto& [offset, bytes] : packet.pieces) {
    if (offset > whole.size()) return std::nullopt;  // a hole
    const std::size_t known = whole.size() - offset;
    if (known < bytes.size()) whole.append(bytes, known);
  }
  if (whole.size() < *packet.size) return std::nullopt;
  whole.resize(*packet.size);
  packets_.erase(entry);
  return whole;
}

}  // namespace sipheal::inline v0_1::pcap
