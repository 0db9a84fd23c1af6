// SPDX-License-Identifier: Apache-2.0
// The parsers of others, opened at run time.
#pragma once

#include <string>
#include <vector>

#include "bench/sip/corpus.h"
#include "bench/sip/measure.h"

namespace sipheal::bench {

// A contender for each shared object in the folder. Before any is timed, its fields of every
// message are held against ours; one that reads others is named with the first difference.
std::vector<Contender> OtherContenders(const Corpus& corpus, const std::string& folder);

}  // namespace sipheal::bench
