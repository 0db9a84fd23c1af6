// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/dialog_state.h"

#include <algorithm>
#include <array>

#include "sip/decimal_less.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::array<std::string_view, kFieldCount> kFieldNames = {
    "call_id",
    "local_tag",
    "remote_tag",
    "local_uri",
    "remote_uri",
    "role",
    "state",
    "local_cseq",
    "remote_cseq",
    "route_set",
    "remote_target",
    "local_target",
    "transport",
    "next_hop",
    "local_sdp",
    "remote_sdp",
    "session_timer",
    "hold",
    "invite_usage",
    "end",
    "secure",
    "pending_remote_target",
    "contact_target",
    "observed_source",
    "redirect_targets",
    "resync_needed",
    "media_security",
    "remote_supported",
    "deadline",
};

constexpr std::array<std::string_view, 11> kVerdictNames = {
    "recoverable", "ended",       "ending", "early",   "needs_new_flow", "no_endpoint",
    "incomplete",  "conflicting", "forged", "expired", "refused",
};

}  // namespace

std::string_view ToString(DialogRole role) {
  switch (role) {
    case DialogRole::kUac:
      return "uac";
    case DialogRole::kUas:
      return "uas";
    case DialogRole::kUnknown:
      break;
  }
  return "unknown";
}

std::string_view ToString(DialogPhase phase) {
  switch (phase) {
    case DialogPhase::kEarly:
      return "early";
    case DialogPhase::kConfirmed:
      return "confirmed";
    case DialogPhase::kTerminated:
      return "terminated";
    case DialogPhase::kUnknown:
      break;
  }
  return "unknown";
}

std::string_view ToString(DialogEnd end) {
  switch (end) {
    case DialogEnd::kByeSent:
      return "bye_sent";
    case DialogEnd::kByeAnswered:
      return "bye_answered";
    case DialogEnd::kByeUnanswered:
      return "bye_unanswered";
    case DialogEnd::kCancelled:
      return "cancelled";
    case DialogEnd::kInviteFailed:
      return "invite_failed";
    case DialogEnd::kEarlyTerminated:
      return "early_terminated";
    case DialogEnd::kRejectedInDialog:
      return "rejected_in_dialog";
    case DialogEnd::kReplaced:
      return "replaced";
    case DialogEnd::kNone:
      break;
  }
  return "none";
}

std::string_view ToString(SdpDirection direction) {
  switch (direction) {
    case SdpDirection::kSendOnly:
      return "sendonly";
    case SdpDirection::kRecvOnly:
      return "recvonly";
    case SdpDirection::kInactive:
      return "inactive";
    case SdpDirection::kSendRecv:
      break;
  }
  return "sendrecv";
}

std::string_view ToString(Field field) {
  return kFieldNames[static_cast<std::size_t>(field) % kFieldNames.size()];
}

std::string_view ToString(VerdictToken token) {
  return kVerdictNames[static_cast<std::size_t>(token) % kVerdictNames.size()];
}

bool VerdictTokenFromString(std::string_view text, VerdictToken* token) {
  for (std::size_t i = 0; i < kVerdictNames.size(); ++i) {
    if (kVerdictNames[i] == text) {
      *token = static_cast<VerdictToken>(i);
      return true;
    }
  }
  return false;
}

std::string SdpSummary::Origin() const {
  return origin_user + ' ' + origin_session_id + ' ' + origin_version + ' ' + origin_net_type +
         ' ' + origin_address_type + ' ' + origin_address;
}

const Evidence* DialogState::FindEvidence(Field field) const {
  auto at = std::find_if(evidence.begin(), evidence.end(),
                         [field](const Evidence& entry) { return entry.field == field; });
  return at == evidence.end() ? nullptr : &*at;
}

bool DialogState::IsMissing(Field field) const {
  return std::find(missing.begin(), missing.end(), field) != missing.end();
}

