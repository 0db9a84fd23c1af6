// SPDX-License-Identifier: Apache-2.0
// How a successor may go on with a dialog: which request comes first, what it has to do before, and
// which answers it must be ready for. Advice only: whether anything may be sent is Judge()'s to
// say.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

enum class FirstRequest : std::uint8_t {
  kNone,                  // there is no call to go on with, or its identity is not known
  kReinvite,              // with an offer
  kReinviteWithoutOffer,  // the server's description is not known: the peer offers (RFC 3261 14.2)
  kUpdate,  // a re-INVITE of the peer is open: any INVITE would get 491, an UPDATE is allowed
  kInviteWithReplaces,  // a new call that takes the old one's place (RFC 3891): needs no CSeq
};
// "none", "reinvite", "reinvite_without_offer", "update", "invite_with_replaces"
SIPHEAL_EXPORT std::string_view ToString(FirstRequest request);

struct TakeoverPlan {
  FirstRequest request = FirstRequest::kNone;
  // Targets in the order to try them: an unanswered refresh of the peer from a known hop comes
  // before the confirmed target, since sending there completes it (RFC 6141 4.6).
  std::vector<std::string> targets;
  // The 2xx to the server's INVITE of this CSeq waits for its ACK, which goes first. An ACK more
  // does no harm.
  std::optional<std::uint32_t> ack_first;
  // The server's INVITE of this CSeq is still open at the peer, which said so with a provisional
  // response (RFC 3261 9.1); who has its branch may cancel it (RFC 6141 5.5).
  std::optional<std::uint32_t> may_cancel;
  // An INVITE is open in one of the directions: 491, or 500 with Retry-After, mean "later", and the
  // wait after 491 is between these (RFC 3261 14.1).
  bool expect_glare = false;
  std::chrono::milliseconds glare_wait_min{0};
  std::chrono::milliseconds glare_wait_max{0};
  // The sides may see the session differently: the request must carry or ask for an offer.
  bool resync = false;
  // Why, for a person.
  std::vector<std::string> reasons;
};

SIPHEAL_EXPORT TakeoverPlan PlanTakeover(const DialogState& dialog);

// The value of Replaces for a call that takes this dialog's place at the peer: its tags are told
// from the peer's side (RFC 3891 3). FailedPrecondition when an id is missing, InvalidArgument when
// one cannot stand there.
SIPHEAL_EXPORT absl::StatusOr<std::string> ReplacesValue(const DialogState& dialog);

}  // namespace sipheal::inline v0_1::sip
