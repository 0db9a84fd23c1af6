// SPDX-License-Identifier: Apache-2.0
// The text in which CallFacts keeps a From or To, as MessageReader writes it. Most have a display
// name that holds no '<', or none, and no parameter but the tag: those stand as `Display <uri>` or
// `<uri>`, which is mostly how they stood in the message. Others are display name, URI and
// parameters with kPartEnd between them. No party can be written in both ways.
#pragma once

#include <string_view>

namespace sipheal::inline v0_1::sip {

// Stands between the parts, and so cannot stand in one of them (rule 12.9).
inline constexpr char kPartEnd = '\x01';

struct PartyText {
  std::string_view display;
  std::string_view uri;
  std::string_view params;  // without the tag
};

// Whether it is written as `Display <uri>`. `params` are those without the tag.
inline bool IsPlainParty(std::string_view display, std::string_view params) {
  return params.empty() && (display.empty() || display.find('<') == display.npos);
}

// Views into `text`; empty when nothing is kept.
inline PartyText SplitParty(std::string_view text) {
  if (text.empty()) return {};
  const std::size_t first = text.find(kPartEnd);
  if (first == text.npos) {
    // The first '<' opens the URI, which holds none, and the '>' behind it ends the text.
    const std::size_t open = text.find('<');
    if (open == text.npos) return {};
    return {text.substr(0, open == 0 ? 0 : open - 1),
            text.substr(open + 1, text.size() - open - 2),
            {}};
  }
  const std::size_t second = text.find(kPartEnd, first + 1);
  if (second == text.npos) return {};
  return {text.substr(0, first), text.substr(first + 1, second - first - 1),
          text.substr(second + 1)};
}

}  // namespace sipheal::inline v0_1::sip
