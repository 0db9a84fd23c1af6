// SPDX-License-Identifier: Apache-2.0
// std::mutex with the annotations that clang's -Wthread-safety checks. Not absl::Mutex:
// ThreadSanitizer cannot see into Debian's uninstrumented libabsl and reports false races for what
// it guards.
#pragma once

#include <mutex>

#include "absl/base/thread_annotations.h"

namespace sipheal::inline v0_1::internal {

class ABSL_LOCKABLE Mutex {
 public:
  void Lock() ABSL_EXCLUSIVE_LOCK_FUNCTION() { mutex_.lock(); }
  void Unlock() ABSL_UNLOCK_FUNCTION() { mutex_.unlock(); }

 private:
  std::mutex mutex_;
};

class ABSL_SCOPED_LOCKABLE MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) ABSL_EXCLUSIVE_LOCK_FUNCTION(mutex) : mutex_(mutex) {
    mutex_.Lock();
  }
  ~MutexLock() ABSL_UNLOCK_FUNCTION() { mutex_.Unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

}  // namespace sipheal::inline v0_1::internal
