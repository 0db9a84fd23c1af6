// SPDX-License-Identifier: Apache-2.0
// A rebuilt dialog as JSON, the shape that `sipheal dialogs --format json` prints.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::cli {

// What is not known is null, or missing from a list, and named in "missing". Bytes that are no
// UTF-8 appear as the character of the same number (\u00XX), and "not_utf8" is then true. Times are
// integers, microseconds since 1970-01-01 UTC. `now` is when the server died, by which the next
// CSeq is counted when the server never sent one. docs/dialogs-json.md describes every key.
nlohmann::ordered_json DialogJson(const sip::DialogState& dialog, const sip::Verdict& verdict,
                                  sip::CaptureTime now);

}  // namespace sipheal::inline v0_1::cli
