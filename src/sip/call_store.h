// SPDX-License-Identifier: Apache-2.0
// Calls by Call-ID, each in one block of memory: a header, the Call-ID, and the lists of its facts
// one behind the other. A million of these are held at once, and each message of a call touches its
// block alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sip/call_facts.h"
#include "sip/call_table.h"

namespace sipheal::inline v0_1::sip {

// The beginning of a call's block. What Sweep looks at stands here, so that it need not load the
// call.
struct StoredCall {
  std::int64_t first_us;
  std::int64_t newest_us;
  std::uint32_t capacity;     // bytes of the block
  std::uint32_t packed_size;  // of the facts; 0: they are not packed
  std::uint32_t transactions;
  std::uint32_t answers;
  std::uint32_t floors;
  std::uint16_t rivals;
  std::uint16_t text_bytes;
  std::uint8_t tags;
  std::uint8_t endpoints;
  bool limits_reached;
  bool compacted;
  bool quiet;  // PutQuiet stored it, and a look at it showed that it goes on
  // As PutQuiet found them.
  bool may_have_ended;
  bool two_sided;
  bool of_call;
  std::uint32_t call_id_size;  // next to what it is of

  std::string_view call_id() const {
    return {reinterpret_cast<const char*>(this + 1), call_id_size};
  }
};

class CallStore {
 public:
  CallStore() = default;
  ~CallStore();
  CallStore(CallStore&&) = delete;
  CallStore& operator=(CallStore&&) = delete;

  // nullptr when the call is not stored. Valid until it is put or erased.
  StoredCall* Find(std::uint64_t hash, std::string_view call_id) const {
    return table_.Find(hash, call_id);
  }
  // Fills `facts`, whatever was in it before.
  void Load(const StoredCall& call, CallFacts& facts) const;
  // Adds the call, or replaces what is stored of it. `known` is what Find gave for it.
  StoredCall* Put(std::uint64_t hash, std::string_view call_id, const CallFacts& facts,
                  StoredCall* known);
  void Erase(StoredCall* call);

  // Calls fn(StoredCall&) for each call in no particular order. fn must not change the store.
  template <typename Fn>
  void ForEach(Fn&& fn) const {
    table_.ForEach([&](StoredCall* call) { fn(*call); });
  }
  // The same; where fn returns false, the call goes. fn may replace the call that it is given by
  // what PutQuiet returns. A call may come twice.
  template <typename Fn>
  void Filter(Fn&& fn) {
    table_.Filter([&](StoredCall*& call) {
      const bool stays = fn(call);
      if (!stays) Free(call);
      return stays;
    });
  }
  // For a call that has become quiet: its facts packed (call_pack.h), without room for more
  // messages. `call` is no more. Within Filter only.
  StoredCall* PutQuiet(StoredCall* call, const CallFacts& facts);

  std::size_t size() const { return table_.size(); }
  // With the table, and what the allocator adds.
  std::size_t size_bytes() const;
  // By how much size_bytes() would grow if these facts were put.
  std::size_t Growth(std::string_view call_id, const CallFacts& facts,
                     const StoredCall* known) const;

 private:
  // The call's block with all but its facts filled in, for which it has `facts_size` bytes. A new
  // one gets `room` more; where there shall be none, no block stays that is larger.
  StoredCall* MakeBlock(std::string_view call_id, const CallFacts& facts, StoredCall* call,
                        std::size_t facts_size, std::size_t room);
  void Free(StoredCall* call);

  CallTable table_;
  std::size_t bytes_ = 0;  // of the blocks
  mutable std::string scratch_;
};

}  // namespace sipheal::inline v0_1::sip
