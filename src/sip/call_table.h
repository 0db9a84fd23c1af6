// SPDX-License-Identifier: Apache-2.0
// A hash table of calls. A slot holds 32 bits of the hash, so that a lookup touches one line of the
// table and then, nearly always, only the call that it is for; growth touches no call at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

namespace sipheal::inline v0_1::sip {

struct StoredCall;

class CallTable {
 public:
  // The hash of a Call-ID, as every function here wants it.
  static std::uint64_t Hash(std::string_view call_id);

  // nullptr: not there.
  StoredCall* Find(std::uint64_t hash, std::string_view call_id) const;
  // For one call more: the Insert that follows needs no memory.
  void MakeRoom();
  // A call whose Call-ID is not there.
  void Insert(std::uint64_t hash, StoredCall* call);
  // Puts `fresh` where `known` is.
  void Replace(std::uint64_t hash, const StoredCall* known, StoredCall* fresh);
  void Erase(std::uint64_t hash, const StoredCall* call);

  // Calls fn(StoredCall*) for each call, in no particular order. fn must not change the table.
  template <typename Fn>
  void ForEach(Fn&& fn) const {
    for (const Slot& slot : slots_) {
      if (StoredCall* const call = slot.call(); call != nullptr) fn(call);
    }
  }
  // Calls fn(StoredCall*&) for each call; fn may put the same call's new block there, and returns
  // whether the call stays. It may come twice.
  template <typename Fn>
  void Filter(Fn&& fn) {
    for (std::size_t at = 0; at < slots_.size();) {
      bool stays = true;
      {
        Visit visit(slots_[at]);
        stays = visit.call == nullptr || fn(visit.call);
      }
      if (stays) {
        ++at;
      } else {
        slots_[at].set_call(nullptr);
        Close(at);  // another call may stand here now
      }
    }
  }

  std::size_t size() const { return size_; }
  std::size_t size_bytes() const { return slots_.capacity() * sizeof(Slot); }

 private:
  // Of twelve bytes, so that five are in a line.
  class Slot {
   public:
    // nullptr: free.
    StoredCall* call() const {
      StoredCall* call;
      std::memcpy(&call, call_, sizeof call);
      return call;
    }
    void set_call(StoredCall* call) { std::memcpy(call_, &call, sizeof call); }
    std::uint32_t hash = 0;

   private:
    std::uint32_t call_[sizeof(StoredCall*) / sizeof(std::uint32_t)] = {};
  };

  // Puts back what fn left, also when it throws: the block that it was given may be no more.
  struct Visit {
    explicit Visit(Slot& visited) : call(visited.call()), slot(visited) {}
    ~Visit() { slot.set_call(call); }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    StoredCall* call;
    Slot& slot;
  };

  std::size_t Next(std::size_t at) const { return (at + 1) & (slots_.size() - 1); }
  std::size_t SlotOf(std::uint64_t hash, const StoredCall* call) const;
  void Place(const Slot& slot);
  void Grow();
  // Moves what stands behind a slot that became free, so that no search ends there too early.
  void Close(std::size_t free);

  std::vector<Slot> slots_;  // their number is a power of two, or 0
  std::size_t size_ = 0;
};

}  // namespace sipheal::inline v0_1::sip
