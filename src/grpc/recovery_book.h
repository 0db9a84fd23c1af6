// SPDX-License-Identifier: Apache-2.0
// RecoveryBook: the newest state of each recovery that was heard of, bounded, the newest first.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "sipheal/adapters/grpc.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class RecoveryBook {
 public:
  explicit RecoveryBook(std::size_t most) : most_(most) {}

  void Note(const RecoveryReport& report);

  struct Page {
    std::vector<RecoveryReport> recoveries;
    std::uint64_t next = 0;  // 0: that was the last
  };
  // Those first heard of before number `before` (0: all), the newest first.
  Page List(std::uint64_t before, std::size_t size) const;

 private:
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::uint64_t heard_ = 0;                            // mutex_
  std::map<std::uint64_t, RecoveryReport> by_number_;  // mutex_
  std::map<SessionKey, std::uint64_t> numbers_;        // mutex_
};

}  // namespace sipheal::inline v0_1::internal