void MergeStoredState(const DialogState& stored, DialogState& dialog) {
  if (stored.call_id != dialog.call_id || stored.local.tag != dialog.local.tag ||
      stored.remote.tag != dialog.remote.tag) {
    return;
  }
  auto known = [&dialog](Field field) { std::erase(dialog.missing, field); };
  auto cite = [&](Field field) {
    known(field);
    std::erase_if(dialog.evidence, [field](const Evidence& entry) { return entry.field == field; });
    if (const Evidence* old = stored.FindEvidence(field)) {
      dialog.evidence.push_back(*old);
      dialog.evidence.back().reason.stored_earlier = true;
    }
  };
  if (stored.local_seq && (!dialog.local_seq || *dialog.local_seq < *stored.local_seq)) {
    dialog.local_seq = stored.local_seq;
    cite(Field::kLocalSeq);
  }
  if (stored.remote_seq && (!dialog.remote_seq || *dialog.remote_seq < *stored.remote_seq)) {
    dialog.remote_seq = stored.remote_seq;
    cite(Field::kRemoteSeq);
  }
  if (dialog.IsMissing(Field::kRouteSet) && !stored.IsMissing(Field::kRouteSet)) {
    dialog.route_set = stored.route_set;
    dialog.record_route = stored.record_route;
    cite(Field::kRouteSet);
  }
  if (dialog.remote_target.empty() && !stored.remote_target.empty()) {
    dialog.remote_target = stored.remote_target;
    cite(Field::kRemoteTarget);
  }
  if (dialog.local_target.empty() && !stored.local_target.empty()) {
    dialog.local_target = stored.local_target;
    cite(Field::kLocalTarget);
  }
  if (dialog.local.uri.empty() && !stored.local.uri.empty()) {
    dialog.local = stored.local;
    cite(Field::kLocalUri);
  }
  if (dialog.remote.uri.empty() && !stored.remote.uri.empty()) {
    dialog.remote = stored.remote;
    cite(Field::kRemoteUri);
  }
  if (dialog.role == DialogRole::kUnknown && stored.role != DialogRole::kUnknown) {
    dialog.role = stored.role;
    cite(Field::kRole);
  }
  if (dialog.local_sdp.empty() && !stored.local_sdp.empty()) {
    dialog.local_sdp = stored.local_sdp;
    cite(Field::kLocalSdp);
  }
  if (dialog.remote_sdp.empty() && !stored.remote_sdp.empty()) {
    dialog.remote_sdp = stored.remote_sdp;
    cite(Field::kRemoteSdp);
  }
  if (DecimalLess(dialog.highest_local_sdp_version, stored.highest_local_sdp_version)) {
    dialog.highest_local_sdp_version = stored.highest_local_sdp_version;
  }
  if (dialog.usages.empty() && dialog.phase == DialogPhase::kUnknown) dialog.usages = stored.usages;
  if (dialog.local_pace.count() == 0) dialog.local_pace = stored.local_pace;
  if (dialog.links.empty()) dialog.links = stored.links;
  // An end is final, and a confirmed dialog does not become early again.
  if (stored.phase == DialogPhase::kTerminated ||
      (stored.end != DialogEnd::kNone && dialog.end == DialogEnd::kNone)) {
    dialog.phase = stored.phase;
    dialog.end = stored.end;
    cite(Field::kEnd);
  } else if (stored.phase == DialogPhase::kConfirmed && dialog.phase != DialogPhase::kTerminated &&
             dialog.phase != DialogPhase::kConfirmed) {
    dialog.phase = DialogPhase::kConfirmed;
    dialog.confirmed_at = stored.confirmed_at;
    cite(Field::kPhase);
    known(Field::kInviteUsage);
  }
  if (!stored.IsMissing(Field::kInviteUsage)) known(Field::kInviteUsage);
  if (dialog.transport == Transport::kUnknown && stored.transport != Transport::kUnknown) {
    dialog.transport = stored.transport;
    cite(Field::kTransport);
  }
  if (dialog.next_hop.ip.empty() && !stored.next_hop.ip.empty()) {
    dialog.next_hop = stored.next_hop;
    cite(Field::kNextHop);
  }
  if (dialog.observed_source.ip.empty() && !stored.observed_source.ip.empty()) {
    dialog.observed_source = stored.observed_source;
    cite(Field::kObservedSource);
  }
  for (const IpAddress& host : stored.seen_hosts) {
    if (std::find(dialog.seen_hosts.begin(), dialog.seen_hosts.end(), host) ==
        dialog.seen_hosts.end()) {
      dialog.seen_hosts.push_back(host);
    }
  }
  dialog.from_stored_state = true;
  std::sort(dialog.evidence.begin(), dialog.evidence.end(),
            [](const Evidence& a, const Evidence& b) { return a.field < b.field; });
}

}  // namespace sipheal::inline v0_1::sip
