// SPDX-License-Identifier: Apache-2.0
// The corpus of whole calls that the benchmarks read; bench/run.sh makes it (gen_corpus.py).
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::bench {

struct Corpus {
  // One dialog's messages stand together, `per_dialog` of them, each with NUL bytes behind it.
  std::string blob;
  std::vector<sip::CapturedMessageView> messages;
  std::size_t dialogs = 0;
  std::size_t per_dialog = 0;
  std::size_t bytes = 0;  // of the messages alone
};

// Reads the file, or says what is wrong and ends the program.
Corpus ReadCorpus(const char* path);

// The server whose calls these are.
sip::ServerIdentity CorpusServer();

}  // namespace sipheal::bench
