// SPDX-License-Identifier: Apache-2.0
// What single values of the configuration may look like: durations, addresses, networks, URLs.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::cli {

// "800ms", "5s", "1.5s", "2m", "1h"; no unit, no duration. Empty when the text is none, or longer
// than a day.
std::optional<std::chrono::milliseconds> ParseDuration(std::string_view text);
// The shortest of the same spellings: 800ms, 5s, 90s, 2m.
std::string DurationText(std::chrono::milliseconds value);

// "192.0.2.10", "192.0.2.10:5060", "[2001:db8::1]:5061/tls", "192.0.2.10/udp".
std::optional<sip::ServerAddress> ParseSipAddress(std::string_view text);

// "0.0.0.0:9060", "[::]:9060"; port 0 takes a free one.
std::optional<sip::Endpoint> ParseListen(std::string_view text);

// Each returns what is wrong and what to write instead, or nothing.
std::string CheckName(const std::string& value);
std::string CheckSipAddress(const std::string& value);
std::string CheckListen(const std::string& value);
std::string CheckForward(const std::string& value);
std::string CheckGrpcListen(const std::string& value);
std::string CheckNetwork(const std::string& value);
std::string CheckUrl(const std::string& value);
std::string CheckFilePath(const std::string& value);
std::string CheckSocketPath(const std::string& value);
std::string CheckSchema(const std::string& value);

// The candidate that was probably meant, or nothing: at most two edits away, or a third of the
// word.
std::string Suggest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace sipheal::inline v0_1::cli
