// SPDX-License-Identifier: Apache-2.0
// Session: one leg of a call, as the session store remembers it: one SIP dialog that an incarnation
// holds, with its channel and with what it was doing.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/model/flow_state.h"
#include "sipheal/model/incarnation.h"

namespace sipheal::inline v0_1 {

enum class SessionState {
  kRinging,  // the first INVITE has no final answer yet
  kUp,       // answered
  kEnded,    // over: the store forgets it, unless a recovery of it is under way
};

// "ringing", "up" or "ended".
SIPHEAL_EXPORT std::string_view ToString(SessionState state);

// A session and how many times it was recovered: each recovery makes a new record with epoch + 1.
struct SessionKey {
  std::string id;
  std::uint32_t epoch = 0;

  friend auto operator<=>(const SessionKey&, const SessionKey&) = default;
};

struct Session {
  // Stays the same through all recoveries; 1 to 64 characters of [A-Za-z0-9_.]. MakeSessionId makes
  // one.
  std::string id;
  std::uint32_t epoch = 0;
  Incarnation incarnation;  // who holds it now
  SessionState state = SessionState::kUp;

  std::string call_id;  // the SIP Call-ID (ARI: the channel's protocol_id)
  // The dialog's tags, when known: they tell two dialogs with one Call-ID on one instance apart.
  std::string local_tag;
  std::string remote_tag;

  std::string channel_id;    // the media server's id of the channel (Asterisk: UNIQUEID)
  std::string channel_name;  // "PJSIP/phone-00000001"
  std::string endpoint;      // "phone": the name that must exist on a target, too

  // Sessions with the same non-empty group belong to one call (bridged, or in one conference): they
  // are placed on one instance together.
  std::string group;

  WallTime created_at{};
  std::optional<WallTime> answered_at;
  // The host's own limit of this call, as a point in time so that it moves with the call; no limit
  // when empty.
  std::optional<WallTime> ends_at;
  // False when the host does not want this session recovered; it is then ended with BYE and the
  // reason "opt_out".
  bool recover = true;

  // When it was last recovered, and how many targets died during that or right after: a session
  // that keeps killing its media server is quarantined.
  std::optional<WallTime> recovered_at;
  std::uint32_t deaths = 0;

  FlowState flow;

  SessionKey key() const { return {id, epoch}; }
  friend bool operator==(const Session&, const Session&) = default;
};

// A session id made of where the session first lived: the same input gives the same id in every
// process.
SIPHEAL_EXPORT std::string MakeSessionId(const Incarnation& incarnation,
                                         std::string_view channel_id);

// The id of the channel that one attempt of one recovery creates: a function of session, epoch and
// attempt, so that a second controller, or a second try of the same POST, cannot make a second
// channel.
struct RecoveryChannel {
  SessionKey session;
  std::uint32_t attempt = 0;

  friend bool operator==(const RecoveryChannel&, const RecoveryChannel&) = default;
};
SIPHEAL_EXPORT std::string ToChannelId(const RecoveryChannel& channel);
// The reverse; empty when `channel_id` was not made by ToChannelId.
SIPHEAL_EXPORT std::optional<RecoveryChannel> ParseRecoveryChannelId(std::string_view channel_id);

}  // namespace sipheal::inline v0_1
