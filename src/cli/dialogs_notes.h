// SPDX-License-Identifier: Apache-2.0
// What a person should know of a capture that gives less than was hoped for. Each note is a
// sentence, or empty when there is nothing to say.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::cli {

// Messages that no dialog is made of, since the parser refuses them: how many, and the first with
// its frame, the rule and the byte.
std::string NoteMalformed(std::span<const sip::CapturedMessage> messages);

// Frames without a single SIP message.
std::string NoteNoSip(std::uint64_t frames);

// Agents that were asked for, of which none sent anything.
std::string NoteAgents(const std::vector<std::string>& agents,
                       std::span<const sip::CapturedMessage> messages);

}  // namespace sipheal::inline v0_1::cli
