// SPDX-License-Identifier: Apache-2.0
#include "ari/recovery_result.h"

#include <algorithm>
#include <charconv>

namespace sipheal::inline v0_1::internal {
namespace {

using Outcome = RecoveryResult::Outcome;

int Number(std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : 0;
}

Outcome ParseOutcome(std::string_view text) {
  if (text == "answered") return Outcome::kAnswered;
  if (text == "kept") return Outcome::kKept;
  if (text == "ended") return Outcome::kEnded;
  if (text == "gone") return Outcome::kGone;
  if (text == "refused") return Outcome::kRefused;
  if (text == "released") return Outcome::kReleased;
  return Outcome::kUnknown;
}

}  // namespace

RecoveryResult ParseRecoveryResult(std::string_view text) {
  RecoveryResult result;
  while (!text.empty()) {
    const std::size_t equals = text.find('=');
    if (equals == std::string_view::npos) break;
    const std::string_view name = text.substr(0, equals);
    // The reason comes last, since a phone's words may hold a semicolon.
    const std::size_t end = name == "reason" ? std::string_view::npos : text.find(';', equals);
    const std::string_view value =
        text.substr(equals + 1, end == std::string_view::npos ? end : end - equals - 1);
    if (name == "outcome") {
      result.outcome = ParseOutcome(value);
    } else if (name == "status") {
      const int status = Number(value);
      result.status = status >= 100 && status <= 699 ? status : 0;
    } else if (name == "origin") {
      result.received = value == "received";
    } else if (name == "retry_after") {
      // At most a day, so that a phone cannot make the sum of two times overflow.
      result.retry_after = std::chrono::seconds(std::min(Number(value), 86'400));
    } else if (name == "reason") {
      result.reason = std::string(value);
    }
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return result;
}

}  // namespace sipheal::inline v0_1::internal
