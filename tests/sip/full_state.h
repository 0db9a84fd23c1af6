// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::testing {

inline sip::CaptureTime At(std::int64_t us) {
  return sip::CaptureTime(std::chrono::microseconds(us));
}

// A state in which no field has its default value.
inline sip::DialogState FullState() {
  using sip::Field;
  sip::DialogState d;
  d.call_id = "c@h";
  d.local = {"\"L\"", "sip:l@h", ";x=1", "lt"};
  d.remote = {"R", "sip:r@h", ";y=2", "rt"};
  d.role = sip::DialogRole::kUas;
  d.phase = sip::DialogPhase::kConfirmed;
  d.end = sip::DialogEnd::kByeUnanswered;
  d.local_seq = 7;
  d.remote_seq = 4294967295u;
  d.route_set = {"sip:p1;lr", "sip:p2"};
  d.record_route = {"sip:p2", "sip:p1;lr"};
  d.remote_target = "sip:t@h";
  d.pending_remote_target = "sip:q@h";
  d.contact_target = "sip:c@h";
  d.local_target = "sip:s@h";
  d.secure = true;
  d.transport = sip::Transport::kTls;
  d.next_hop = *sip::Endpoint::Parse("192.0.2.1:5061");
  d.observed_source = *sip::Endpoint::Parse("[2001:db8::1]:5062");
  d.flow_held_by_server = true;
  d.seen_hosts = {*sip::IpAddress::Parse("192.0.2.1"), *sip::IpAddress::Parse("2001:db8::1")};
  d.local_sdp = {"root",
                 "1",
                 "2",
                 "IN",
                 "IP4",
                 "192.0.2.2",
                 "192.0.2.3",
                 sip::SdpDirection::kSendOnly,
                 {{"audio", 20000, "RTP/AVP", "0 101", "101 telephone-event/8000", "192.0.2.4",
                   sip::SdpDirection::kRecvOnly}}};
  d.remote_sdp = d.local_sdp;
  d.remote_sdp.origin_user = "other";
  d.highest_local_sdp_version = "99";
  d.held_by_local = d.held_by_remote = true;
  d.media_security = {true, true, true};
  d.session_timer = {std::chrono::seconds(1800), true, At(5), At(6), std::chrono::seconds(90)};
  d.local_pace = std::chrono::microseconds(50'000);
  d.open_transactions = {{"INVITE", 9, true, true, true, {3, At(8)}, At(9)},
                         {"INFO", 10, false, false, false, {4, At(8)}, std::nullopt}};
  d.resync_needed = true;
  d.redirect_targets = {"sip:elsewhere@h"};
  d.usages = {{"refer", "3", true, true, {5, At(8)}, At(10)},
              {"dialog", "", false, false, {6, At(8)}, std::nullopt}};
  d.links = {{"other@h", "l2", "r2", "same Session-ID"}};
  d.references = {
      "c;to-tag=x;from-tag=y", "uuid", "icid", "x@h", {{"t@h", "n", "o", 7, 8, {9, At(9)}}}};
  d.remote_supported = "timer";
  d.remote_allow = "INVITE";
  d.created_at = At(1);
  d.confirmed_at = At(2);
  d.last_seen = At(3);
  d.deadline = At(4);
  d.deadline_reason = "why";
  d.evidence = {{Field::kRole, {1, At(1)}, sip::Reason::kSentFirstInvite, ""},
                {Field::kEnd, {4, At(4)}, sip::Reason::kReplaced, "o@h"}};
  d.evidence[0].reason.without_own_entry = d.evidence[0].reason.stored_earlier = true;
  d.evidence[1].reason.method = sip::Method::kPublish;
  d.evidence[1].reason.status = 699;
  d.conflicts = {{Field::kRouteSet, {2, At(2)}, "loser", "reason", true}};
  d.missing = {Field::kRemoteSdp};
  d.warnings = {"w"};
  d.quarantined = 3;
  d.limits_reached = true;
  d.from_stored_state = true;
  return d;
}

}  // namespace sipheal::testing
