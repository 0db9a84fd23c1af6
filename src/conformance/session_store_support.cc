// SPDX-License-Identifier: Apache-2.0
#include "conformance/session_store_support.h"

namespace sipheal::inline v0_1::conformance {

Session ASession(const std::string& id, std::uint32_t epoch) {
  Session session;
  session.id = id;
  session.epoch = epoch;
  session.incarnation = {"ast1", "life1"};
  session.call_id = id + "@192.0.2.1";
  session.local_tag = "as1";
  session.remote_tag = "phone1";
  session.channel_id = "1767225600.1";
  session.channel_name = "PJSIP/phone-00000001";
  session.endpoint = "phone";
  session.group = "call-1";
  session.created_at = WallTime(std::chrono::seconds(1'767'225'600));
  session.answered_at = session.created_at + std::chrono::seconds(2);
  session.deaths = 1;
  session.flow.stasis_app = "ivr";
  session.flow.stasis_args = {"a", "b"};
  session.flow.bridge = BridgeMembership{"b1", "sales", "mixing", "softmix", true};
  session.flow.playback = Playback{};
  session.flow.playback->media = {"sound:welcome"};
  session.flow.recordings = {{"rec1", "wav", false, {"rec0"}}};
  session.flow.held_by_peer = true;
  session.flow.host_data = std::string("\x00\r\n{\"a\":1}\xff", 11);
  return session;
}

JournalEntry AnEntry(const Lease& lease, RecoveryStage stage, const std::string& reason) {
  JournalEntry entry;
  entry.session = lease.session;
  entry.fence = lease.fence;
  entry.stage = stage;
  entry.reason = reason;
  entry.attempt = 1;
  entry.target = {"ast2", "life2"};
  entry.channel_id = "sipheal-x-0-1";
  entry.cseq = 2'147'483'648u;
  entry.deaths = 1;
  entry.at = WallTime(std::chrono::seconds(1'767'225'700));
  if (stage == RecoveryStage::kFinished) entry.outcome = Outcome::kRecovered;
  return entry;
}

DialogRecord ADialog(const std::string& call_id, const std::string& bytes, int updated_at) {
  DialogRecord record;
  record.instance = "ast1";
  record.call_id = call_id;
  record.local_tag = "as1";
  record.remote_tag = "phone1";
  record.bytes = bytes;
  record.updated_at = WallTime(std::chrono::seconds(updated_at));
  return record;
}

absl::Status PutOne(SessionStore& store, const Session& session) {
  return store.Put({}, {.sessions = {session}}).status();
}

absl::StatusOr<Lease> ClaimOne(SessionStore& store, const SessionKey& key,
                               const std::string& owner) {
  auto leases = store.Claim({}, {.sessions = {key}, .owner = owner, .lease = kLease});
  if (!leases.ok()) return leases.status();
  if (leases->size() != 1) return Broken("Claim of one session gave no single result");
  return std::move((*leases)[0]);
}

absl::Status AdvanceOne(SessionStore& store, const JournalEntry& entry,
                        std::optional<Session> successor) {
  auto results = store.Advance({}, {.steps = {{entry, std::move(successor)}}, .lease = kLease});
  if (!results.ok()) return results.status();
  if (results->size() != 1) return Broken("Advance of one step gave no single result");
  return std::move((*results)[0]);
}

absl::StatusOr<std::vector<Session>> ListAll(SessionStore& store,
                                             std::optional<Incarnation> incarnation,
                                             std::size_t limit) {
  std::vector<Session> all;
  SessionStore::ListParams params{.incarnation = std::move(incarnation), .limit = limit};
  for (int pages = 0; pages < 10'000; ++pages) {
    auto page = store.List({}, params);
    if (!page.ok()) return page.status();
    if (page->sessions.size() > limit) return Broken("List gave more records than its limit");
    for (Session& session : page->sessions) all.push_back(std::move(session));
    if (page->next_page_token.empty()) return all;
    params.page_token = page->next_page_token;
  }
  return Broken("List does not come to an end");
}

const std::vector<NamedCall>& EveryMethod() {
  static const auto* const calls = new std::vector<NamedCall>{
      {"Put",
       [](SessionStore& store, const CallContext& ctx) {
         return store.Put(ctx, {.sessions = {ASession("every")}}).status();
       }},
      {"List",
       [](SessionStore& store, const CallContext& ctx) { return store.List(ctx, {}).status(); }},
      {"Claim",
       [](SessionStore& store, const CallContext& ctx) {
         return store.Claim(ctx, {.sessions = {{"every", 0}}, .owner = "owner-1"}).status();
       }},
      {"Advance",
       [](SessionStore& store, const CallContext& ctx) {
         const Lease lease{{"every", 0}, "owner-1", 1, {}};
         return store.Advance(ctx, {.steps = {{AnEntry(lease, RecoveryStage::kRebuilt), {}}}})
             .status();
       }},
      {"ListUnfinished", [](SessionStore& store,
                            const CallContext& ctx) { return store.ListUnfinished(ctx).status(); }},
      {"SaveDialogs",
       [](SessionStore& store, const CallContext& ctx) {
         return store.SaveDialogs(ctx, {ADialog("every", "bytes")});
       }},
      {"LoadDialogs",
       [](SessionStore& store, const CallContext& ctx) {
         return store.LoadDialogs(ctx, {"every"}).status();
       }},
      {"Journal", [](SessionStore& store,
                     const CallContext& ctx) { return store.Journal(ctx, "every").status(); }},
      {"ListTaken",
       [](SessionStore& store, const CallContext& ctx) { return store.ListTaken(ctx).status(); }},
  };
  return *calls;
}

}  // namespace sipheal::inline v0_1::conformance
