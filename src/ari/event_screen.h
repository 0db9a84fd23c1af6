// SPDX-License-Identifier: Apache-2.0
// Events that nobody here wants, known before they are parsed.
#pragma once

#include <string_view>

namespace sipheal::inline v0_1::internal {

// Whether the text of an event tells of BRIDGEPEER or BRIDGEPVTCALLID, which Asterisk sets on every
// channel of a bridge again and again while it fills, each time with the whole channel: half of all
// it says while bridged calls are recovered. Nothing else is as useless: where a channel is in the
// dialplan is sometimes told by the event of a variable alone (STASISSTATUS). False for all that
// does not begin as Asterisk 22 writes such an event.
inline bool IsBridgeVariable(std::string_view text) {
  return text.starts_with(R"({"variable":"BRIDGEPEER",)") ||
         text.starts_with(R"({"variable":"BRIDGEPVTCALLID",)");
}

}  // namespace sipheal::inline v0_1::internal
