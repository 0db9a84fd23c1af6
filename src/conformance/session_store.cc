// SPDX-License-Identifier: Apache-2.0
#include <thread>

#include "conformance/session_store_support.h"

namespace sipheal::inline v0_1::conformance {

SessionStoreHarness::~SessionStoreHarness() = default;
absl::Status SessionStoreHarness::AdvanceClock(std::chrono::milliseconds by) {
  std::this_thread::sleep_for(by);
  return absl::OkStatus();
}
absl::Status SessionStoreHarness::BreakConnection() {
  return absl::UnimplementedError("the harness cannot break the connection");
}
absl::Status SessionStoreHarness::HealConnection() { return absl::OkStatus(); }
absl::Status SessionStoreHarness::BlockStorage() {
  return absl::UnimplementedError("the harness cannot block the storage");
}
absl::Status SessionStoreHarness::UnblockStorage() { return absl::OkStatus(); }

std::span<const Case<SessionStoreHarness>> SessionStoreCases() {
  static const auto* const cases = [] {
    auto* const all = new std::vector<Case<SessionStoreHarness>>;
    for (const auto part : {SessionCases(), RecoveryCases()}) {
      all->insert(all->end(), part.begin(), part.end());
    }
    return all;
  }();
  return *cases;
}

}  // namespace sipheal::inline v0_1::conformance
