// SPDX-License-Identifier: Apache-2.0
// The store in memory against the store's contract.
#include "sipheal/adapters/memory.h"
#include "sipheal/conformance/gtest.h"
#include "tests/support/shifted_clock.h"

namespace sipheal {
namespace {

class MemoryStoreHarness final : public conformance::SessionStoreHarness {
 public:
  absl::StatusOr<std::shared_ptr<SessionStore>> Make() override { return store_; }
  absl::Status AdvanceClock(std::chrono::milliseconds by) override {
    clock_.Shift(by);
    return absl::OkStatus();
  }

 private:
  tests::ShiftedClock clock_;
  const std::shared_ptr<SessionStore> store_ = MakeMemorySessionStore(&clock_);
};

const bool registered = (conformance::RegisterSessionStoreConformance(
                             "Memory", [] { return std::make_unique<MemoryStoreHarness>(); }),
                         true);

}  // namespace
}  // namespace sipheal
