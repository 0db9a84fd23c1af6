// SPDX-License-Identifier: Apache-2.0
#include "engine/answer_policy.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// RFC 5057 5.1: answers that end the dialog, or the usage. 481 is apart: the peer itself says there
// is no such dialog.
constexpr std::array kEndsDialog = {404, 405, 410, 416, 480, 482, 483,
                                    484, 485, 489, 501, 502, 604};

// A peer that answers 500 without Retry-After has probably seen a higher CSeq than the capture
// showed.
constexpr std::uint32_t kCseqJumpAfter500 = 100'000;

// Longer than any sane Retry-After for a call in which nobody hears anything.
constexpr milliseconds kLongestRetryAfter{10'000};

// RFC 3261 14.1: the owner of the Call-ID waits 2.1 to 4 s, the other side 0 to 2 s, in steps of 10
// ms.
milliseconds GlareWait(const AnswerContext& context) {
  const bool owner = context.role == sip::DialogRole::kUac;
  const int low = owner ? 210 : 0;
  const int high = owner ? 400 : 200;
  return milliseconds(10 * (low + static_cast<int>(context.jitter * (high - low + 1))));
}

AnswerDecision RetryOrBye(bool may_retry, const AnswerContext& context, AnswerDecision decision) {
  decision.step =
      may_retry && context.attempts < context.max_attempts ? NextStep::kRetry : NextStep::kBye;
  return decision;
}

}  // namespace

AnswerDecision DecideAfterFailure(const ChannelEvent& event, const AnswerContext& context) {
  AnswerDecision decision;
  const int status = event.sip_status;

  if (!event.sent) {
    // The media server refused to send: nothing reached the phone, another one may do better.
    decision.reason = event.reason.empty() ? "not_sent" : "not_sent: " + event.reason;
    decision.other_target = true;
    decision.wait = milliseconds(0);
    return RetryOrBye(context.same_failures <= 2, context, decision);
  }
  if (event.local_timeout || status == 408 || status == 0) {
    // RFC 3261 12.2.1.2 would end the dialog here. The first target's path may be at fault, not the
    // phone, so one more target is asked while there is time.
    decision.reason =
        status == 0 && !event.local_timeout && !event.reason.empty() ? event.reason : "no_answer";
    decision.other_target = true;
    return RetryOrBye(context.same_failures <= 1, context, decision);
  }

  decision.reason = absl::StrFormat("sip_%d", status);
  if (status == 481) {
    decision.step = NextStep::kClose;
    return decision;
  }
  if (status / 100 == 3 || status == 403 ||
      std::find(kEndsDialog.begin(), kEndsDialog.end(), status) != kEndsDialog.end()) {
    decision.step =
        NextStep::kBye;  // a redirect in an old dialog is not followed: it may lead anywhere
    return decision;
  }
  if (status == 491) {
    decision.wait = GlareWait(context);
    return RetryOrBye(true, context, decision);
  }
  if (status == 500 && event.retry_after.count() == 0) {
    decision.cseq_jump = kCseqJumpAfter500;
    decision.wait = context.backoff;
    return RetryOrBye(context.same_failures <= 1, context, decision);
  }
  // The other codes end only the transaction: RFC 5057 5.1.
  decision.wait = event.retry_after.count() > 0 ? std::min(event.retry_after, kLongestRetryAfter)
                                                : context.backoff;
  decision.other_target = status == 503 && event.retry_after.count() == 0;
  return RetryOrBye(true, context, decision);
}

}  // namespace sipheal::inline v0_1::internal
