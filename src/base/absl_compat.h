// SPDX-License-Identifier: Apache-2.0
// Debian 12's Abseil is built with its own absl::string_view, which does not convert to or from
// std::string_view. These two functions cross that border; they are the identity on an Abseil that
// uses the standard type.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace sipheal::inline v0_1::internal {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace sipheal::inline v0_1::internal
