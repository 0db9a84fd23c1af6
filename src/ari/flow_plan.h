// SPDX-License-Identifier: Apache-2.0
// What the flow resumer decides without asking anybody: pure functions of a session.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/flow_resumer.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

// Whether a flow can be resumed at all; FailedPrecondition or InvalidArgument say why not.
absl::Status AcceptFlow(const Session& session, bool continue_in_dialplan);

// Where in the current item the playback goes on. 0 for media that Asterisk can only play from the
// beginning (numbers, digits, characters, tones).
std::chrono::milliseconds ResumeOffset(const Playback& playback, WallTime died_at,
                                       std::chrono::milliseconds overlap);

// "call" -> "call-part2" -> "call-part3": never the name of a file that exists.
std::string NextPartName(const Recording& recording);

// The value of SIPHEAL_FLOW (flow_hints.h) for the new channel; empty when events tell all of it.
std::string NoteOf(const Session& session, WallTime died_at, const std::string& own_app,
                   std::chrono::milliseconds overlap);

// As ARI's appArgs wants them: with commas between.
std::string JoinArguments(const std::vector<std::string>& arguments);

}  // namespace sipheal::inline v0_1::internal
