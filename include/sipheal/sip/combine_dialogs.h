// SPDX-License-Identifier: Apache-2.0
// From what two witnesses know of a dialog to what both together prove.
//
// A source that folds (HEP) keeps no messages, so what another source (HOMER) has cannot be folded
// onto its facts any more. Each state was made of a part of the dialog's messages; both are true as
// far as they go. Put together:
//
//  - an end that one of them saw is the end; no dialog is raised by a witness that missed its BYE;
//  - sequence numbers and o= versions are the higher ones;
//  - what one of them lacks, the other gives;
//  - what moves (target, session description, session timer) comes from the newer evidence. When
//    they differ and the evidence lies within a second, the clocks of two capture agents decide
//    nothing: an undecided conflict (session descriptions are then told apart by their o= version);
//  - From and To are those of the older evidence, which is nearer to the INVITE that made the
//    dialog, or of the newer connected identity (RFC 4916);
//  - a role or a route set, which never move, that differ all the same are an undecided conflict.
//
// So the result is never more than both prove, and a dialog of which they tell different things
// gets the verdict `conflicting`.
#pragma once

#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// Adds what `other` proves of the same dialog. Does nothing when Call-ID or tags differ.
SIPHEAL_EXPORT void CombineDialog(const DialogState& other, DialogState& dialog);

// The same for all dialogs of one or more Call-IDs: those known to both are combined, those that
// only `others` has are added. A cancelled INVITE and a tombstone (a terminated dialog without
// tags) end, whoever saw them, the dialogs that they may be of.
SIPHEAL_EXPORT void CombineDialogs(std::vector<DialogState> others,
                                   std::vector<DialogState>& dialogs);

}  // namespace sipheal::inline v0_1::sip
