// SPDX-License-Identifier: Apache-2.0
// Tests of the tests: each conformance case must pass on an implementation that obeys the contract,
// and must fail on one that breaks just what the case asks. A fault is named like its case.
#pragma once

#include <gtest/gtest.h>

#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>

#include "sipheal/conformance/case.h"

namespace sipheal::tests {

// An implementation that serves one thread only: with it a case for many threads fails however they
// are scheduled.
class OneThreadOnly {
 public:
  bool IsServed() {
    const std::lock_guard lock(mutex_);
    if (served_ == std::thread::id()) served_ = std::this_thread::get_id();
    return served_ == std::this_thread::get_id();
  }

 private:
  std::mutex mutex_;
  std::thread::id served_;
};

template <typename Harness>
absl::Status RunCase(const conformance::Case<Harness>& one, Harness& harness) {
  try {
    return one.run(harness);
  } catch (const std::exception& e) {
    return absl::InternalError(e.what());
  }
}

// `make(fault)` gives a harness whose implementation has that fault; none when empty.
template <typename Harness, typename Make>
void ExpectEveryCaseToTellGoodFromBroken(std::span<const conformance::Case<Harness>> cases,
                                         Make make) {
  for (const conformance::Case<Harness>& one : cases) {
    SCOPED_TRACE(std::string(one.id) + " " + std::string(one.name));
    const std::unique_ptr<Harness> good = make(std::string());
    const absl::Status passed = RunCase(one, *good);
    EXPECT_TRUE(passed.ok()) << "fails on a good implementation: " << passed;
    const std::unique_ptr<Harness> broken = make(std::string(one.name));
    const absl::Status failed = RunCase(one, *broken);
    EXPECT_FALSE(failed.ok()) << "passes on an implementation that breaks it";
    EXPECT_FALSE(absl::IsUnimplemented(failed)) << "is skipped: " << failed;
  }
}

}  // namespace sipheal::tests
