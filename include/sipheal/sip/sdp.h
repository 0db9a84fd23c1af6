// SPDX-License-Identifier: Apache-2.0
// What a re-INVITE has to continue of a session description (RFC 3264 section 8).
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::sip {

struct ParsedSdp {
  SdpSummary summary;
  MediaSecurity security;
  // The old way to hold: an active m= line with c=0.0.0.0 (rule 9.6).
  bool zero_connection = false;
};

// Lenient about lines it does not need. Empty when there is neither an o= nor an m= line.
SIPHEAL_EXPORT std::optional<ParsedSdp> ParseSdp(std::string_view body);

// The session description in a message's body: the body itself, or the application/sdp part of a
// multipart body (RFC 3261 7.4; not one with Content-Disposition: early-session). Empty view: none.
SIPHEAL_EXPORT std::string_view FindSdp(const MessageView& message);

// Reduces an SDP to the lines that ParseSdp reads, so that a tracked dialog stays small. ParseSdp
// of the result gives what ParseSdp of `body` gives.
SIPHEAL_EXPORT void AppendCompactSdp(std::string_view body, std::string* out);

}  // namespace sipheal::inline v0_1::sip
