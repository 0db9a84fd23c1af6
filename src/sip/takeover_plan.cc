// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/takeover_plan.h"

#include <algorithm>

#include "sip/text.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

using std::chrono::milliseconds;

bool Lists(std::string_view list, std::string_view token) {
  while (!list.empty()) {
    const std::size_t comma = list.find(',');
    if (EqualsIgnoreCase(TrimLws(list.substr(0, comma)), token)) return true;
    list = comma == list.npos ? std::string_view() : list.substr(comma + 1);
  }
  return false;
}

}  // namespace

std::string_view ToString(FirstRequest request) {
  switch (request) {
    case FirstRequest::kReinvite:
      return "reinvite";
    case FirstRequest::kReinviteWithoutOffer:
      return "reinvite_without_offer";
    case FirstRequest::kUpdate:
      return "update";
    case FirstRequest::kInviteWithReplaces:
      return "invite_with_replaces";
    case FirstRequest::kNone:
      break;
  }
  return "none";
}

absl::StatusOr<std::string> ReplacesValue(const DialogState& dialog) {
  if (dialog.call_id.empty() || dialog.local.tag.empty() || dialog.remote.tag.empty()) {
    return absl::FailedPreconditionError(
        "no Replaces can be made: Call-ID or a tag is not known: see the dialog's missing fields");
  }
  // A Call-ID may hold what a parameter list may not (RFC 3261 25.1, RFC 3891 6.1).
  const bool safe = dialog.call_id.find_first_of(";,\r\n \t") == std::string::npos;
  if (!safe || !IsToken(dialog.local.tag) || !IsToken(dialog.remote.tag)) {
    return absl::InvalidArgumentError(
        "no Replaces can be made: Call-ID or a tag cannot stand in one: refused");
  }
  return dialog.call_id + ";to-tag=" + dialog.remote.tag + ";from-tag=" + dialog.local.tag;
}

TakeoverPlan PlanTakeover(const DialogState& dialog) {
  TakeoverPlan plan;
  if (dialog.phase != DialogPhase::kConfirmed || dialog.end != DialogEnd::kNone ||
      dialog.IsMissing(Field::kInviteUsage)) {
    plan.reasons.push_back("there is no call to go on with");
    return plan;
  }

  const OpenTransaction* own_invite = nullptr;
  const OpenTransaction* their_invite = nullptr;
  for (const OpenTransaction& open : dialog.open_transactions) {
    if (open.method != "INVITE") continue;
    if (open.awaits_ack) {
      if (open.sent_by_server) {
        plan.ack_first = std::max(plan.ack_first.value_or(0), open.cseq);
        plan.reasons.push_back("the peer repeats its 2xx until it has the ACK (RFC 3261 13.3.1.4)");
      } else {
        // The peer may never have got the 2xx, and then still has its INVITE open.
        plan.expect_glare = true;
        plan.reasons.push_back("the peer's ACK was not seen: its INVITE may still be open");
      }
      continue;
    }
    (open.sent_by_server ? own_invite : their_invite) = &open;
  }
  if (own_invite != nullptr) {
    // Not before a provisional response (RFC 3261 9.1).
    if (own_invite->provisional_seen) plan.may_cancel = own_invite->cseq;
    plan.expect_glare = true;
    plan.reasons.push_back("the server's re-INVITE is open at the peer (RFC 6141 5.5)");
  }
  if (their_invite != nullptr) {
    plan.expect_glare = true;
    plan.reasons.push_back("the peer's re-INVITE is open (RFC 3261 14.2)");
  }
  if (plan.expect_glare) {
    // RFC 3261 14.1: who made the Call-ID waits longer.
    const bool owner = dialog.role == DialogRole::kUac;
    plan.glare_wait_min = milliseconds(owner ? 2100 : 0);
    plan.glare_wait_max = milliseconds(owner ? 4000 : 2000);
  }
  if (dialog.resync_needed) {
    plan.resync = true;
    plan.reasons.push_back("a re-INVITE failed half-way (RFC 6141 3)");
  }

  if (!dialog.pending_remote_target.empty()) {
    plan.targets.push_back(dialog.pending_remote_target);
    plan.reasons.push_back(
        "the peer offered another target from a known hop; a request there completes the refresh "
        "(RFC 6141 4.6)");
  }
  if (!dialog.remote_target.empty()) plan.targets.push_back(dialog.remote_target);

  const bool identified = ReplacesValue(dialog).ok();
  const bool numbered = !dialog.IsMissing(Field::kLocalSeq);
  if (!identified || !numbered || !NextRequest(dialog).ok()) {
    if (!identified) {
      plan.reasons.push_back("Call-ID or a tag is not known, or cannot be sent");
    } else if (Lists(dialog.remote_supported, "replaces")) {
      plan.request = FirstRequest::kInviteWithReplaces;
      plan.reasons.push_back(
          "no request can be made in the dialog; the peer lets a new call replace it");
    } else {
      plan.reasons.push_back("route, target or CSeq is not known");
    }
    return plan;
  }
  if (their_invite != nullptr && Lists(dialog.remote_allow, "UPDATE")) {
    plan.request = FirstRequest::kUpdate;
  } else if (dialog.IsMissing(Field::kLocalSdp)) {
    plan.request = FirstRequest::kReinviteWithoutOffer;
    plan.reasons.push_back("the server's session description is not known: the peer offers");
  } else {
    plan.request = FirstRequest::kReinvite;
  }
  return plan;
}

}  // namespace sipheal::inline v0_1::sip
