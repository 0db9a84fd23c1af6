// SPDX-License-Identifier: Apache-2.0
// What the stores that keep sessions and journal entries as rows of SQL have in common: how a row
// is read, what is said of one that is damaged, and how what is over is forgotten.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "model/session_codec.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/model/recovery.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

inline constexpr std::chrono::minutes kBetweenPurges{10};
// So that no caller waits long for it; the rest has its turn a moment later.
inline constexpr int kSessionsOfOnePurge = 500;
inline constexpr std::chrono::seconds kNextPartOfPurge{1};

inline void TellDamage(LogSink& log, const SessionKey& key, const std::string& what) {
  log.Write(
      {.level = LogLevel::kWarning,
       .event = "session_record_damaged",
       .message = "A field of a stored session cannot be read; it is taken as not known",
       .fields = {{"session_id", key.id}, {"epoch", std::to_string(key.epoch)}, {"field", what}}});
}

// Row: GetText, GetNumber and IsNull of a column.
template <typename Row>
SessionKey KeyInRow(const Row& row, int column) {
  return {std::string(row.GetText(column)), static_cast<std::uint32_t>(row.GetNumber(column + 1))};
}

// From the columns id, epoch, instance, life, record.
template <typename Row>
Session SessionInRow(const Row& row, int column, LogSink& log) {
  const SessionKey key = KeyInRow(row, column);
  DecodedSession decoded = DecodeSession(
      key, {std::string(row.GetText(column + 2)), std::string(row.GetText(column + 3))},
      row.GetText(column + 4));
  for (const std::string& field : decoded.damaged) TellDamage(log, key, field);
  return std::move(decoded.session);
}

// From the columns id, epoch, fence, stage, attempt, target_instance, target_life, channel_id,
// cseq, deaths, reason, outcome, at_us, taken_instance, taken_life, taken_channel.
template <typename Row>
JournalEntry EntryInRow(const Row& row, int column, LogSink& log) {
  const auto text = [&](int field) { return std::string(row.GetText(column + field)); };
  const auto number = [&](int field) {
    return static_cast<std::uint32_t>(row.GetNumber(column + field));
  };
  JournalEntry entry;
  entry.session = KeyInRow(row, column);
  entry.fence = static_cast<std::uint64_t>(row.GetNumber(column + 2));
  const std::optional<RecoveryStage> stage = ParseRecoveryStage(text(3));
  if (!stage) TellDamage(log, entry.session, "journal.stage");
  // Of a stage that cannot be read it must be assumed that something was sent.
  entry.stage = stage.value_or(RecoveryStage::kInviting);
  entry.attempt = number(4);
  entry.target = {text(5), text(6)};
  entry.channel_id = text(7);
  entry.cseq = number(8);
  entry.deaths = number(9);
  entry.reason = text(10);
  if (!row.IsNull(column + 11)) {
    entry.outcome = ParseOutcome(text(11));
    if (!entry.outcome) TellDamage(log, entry.session, "journal.outcome");
  }
  entry.at = WallTime(WallTime::duration(row.GetNumber(column + 12)));
  if (!text(15).empty()) entry.taken = TakenChannel{{text(13), text(14)}, text(15)};
  return entry;
}

}  // namespace sipheal::inline v0_1::internal
