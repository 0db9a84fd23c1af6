// SPDX-License-Identifier: Apache-2.0
// Numbers of any length as text: o= versions pass 64 bits.
#pragma once

#include <string_view>

namespace sipheal::inline v0_1::sip {

// Whether the decimal number a is less than b.
inline bool DecimalLess(std::string_view a, std::string_view b) {
  while (a.size() > 1 && a.front() == '0') a.remove_prefix(1);
  while (b.size() > 1 && b.front() == '0') b.remove_prefix(1);
  return a.size() != b.size() ? a.size() < b.size() : a < b;
}

}  // namespace sipheal::inline v0_1::sip
