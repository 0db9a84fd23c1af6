// SPDX-License-Identifier: Apache-2.0
// Compares what was open when the server died, by when the peer gives up, and what else a dialog
// says of itself, with the simulation's own ledger.
#pragma once

#include <string>
#include <vector>

#include "sipheal/sip/dialog_state.h"
#include "tests/sip/generator/call.h"

namespace sipheal::testing::generator {

void CheckClocks(const GeneratedCall& call, const Leg& leg, int number,
                 const sip::DialogState& state, std::vector<std::string>* problems);

}  // namespace sipheal::testing::generator
