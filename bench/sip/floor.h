// SPDX-License-Identifier: Apache-2.0
// What no rebuild can do without, beside parsing each message and taking its fields: done as
// plainly as it can be, and without anything that the rules ask for. A rebuild that takes less does
// not exist; how much ours takes beyond it is what the rules cost.
#pragma once

#include <vector>

#include "bench/sip/corpus.h"
#include "bench/sip/measure.h"

namespace sipheal::bench {

// Each does what the one before does and a step more; the last one does all.
std::vector<Contender> FloorContenders(const Corpus& corpus);

}  // namespace sipheal::bench
