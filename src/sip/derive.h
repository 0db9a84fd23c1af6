// SPDX-License-Identifier: Apache-2.0
// The dialog state as a pure function of the facts of one Call-ID.
#pragma once

#include <string_view>
#include <vector>

#include "sip/call_facts.h"
#include "sip/server_match.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Ordered by first message, then by tags. Puts `facts` into another order, after which nothing can
// be merged into them before CallFacts::Reorder().
std::vector<DialogState> DeriveDialogs(std::string_view call_id, CallFacts& facts,
                                       const ServerMatcher& server, const RebuildOptions& options);

}  // namespace sipheal::inline v0_1::sip
