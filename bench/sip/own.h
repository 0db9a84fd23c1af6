// SPDX-License-Identifier: Apache-2.0
// sipheal's own work, as the table measures it.
#pragma once

#include "bench/sip/corpus.h"
#include "bench/sip/measure.h"
#include "bench/sip/peers/peer.h"

namespace sipheal::bench {

// Parses the message and reads the fields that every peer is asked for.
bool ReadOwn(std::string_view bytes, Fields& fields);

// Parse alone, parse and fields, rebuild, serialise in its forms, and all of it for each dialog.
std::vector<Contender> OwnContenders(const Corpus& corpus);

}  // namespace sipheal::bench
