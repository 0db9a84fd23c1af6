// SPDX-License-Identifier: Apache-2.0
// The tracked calls by Call-ID, each in one block of memory: a header, the Call-ID, and the lists
// of its facts one behind the other. A million of these are held at once, and each message of a
// call touches its block alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "absl/container/flat_hash_set.h"
#include "absl/hash/hash.h"
#include "sip/call_facts.h"

namespace sipheal::inline v0_1::sip {

// The beginning of a call's block. What Sweep looks at stands here, so that it need not load the
// call.
struct StoredCall {
  std::int64_t first_us;
  std::int64_t newest_us;
  std::uint32_t capacity;  // bytes of the block
  std::uint32_t call_id_size;
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
  bool quiet;  // PutQuiet stored it; only then the next two are known
  bool may_have_ended;
  bool two_sided;

  std::string_view call_id() const {
    return {reinterpret_cast<const char*>(this + 1), call_id_size};
  }
};

class CallStore {
 public:
  CallStore() = default;
  CallStore(CallStore&&) = default;
  CallStore& operator=(CallStore&&) = default;

  // nullptr when the call is not tracked. Valid until the next Put or Erase.
  StoredCall* Find(std::string_view call_id) const;
  // Fills `facts`, whatever was in it before.
  void Load(const StoredCall& call, CallFacts& facts) const;
  // Adds the call, or replaces what is stored of it. `known` is what Find gave for it.
  void Put(std::string_view call_id, const CallFacts& facts, StoredCall* known);
  // The same for a call that has become quiet: packed (call_pack.h), without room for more
  // messages.
  const StoredCall& PutQuiet(StoredCall& call, const CallFacts& facts);
  bool Erase(std::string_view call_id);

  // Calls fn(StoredCall&) for each call in no particular order. fn must not change the store, but
  // for the call that it is given, and that by PutQuiet alone. Where fn returns false, the call
  // goes.
  template <typename Fn>
  void Filter(Fn&& fn) {
    for (auto at = blocks_.begin(); at != blocks_.end();) {
      const auto current = at++;
      if (fn(*current->call)) continue;
      bytes_ -= current->call->capacity;
      blocks_.erase(current);
    }
  }
  template <typename Fn>
  void ForEach(Fn&& fn) const {
    for (const Block& block : blocks_) fn(*block.call);
  }

  std::size_t size() const { return blocks_.size(); }
  // With the table, and what the allocator adds.
  std::size_t size_bytes() const;

 private:
  struct Free {
    void operator()(StoredCall* call) const { std::free(call); }
  };
  // A block may be replaced by another of the same Call-ID without the table's taking notice.
  struct Block {
    mutable std::unique_ptr<StoredCall, Free> call;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view call_id) const {
      return absl::Hash<std::string_view>()(call_id);
    }
    std::size_t operator()(const Block& block) const { return (*this)(block.call->call_id()); }
  };
  struct Equal {
    using is_transparent = void;
    static std::string_view Key(std::string_view call_id) { return call_id; }
    static std::string_view Key(const Block& block) { return block.call->call_id(); }
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      return Key(a) == Key(b);
    }
  };

  // The call's block with all but its facts filled in, for which it has `facts_size` bytes. A new
  // one gets `room` more; where there shall be none, no block stays that is larger.
  StoredCall& MakeBlock(std::string_view call_id, const CallFacts& facts, StoredCall* call,
                        std::size_t facts_size, std::size_t room);

  absl::flat_hash_set<Block, Hash, Equal> blocks_;
  std::size_t bytes_ = 0;  // of the blocks
  mutable std::string scratch_;
};

}  // namespace sipheal::inline v0_1::sip
