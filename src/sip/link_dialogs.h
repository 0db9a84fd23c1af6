// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <span>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Applies what dialogs say of each other: an accepted INVITE with Replaces ends the dialog that it
// names (rule 7.6), and a notification of the dialog package shows how far the server's numbers had
// come (rule 7.8). The order of the dialogs does not matter.
void ApplyReferences(std::span<DialogState> dialogs);

}  // namespace sipheal::inline v0_1::sip
