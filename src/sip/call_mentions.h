// SPDX-License-Identifier: Apache-2.0
// Which calls speak of a call: those that replace it, or tell how far it had come. Few do.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sip/text_map.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

class CallMentions {
 public:
  struct Mentions {
    std::vector<std::string> by;       // Call-IDs
    std::vector<std::string> retired;  // dialogs of calls that are no more: KeepReferences
  };
  using Named = TextMap<Mentions>::value_type;

  // A request of the call has these notes. What the server had no part in may be made up, and
  // leaves half of the room to what is certain (rule 12.10).
  void Note(std::string_view call_id, std::string_view notes, bool certain);
  // Something got no room that was not certain, and may have become so.
  bool refused() const { return refused_; }
  // nullptr: nobody speaks of the call. Valid until one of the others is called.
  const Named* Find(std::string_view call_id) const;
  // The calls of these dialogs are no more. What they said of others still holds.
  void Retire(std::span<const DialogState> dialogs);
  // Drops what no call that is tracked speaks of, unless it is tracked and was spoken of.
  template <typename IsTracked>
  void DropOthers(IsTracked is_tracked) {
    std::erase_if(named_, [&](const Named& named) {
      for (const std::string& other : named.second.by) {
        if (is_tracked(other)) return false;
      }
      return named.second.retired.empty() || !is_tracked(named.first);
    });
    if (named_.empty()) refused_ = false;
  }

  bool empty() const { return named_.empty(); }
  std::size_t size_bytes() const;

 private:
  TextMap<Mentions> named_;
  bool refused_ = false;
};

}  // namespace sipheal::inline v0_1::sip
