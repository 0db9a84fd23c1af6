// SPDX-License-Identifier: Apache-2.0
// Reading ARI's JSON without trust: a member that is absent or of another type reads as empty,
// never as an exception.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1::internal {

// The member `key` of an object; nullptr when `value` is no object or has none.
const nlohmann::json* Member(const nlohmann::json& value, std::string_view key);
// As text, "" when it is no string.
std::string Text(const nlohmann::json& value, std::string_view key);
std::optional<std::int64_t> Integer(const nlohmann::json& value, std::string_view key);
std::optional<bool> Boolean(const nlohmann::json& value, std::string_view key);
// The strings of an array member; others are left out.
std::vector<std::string> TextList(const nlohmann::json& value, std::string_view key);

// "2026-01-31T12:00:00.123+0000", with or without fraction, with "Z" or an offset; or seconds since
// 1970 with or without a fraction. Empty when it is neither.
std::optional<WallTime> ParseTime(std::string_view text);

// JSON or nullopt; nothing is thrown.
std::optional<nlohmann::json> ParseJson(std::string_view text);

// As text for a body: bytes that are not UTF-8 become U+FFFD, so that it cannot throw.
std::string ToText(const nlohmann::json& value);

}  // namespace sipheal::inline v0_1::internal
