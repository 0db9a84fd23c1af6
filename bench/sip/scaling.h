// SPDX-License-Identifier: Apache-2.0
// What tracking costs, from one dialog to a million.
#pragma once

#include <cstddef>
#include <vector>

#include "bench/sip/corpus.h"

namespace sipheal::bench {

struct TrackedCost {
  std::size_t dialogs = 0;
  double fold_ns = 0;      // a message, new calls
  double find_ns = 0;      // a Call-ID looked up, at random
  double snapshot_ns = 0;  // a dialog derived, at random
  double bytes = 0;        // a dialog, by the folder's own count, as the messages left it
  double quiet_bytes = 0;  // the same after Sweep
  double resident_mb = 0;  // what the process grew by, after Sweep
};

// Tracks so many dialogs: those of the corpus with a Call-ID of their own each.
TrackedCost Track(const Corpus& corpus, std::size_t dialogs);

// Messages a second folded by all threads, each with a folder of its own; wall time.
double FoldedPerSecond(const Corpus& corpus, unsigned threads);

}  // namespace sipheal::bench
