// SPDX-License-Identifier: Apache-2.0
// Finds listeners that are called from inside a method, or twice at a time: the cases make every
// call of the implementation within an Inside, and the recording listeners enter a Visit.
#pragma once

#include <map>
#include <mutex>
#include <string>

#include "absl/strings/str_format.h"
#include "conformance/check.h"

namespace sipheal::inline v0_1::conformance {

inline thread_local int calls_of_this_thread = 0;

class Inside {
 public:
  Inside() { ++calls_of_this_thread; }
  ~Inside() { --calls_of_this_thread; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
};

// What the listeners of a case have to complain about; thread-safe.
class Complaints {
 public:
  void Add(const std::string& text) {
    const std::lock_guard lock(mutex_);
    if (first_.empty()) first_ = text;
  }
  absl::Status status() const {
    const std::lock_guard lock(mutex_);
    return first_.empty() ? absl::OkStatus() : Broken(first_);
  }

 private:
  mutable std::mutex mutex_;
  std::string first_;
};

// Counts who is in a listener at a time, by `key`.
class Visitors {
 public:
  explicit Visitors(Complaints& complaints) : complaints_(complaints) {}

  class Visit {
   public:
    Visit(Visitors& visitors, std::string key) : visitors_(visitors), key_(std::move(key)) {
      if (calls_of_this_thread > 0) {
        visitors_.complaints_.Add("the listener was called from inside a method");
      }
      const std::lock_guard lock(visitors_.mutex_);
      if (++visitors_.inside_[key_] > 1) {
        visitors_.complaints_.Add(
            absl::StrFormat("the listener was called twice at a time for %s", key_));
      }
    }
    ~Visit() {
      const std::lock_guard lock(visitors_.mutex_);
      --visitors_.inside_[key_];
    }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;

   private:
    Visitors& visitors_;
    const std::string key_;
  };

 private:
  Complaints& complaints_;
  std::mutex mutex_;
  std::map<std::string, int> inside_;
};

}  // namespace sipheal::inline v0_1::conformance
