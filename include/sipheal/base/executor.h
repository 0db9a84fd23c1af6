// SPDX-License-Identifier: Apache-2.0
// Executor runs what sipheal must not run on its own loop: calls into plug-ins that may block.
// Hosts may bring their own pool; MakeThreadPool gives one, and InlineExecutor runs at once on the
// caller (for tests).
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

#include "sipheal/export.h"

namespace sipheal::inline v0_1 {

// Thread-safe. A task may block. Tasks are started in the order of Post, and may run at the same
// time.
class SIPHEAL_EXPORT Executor {
 public:
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;
  virtual ~Executor();

  // Runs `task` once, now or later, on this or another thread. Tasks must not throw.
  virtual void Post(std::function<void()> task) = 0;

 protected:
  Executor() = default;
};

// Runs each task inside Post.
SIPHEAL_EXPORT std::shared_ptr<Executor> InlineExecutor();

// A pool of `threads` threads (at least 1), started here. Its destructor finishes queued tasks,
// then joins.
SIPHEAL_EXPORT std::shared_ptr<Executor> MakeThreadPool(std::size_t threads);

}  // namespace sipheal::inline v0_1
