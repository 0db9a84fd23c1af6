// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "sipheal/sip/next_request.h"
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

// The highest of a number in the notes: of all, and of those that were captured.
template <typename T>
std::pair<T, T> Highest(const LegCheck& check, T Note::*member) {
  T all = 0;
  T seen = 0;
  for (std::size_t i = 0; i < check.call.notes.size(); ++i) {
    const Note& note = check.call.notes[i];
    if (note.leg != kAllLegs && note.leg != check.number) continue;
    all = std::max(all, note.*member);
    if (check.call.survives[i]) seen = std::max(seen, note.*member);
  }
  return {all, seen};
}

void Number(LegCheck& check, const char* name, std::uint64_t found,
            std::pair<std::uint64_t, std::uint64_t> truth) {
  if (found > truth.first || found < truth.second) {
    check.Fail(
        name, std::to_string(found),
        std::to_string(truth.first) + ", of which " + std::to_string(truth.second) + " was seen");
  }
}

}  // namespace

void CheckSequence(LegCheck& check) {
  const auto local = Highest(check, &Note::local_seq);
  // Without its request, an INVITE within one fork looks like another attempt, which is of all.
  const bool of_another_fork = check.call.legs.size() > 1 && !check.lossless();
  if (!of_another_fork || check.state.local_seq.value_or(0) < local.second) {
    Number(check, "local_seq", check.state.local_seq.value_or(0), local);
  }
  // A refused re-INVITE without its request looks like a refused first one.
  if (check.lossless() || check.state.phase != sip::DialogPhase::kEarly ||
      !check.leg.was_confirmed) {
    Number(check, "remote_seq", check.state.remote_seq.value_or(0),
           Highest(check, &Note::remote_seq));
  }
  Number(check, "highest_local_sdp_version",
         check.state.highest_local_sdp_version.empty()
             ? 0
             : std::stoull(check.state.highest_local_sdp_version),
         Highest(check, &Note::sdp_version));
  const auto next = sip::NextCseq(check.state, {}, check.state.last_seen);
  if (!next.ok() || *next <= local.first) {
    check.Fail("next CSeq",
               next.ok() ? std::to_string(*next) : std::string(next.status().message()),
               "above " + std::to_string(local.first));
  }
  if (check.lossless() && local.first > 0) {
    const auto exact =
        sip::NextCseq(check.state, {.capture_is_complete = true}, check.state.last_seen);
    check.Equal("next CSeq of a complete capture", exact.ok() ? std::to_string(*exact) : "none",
                std::to_string(local.first + 1));
  }
}

}  // namespace sipheal::testing::generator
