// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {
namespace {

using sip::DialogPhase;
using sip::Field;

Stage StageOf(DialogPhase phase) {
  switch (phase) {
    case DialogPhase::kEarly:
      return Stage::kEarly;
    case DialogPhase::kConfirmed:
      return Stage::kConfirmed;
    case DialogPhase::kTerminated:
      return Stage::kOver;
    default:
      return Stage::kNone;
  }
}

// Early dialogs that lost against another fork go 64*T1 after its 2xx.
bool LostAgainstAFork(const LegCheck& check) {
  return check.leg.stage == Stage::kEarly && check.call.first_2xx_us != 0 &&
         check.call.end_us >= check.call.first_2xx_us + 32'000'000;
}

}  // namespace

void CheckStage(LegCheck& check) {
  const Stage found = StageOf(check.state.phase);
  Stage truth = check.leg.stage;
  Stage shown = Stage::kNone;
  for (const Leg::StageProof& proof : check.leg.stages) {
    if (check.All(proof.messages)) shown = std::max(shown, proof.stage);
  }
  if (LostAgainstAFork(check)) {
    if (!check.lossless() && found == Stage::kOver) return;
    truth = Stage::kOver;
    if (check.lossless()) shown = Stage::kOver;
  }
  // Of a flood, any may be kept of those that were never answered.
  const bool crowded_out = check.call.flooded && !check.lossless() && !check.leg.was_confirmed;
  // Which INVITE was refused, the first one or another, nobody can tell without its request.
  const bool never_up =
      shown == Stage::kEarly || (shown == Stage::kOver && !check.leg.was_confirmed);
  if (found == Stage::kNone && never_up && check.state.IsMissing(Field::kPhase) &&
      !check.OpeningSeen(false)) {
    return;
  }
  if (found > truth || (found < shown && !crowded_out)) {
    check.Fail("phase", std::string(sip::ToString(check.state.phase)),
               "stage " + std::to_string(static_cast<int>(truth)) + ", of which " +
                   std::to_string(static_cast<int>(shown)) + " was seen");
  }
  if (check.lossless() && !LostAgainstAFork(check)) {
    // A BYE that nobody answered, from a host that the dialog never used, ends nothing (rule 12.2).
    const bool believed =
        check.leg.end != sip::DialogEnd::kByeUnanswered ||
        std::any_of(check.call.ledger.begin(), check.call.ledger.end(), [&](const auto& entry) {
          return entry.leg == check.number && entry.method == "BYE" && check.KnowsHost(entry.hop);
        });
    check.Equal("end", std::string(sip::ToString(check.state.end)),
                std::string(sip::ToString(believed ? check.leg.end : sip::DialogEnd::kNone)));
  }
}

}  // namespace sipheal::testing::generator
