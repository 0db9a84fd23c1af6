// SPDX-License-Identifier: Apache-2.0
// A call that is up, as session and as dialog, for tests and benchmarks of what comes after the
// rebuild.
#pragma once

#include <string>

#include "absl/strings/str_format.h"
#include "sipheal/model/session.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::tests {

inline Session CapturedSession(int number, const std::string& instance, WallTime now) {
  Session session;
  session.incarnation = {instance, "life-1"};
  session.channel_id = absl::StrFormat("chan-%d", number);
  session.id = MakeSessionId(session.incarnation, session.channel_id);
  session.call_id = absl::StrFormat("call-%d", number);
  session.endpoint = "phone";
  session.created_at = now;
  session.answered_at = now;
  return session;
}

inline sip::DialogState CapturedDialog(const std::string& call_id) {
  sip::DialogState dialog;
  dialog.call_id = call_id;
  dialog.local = {"", "sip:pbx@192.0.2.1", "", "local-" + call_id};
  dialog.remote = {"", "sip:phone@192.0.2.9", "", "remote-" + call_id};
  dialog.role = sip::DialogRole::kUas;
  dialog.phase = sip::DialogPhase::kConfirmed;
  dialog.local_seq = 7;
  dialog.remote_seq = 3;
  dialog.remote_target = "sip:phone@192.0.2.9:5062";
  dialog.transport = sip::Transport::kUdp;
  dialog.next_hop = *sip::Endpoint::Parse("192.0.2.9:5062");
  dialog.observed_source = dialog.next_hop;
  dialog.seen_hosts = {dialog.next_hop.ip};
  dialog.local_sdp.origin_user = "-";
  dialog.local_sdp.origin_session_id = "100";
  dialog.local_sdp.origin_version = "100";
  dialog.local_sdp.origin_net_type = "IN";
  dialog.local_sdp.origin_address_type = "IP4";
  dialog.local_sdp.origin_address = "192.0.2.1";
  dialog.local_sdp.media = {{"audio", 10000, "RTP/AVP", "0", "", "", sip::SdpDirection::kSendRecv}};
  dialog.remote_sdp = dialog.local_sdp;
  return dialog;
}

}  // namespace sipheal::tests
