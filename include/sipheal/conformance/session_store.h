// SPDX-License-Identifier: Apache-2.0
// The contract of sipheal/session_store.h (SS-1 to SS-12) as cases for any implementation.
#pragma once

#include <chrono>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/conformance/case.h"
#include "sipheal/export.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::conformance {

// What the implementer gives. One harness is one storage, empty at first; its destructor clears up.
class SIPHEAL_EXPORT SessionStoreHarness {
 public:
  virtual ~SessionStoreHarness();

  // A store on this harness's storage. Called again, it gives another one on the same storage, as
  // after a restart.
  virtual absl::StatusOr<std::shared_ptr<SessionStore>> Make() = 0;
  // Lets this much time pass by the clock that leases end by. By default it really waits; a store
  // whose clock can be moved should move it.
  virtual absl::Status AdvanceClock(std::chrono::milliseconds by);

  // The storage cannot be reached any more, and can again. By default Unimplemented: the cases that
  // need it are skipped.
  virtual absl::Status BreakConnection();
  virtual absl::Status HealConnection();
  // The storage does not answer any more (a lock that somebody holds, a peer that hangs), and does
  // again. By default Unimplemented.
  virtual absl::Status BlockStorage();
  virtual absl::Status UnblockStorage();
};

// Thread-safe; never destroyed.
SIPHEAL_EXPORT std::span<const Case<SessionStoreHarness>> SessionStoreCases();

}  // namespace sipheal::inline v0_1::conformance
