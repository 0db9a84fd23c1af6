// SPDX-License-Identifier: Apache-2.0
// What a person should know of a capture that gives less than was hoped for. Each note is a
// sentence, or empty when there is nothing to say.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::cli {

// Messages of the server that no dialog is made of, since they are not to be believed: how many,
// and the first with its frame, the rule and the byte.
std::string NoteMalformed(std::span<const sip::CapturedMessage> messages,
                          const sip::ServerIdentity& server);

// Frames without a single SIP message.
std::string NoteNoSip(std::uint64_t frames);

// Agents that were asked for, of which none sent anything.
std::string NoteAgents(const std::vector<std::string>& agents,
                       std::span<const sip::CapturedMessage> messages);

}  // namespace sipheal::inline v0_1::cli
