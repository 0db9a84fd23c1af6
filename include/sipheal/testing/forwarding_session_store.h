// SPDX-License-Identifier: Apache-2.0
// ForwardingSessionStore: a SessionStore that hands everything to another one. A test derives from
// it and overrides the methods that shall do something else: fail, hang, be counted.
//
//   struct FullStore : testing::ForwardingSessionStore {
//     using ForwardingSessionStore::ForwardingSessionStore;
//     absl::StatusOr<PutResult> Put(const CallContext&, const PutParams&) override {
//       return absl::ResourceExhaustedError("the disk is full");
//     }
//   };
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/session_store.h"

namespace sipheal::inline v0_1::testing {

// As thread-safe as the store that it hands to.
class SIPHEAL_EXPORT ForwardingSessionStore : public SessionStore {
 public:
  // `store` must not be null.
  explicit ForwardingSessionStore(std::shared_ptr<SessionStore> store);
  ~ForwardingSessionStore() override;

  // --- SessionStore ---
  absl::StatusOr<PutResult> Put(const CallContext& ctx, const PutParams& params) override;
  absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) override;
  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override;
  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override;
  absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(const CallContext& ctx) override;
  absl::Status SaveDialogs(const CallContext& ctx,
                           const std::vector<DialogRecord>& records) override;
  absl::StatusOr<std::vector<DialogRecord>> LoadDialogs(
      const CallContext& ctx, const std::vector<std::string>& call_ids) override;
  absl::StatusOr<std::vector<JournalEntry>> Journal(const CallContext& ctx,
                                                    const std::string& session_id) override;
  absl::StatusOr<std::vector<TakenChannel>> ListTaken(const CallContext& ctx) override;
  Capabilities capabilities() const override;

 private:
  const std::shared_ptr<SessionStore> store_;
};

}  // namespace sipheal::inline v0_1::testing
