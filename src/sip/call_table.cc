// SPDX-License-Identifier: Apache-2.0
#include "sip/call_table.h"

#include "absl/hash/hash.h"
#include "sip/call_store.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kFirstSlots = 16;
constexpr std::size_t kLine = 64;

}  // namespace

std::uint64_t CallTable::Hash(std::string_view call_id) {
  return absl::Hash<std::string_view>()(call_id);
}

StoredCall* CallTable::Find(std::uint64_t hash, std::string_view call_id) const {
  if (slots_.empty()) return nullptr;
  const auto wanted = static_cast<std::uint32_t>(hash);
  for (std::size_t at = wanted & (slots_.size() - 1);; at = Next(at)) {
    StoredCall* const call = slots_[at].call();
    if (call == nullptr) return nullptr;
    if (slots_[at].hash != wanted) continue;
    // The Call-ID mostly reaches into the next line.
    __builtin_prefetch(reinterpret_cast<const char*>(call) + kLine);
    if (call->call_id() == call_id) return call;
  }
}

std::size_t CallTable::SlotOf(std::uint64_t hash, const StoredCall* call) const {
  std::size_t at = static_cast<std::uint32_t>(hash) & (slots_.size() - 1);
  while (slots_[at].call() != call) at = Next(at);
  return at;
}

void CallTable::Place(const Slot& slot) {
  std::size_t at = slot.hash & (slots_.size() - 1);
  while (slots_[at].call() != nullptr) at = Next(at);
  slots_[at] = slot;
}

void CallTable::MakeRoom() {
  // At most two thirds are taken.
  if (3 * (size_ + 1) > 2 * slots_.size()) Grow();
}

void CallTable::Insert(std::uint64_t hash, StoredCall* call) {
  MakeRoom();
  Slot slot;
  slot.hash = static_cast<std::uint32_t>(hash);
  slot.set_call(call);
  Place(slot);
  ++size_;
}

void CallTable::Replace(std::uint64_t hash, const StoredCall* known, StoredCall* fresh) {
  slots_[SlotOf(hash, known)].set_call(fresh);
}

void CallTable::Erase(std::uint64_t hash, const StoredCall* call) {
  const std::size_t at = SlotOf(hash, call);
  slots_[at].set_call(nullptr);
  Close(at);
}

void CallTable::Grow() {
  std::vector<Slot> before(slots_.empty() ? kFirstSlots : 2 * slots_.size());
  before.swap(slots_);
  for (const Slot& slot : before) {
    if (slot.call() != nullptr) Place(slot);
  }
}

void CallTable::Close(std::size_t free) {
  --size_;
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t at = Next(free); slots_[at].call() != nullptr; at = Next(at)) {
    // It may move when the free slot lies on the way from where it belongs to where it is.
    const std::size_t home = slots_[at].hash & mask;
    if (((at - home) & mask) < ((at - free) & mask)) continue;
    slots_[free] = slots_[at];
    slots_[at].set_call(nullptr);
    free = at;
  }
}

}  // namespace sipheal::inline v0_1::sip
