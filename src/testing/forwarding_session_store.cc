// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/forwarding_session_store.h"

#include <utility>

namespace sipheal::inline v0_1::testing {

ForwardingSessionStore::ForwardingSessionStore(std::shared_ptr<SessionStore> store)
    : store_(std::move(store)) {}
ForwardingSessionStore::~ForwardingSessionStore() = default;

absl::StatusOr<SessionStore::PutResult> ForwardingSessionStore::Put(const CallContext& ctx,
                                                                    const PutParams& params) {
  return store_->Put(ctx, params);
}
absl::StatusOr<SessionStore::SessionPage> ForwardingSessionStore::List(const CallContext& ctx,
                                                                       const ListParams& params) {
  return store_->List(ctx, params);
}
absl::StatusOr<std::vector<absl::StatusOr<Lease>>> ForwardingSessionStore::Claim(
    const CallContext& ctx, const ClaimParams& params) {
  return store_->Claim(ctx, params);
}
absl::StatusOr<std::vector<absl::Status>> ForwardingSessionStore::Advance(
    const CallContext& ctx, const AdvanceParams& params) {
  return store_->Advance(ctx, params);
}
absl::StatusOr<std::vector<UnfinishedRecovery>> ForwardingSessionStore::ListUnfinished(
    const CallContext& ctx) {
  return store_->ListUnfinished(ctx);
}
absl::Status ForwardingSessionStore::SaveDialogs(const CallContext& ctx,
                                                 const std::vector<DialogRecord>& records) {
  return store_->SaveDialogs(ctx, records);
}
absl::StatusOr<std::vector<DialogRecord>> ForwardingSessionStore::LoadDialogs(
    const CallContext& ctx, const std::vector<std::string>& call_ids) {
  return store_->LoadDialogs(ctx, call_ids);
}
absl::StatusOr<std::vector<JournalEntry>> ForwardingSessionStore::Journal(
    const CallContext& ctx, const std::string& session_id) {
  return store_->Journal(ctx, session_id);
}
absl::StatusOr<std::vector<TakenChannel>> ForwardingSessionStore::ListTaken(
    const CallContext& ctx) {
  return store_->ListTaken(ctx);
}
SessionStore::Capabilities ForwardingSessionStore::capabilities() const {
  return store_->capabilities();
}

}  // namespace sipheal::inline v0_1::testing
