// SPDX-License-Identifier: Apache-2.0
#include "ari/ari_json.h"

#include <charconv>
#include <chrono>
#include <cmath>

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

// Takes `digits` digits from the front of `text`.
std::optional<int> TakeDigits(std::string_view& text, std::size_t digits) {
  if (text.size() < digits) return std::nullopt;
  int value = 0;
  for (std::size_t i = 0; i < digits; ++i) {
    if (text[i] < '0' || text[i] > '9') return std::nullopt;
    value = value * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return value;
}

bool TakeChar(std::string_view& text, char c) {
  if (text.empty() || text.front() != c) return false;
  text.remove_prefix(1);
  return true;
}

// ".123": what follows the second, in microseconds.
std::chrono::microseconds TakeFraction(std::string_view& text) {
  if (!TakeChar(text, '.')) return {};
  std::int64_t value = 0;
  std::int64_t unit = 1'000'000;
  while (!text.empty() && text.front() >= '0' && text.front() <= '9') {
    if (unit > 1) {
      unit /= 10;
      value += (text.front() - '0') * unit;
    }
    text.remove_prefix(1);
  }
  return std::chrono::microseconds(value);
}

std::optional<WallTime> ParseCalendar(std::string_view text) {
  const auto year = TakeDigits(text, 4);
  if (!year || !TakeChar(text, '-')) return std::nullopt;
  const auto month = TakeDigits(text, 2);
  if (!month || !TakeChar(text, '-')) return std::nullopt;
  const auto day = TakeDigits(text, 2);
  if (!day || !TakeChar(text, 'T')) return std::nullopt;
  const auto hour = TakeDigits(text, 2);
  if (!hour || !TakeChar(text, ':')) return std::nullopt;
  const auto minute = TakeDigits(text, 2);
  if (!minute || !TakeChar(text, ':')) return std::nullopt;
  const auto second = TakeDigits(text, 2);
  if (!second || *hour > 23 || *minute > 59 || *second > 60) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(*year),
                                         std::chrono::month(static_cast<unsigned>(*month)),
                                         std::chrono::day(static_cast<unsigned>(*day))};
  if (!date.ok()) return std::nullopt;
  const auto fraction = TakeFraction(text);
  std::chrono::minutes offset{0};
  if (!TakeChar(text, 'Z')) {
    const bool west = !text.empty() && text.front() == '-';
    if (!west && (text.empty() || text.front() != '+')) return std::nullopt;
    text.remove_prefix(1);
    const auto hours = TakeDigits(text, 2);
    TakeChar(text, ':');
    const auto minutes = TakeDigits(text, 2);
    if (!hours || !minutes) return std::nullopt;
    offset = std::chrono::hours(*hours) + std::chrono::minutes(*minutes);
    if (west) offset = -offset;
  }
  if (!text.empty()) return std::nullopt;
  return WallTime(std::chrono::sys_days(date)) + std::chrono::hours(*hour) +
         std::chrono::minutes(*minute) + std::chrono::seconds(*second) + fraction - offset;
}

}  // namespace

const json* Member(const json& value, std::string_view key) {
  if (!value.is_object()) return nullptr;
  const auto found = value.find(std::string(key));
  return found == value.end() ? nullptr : &*found;
}

std::string Text(const json& value, std::string_view key) {
  const json* member = Member(value, key);
  return member != nullptr && member->is_string() ? member->get<std::string>() : std::string();
}

std::optional<std::int64_t> Integer(const json& value, std::string_view key) {
  const json* member = Member(value, key);
  if (member == nullptr || !member->is_number_integer()) return std::nullopt;
  return member->get<std::int64_t>();
}

std::optional<bool> Boolean(const json& value, std::string_view key) {
  const json* member = Member(value, key);
  if (member == nullptr || !member->is_boolean()) return std::nullopt;
  return member->get<bool>();
}

std::vector<std::string> TextList(const json& value, std::string_view key) {
  std::vector<std::string> list;
  const json* member = Member(value, key);
  if (member == nullptr || !member->is_array()) return list;
  for (const json& item : *member) {
    if (item.is_string()) list.push_back(item.get<std::string>());
  }
  return list;
}

std::optional<WallTime> ParseTime(std::string_view text) {
  if (text.size() > 5 && text[4] == '-') return ParseCalendar(text);
  double seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  // Up to the year 9999: beyond it the arithmetic of microseconds would not be safe.
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(seconds) ||
      seconds < 0 || seconds > 253'402'300'799.0) {
    return std::nullopt;
  }
  return WallTime(std::chrono::microseconds(static_cast<std::int64_t>(seconds * 1e6)));
}

std::optional<json> ParseJson(std::string_view text) {
  json value = json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) return std::nullopt;
  return value;
}

std::string ToText(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

}  // namespace sipheal::inline v0_1::internal
