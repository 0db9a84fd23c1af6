// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/recovery.h"

#include <array>
#include <utility>

namespace sipheal::inline v0_1 {
namespace {

constexpr std::array<std::pair<RecoveryStage, std::string_view>, 9> kStages = {{
    {RecoveryStage::kLost, "lost"},
    {RecoveryStage::kClaimed, "claimed"},
    {RecoveryStage::kRebuilt, "rebuilt"},
    {RecoveryStage::kPlaced, "placed"},
    {RecoveryStage::kInviting, "inviting"},
    {RecoveryStage::kAnswered, "answered"},
    {RecoveryStage::kResumed, "resumed"},
    {RecoveryStage::kEnding, "ending"},
    {RecoveryStage::kFinished, "finished"},
}};

constexpr std::array<std::pair<Outcome, std::string_view>, 5> kOutcomes = {{
    {Outcome::kRecovered, "recovered"},
    {Outcome::kEnded, "ended"},
    {Outcome::kClosed, "closed"},
    {Outcome::kExpired, "expired"},
    {Outcome::kQuarantined, "quarantined"},
}};

template <typename Table, typename Value>
std::string_view NameIn(const Table& table, Value value) {
  for (const auto& [known, name] : table) {
    if (known == value) return name;
  }
  return "unknown";
}

template <typename Value, typename Table>
std::optional<Value> ValueIn(const Table& table, std::string_view text) {
  for (const auto& [value, name] : table) {
    if (name == text) return value;
  }
  return std::nullopt;
}

}  // namespace

std::string_view ToString(RecoveryStage stage) { return NameIn(kStages, stage); }
std::optional<RecoveryStage> ParseRecoveryStage(std::string_view text) {
  return ValueIn<RecoveryStage>(kStages, text);
}
std::string_view ToString(Outcome outcome) { return NameIn(kOutcomes, outcome); }
std::optional<Outcome> ParseOutcome(std::string_view text) {
  return ValueIn<Outcome>(kOutcomes, text);
}

}  // namespace sipheal::inline v0_1
