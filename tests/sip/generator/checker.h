// SPDX-License-Identifier: Apache-2.0
// Compares what was rebuilt with what is true.
#pragma once

#include <string>
#include <vector>

#include "sipheal/sip/dialog_state.h"
#include "tests/sip/generator/call.h"

namespace sipheal::testing::generator {

// What was counted over many calls, so that a report says what the checks had to do with.
struct Tally {
  std::size_t dialogs = 0;
  std::size_t lossless = 0;
  std::size_t recoverable = 0;
  std::size_t unknown_fields = 0;     // said to be missing, after losses, each for want of evidence
  std::size_t invisible_changes = 0;  // changes of which no message at all was captured
};

// What is wrong, in words; empty: nothing.
std::vector<std::string> Check(const GeneratedCall& call,
                               const std::vector<sip::DialogState>& rebuilt, Tally* tally);

// Seed, story, messages, truth and what was found, for a person.
std::string Report(const GeneratedCall& call, const std::vector<sip::DialogState>& rebuilt);

}  // namespace sipheal::testing::generator
