// SPDX-License-Identifier: Apache-2.0
// What every dialog must be able to say for itself: each field that has a value names the message
// that gave it, or is listed as missing.
#pragma once

#include <set>
#include <string>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::testing {

// Empty when the dialog can; else what it cannot. `frames`: the numbers of the messages that there
// were.
inline std::string WhatLacksEvidence(const sip::DialogState& dialog,
                                     const std::set<std::uint64_t>& frames) {
  using sip::Field;
  std::string wrong;
  const auto has_value = [&](Field field) {
    switch (field) {
      case Field::kCallId:
        return !dialog.call_id.empty();
      case Field::kLocalTag:
        return !dialog.local.tag.empty();
      case Field::kRemoteTag:
        return !dialog.remote.tag.empty();
      case Field::kLocalUri:
        return !dialog.local.uri.empty();
      case Field::kRemoteUri:
        return !dialog.remote.uri.empty();
      case Field::kRole:
        return dialog.role != sip::DialogRole::kUnknown;
      case Field::kPhase:
        return dialog.phase != sip::DialogPhase::kUnknown;
      case Field::kLocalSeq:
        return dialog.local_seq.has_value();
      case Field::kRemoteSeq:
        return dialog.remote_seq.has_value();
      case Field::kRouteSet:
        return true;  // empty is a value, too
      case Field::kRemoteTarget:
        return !dialog.remote_target.empty();
      case Field::kLocalTarget:
        return !dialog.local_target.empty();
      case Field::kTransport:
        return dialog.transport != sip::Transport::kUnknown;
      case Field::kNextHop:
        return !dialog.next_hop.ip.empty();
      case Field::kLocalSdp:
        return !dialog.local_sdp.empty();
      case Field::kRemoteSdp:
        return !dialog.remote_sdp.empty();
      case Field::kSessionTimer:
        return dialog.session_timer.active();
      case Field::kHold:
        return dialog.held_by_local || dialog.held_by_remote;
      case Field::kInviteUsage:
        return dialog.phase == sip::DialogPhase::kConfirmed;
      case Field::kEnd:
        return dialog.end != sip::DialogEnd::kNone;
      case Field::kSecure:
        return dialog.secure;
      case Field::kPendingTarget:
        return !dialog.pending_remote_target.empty();
      case Field::kContactTarget:
        return !dialog.contact_target.empty();
      case Field::kObservedSource:
        return !dialog.observed_source.ip.empty();
      case Field::kRedirectTargets:
        return !dialog.redirect_targets.empty();
      case Field::kResync:
        return dialog.resync_needed;
      case Field::kMediaSecurity:
        return dialog.media_security.any();
      case Field::kAbilities:
        return !dialog.remote_supported.empty() || !dialog.remote_allow.empty();
      case Field::kDeadline:
        return dialog.deadline.has_value();
    }
    return true;
  };
  for (int i = 0; i < sip::kFieldCount; ++i) {
    const Field field = static_cast<Field>(i);
    const sip::Evidence* evidence = dialog.FindEvidence(field);
    const std::string name(sip::ToString(field));
    if (has_value(field) && evidence == nullptr && !dialog.IsMissing(field)) {
      wrong += name + " has a value and no evidence\n";
    }
    if (evidence == nullptr) continue;
    if (evidence->Why().empty()) wrong += name + " has no reason\n";
    if (frames.count(evidence->message.sequence) == 0) {
      wrong += name + " names no message that there was\n";
    }
  }
  std::set<Field> seen;
  for (const sip::Evidence& evidence : dialog.evidence) {
    if (!seen.insert(evidence.field).second) {
      wrong += std::string(sip::ToString(evidence.field)) + " has evidence twice\n";
    }
  }
  for (const sip::Conflict& conflict : dialog.conflicts) {
    if (conflict.reason.empty() || frames.count(conflict.message.sequence) == 0) {
      wrong += "a conflict about " + std::string(sip::ToString(conflict.field)) +
               " names no reason or no message\n";
    }
  }
  // Without these nothing can be sent: not known is said.
  const auto not_known = [&](Field field, bool empty) {
    if (empty && !dialog.IsMissing(field)) {
      wrong += std::string(sip::ToString(field)) + " is empty and not missing\n";
    }
  };
  not_known(Field::kLocalTag, dialog.local.tag.empty());
  not_known(Field::kRemoteTag, dialog.remote.tag.empty());
  not_known(Field::kLocalUri, dialog.local.uri.empty());
  not_known(Field::kRemoteUri, dialog.remote.uri.empty());
  not_known(Field::kRemoteTarget, dialog.remote_target.empty());
  not_known(Field::kPhase, dialog.phase == sip::DialogPhase::kUnknown);
  return wrong;
}

}  // namespace sipheal::testing
