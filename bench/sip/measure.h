// SPDX-License-Identifier: Apache-2.0
// Time and allocations of one thread, and the contenders that are measured in turn.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace sipheal::bench {

// Processor time of this thread alone: what else runs on the machine is not in it.
double CpuSeconds();
// Wall time.
double WallSeconds();
// Calls of malloc and its kin by this thread since it began; operator new is among them.
std::uint64_t Allocations();

// Keeps the compiler from leaving work out whose result nobody reads. By its address: as an operand
// g++ copies a large value, and that copy would be measured, too.
template <typename T>
void Keep(const T& value) {
  asm volatile("" : : "r"(&value) : "memory");
}

// One line of a table: work over the whole corpus, done again and again.
struct Contender {
  std::string name;
  std::function<void()> pass;
  std::size_t messages = 0;  // that one pass handles
  std::size_t dialogs = 0;
  std::size_t bytes = 0;
  double best = 0;                // seconds of the best pass
  std::uint64_t allocations = 0;  // of the last pass

  double ns_per_message() const { return best * 1e9 / static_cast<double>(messages); }
  double ns_per_dialog() const { return best * 1e9 / static_cast<double>(dialogs); }
  double mb_per_second() const { return static_cast<double>(bytes) / best / 1e6; }
  double allocations_per_message() const {
    return static_cast<double>(allocations) / static_cast<double>(messages);
  }
};

// Runs all of them in turn, one pass each after one that is not timed, until `seconds` are over and
// at least `rounds` rounds are done: whatever disturbs the machine disturbs all alike, and the best
// of each counts.
void MeasureInTurn(std::vector<Contender>& contenders, double seconds, int rounds);

}  // namespace sipheal::bench
