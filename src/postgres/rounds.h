// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <vector>

namespace sipheal::inline v0_1::internal::postgres {

// A batch cut into rounds in which no key comes twice, in order: round r has each key's r-th entry.
// One statement can then do a whole round, and the entries of one key still come one after the
// other. `key_of(i)` gives the key of entry i of `count`.
template <typename KeyOf>
std::vector<std::vector<std::size_t>> SplitIntoRounds(std::size_t count, const KeyOf& key_of) {
  std::map<decltype(key_of(0)), std::size_t> seen;
  std::vector<std::vector<std::size_t>> rounds;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t round = seen[key_of(i)]++;
    if (round == rounds.size()) rounds.emplace_back();
    rounds[round].push_back(i);
  }
  return rounds;
}

}  // namespace sipheal::inline v0_1::internal::postgres
