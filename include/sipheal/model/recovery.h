// SPDX-License-Identifier: Apache-2.0
// A recovery is one session's way from claim to outcome. These are its states, its outcomes, the
// journal entry that makes each step durable, and the lease that says whose it is.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/model/incarnation.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1 {

// lost -> claimed -> rebuilt -> placed -> inviting -> answered -> resumed, with the ways out.
// A controller that finds a recovery in a state knows what may have happened already, and what may
// not.
enum class RecoveryStage {
  kLost,      // its incarnation died; nobody works on it
  kClaimed,   // a controller holds the lease
  kRebuilt,   // the dialog is rebuilt and judged
  kPlaced,    // a target is chosen; nothing was sent
  kInviting,  // written before the channel is created: a re-INVITE may have gone out
  kAnswered,  // the phone said 2xx
  kResumed,   // the flow is back
  kEnding,    // written before the BYE is sent
  kFinished,  // has an outcome
};

enum class Outcome {
  kRecovered,    // the call lives on
  kEnded,        // BYE was sent, with a reason
  kClosed,       // nothing to send: dialog over or not rebuildable, with a reason
  kExpired,      // its deadline passed first
  kQuarantined,  // its recovery twice coincided with the death of the target
};

SIPHEAL_EXPORT std::string_view ToString(RecoveryStage stage);
SIPHEAL_EXPORT std::optional<RecoveryStage> ParseRecoveryStage(std::string_view text);
SIPHEAL_EXPORT std::string_view ToString(Outcome outcome);
SIPHEAL_EXPORT std::optional<Outcome> ParseOutcome(std::string_view text);

// The right to work on one session. `fence` rises with every claim of that session; the store
// refuses a write that carries an older one.
struct Lease {
  SessionKey session;
  std::string owner;
  std::uint64_t fence = 0;
  WallTime expires_at{};
};

// A channel whose call was taken away from an incarnation that may be alive: should it be, it gives
// the channel up without a packet.
struct TakenChannel {
  Incarnation incarnation;
  std::string channel_id;

  friend auto operator<=>(const TakenChannel&, const TakenChannel&) = default;
};

// One step of a recovery, as the journal keeps it.
struct JournalEntry {
  SessionKey session;
  std::uint64_t fence = 0;
  RecoveryStage stage = RecoveryStage::kClaimed;
  std::uint32_t attempt = 0;  // 1 for the first channel; 0 while there was none
  Incarnation target;         // from kPlaced on
  std::string channel_id;     // from kInviting on
  std::uint32_t cseq = 0;     // of the INVITE or BYE of this attempt; 0 when none
  std::uint32_t deaths = 0;  // targets that died with this session on them: quarantine counts these
  std::string reason;        // why this step, in a few words: a verdict token, a SIP status, ...
  std::optional<Outcome> outcome;  // with kFinished
  WallTime at{};
  // With any stage, mostly kPlaced and kFinished: what was taken from the server that had the call
  // before, if that may be alive.
  std::optional<TakenChannel> taken;

  friend bool operator==(const JournalEntry&, const JournalEntry&) = default;
};

// A session with the last journal entry of its recovery, as a controller that takes over finds it.
struct UnfinishedRecovery {
  Session session;
  JournalEntry last;
};

}  // namespace sipheal::inline v0_1
