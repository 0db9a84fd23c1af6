// SPDX-License-Identifier: Apache-2.0
// The text in which CallFacts keeps a From or To, as MessageReader writes it: display name, URI and
// parameters, with kPartEnd between them.
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

// Views into `text`; empty when nothing is kept.
inline PartyText SplitParty(std::string_view text) {
  const std::size_t first = text.find(kPartEnd);
  if (first == text.npos) return {};
  const std::size_t second = text.find(kPartEnd, first + 1);
  if (second == text.npos) return {};
  return {text.substr(0, first), text.substr(first + 1, second - first - 1),
          text.substr(second + 1)};
}

}  // namespace sipheal::inline v0_1::sip
