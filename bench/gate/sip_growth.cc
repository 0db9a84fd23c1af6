// SPDX-License-Identifier: Apache-2.0
// What a hostile sender can make long, each at two sizes: bench/gate/run.sh counts the instructions
// within GrowthWork for each and fails when four times the size takes much more than four times.
//
//   sip_growth     prints a line for each piece of work, in order: its name, its size in bytes
#include <cstdio>
#include <span>
#include <string_view>

#include "bench/gate/gate_calls.h"
#include "bench/gate/growth_cases.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/verdict.h"

// What is counted is what happens in here: the messages are folded and the dialogs judged. Returns
// how many messages were believed.
extern "C" __attribute__((noinline)) std::size_t GrowthWork(
    std::span<const sipheal::sip::CapturedMessage> messages, sipheal::sip::DialogFolder& folder) {
  using sipheal::sip::FoldResult;
  std::size_t believed = 0;
  std::string_view call_id;
  for (const sipheal::sip::CapturedMessage& message : messages) {
    const sipheal::sip::FoldOutcome outcome = folder.Fold(message);
    const bool refused =
        outcome.result == FoldResult::kMalformed || outcome.result == FoldResult::kNotOurs;
    if (!refused) ++believed;
    call_id = outcome.call_id;
  }
  for (const sipheal::sip::DialogState& dialog : folder.Snapshot(call_id)) (void)Judge(dialog);
  return believed;
}

int main() {
  using namespace sipheal;
  for (const bench::GrowthCase& one : bench::GrowthCases()) {
    for (const std::size_t size : {one.size, one.size * 4}) {
      const auto messages = one.make(size);
      std::size_t bytes = 0;
      for (const sip::CapturedMessage& message : messages) bytes += message.bytes.size();
      sip::DialogFolder folder(bench::GateServer());
      const std::size_t believed = GrowthWork(messages, folder);
      if (believed != (one.refused ? 0 : messages.size())) {
        std::fprintf(stderr, "sip_growth: %s: %zu of %zu messages were believed\n", one.name,
                     believed, messages.size());
        return 1;
      }
      std::printf("%s %zu\n", one.name, bytes);
    }
  }
  return 0;
}
