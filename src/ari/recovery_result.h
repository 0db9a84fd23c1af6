// SPDX-License-Identifier: Apache-2.0
// What res_pjsip_recovery says of a recovery in PJSIP_RECOVERY_RESULT:
// "outcome=kept;status=488;origin=received;retry_after=0;to_tag=x;reason=Not Acceptable Here".
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace sipheal::inline v0_1::internal {

struct RecoveryResult {
  enum class Outcome {
    kUnknown,   // no result, or one that is not understood
    kAnswered,  // the phone said 2xx to the re-INVITE
    kKept,      // it failed; the dialog was left as it is at the phone
    kEnded,     // it failed, or was METHOD=BYE: BYE was sent
    kGone,      // the phone has no such dialog (any more)
    kRefused,   // nothing was sent
    kReleased,  // given up on command, without a packet
  };
  Outcome outcome = Outcome::kUnknown;
  int status = 0;         // final answer of the phone; 0 when none
  bool received = false;  // the status came from the phone; else it was made locally
  std::chrono::milliseconds retry_after{0};
  std::string reason;
};

// Never fails: what is missing or strange stays at its default.
RecoveryResult ParseRecoveryResult(std::string_view text);

}  // namespace sipheal::inline v0_1::internal
