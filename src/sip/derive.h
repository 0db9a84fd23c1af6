// SPDX-License-Identifier: Apache-2.0
// The dialog state as a pure function of the facts of one Call-ID.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "sip/call_facts.h"
#include "sip/server_match.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

struct Workspace;

// The order in which a dialog's conflicts stand.
bool PublishedBefore(const Conflict& a, const Conflict& b);

// Keeps the memory that it needs from one call to the next. Not thread-safe.
class Deriver {
 public:
  Deriver();
  ~Deriver();

  // Writes the dialogs over what is in `dialogs`, whose memory is used, too: ordered by first
  // message, then by tags. Puts `facts` into another order, in which they say the same.
  void Derive(std::string_view call_id, CallFacts& facts, const ServerMatcher& server,
              const RebuildOptions& options, std::vector<DialogState>* dialogs);

 private:
  std::unique_ptr<Workspace> work_;
};

}  // namespace sipheal::inline v0_1::sip
