// SPDX-License-Identifier: Apache-2.0
// Hash and equality that let maps keyed by std::string be asked with a std::string_view.
#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace sipheal::inline v0_1::hep {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

struct StringEq {
  using is_transparent = void;
  bool operator()(std::string_view a, std::string_view b) const { return a == b; }
};

}  // namespace sipheal::inline v0_1::hep
