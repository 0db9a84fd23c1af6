// SPDX-License-Identifier: Apache-2.0
// A CrashListener that remembers, with the time of arrival.
#pragma once

#include <chrono>
#include <mutex>
#include <utility>
#include <vector>

#include "sipheal/crash_detector.h"

namespace sipheal::inline v0_1::internal {

class CrashRecorder : public CrashListener {
 public:
  using Time = std::chrono::steady_clock::time_point;

  void OnCrash(const CrashEvent& event) override {
    const std::scoped_lock lock(mutex_);
    crashes_.emplace_back(event, std::chrono::steady_clock::now());
  }
  void OnReturned(const ReturnEvent& event) override {
    const std::scoped_lock lock(mutex_);
    returns_.push_back(event);
  }
  std::vector<std::pair<CrashEvent, Time>> crashes() const {
    const std::scoped_lock lock(mutex_);
    return crashes_;
  }
  std::vector<ReturnEvent> returns() const {
    const std::scoped_lock lock(mutex_);
    return returns_;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<CrashEvent, Time>> crashes_;
  std::vector<ReturnEvent> returns_;
};

}  // namespace sipheal::inline v0_1::internal
