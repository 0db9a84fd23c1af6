// SPDX-License-Identifier: Apache-2.0
#include "engine/known.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <map>
#include <utility>

#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

// A call's INVITE is older than its channel, by another clock than the store's.
constexpr std::chrono::hours kBeforeTheChannel{1};

// The different Call-IDs of the sessions.
std::vector<std::string> CallIdsOf(const std::vector<Session>& sessions) {
  std::vector<std::string> ids;
  ids.reserve(sessions.size());
  for (const Session& session : sessions) ids.push_back(session.call_id);
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// No message of theirs is older; nothing when of one of them nobody knows.
std::optional<WallTime> OldestOf(const std::vector<Session>& sessions) {
  std::optional<WallTime> oldest;
  for (const Session& session : sessions) {
    if (session.created_at <= WallTime{} + kBeforeTheChannel) return std::nullopt;
    oldest = std::min(oldest.value_or(session.created_at), session.created_at);
  }
  if (oldest) *oldest -= kBeforeTheChannel;
  return oldest;
}

}  // namespace

absl::StatusOr<Known> FetchKnown(const HealerParts& parts, const CallContext& ctx,
                                 const std::vector<Session>& sessions, const std::string& instance,
                                 std::optional<WallTime> died) {
  std::vector<std::string> call_ids = CallIdsOf(sessions);
  Known known;
  if (const auto stored = parts.store->LoadDialogs(ctx, call_ids); stored.ok()) {
    for (const DialogRecord& record : *stored) known.stored[record.call_id].push_back(record);
  }
  SipCapture::FetchParams fetch;
  fetch.call_ids = std::move(call_ids);
  fetch.instance = instance;
  fetch.since = OldestOf(sessions);
  fetch.until = died;
  ABSL_ASSIGN_OR_RETURN(std::vector<DialogCapture> captures, parts.capture->Fetch(ctx, fetch));
  for (DialogCapture& capture : captures) known.captures[capture.call_id] = std::move(capture);
  return known;
}

UsedUp UsedByEarlierRecoveries(SessionStore& store, const CallContext& ctx,
                               const Session& session) {
  UsedUp used;
  if (session.epoch == 0) return used;
  const auto journal = store.Journal(ctx, session.id);
  if (!journal.ok()) return used;
  std::map<std::pair<std::uint32_t, std::uint32_t>, std::uint32_t> cseqs;  // by epoch and attempt
  for (const JournalEntry& entry : *journal) {
    if (entry.session.epoch >= session.epoch || entry.attempt == 0) continue;
    used.cseq = std::max(used.cseq, entry.cseq);
    std::uint32_t& cseq = cseqs[{entry.session.epoch, entry.attempt}];
    cseq = std::max(cseq, entry.cseq);
  }
  for (const auto& [attempt, cseq] : cseqs) used.offers.push_back(cseq);
  return used;
}

PlanInput InputFor(const Session& session, const Known& known, const sip::ServerIdentity& identity,
                   absl::Status flow, WallTime now) {
  PlanInput input;
  input.session = session;
  if (const auto found = known.captures.find(session.call_id); found != known.captures.end()) {
    input.capture = found->second;
  }
  if (const auto found = known.stored.find(session.call_id); found != known.stored.end()) {
    input.stored = found->second;
  }
  input.identity = identity;
  input.flow = std::move(flow);
  input.now = now;
  return input;
}

absl::Status StillThere(MediaServerDriver& driver, const CallContext& ctx,
                        const Incarnation& incarnation) {
  ABSL_ASSIGN_OR_RETURN(const InstanceStatus now, driver.Inspect(ctx, {incarnation.instance, {}}));
  if (now.incarnation != incarnation) return absl::AbortedError("the server was restarted");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Session>> ListAll(SessionStore& store, const CallContext& ctx,
                                             std::optional<Incarnation> incarnation) {
  std::vector<Session> sessions;
  SessionStore::ListParams params;
  params.incarnation = std::move(incarnation);
  do {
    ABSL_ASSIGN_OR_RETURN(SessionStore::SessionPage page, store.List(ctx, params));
    std::move(page.sessions.begin(), page.sessions.end(), std::back_inserter(sessions));
    params.page_token = page.next_page_token;
  } while (!params.page_token.empty());
  return sessions;
}

}  // namespace sipheal::inline v0_1::internal
