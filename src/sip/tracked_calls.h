// SPDX-License-Identifier: Apache-2.0
// The calls that a folder tracks. Most lie in the store, each in its block; the few that messages
// came for last are open: their facts lie ready, and go back into the store when another call takes
// their place. Messages of one call mostly come together, and then neither is loaded nor stored.
//
// A call that was opened for its first message is in the store only after that. Nobody outside can
// tell an open call from a stored one.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "sip/call_store.h"

namespace sipheal::inline v0_1::sip {

class TrackedCalls {
 public:
  TrackedCalls() = default;
  TrackedCalls(const TrackedCalls&) = delete;
  TrackedCalls& operator=(const TrackedCalls&) = delete;

  struct OpenCall {
    std::string call_id;
    std::uint64_t hash = 0;
    std::uint64_t opened = 0;      // the later, the larger; 0: nothing is open here
    StoredCall* stored = nullptr;  // nullptr: not in the store
    bool unsaved = false;          // the facts are not what is stored
    CallFacts facts;
  };

  // Where a call is, until anything is opened, added or erased.
  struct Place {
    std::uint64_t hash = 0;
    OpenCall* open = nullptr;
    StoredCall* stored = nullptr;
    bool tracked() const { return open != nullptr || stored != nullptr; }
  };

  Place Find(std::string_view call_id) const;
  // The facts of a call that is tracked. Valid until the next Open or Add.
  OpenCall& Open(std::string_view call_id, const Place& place);
  // A call that is not; without facts.
  OpenCall& Add(std::string_view call_id, const Place& place);
  // To be called after the facts of an open call have changed; or only its newest time.
  void Changed(OpenCall& call) { call.unsaved = true; }
  void NewestChanged(OpenCall& call);
  bool Erase(std::string_view call_id);

  // Puts all that is open into the store, from which it is opened again.
  CallStore& CloseAll();
  // Calls fn(call_id) for each call in no particular order. fn may open calls, not add or erase
  // any.
  template <typename Fn>
  void ForEach(Fn&& fn) {
    CloseAll().ForEach([&](const StoredCall& call) { fn(call.call_id()); });
  }
  // Calls fn(call_id, facts) for each call, in no particular order.
  template <typename Fn>
  void ForEachFacts(Fn&& fn) {
    for (OpenCall& call : *open_) {
      if (call.opened != 0) fn(std::string_view(call.call_id), call.facts);
    }
    store_.ForEach([&](const StoredCall& call) {
      for (const OpenCall& open : *open_) {
        if (open.stored == &call) return;
      }
      store_.Load(call, *spare_);
      fn(call.call_id(), *spare_);
    });
  }
  // Facts to load a stored call into while nothing is opened.
  CallFacts& spare() { return *spare_; }

  std::size_t size() const;
  // Open calls count as when they are stored.
  std::size_t size_bytes() const;

 private:
  static constexpr std::size_t kOpen = 4;

  OpenCall& Take();
  void Begin(OpenCall& call, std::string_view call_id, std::uint64_t hash);
  void Close(OpenCall& call);

  CallStore store_;
  std::uint64_t opened_ = 0;
  // Large, and apart from what is kept of the calls.
  std::unique_ptr<std::array<OpenCall, kOpen>> open_ =
      std::make_unique<std::array<OpenCall, kOpen>>();
  OpenCall* last_ = open_->data();  // that was opened; most messages are for it
  std::unique_ptr<CallFacts> spare_ = std::make_unique<CallFacts>();
};

}  // namespace sipheal::inline v0_1::sip
