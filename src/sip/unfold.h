// SPDX-License-Identifier: Apache-2.0
// Header values that are folded over several lines (RFC 3261 7.3.1).
#pragma once

#include <string>
#include <string_view>

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

// Puts a folded value on one line: CRLF and white space become one space (RFC 3261 7.3.1).
inline void Unfold(std::string_view value, std::string* out) {
  out->clear();
  for (std::size_t at = 0; at < value.size(); ++at) {
    const bool fold = (value[at] == '\r' && at + 2 < value.size() && value[at + 1] == '\n' &&
                       (value[at + 2] == ' ' || value[at + 2] == '\t')) ||
                      (value[at] == '\n' && at + 1 < value.size() &&
                       (value[at + 1] == ' ' || value[at + 1] == '\t'));
    if (!fold) {
      *out += value[at];
      continue;
    }
    while (at + 1 < value.size() && IsLws(value[at + 1])) ++at;
    if (!out->empty() && out->back() != ' ') *out += ' ';
  }
}

}  // namespace sipheal::inline v0_1::sip
