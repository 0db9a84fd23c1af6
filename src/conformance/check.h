// SPDX-License-Identifier: Apache-2.0
// What the cases are written with: a check that fails is a Status with a text, and is never
// Unimplemented, which means "skipped".
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "sipheal/base/call_context.h"

namespace sipheal::inline v0_1::conformance {

// What the contracts grant beyond a deadline, and what a busy machine is granted beyond that.
inline constexpr std::chrono::milliseconds kGrace{100};
inline constexpr std::chrono::milliseconds kMachineSlack{200};

inline absl::Status Broken(const std::string& text) { return absl::InternalError(text); }

inline absl::Status AsBroken(std::string_view what, const absl::Status& status) {
  return Broken(absl::StrFormat("%s gave %s", what, status.ToString()));
}

inline absl::StatusCode CodeOf(const absl::Status& status) { return status.code(); }
template <typename T>
absl::StatusCode CodeOf(const absl::StatusOr<T>& value) {
  return value.status().code();
}
inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& value) {
  return value.status();
}

// A context whose deadline is long over, by any clock, and one whose caller asked to stop.
inline CallContext OverContext() {
  CallContext ctx;
  ctx.deadline = MonotonicTime::min();
  return ctx;
}

// A source of cancelled contexts; lives as long as they do.
class Canceller {
 public:
  CallContext Context() {
    CallContext ctx;
    ctx.stop = source_.get_token();
    return ctx;
  }
  void Cancel() { source_.request_stop(); }

 private:
  std::stop_source source_;
};

// Runs `work(i)` on `count` threads at once; the first failure.
absl::Status OnThreads(int count, const std::function<absl::Status(int)>& work);

// `call` is made while its storage or peer does not answer: it must end soon after its deadline,
// and soon after it was cancelled, each with its own code.
absl::Status EndsInTime(std::string_view what,
                        const std::function<absl::Status(const CallContext&)>& call);

// Looks every millisecond whether `met` holds, for at most `patience`.
bool Await(std::chrono::milliseconds patience, const std::function<bool()>& met);

// Fails when `call` throws.
absl::Status DoesNotThrow(std::string_view what, const std::function<void()>& call);

}  // namespace sipheal::inline v0_1::conformance

// The clause is broken unless `condition` holds; the rest is the text, as for absl::StrFormat.
#define SIPHEAL_REQUIRE(condition, ...)                                    \
  do {                                                                     \
    if (!(condition)) {                                                    \
      return ::sipheal::conformance::Broken(absl::StrFormat(__VA_ARGS__)); \
    }                                                                      \
  } while (false)

// `expression` gives this code.
#define SIPHEAL_REQUIRE_CODE(expression, expected)                                      \
  do {                                                                                  \
    const auto sipheal_result_ = (expression);                                          \
    if (::sipheal::conformance::CodeOf(sipheal_result_) != (expected)) {                \
      return ::sipheal::conformance::Broken(                                            \
          absl::StrFormat("%s gave %s instead of %s", #expression,                      \
                          ::sipheal::conformance::StatusOf(sipheal_result_).ToString(), \
                          absl::StatusCodeToString(expected)));                         \
    }                                                                                   \
  } while (false)

#define SIPHEAL_REQUIRE_OK(expression) SIPHEAL_REQUIRE_CODE(expression, absl::StatusCode::kOk)

// Takes the value of a StatusOr of the implementation under test.
#define SIPHEAL_TAKE(lhs, expression) SIPHEAL_TAKE_IMPL_(lhs, expression, __LINE__)
#define SIPHEAL_TAKE_IMPL_(lhs, expression, line) SIPHEAL_TAKE_IMPL2_(lhs, expression, line)
#define SIPHEAL_TAKE_IMPL2_(lhs, expression, line)                                       \
  auto sipheal_taken_##line = (expression);                                              \
  if (!sipheal_taken_##line.ok()) {                                                      \
    return ::sipheal::conformance::AsBroken(#expression, sipheal_taken_##line.status()); \
  }                                                                                      \
  lhs = *std::move(sipheal_taken_##line)
