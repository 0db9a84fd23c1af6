// SPDX-License-Identifier: Apache-2.0
// Captured bytes and times as a person may read them.
#pragma once

#include <string>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::sip {

// Characters that are shown stay; every other byte becomes \xNN. So the text is UTF-8 without
// control characters, whatever was captured.
SIPHEAL_EXPORT std::string Printable(std::string_view text);

// "12:01:07.220345", UTC.
SIPHEAL_EXPORT std::string Clock(CaptureTime time);

}  // namespace sipheal::inline v0_1::sip
