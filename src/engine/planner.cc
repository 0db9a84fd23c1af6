// SPDX-License-Identifier: Apache-2.0
#include "engine/planner.h"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "sipheal/sip/combine_dialogs.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/dialog_folder.h"

namespace sipheal::inline v0_1::internal {
namespace {

using sip::DialogState;
using sip::Verdict;
using sip::VerdictToken;

bool TagsFit(const Session& session, const std::string& local_tag, const std::string& remote_tag) {
  return (session.local_tag.empty() || session.local_tag == local_tag) &&
         (session.remote_tag.empty() || session.remote_tag == remote_tag);
}

// The dialogs of the session's Call-ID as the dead incarnation saw them.
std::vector<DialogState> Candidates(const PlanInput& input) {
  std::vector<DialogState> dialogs = input.capture.dialogs;
  if (!input.capture.messages.empty()) {
    sip::CombineDialogs(sip::Rebuild(input.capture.messages, input.identity, {}), dialogs);
  }
  std::erase_if(dialogs, [&](const DialogState& dialog) {
    return dialog.call_id != input.session.call_id ||
           !TagsFit(input.session, dialog.local.tag, dialog.remote.tag);
  });
  return dialogs;
}

// What the store kept of this dialog is older knowledge: it fills holes and is a lower bound, and
// alone it is enough when nothing was captured since (the controller died together with the media
// server).
void AddStored(const PlanInput& input, std::vector<DialogState>& dialogs) {
  for (const DialogRecord& record : input.stored) {
    if (record.removed || record.call_id != input.session.call_id ||
        !TagsFit(input.session, record.local_tag, record.remote_tag)) {
      continue;
    }
    const auto decoded = sip::DecodeDialog(record.bytes);
    if (!decoded.ok()) continue;
    const DialogState& stored = decoded->dialog;
    const auto same = std::find_if(dialogs.begin(), dialogs.end(), [&](const DialogState& dialog) {
      return dialog.local.tag == stored.local.tag && dialog.remote.tag == stored.remote.tag;
    });
    if (same != dialogs.end()) {
      sip::MergeStoredState(stored, *same);
    } else if (record.instance == input.session.incarnation.instance || dialogs.empty()) {
      dialogs.push_back(stored);
      dialogs.back().from_stored_state = true;
    }
  }
}

// Of several dialogs with the session's Call-ID (forks, a Call-ID used again) the one that lives.
// Two that live cannot be told apart without tags, so neither is touched.
Plan Choose(std::vector<DialogState> dialogs) {
  Plan plan;
  if (dialogs.empty()) {
    plan.verdict = {VerdictToken::kIncomplete, {"no message of this dialog was captured"}};
    return plan;
  }
  const auto alive = [](const DialogState& dialog) {
    return dialog.phase == sip::DialogPhase::kConfirmed;
  };
  const auto living = std::count_if(dialogs.begin(), dialogs.end(), alive);
  if (living > 1) {
    plan.verdict = {
        VerdictToken::kConflicting,
        {absl::StrFormat(
            "%d dialogs with this Call-ID are up, and the session does not name its tags",
            static_cast<int>(living))}};
    return plan;
  }
  auto chosen = std::find_if(dialogs.begin(), dialogs.end(), alive);
  if (chosen == dialogs.end()) {
    // None is up: the newest one says why.
    chosen = std::max_element(
        dialogs.begin(), dialogs.end(),
        [](const DialogState& a, const DialogState& b) { return a.last_seen < b.last_seen; });
  }
  plan.dialog = std::move(*chosen);
  return plan;
}

sip::VerdictOptions JudgeOptions(const PlanInput& input, const HealerOptions& options) {
  sip::VerdictOptions judge;
  judge.now = input.now;
  judge.targets = options.targets;
  judge.cseq = options.cseq;
  judge.cseq.capture_is_complete = input.capture.completeness == Completeness::kOwnInterface;
  return judge;
}

// Whether a BYE may be sent into a dialog that is not to be recovered: its identity and target must
// be as well proved as for a re-INVITE. What a BYE does not care for is the media.
bool MayEndWithBye(const DialogState& dialog, sip::VerdictOptions judge) {
  judge.allow_secure_media = true;
  const VerdictToken token = sip::Judge(dialog, judge).token;
  if (token == VerdictToken::kRecoverable) return true;
  // RFC 3261 15: the caller may send BYE in an early dialog, the callee must not.
  return token == VerdictToken::kEarly && dialog.role == sip::DialogRole::kUac &&
         !dialog.remote.tag.empty() && !dialog.remote_target.empty();
}

// RFC 3264 8: each new offer has a higher o= version, also after offers that failed.
void RaiseSdpVersion(DialogState& dialog, std::ptrdiff_t offers) {
  std::string& version = dialog.highest_local_sdp_version;
  if (version.empty()) version = dialog.local_sdp.origin_version;
  std::uint64_t number = 0;
  const auto [end, error] =
      std::from_chars(version.data(), version.data() + version.size(), number);
  if (error != std::errc() || end != version.data() + version.size()) return;
  version = absl::StrFormat("%d", number + static_cast<std::uint64_t>(offers));
}

}  // namespace

Plan MakePlan(const PlanInput& input, const HealerOptions& options) {
  std::vector<DialogState> dialogs = Candidates(input);
  AddStored(input, dialogs);
  Plan plan = Choose(std::move(dialogs));
  if (!plan.dialog) {
    plan.reason = sip::ToString(plan.verdict.token);
    return plan;
  }
  const sip::VerdictOptions judge = JudgeOptions(input, options);
  plan.verdict = sip::Judge(*plan.dialog, judge);
  if (!plan.verdict.recoverable()) {
    plan.reason = sip::ToString(plan.verdict.token);
  } else if (!input.session.recover) {
    plan.reason = "opt_out";
  } else if (input.session.ends_at && *input.session.ends_at <= input.now) {
    plan.reason = "over_its_time_limit";
  } else if (!input.flow.ok()) {
    plan.reason = absl::StrFormat("flow: %s", input.flow.message());
  } else {
    plan.step = PlannedStep::kReinvite;
    return plan;
  }
  plan.step = options.end_unrecoverable && MayEndWithBye(*plan.dialog, judge) ? PlannedStep::kBye
                                                                              : PlannedStep::kClose;
  return plan;
}

bool MoreEvidenceMayHelp(const Verdict& verdict) {
  switch (verdict.token) {
    case VerdictToken::kIncomplete:
    case VerdictToken::kConflicting:
    case VerdictToken::kForged:
    case VerdictToken::kEarly:
    case VerdictToken::kExpired:
      return true;
    default:
      return false;
  }
}

absl::StatusOr<RequestVariables> MakeVariables(const DialogState& dialog,
                                               const HealerOptions& options,
                                               bool capture_is_complete, WallTime now,
                                               const UsedUp& used) {
  DialogState next = dialog;
  if (used.cseq > 0) {
    // Whether the phone saw the earlier attempt or not: its number is not used again.
    next.local_seq = std::max(next.local_seq.value_or(0), used.cseq);
  }
  const std::uint32_t captured = dialog.local_seq.value_or(0);
  RaiseSdpVersion(next, std::count_if(used.offers.begin(), used.offers.end(),
                                      [captured](std::uint32_t cseq) { return cseq > captured; }));
  sip::RecoveryOptions recovery;
  recovery.now = now;
  recovery.cseq = options.cseq;
  recovery.cseq.capture_is_complete = capture_is_complete;
  recovery.cseq.headroom += used.cseq_jump;
  RequestVariables result;
  ABSL_ASSIGN_OR_RETURN(result.cseq, sip::NextCseq(next, recovery.cseq, now));
  ABSL_ASSIGN_OR_RETURN(result.variables, sip::RecoveryVariables(next, recovery));
  return result;
}

}  // namespace sipheal::inline v0_1::internal
