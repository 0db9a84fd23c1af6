// SPDX-License-Identifier: Apache-2.0
// The warnings of a dialog whose target moved, while where to was not captured.
#pragma once

#include <string_view>

namespace sipheal::inline v0_1::sip {

inline constexpr std::string_view kPeersRefreshNotCaptured =
    "a refresh of the peer was answered, but not captured";
inline constexpr std::string_view kOwnRefreshNotCaptured =
    "an answer named another target, and its request was not captured";

}  // namespace sipheal::inline v0_1::sip
