// SPDX-License-Identifier: Apache-2.0
// What a failed re-INVITE means for the session: RFC 3261 12.2.1.2 and 14.1, RFC 5057 5.1, and
// where it is stated, a policy of sipheal's own.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "sipheal/media_server_driver.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::internal {

enum class NextStep {
  kRetry,  // another attempt, after `wait`
  kBye,    // end the dialog with BYE
  kClose,  // nothing more is sent: the peer has no such dialog
};

struct AnswerDecision {
  NextStep step = NextStep::kBye;
  std::chrono::milliseconds wait{0};
  bool other_target = false;    // not on the target that just failed, when there is another
  std::uint32_t cseq_jump = 0;  // added to the CSeq of the next attempt
  std::string reason;           // "sip_488", "no_answer", ...
};

struct AnswerContext {
  std::uint32_t attempts = 1;  // made so far, this one included
  std::uint32_t max_attempts = 5;
  std::uint32_t same_failures = 1;  // of those, how many failed with this same status in a row
  sip::DialogRole role = sip::DialogRole::kUnknown;
  std::chrono::milliseconds backoff{500};
  // In [0, 1): where in the range of the 491 timer to wait. Random in use, fixed in tests.
  double jitter = 0.5;
};

AnswerDecision DecideAfterFailure(const ChannelEvent& event, const AnswerContext& context);

}  // namespace sipheal::inline v0_1::internal
