// SPDX-License-Identifier: Apache-2.0
#include "model/turnstile.h"

#include <gtest/gtest.h>

#include <optional>
#include <thread>
#include <vector>

namespace sipheal {
namespace {

using internal::Turnstile;

// F81: what the tracker writes does not hold up a claim.
TEST(Turnstile, LetsTheUrgentInBeforeThoseWhoCameEarlier) {
  Turnstile turnstile;
  std::mutex mutex;
  std::vector<char> order;
  std::vector<std::thread> threads;
  {
    auto inside = turnstile.Enter({}, SystemClock(), Turnstile::Urgency::kNormal, "test");
    ASSERT_TRUE(inside.ok());
    for (const char who : {'n', 'n', 'u', 'n', 'u'}) {
      const int before = turnstile.waiting();
      threads.emplace_back([&, who] {
        const auto urgency = who == 'u' ? Turnstile::Urgency::kUrgent : Turnstile::Urgency::kNormal;
        const auto pass = turnstile.Enter({}, SystemClock(), urgency, "test");
        const std::lock_guard lock(mutex);
        order.push_back(who);
      });
      while (turnstile.waiting() == before) std::this_thread::yield();
    }
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(std::string(order.begin(), order.end()), "uunnn");
}

TEST(Turnstile, LetsAsManyInAsItHasPlaces) {
  Turnstile turnstile(2);
  const auto first = turnstile.Enter({}, SystemClock(), Turnstile::Urgency::kNormal, "test");
  auto second =
      std::make_optional(turnstile.Enter({}, SystemClock(), Turnstile::Urgency::kNormal, "test"));
  ASSERT_TRUE(first.ok() && second->ok());
  const auto full = turnstile.Enter(CallContext::WithTimeout(std::chrono::milliseconds(20)),
                                    SystemClock(), Turnstile::Urgency::kNormal, "put");
  EXPECT_EQ(full.status().code(), absl::StatusCode::kDeadlineExceeded);
  second.reset();
  EXPECT_TRUE(turnstile.Enter({}, SystemClock(), Turnstile::Urgency::kNormal, "put").ok());
}

TEST(Turnstile, EndsTheWaitWithTheContext) {
  Turnstile turnstile;
  const auto inside = turnstile.Enter({}, SystemClock(), Turnstile::Urgency::kUrgent, "test");
  const auto late = turnstile.Enter(CallContext::WithTimeout(std::chrono::milliseconds(20)),
                                    SystemClock(), Turnstile::Urgency::kUrgent, "claim");
  EXPECT_EQ(late.status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(turnstile.waiting(), 0);
}

}  // namespace
}  // namespace sipheal
