// SPDX-License-Identifier: Apache-2.0
// Why a message proves a field of DialogState: one of a closed list of sentences, so that evidence
// costs some bytes and no text. Evidence::Why() writes it out.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sipheal/export.h"
#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip {

// Stored by number: new ones go to the end, and none is ever removed.
enum class Reason : std::uint8_t {
  kNamed,  // Evidence::named is the whole sentence, as an older release stored it
  kNewer,  // a newer release stored it; this one does not know it
  // Parties and role.
  kCallId,
  kItsFrom,
  kItsTo,
  kSentFirstInvite,
  kGotFirstInvite,
  kAnsweredFirstInvite,
  kFromTagOfOwnInvite,
  kToTagOfOwnAnswer,
  kToTagOfPeersAnswer,
  kFromTagOfPeersInvite,
  kTagOnOwnSide,
  kTagOnPeersSide,
  kConnectedServer,
  kConnectedPeer,
  kAbilities,
  kCarriedIt,
  // Phase.
  kAcceptedInvite,
  kOwnAck,
  kOwnReinvite,
  kAcceptedOwnReinvite,
  kAcceptedOwnInfo,
  kOwnBye,
  kPeersAck,
  kAcceptedByServer,
  kProvisional,
  kBothHeldTheCall,
  // Sequence numbers.
  kCseqOfOwnRequest,
  kCseqOfAnswer,
  kCseqOfOwnAck,
  kCseqOfEventId,
  kCseqOfEarlierRequest,
  kCseqAccepted,
  kCseqTold,
  // Route set and target.
  kRoutesOf2xx,
  kRoutesOfProvisional,
  kRoutesOfInvite,
  kRoutesMirrored,
  kRoutesOfNotify,
  kRouteOfOwnRequest,
  kTlsAndSips,
  kContactOfInvite,
  kContactOf2xx,
  kContactOfProvisional,
  kContactOfPeersRefresh,
  kContactOfAnswer,
  kContactNotAnswered,
  kContactNotUsed,
  kOwnRequestUri,
  kNotTheContact,
  kContactRewrite,
  kRedirected,
  kOwnLastContact,
  kPeersLastMessage,
  kOwnLastRequest,
  kPeerLastHeard,
  kInviteSentTo,
  // Session.
  kExecutedThenFailed,
  kHoldDirection,
  kMediaKeys,
  kLastExchange,
  kSessionExpires,
  kAckAwaited,
  kAnswerAwaited,
  kAnswerAwaitedOnConnection,
  kPrackAwaited,
  kServerHadToRefresh,
  kPeerRefreshes,
  // Ends.
  kCancelled,
  kInviteFailed,
  kEarlyTerminated,
  kRejectedInDialog,
  kPeersByeAnswered,
  kPeersByeNotAnswered,
  kForkWonLongAgo,
  kForkWon,
  kForkWonClock,
  kReplaced,
};
inline constexpr Reason kLastReason = Reason::kReplaced;

// The sentence, in which {method}, {status} and {name} stand for what EvidenceReason and Evidence
// add.
SIPHEAL_EXPORT std::string_view ToString(Reason reason);

struct EvidenceReason {
  Reason reason = Reason::kNamed;
  Method method = Method::kOther;
  std::uint16_t status = 0;
  bool without_own_entry = false;  // the server's own entry of a Record-Route is left out
  bool stored_earlier = false;     // from a stored state (MergeStoredState)

  EvidenceReason() = default;
  EvidenceReason(Reason r, Method m = Method::kOther, int s = 0)  // NOLINT: a reason is one
      : reason(r), method(m), status(static_cast<std::uint16_t>(s)) {}

  friend bool operator==(const EvidenceReason&, const EvidenceReason&) = default;
};

}  // namespace sipheal::inline v0_1::sip
