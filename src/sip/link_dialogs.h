// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Applies what dialogs say of each other: an accepted INVITE with Replaces ends the dialog that it
// names (rule 7.6), and a notification of the dialog package shows how far the server's numbers had
// come (rule 7.8). The order of the dialogs does not matter.
void ApplyReferences(std::span<DialogState> dialogs);

// Whether the dialog says anything of others.
bool RefersToOthers(const DialogState& dialog);
// What it says of the call `named`, as an encoded dialog that ApplyReferences takes for it; empty
// when that comes to nothing.
std::string KeepReferences(const DialogState& dialog, std::string_view named);
// Of the value of a Replaces.
std::string_view CallIdInReplaces(std::string_view replaces);

}  // namespace sipheal::inline v0_1::sip
