// SPDX-License-Identifier: Apache-2.0
#include "cli/capture_moment.h"

#include <charconv>
#include <chrono>
#include <string_view>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::cli {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Takes things off the front of a text.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : rest_(text) {}

  bool AtEnd() const { return rest_.empty(); }
  bool Take(char c) {
    if (rest_.empty() || rest_.front() != c) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool TakeAny(std::string_view chars) {
    if (rest_.empty() || chars.find(rest_.front()) == chars.npos) return false;
    rest_.remove_prefix(1);
    return true;
  }
  // A number of just so many digits.
  bool Digits(std::size_t count, int& value) {
    if (rest_.size() < count) return false;
    value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (!IsDigit(rest_[i])) return false;
      value = value * 10 + (rest_[i] - '0');
    }
    rest_.remove_prefix(count);
    return true;
  }
  bool Number(std::uint64_t& value) {
    const char* const end = rest_.data() + rest_.size();
    const auto [stop, error] = std::from_chars(rest_.data(), end, value);
    if (error != std::errc()) return false;
    rest_.remove_prefix(static_cast<std::size_t>(stop - rest_.data()));
    return true;
  }
  // What follows a decimal point.
  bool Fraction(std::chrono::microseconds& value) {
    std::int64_t micros = 0;
    std::size_t digits = 0;
    for (; digits < rest_.size() && IsDigit(rest_[digits]); ++digits) {
      if (digits < 6) micros = micros * 10 + (rest_[digits] - '0');
    }
    for (std::size_t i = digits; i < 6; ++i) micros *= 10;
    rest_.remove_prefix(digits);
    value = std::chrono::microseconds(micros);
    return digits > 0;
  }

 private:
  std::string_view rest_;
};

// Seconds since 1970, with a fraction or behind an @.
std::optional<sip::CaptureTime> ParseEpoch(std::string_view text) {
  constexpr std::uint64_t kYear9999 = 253'402'300'799;
  Scanner scan(text);
  const bool marked = scan.Take('@');
  std::uint64_t seconds = 0;
  if (!scan.Number(seconds) || seconds > kYear9999) return std::nullopt;
  std::chrono::microseconds fraction{0};
  const bool point = scan.Take('.');
  if (point && !scan.Fraction(fraction)) return std::nullopt;
  if (!scan.AtEnd() || (!point && !marked)) return std::nullopt;
  return sip::CaptureTime(std::chrono::seconds(seconds)) + fraction;
}

// RFC 3339 5.6.
std::optional<sip::CaptureTime> ParseDate(std::string_view text) {
  Scanner scan(text);
  int year, month, day, hour, minute, second;
  if (!scan.Digits(4, year) || !scan.Take('-') || !scan.Digits(2, month) || !scan.Take('-') ||
      !scan.Digits(2, day) || !scan.TakeAny("Tt ") || !scan.Digits(2, hour) || !scan.Take(':') ||
      !scan.Digits(2, minute) || !scan.Take(':') || !scan.Digits(2, second)) {
    return std::nullopt;
  }
  std::chrono::microseconds fraction{0};
  if (scan.Take('.') && !scan.Fraction(fraction)) return std::nullopt;
  std::chrono::minutes offset{0};
  if (!scan.TakeAny("Zz")) {
    const bool east = scan.Take('+');
    int hours, minutes;
    if ((!east && !scan.Take('-')) || !scan.Digits(2, hours) || !scan.Take(':') ||
        !scan.Digits(2, minutes) || hours > 23 || minutes > 59) {
      return std::nullopt;
    }
    offset = std::chrono::hours(hours) + std::chrono::minutes(minutes);
    if (!east) offset = -offset;
  }
  const std::chrono::year_month_day date{std::chrono::year(year),
                                         std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  // 60 is a leap second, which no capture counts: it runs into the next minute.
  if (!scan.AtEnd() || !date.ok() || hour > 23 || minute > 59 || second > 60) return std::nullopt;
  return sip::CaptureTime(std::chrono::sys_days(date)) + std::chrono::hours(hour) +
         std::chrono::minutes(minute) + std::chrono::seconds(second) + fraction - offset;
}

}  // namespace

absl::StatusOr<CaptureMoment> ParseMoment(const std::string& text) {
  CaptureMoment moment;
  Scanner scan(text);
  if (std::uint64_t frame = 0; scan.Number(frame) && scan.AtEnd()) {
    moment.frame = frame;
    return moment;
  }
  moment.time = ParseEpoch(text);
  if (!moment.time) moment.time = ParseDate(text);
  if (moment.time) return moment;
  return absl::InvalidArgumentError(absl::StrFormat(
      "--at %s: is neither a frame number (312) nor a time (2026-07-01T12:00:00.25Z, "
      "2026-07-01T14:00:00+02:00, 1782907200.25, @1782907200)",
      text));
}

}  // namespace sipheal::inline v0_1::cli
