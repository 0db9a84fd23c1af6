// SPDX-License-Identifier: Apache-2.0
#include "engine/answer_policy.h"

#include <gtest/gtest.h>

namespace sipheal::internal {
namespace {

using std::chrono::milliseconds;

ChannelEvent Status(int status, milliseconds retry_after = milliseconds(0)) {
  ChannelEvent event;
  event.sip_status = status;
  event.retry_after = retry_after;
  return event;
}

AnswerContext First(sip::DialogRole role = sip::DialogRole::kUas) {
  AnswerContext context;
  context.role = role;
  return context;
}

TEST(AnswerPolicy, F75_ATransactionOnlyCodeIsTriedAgainAndNeverTakenForTheEndOfTheCall) {
  // RFC 5057 5.1, the column "transaction only".
  for (int status : {400, 401, 406, 407, 412, 413, 414, 415, 420, 421, 422, 423, 428, 429, 486,
                     487, 488, 491, 493, 494, 500, 503, 504, 505, 513, 580, 600, 603, 606}) {
    EXPECT_EQ(DecideAfterFailure(Status(status), First()).step, NextStep::kRetry) << status;
    AnswerContext last = First();
    last.attempts = last.max_attempts;
    EXPECT_EQ(DecideAfterFailure(Status(status), last).step, NextStep::kBye)
        << status << " at the last attempt";
  }
}

TEST(AnswerPolicy, F75_ACodeThatEndsTheDialogIsNotTriedAgain) {
  for (int status : {404, 410, 416, 480, 482, 483, 484, 485, 489, 501, 502, 604, 405}) {
    EXPECT_EQ(DecideAfterFailure(Status(status), First()).step, NextStep::kBye) << status;
  }
  EXPECT_EQ(DecideAfterFailure(Status(481), First()).step, NextStep::kClose);
}

TEST(AnswerPolicy, Rule12_14_NeitherFollowsARedirectNorInsistsAfter403) {
  for (int status : {300, 301, 302, 305, 380, 403}) {
    EXPECT_EQ(DecideAfterFailure(Status(status), First()).step, NextStep::kBye) << status;
  }
}

TEST(AnswerPolicy, Rule6_4_TheOwnerOfTheCallIdWaitsLongerAfterGlare) {
  for (double jitter : {0.0, 0.3, 0.999}) {
    AnswerContext owner = First(sip::DialogRole::kUac);
    owner.jitter = jitter;
    const milliseconds long_wait = DecideAfterFailure(Status(491), owner).wait;
    EXPECT_GE(long_wait, milliseconds(2'100));
    EXPECT_LE(long_wait, milliseconds(4'000));
    EXPECT_EQ(long_wait.count() % 10, 0);
    AnswerContext other = First(sip::DialogRole::kUas);
    other.jitter = jitter;
    const milliseconds short_wait = DecideAfterFailure(Status(491), other).wait;
    EXPECT_GE(short_wait, milliseconds(0));
    EXPECT_LE(short_wait, milliseconds(2'000));
  }
}

TEST(AnswerPolicy, Rule5_9_A500WithoutRetryAfterIsTriedOnceMoreWithAHigherCseq) {
  const AnswerDecision once = DecideAfterFailure(Status(500), First());
  EXPECT_EQ(once.step, NextStep::kRetry);
  EXPECT_EQ(once.cseq_jump, 100'000u);
  AnswerContext again = First();
  again.attempts = 2;
  again.same_failures = 2;
  EXPECT_EQ(DecideAfterFailure(Status(500), again).step, NextStep::kBye);
}

TEST(AnswerPolicy, A500WithRetryAfterIsWaitedOutWithTheNextCseq) {
  const AnswerDecision decision = DecideAfterFailure(Status(500, milliseconds(3'000)), First());
  EXPECT_EQ(decision.step, NextStep::kRetry);
  EXPECT_EQ(decision.wait, milliseconds(3'000));
  EXPECT_EQ(decision.cseq_jump, 0u);
}

TEST(AnswerPolicy, DoesNotWaitForALongRetryAfterInASilentCall) {
  EXPECT_EQ(DecideAfterFailure(Status(503, milliseconds(3'600'000)), First()).wait,
            milliseconds(10'000));
}

TEST(AnswerPolicy, ATimeoutGetsOneMoreAttemptOnAnotherTargetThenBye) {
  ChannelEvent timeout;
  timeout.local_timeout = true;
  timeout.sip_status = 408;
  const AnswerDecision once = DecideAfterFailure(timeout, First());
  EXPECT_EQ(once.step, NextStep::kRetry);
  EXPECT_TRUE(once.other_target);
  AnswerContext again = First();
  again.attempts = 2;
  again.same_failures = 2;
  EXPECT_EQ(DecideAfterFailure(timeout, again).step, NextStep::kBye);
}

TEST(AnswerPolicy, WhatWasNeverSentIsTriedOnAnotherTargetAtOnce) {
  ChannelEvent refused;
  refused.sent = false;
  refused.reason = "module refused";
  const AnswerDecision decision = DecideAfterFailure(refused, First());
  EXPECT_EQ(decision.step, NextStep::kRetry);
  EXPECT_TRUE(decision.other_target);
  EXPECT_EQ(decision.wait, milliseconds(0));
}

}  // namespace
}  // namespace sipheal::internal
