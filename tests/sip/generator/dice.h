// SPDX-License-Identifier: Apache-2.0
// Random choices that are the same on every machine: what a seed gives is a test case with a name.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace sipheal::testing::generator {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15u + 1) {}

  std::uint64_t Next() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  // 0 .. count - 1; count > 0.
  std::uint32_t Below(std::uint32_t count) { return static_cast<std::uint32_t>(Next() % count); }
  std::uint32_t Range(std::uint32_t low, std::uint32_t high) { return low + Below(high - low + 1); }
  bool Chance(std::uint32_t percent) { return Below(100) < percent; }
  template <typename T, std::size_t N>
  const T& Pick(const T (&list)[N]) {
    return list[Below(N)];
  }
  // Lower-case hexadecimal.
  std::string Hex(int digits) {
    std::string text;
    for (int i = 0; i < digits; ++i) text += "0123456789abcdef"[Below(16)];
    return text;
  }
  template <typename List>
  void Shuffle(List& list) {
    for (std::size_t i = list.size(); i > 1; --i) {
      std::swap(list[i - 1], list[Below(static_cast<std::uint32_t>(i))]);
    }
  }

 private:
  std::uint64_t state_;
};

}  // namespace sipheal::testing::generator
