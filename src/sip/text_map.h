// SPDX-License-Identifier: Apache-2.0
// A map by text that is asked with views.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>

#include "absl/hash/hash.h"

namespace sipheal::inline v0_1::sip {

// Keyed anew in each process: senders choose Call-IDs, and must not choose one bucket for all.
struct TextHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return absl::Hash<std::string_view>()(text);
  }
};

template <typename T>
using TextMap = std::unordered_map<std::string, T, TextHash, std::equal_to<>>;

// Bytes of one entry besides what its value holds elsewhere: links, allocator, the key.
template <typename T>
std::size_t EntryBytes(const std::string& key) {
  return 16 + 16 + sizeof(std::string) + sizeof(T) +
         (key.capacity() > 15 ? key.capacity() + 17 : 0);
}

}  // namespace sipheal::inline v0_1::sip
