// SPDX-License-Identifier: Apache-2.0
// A flow that the media server puts back by itself: res_pjsip_recovery takes what it is from the
// channel variable PJSIP_RECOVERY_FLOW, enters the application, bridge and playback as soon as the
// phone has answered, and tells what came of it in PJSIP_RECOVERY_FLOW_RESULT (its README says
// more). No request has to follow the answer, so the phone hears the call again sooner.
//
//   {"stasis":{"app":"host","args":["a"]},
//    "bridge":{"id":"b1","type":"mixing","name":"support"},
//    "playback":{"id":"p1","media":["sound:a"],"offset_ms":1200,"language":"en"}}
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "sipheal/media_server_driver.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

inline constexpr char kServerFlowVariable[] = "PJSIP_RECOVERY_FLOW";
inline constexpr char kServerFlowResult[] = "PJSIP_RECOVERY_FLOW_RESULT";
inline constexpr char kServerFlowUnderway[] = "underway";  // its value until it is known

// The value of PJSIP_RECOVERY_FLOW; empty when the flow is none that the module puts back as a
// whole: hold, music, mute, recordings, a paused playback, one of a bridge, partners that may be in
// a bridge of another name, and sessions of sipheal's own application are left to the resumer.
std::string ServerFlowOf(const Session& session, WallTime died_at, const std::string& own_app,
                         std::chrono::milliseconds overlap);

// What the value of PJSIP_RECOVERY_FLOW_RESULT says.
FlowProgress ParseServerFlowResult(std::string_view text);

}  // namespace sipheal::inline v0_1::internal
