// SPDX-License-Identifier: Apache-2.0
#include "pcap/fragments.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace sipheal::inline v0_1::pcap {

// False when the piece claims bytes that another has.
bool Fragments::Insert(Packet& packet, const Fragment& fragment) {
  const std::size_t end = fragment.offset + fragment.bytes.size();
  const auto next = packet.pieces.lower_bound(fragment.offset);
  if (next != packet.pieces.end()) {
    if (next->first == fragment.offset && next->second.bytes == fragment.bytes) return true;
    if (next->first < end) return false;
  }
  if (next != packet.pieces.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second.bytes.size() > fragment.offset) return false;
  }
  if (fragment.last ? packet.size.has_value() && *packet.size != end
                    : packet.size.has_value() && end > *packet.size) {
    return false;
  }
  if (fragment.last) {
    if (!packet.pieces.empty()) {
      const auto& [offset, piece] = *packet.pieces.rbegin();
      if (offset + piece.bytes.size() > end) return false;
    }
    packet.size = end;
  }
  packet.pieces.emplace_hint(next, fragment.offset,
                             Piece{std::string(fragment.bytes), fragment.stamp});
  packet.held += fragment.bytes.size();
  packet.cost += fragment.bytes.size() + kPieceOverhead;
  cost_ += fragment.bytes.size() + kPieceOverhead;
  return true;
}

std::optional<std::string> Fragments::Add(const Fragment& fragment) {
  if (fragment.bytes.empty() || fragment.offset + fragment.bytes.size() > kMaxPayload) {
    return std::nullopt;
  }
  const Key key(fragment.source, fragment.destination, fragment.id, fragment.protocol);
  auto found = by_key_.find(key);
  // An id that comes back after a while, or behind a whole packet with other bytes, names another.
  if (found != by_key_.end() && (fragment.stamp.time - found->second->newest > kPatience ||
                                 (found->second->whole && !Holds(*found->second, fragment)))) {
    Forget(found->second);
    found = by_key_.end();
  }
  if (found == by_key_.end()) {
    packets_.emplace_back();
    packets_.back().key = key;
    found = by_key_.emplace(key, std::prev(packets_.end())).first;
  }
  const Packets::iterator packet = found->second;
  packet->newest = fragment.stamp.time;
  if (packet->hostile || packet->whole) return std::nullopt;
  if (!Insert(*packet, fragment)) {
    packet->hostile = true;  // and stays so, until it is forgotten
    cost_ -= packet->cost;
    packet->cost = 0;
    packet->pieces.clear();
    return std::nullopt;
  }
  std::optional<std::string> payload;
  if (packet->size.has_value() && packet->held >= *packet->size) {
    packet->whole = true;
    payload.emplace().reserve(packet->held);
    for (const auto& [offset, piece] : packet->pieces) *payload += piece.bytes;
  }
  while (packets_.size() > kMaxPackets || cost_ > kMaxBytes) Forget(packets_.begin());
  return payload;
}

bool Fragments::Holds(const Packet& packet, const Fragment& fragment) {
  const auto piece = packet.pieces.find(fragment.offset);
  return piece != packet.pieces.end() && piece->second.bytes == fragment.bytes;
}

void Fragments::Forget(Packets::iterator packet) {
  if (!packet->whole) ++lost_;
  Drop(packet);
}

void Fragments::Drop(Packets::iterator packet) {
  cost_ -= packet->cost;
  by_key_.erase(packet->key);
  packets_.erase(packet);
}

void Fragments::GiveUp(Packets::iterator packet, std::vector<Incomplete>& out) {
  Incomplete incomplete;
  for (auto& [offset, piece] : packet->pieces) {
    if (packet->whole || offset != incomplete.bytes.size()) break;
    incomplete.bytes += piece.bytes;
    incomplete.stamp = Later(incomplete.stamp, piece.stamp);
  }
  if (!incomplete.bytes.empty()) {
    incomplete.source = std::get<0>(packet->key);
    incomplete.destination = std::get<1>(packet->key);
    incomplete.protocol = std::get<3>(packet->key);
    out.push_back(std::move(incomplete));
  }
  Forget(packet);
}

std::vector<Fragments::Incomplete> Fragments::TakeExpired(sip::CaptureTime now) {
  std::vector<Incomplete> out;
  while (!packets_.empty() && now - packets_.front().newest > kPatience) {
    GiveUp(packets_.begin(), out);
  }
  return out;
}

std::uint64_t Fragments::lost() const {
  const auto waits = [](const Packet& packet) { return !packet.whole; };
  return lost_ + static_cast<std::uint64_t>(std::count_if(packets_.begin(), packets_.end(), waits));
}

std::vector<Fragments::Incomplete> Fragments::TakeRest() {
  std::vector<Incomplete> out;
  while (!packets_.empty()) GiveUp(packets_.begin(), out);
  return out;
}

}  // namespace sipheal::inline v0_1::pcap
