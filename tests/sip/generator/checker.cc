// SPDX-License-Identifier: Apache-2.0
#include "tests/sip/generator/checker.h"

#include "sipheal/sip/explain.h"
#include "sipheal/sip/verdict.h"
#include "tests/sip/generator/leg_check.h"

namespace sipheal::testing::generator {

using sip::DialogPhase;
using sip::DialogState;
using sip::Field;

sip::VerdictOptions Anywhere() {
  sip::VerdictOptions options;
  options.targets.allow_targets = {"0.0.0.0/0", "::/0"};
  options.targets.refuse_service_ports = false;
  options.allow_secure_media = true;
  return options;
}

std::vector<std::string> Check(const GeneratedCall& call, const std::vector<DialogState>& rebuilt,
                               Tally* tally) {
  std::vector<std::string> problems;
  std::vector<bool> used(rebuilt.size(), false);
  for (std::size_t i = 0; i < call.legs.size(); ++i) {
    const Leg& leg = *call.legs[i];
    const DialogState* found = nullptr;
    for (std::size_t j = 0; j < rebuilt.size(); ++j) {
      if (rebuilt[j].local.tag == leg.server_side.local.tag &&
          rebuilt[j].remote.tag == leg.server_side.remote.tag) {
        if (found != nullptr) problems.push_back("two dialogs with the same tags");
        found = &rebuilt[j];
        used[j] = true;
      }
    }
    if (found == nullptr) {
      const bool shown = std::any_of(leg.stages.begin(), leg.stages.end(), [&](const auto& proof) {
        return proof.shows_dialog &&
               std::all_of(proof.messages.begin(), proof.messages.end(),
                           [&](int id) { return call.survives[static_cast<std::size_t>(id)]; });
      });
      // Of a flood, any may be kept of those that were never answered.
      const bool crowded_out = call.flooded && call.loss_percent > 0 && !leg.was_confirmed;
      if (shown && !crowded_out)
        problems.push_back("dialog " + std::to_string(i) + " was not found");
      continue;
    }
    ++tally->dialogs;
    if (call.loss_percent == 0) ++tally->lossless;
    LegCheck check(call, static_cast<int>(i), *found, tally, &problems);
    for (const auto part : {CheckIdentity, CheckSequence, CheckStage, CheckFacts, CheckRequest,
                            CheckUsages, CheckClocks, CheckSightings, CheckProof}) {
      part(check);
    }
  }
  for (std::size_t j = 0; j < rebuilt.size(); ++j) {
    if (used[j]) continue;
    if (call.subscription_tags.contains(rebuilt[j].local.tag) &&
        call.subscription_tags.contains(rebuilt[j].remote.tag)) {
      if (rebuilt[j].phase != DialogPhase::kUnknown || !rebuilt[j].IsMissing(Field::kInviteUsage) ||
          sip::Judge(rebuilt[j], Anywhere()).recoverable()) {
        problems.push_back("a subscription was taken for a call");
      }
      continue;
    }
    if (call.flooded && rebuilt[j].phase != DialogPhase::kConfirmed) continue;
    // An ACK alone may have been for a failure: what it names is said to be unproved.
    if (call.loss_percent > 0 && rebuilt[j].IsMissing(Field::kInviteUsage)) continue;
    problems.push_back("a dialog that never was: remote tag " + rebuilt[j].remote.tag);
  }
  return problems;
}

std::string Report(const GeneratedCall& call, const std::vector<DialogState>& rebuilt) {
  std::string text = "seed " + std::to_string(call.seed) + ", the server is the " +
                     (call.server_called ? "caller" : "called") + ", " +
                     std::to_string(call.loss_percent) + " % lost" +
                     (call.forged ? ", forged" : "") + "\n--- what happened\n";
  for (const std::string& line : call.story) {
    const std::size_t digits = line.find_first_not_of("0123456789");
    const bool message = digits != 0 && digits != std::string::npos;
    const bool lost = message && !call.survives[std::stoul(line)];
    text += line + (lost ? "   (lost)" : "") + '\n';
  }
  text += "--- what is true\n";
  for (const auto& leg : call.legs) {
    text += "remote tag " + leg->server_side.remote.tag + ", stage " +
            std::to_string(static_cast<int>(leg->stage)) + ", end " +
            std::string(sip::ToString(leg->end)) + '\n';
    for (std::size_t i = 0; i < kFactCount; ++i) {
      if (leg->history[i].empty()) continue;
      text += std::string("  ") + NameOf(static_cast<Fact>(i)) + ": " +
              leg->history[i].back().value + '\n';
    }
  }
  text += "--- what was found\n";
  for (const DialogState& state : rebuilt)
    text += sip::Explain(state, sip::Judge(state, Anywhere()));
  text += "--- the ladder\n" + sip::Ladder(call.Messages(), call.server, {});
  text += "--- the messages\n";
  for (const Copy& copy : call.copies) {
    text += "message " + std::to_string(copy.message.sequence) + " from " +
            copy.message.source.ToString() + '\n' + copy.message.bytes + '\n';
  }
  return text;
}

}  // namespace sipheal::testing::generator
