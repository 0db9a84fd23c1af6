// SPDX-License-Identifier: Apache-2.0
#include "conformance/check.h"

#include <exception>
#include <latch>
#include <mutex>

namespace sipheal::inline v0_1::conformance {

using std::chrono::milliseconds;

absl::Status OnThreads(int count, const std::function<absl::Status(int)>& work) {
  std::latch start(count);
  std::mutex mutex;
  absl::Status first;
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      start.arrive_and_wait();
      absl::Status status = work(i);
      const std::lock_guard lock(mutex);
      if (first.ok()) first = std::move(status);
    });
  }
  for (std::thread& thread : threads) thread.join();
  return first;
}

absl::Status EndsInTime(std::string_view what,
                        const std::function<absl::Status(const CallContext&)>& call) {
  constexpr milliseconds kTime{150};
  const auto limit = kTime + kGrace + kMachineSlack;
  const auto begin = std::chrono::steady_clock::now();
  const absl::Status timed = call(CallContext::WithTimeout(kTime));
  const auto took =
      std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin);
  SIPHEAL_REQUIRE(timed.code() == absl::StatusCode::kDeadlineExceeded && took < limit,
                  "%s with a deadline of %d ms gave \"%s\" after %d ms", what, kTime.count(),
                  timed.ToString(), took.count());

  Canceller canceller;
  std::chrono::steady_clock::time_point cancelled_at;
  std::thread canceling([&] {
    std::this_thread::sleep_for(kTime);
    cancelled_at = std::chrono::steady_clock::now();
    canceller.Cancel();
  });
  const absl::Status cancelled = call(canceller.Context());
  const auto ended = std::chrono::steady_clock::now();
  canceling.join();
  const auto after = std::chrono::duration_cast<milliseconds>(ended - cancelled_at);
  SIPHEAL_REQUIRE(
      cancelled.code() == absl::StatusCode::kCancelled && after < kGrace + kMachineSlack,
      "%s, cancelled while it waited, gave \"%s\" after %d ms", what, cancelled.ToString(),
      after.count());
  return absl::OkStatus();
}

bool Await(milliseconds patience, const std::function<bool()>& met) {
  const auto until = std::chrono::steady_clock::now() + patience;
  while (!met()) {
    if (std::chrono::steady_clock::now() >= until) return false;
    std::this_thread::sleep_for(milliseconds(1));
  }
  return true;
}

absl::Status DoesNotThrow(std::string_view what, const std::function<void()>& call) {
  try {
    call();
  } catch (const std::exception& e) {
    return Broken(absl::StrFormat("%s threw: %s", what, e.what()));
  } catch (...) {
    return Broken(absl::StrFormat("%s threw", what));
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::conformance
