// SPDX-License-Identifier: Apache-2.0
// A back-to-back user agent has a dialog for each leg of a call, and nothing in SIP says that they
// belong together. LinkLegs finds out as well as it can be told from outside, so that both legs are
// moved, or both are ended (rule 11.10). A host that knows its bridges needs no guess.
#pragma once

#include <span>

#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Sets `links` of each dialog that was answered by the server and each that it called in turn, and
// says why: the same Session-ID (RFC 7989), the same charging id, a Call-ID that one names as the
// other's, media that the server passes on unchanged, or, where exactly one fits, the same two
// users within a second. Linear in the number of dialogs.
SIPHEAL_EXPORT void LinkLegs(std::span<DialogState> dialogs);

}  // namespace sipheal::inline v0_1::sip
