// SPDX-License-Identifier: Apache-2.0
#include "model/store_rules.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

bool IsIdChar(char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.';
}

bool IsId(std::string_view id) {
  return !id.empty() && id.size() <= 64 && std::all_of(id.begin(), id.end(), IsIdChar);
}

// An id from outside may hold anything: it is shown only when it is one.
std::string Shown(const SessionKey& key) {
  if (!IsId(key.id)) return absl::StrFormat("(an id of %d bytes)", key.id.size());
  return absl::StrFormat("%s epoch %d", key.id, key.epoch);
}

absl::Status BadSession(const SessionKey& key, std::string_view problem) {
  return absl::InvalidArgumentError(
      absl::StrFormat("session %s is not valid: %s", Shown(key), problem));
}

absl::Status ValidateInstance(const SessionKey& key, std::string_view instance) {
  if (instance.empty() || instance.size() > 64) {
    return BadSession(key, absl::StrFormat("incarnation.instance has %d characters: give 1 to 64",
                                           instance.size()));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckContext(const CallContext& ctx, const Clock& clock, std::string_view what) {
  if (ctx.stop.stop_requested()) {
    return absl::CancelledError(absl::StrFormat("%s: the caller asked to stop", what));
  }
  if (ctx.deadline != MonotonicTime::max() && clock.Monotonic() >= ctx.deadline) {
    return absl::DeadlineExceededError(absl::StrFormat("%s: its deadline has passed", what));
  }
  return absl::OkStatus();
}

absl::Status ValidateKey(const SessionKey& key) {
  if (!IsId(key.id)) return BadSession(key, "the id must be 1 to 64 of A-Z a-z 0-9 _ .");
  return absl::OkStatus();
}

absl::Status ValidateSession(const Session& session) {
  ABSL_RETURN_IF_ERROR(ValidateKey(session.key()));
  ABSL_RETURN_IF_ERROR(ValidateInstance(session.key(), session.incarnation.instance));
  if (session.flow.host_data.size() > kMaxHostData) {
    return BadSession(session.key(), absl::StrFormat("flow.host_data has %d bytes: at most %d",
                                                     session.flow.host_data.size(), kMaxHostData));
  }
  return absl::OkStatus();
}

absl::Status ValidateLease(std::chrono::milliseconds lease) {
  if (lease <= std::chrono::milliseconds(0) || lease > std::chrono::hours(24)) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "a lease of %d ms is not valid: give more than 0 and at most a day", lease.count()));
  }
  return absl::OkStatus();
}

absl::Status ValidateClaim(const SessionStore::ClaimParams& params) {
  if (params.owner.empty() || params.owner.size() > 256) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "claim: the owner has %d characters: give 1 to 256 that name this controller",
        params.owner.size()));
  }
  for (const SessionKey& key : params.sessions) ABSL_RETURN_IF_ERROR(ValidateKey(key));
  return ValidateLease(params.lease);
}

absl::Status ValidateStep(const SessionStore::AdvanceParams::Step& step) {
  const JournalEntry& entry = step.entry;
  ABSL_RETURN_IF_ERROR(ValidateKey(entry.session));
  if ((entry.stage == RecoveryStage::kFinished) != entry.outcome.has_value()) {
    return BadSession(entry.session,
                      absl::StrFormat("stage %s %s an outcome", ToString(entry.stage),
                                      entry.outcome ? "cannot have" : "needs"));
  }
  if (!step.successor) return absl::OkStatus();
  if (entry.outcome != Outcome::kRecovered) {
    return BadSession(entry.session, "only the outcome recovered has a successor");
  }
  ABSL_RETURN_IF_ERROR(ValidateSession(*step.successor));
  if (step.successor->id != entry.session.id || step.successor->epoch != entry.session.epoch + 1) {
    return BadSession(entry.session, absl::StrFormat("its successor is %s: same id, epoch + 1",
                                                     Shown(step.successor->key())));
  }
  return absl::OkStatus();
}

absl::Status ValidateDialog(const DialogRecord& record) {
  if (record.bytes.size() > kMaxDialogBytes) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a dialog of instance %s has %d bytes: at most %d", record.instance,
                        record.bytes.size(), kMaxDialogBytes));
  }
  if (record.instance.empty() || record.call_id.empty()) {
    return absl::InvalidArgumentError("a dialog record needs an instance and a Call-ID");
  }
  return absl::OkStatus();
}

absl::Status ValidatePage(const SessionStore::ListParams& params) {
  if (params.limit == 0 || params.limit > kMaxPageSize) {
    return absl::InvalidArgumentError(
        absl::StrFormat("list: a limit of %d: give 1 to %d", params.limit, kMaxPageSize));
  }
  return absl::OkStatus();
}

std::string MakePageToken(const SessionKey& key) {
  return absl::StrFormat("%d/%s", key.epoch, key.id);
}

absl::StatusOr<SessionKey> ParsePageToken(std::string_view token) {
  SessionKey key;
  const char* const end = token.data() + token.size();
  const auto [rest, error] = std::from_chars(token.data(), end, key.epoch);
  if (error == std::errc() && rest != end && *rest == '/') {
    key.id.assign(rest + 1, end);
    if (IsId(key.id)) return key;
  }
  return absl::InvalidArgumentError(
      "list: the page token is not one that List returned: begin with an empty one");
}

JournalEntry ClaimedEntry(const SessionKey& key, std::uint64_t fence, WallTime at) {
  JournalEntry entry;
  entry.session = key;
  entry.fence = fence;
  entry.stage = RecoveryStage::kClaimed;
  entry.at = at;
  return entry;
}

absl::Status UnknownSession(std::string_view what, const SessionKey& key) {
  return absl::NotFoundError(absl::StrFormat("%s: the store has no session %s", what, Shown(key)));
}

absl::Status HeldByAnother(const SessionKey& key, std::string_view owner) {
  return absl::AlreadyExistsError(
      absl::StrFormat("claim: session %s is being recovered by %s", Shown(key), owner));
}

absl::Status AlreadyFinished(const SessionKey& key, std::string_view outcome) {
  return absl::AlreadyExistsError(
      absl::StrFormat("claim: the recovery of session %s is over: %s", Shown(key), outcome));
}

absl::Status NeverClaimed(const SessionKey& key) {
  return absl::AbortedError(
      absl::StrFormat("advance: session %s was never claimed: claim it first", Shown(key)));
}

absl::Status LostLease(const SessionKey& key, std::uint64_t fence, std::uint64_t newest,
                       std::optional<Outcome> outcome) {
  if (outcome) {
    return absl::AbortedError(
        absl::StrFormat("advance: the recovery of session %s is over (%s): stop work on it",
                        Shown(key), ToString(*outcome)));
  }
  return absl::AbortedError(absl::StrFormat(
      "advance: the lease of session %s is lost: this step has fence %d, the newest is %d: stop "
      "work on it",
      Shown(key), fence, newest));
}

}  // namespace sipheal::inline v0_1::internal
