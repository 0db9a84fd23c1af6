// SPDX-License-Identifier: Apache-2.0
#include "cli/value_rules.h"

#include <sys/un.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numeric>
#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::cli {
namespace {

using std::chrono::milliseconds;

struct Unit {
  std::string_view name;
  double milliseconds;
};
constexpr std::array<Unit, 4> kUnits = {
    {{"ms", 1.0}, {"s", 1'000.0}, {"m", 60'000.0}, {"h", 3'600'000.0}}};
constexpr double kLongest = 24 * 3'600'000.0;

bool AllDigits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

std::optional<milliseconds> ParseDuration(std::string_view text) {
  const std::size_t end = text.find_first_not_of("0123456789.");
  if (end == 0 || end == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(0, end);
  if (std::count(digits.begin(), digits.end(), '.') > 1 || digits.front() == '.' ||
      digits.back() == '.') {
    return std::nullopt;
  }
  double number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc()) return std::nullopt;
  for (const Unit& unit : kUnits) {
    if (text.substr(end) != unit.name) continue;
    const double value = number * unit.milliseconds;
    if (value > kLongest || value != std::floor(value)) return std::nullopt;
    return milliseconds(static_cast<std::int64_t>(value));
  }
  return std::nullopt;
}

std::string DurationText(milliseconds value) {
  const auto count = value.count();
  if (count != 0 && count % 3'600'000 == 0) return absl::StrFormat("%dh", count / 3'600'000);
  if (count >= 120'000 && count % 60'000 == 0) return absl::StrFormat("%dm", count / 60'000);
  if (count != 0 && count % 1'000 == 0) return absl::StrFormat("%ds", count / 1'000);
  return absl::StrFormat("%dms", count);
}

std::optional<sip::ServerAddress> ParseSipAddress(std::string_view text) {
  sip::ServerAddress address;
  const std::size_t slash = text.find('/');
  if (slash != std::string_view::npos) {
    address.transport = sip::TransportFromString(text.substr(slash + 1));
    if (address.transport == sip::Transport::kUnknown) return std::nullopt;
    text = text.substr(0, slash);
  }
  const std::optional<sip::Endpoint> endpoint = sip::Endpoint::Parse(text);
  if (!endpoint) return std::nullopt;
  address.ip = endpoint->ip;
  address.port = endpoint->port;
  return address;
}

std::string CheckName(const std::string& value) {
  if (value.size() > 64) return "is longer than 64 characters: give a short name";
  for (const char c : value) {
    const bool fits = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '-' || c == '_' || c == '.';
    if (!fits) return "is no name: use letters, digits, '-', '_' and '.'";
  }
  return "";
}

std::string CheckSipAddress(const std::string& value) {
  if (ParseSipAddress(value)) return "";
  return "is no SIP address: write address[:port][/transport], for example 192.0.2.10:5060/udp";
}

std::optional<sip::Endpoint> ParseListen(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const std::string_view digits = text.substr(colon + 1);
  const std::string_view host = text.substr(0, colon);
  // Without brackets it cannot be told where an IPv6 address ends.
  const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
  const std::optional<sip::IpAddress> ip = sip::IpAddress::Parse(host);
  if (!ip || (ip->is_v6() && !bracketed) || !AllDigits(digits) || digits.size() > 5) {
    return std::nullopt;
  }
  const int port = std::stoi(std::string(digits));
  if (port > 65535) return std::nullopt;
  return sip::Endpoint{.ip = *ip, .port = static_cast<std::uint16_t>(port)};
}

std::string CheckListen(const std::string& value) {
  if (ParseListen(value)) return "";
  return "is no address with a port: write 0.0.0.0:9060, 127.0.0.1:9060 or [::]:9060";
}

std::string CheckForward(const std::string& value) {
  if (const auto endpoint = ParseListen(value); endpoint && endpoint->port != 0) return "";
  return "is no address to send to: write 192.0.2.20:9060 or [2001:db8::20]:9060";
}

std::string CheckGrpcListen(const std::string& value) {
  if (ParseListen(value) || (value.rfind("unix:/", 0) == 0 && value.size() > 6)) return "";
  return "is no address with a port: write 127.0.0.1:7443, [::]:7443 or "
         "unix:/run/sipheal/grpc.sock";
}

std::string CheckNetwork(const std::string& value) {
  const std::size_t slash = value.find('/');
  const std::optional<sip::IpAddress> ip = sip::IpAddress::Parse(value.substr(0, slash));
  bool good = ip.has_value();
  if (good && slash != std::string::npos) {
    const std::string bits = value.substr(slash + 1);
    good = AllDigits(bits) && bits.size() <= 3 && std::stoi(bits) <= (ip->is_v4() ? 32 : 128);
  }
  return good ? "" : "is no network: write for example 10.0.0.0/8, 192.0.2.7 or fd00::/8";
}

std::string CheckUrl(const std::string& value) {
  std::string_view rest = value;
  if (rest.rfind("http://", 0) == 0) {
    rest.remove_prefix(7);
  } else if (rest.rfind("https://", 0) == 0) {
    rest.remove_prefix(8);
  } else {
    return "is no URL of an HTTP server: write http://127.0.0.1:8088 or https://...";
  }
  if (rest.find('@') != std::string_view::npos) {
    return "carries credentials: put them into 'user' and 'password_file'";
  }
  const std::string_view host = rest.substr(0, rest.find('/'));
  const std::size_t colon = host.rfind(':');
  const bool has_port = colon != std::string_view::npos && host.back() != ']';
  const std::string_view port = has_port ? host.substr(colon + 1) : std::string_view("80");
  if (host.empty() || colon == 0 || !AllDigits(port) || port.size() > 5 ||
      std::stoi(std::string(port)) > 65535 || std::stoi(std::string(port)) == 0 ||
      rest.find_first_of(" \t\r\n?#") != std::string_view::npos) {
    return "has no valid host and port: write http://host:8088";
  }
  return "";
}

std::string CheckSchema(const std::string& value) {
  const auto fits = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  };
  if (!value.empty() && value.size() <= 63 && (value.front() < '0' || value.front() > '9') &&
      std::all_of(value.begin(), value.end(), fits)) {
    return {};
  }
  return "is no schema name: use 1 to 63 of a-z, 0-9 and '_', not beginning with a digit";
}

std::string CheckFilePath(const std::string& value) {
  return value.starts_with('/') ? "" : "is no absolute path: begin it with '/'";
}

std::string CheckSocketPath(const std::string& value) {
  if (value.empty() || value.front() != '/') return "is no absolute path: begin it with '/'";
  if (value.size() >= sizeof(sockaddr_un{}.sun_path)) {
    return absl::StrFormat("is too long for a Unix socket: use at most %d characters",
                           static_cast<int>(sizeof(sockaddr_un{}.sun_path)) - 1);
  }
  return "";
}

std::string Suggest(std::string_view word, const std::vector<std::string>& candidates) {
  std::string best;
  std::size_t best_distance = std::max<std::size_t>(2, word.size() / 3) + 1;
  for (const std::string& candidate : candidates) {
    // Levenshtein distance, one row at a time.
    std::vector<std::size_t> row(candidate.size() + 1);
    std::iota(row.begin(), row.end(), std::size_t{0});
    for (std::size_t i = 1; i <= word.size(); ++i) {
      std::size_t diagonal = std::exchange(row[0], i);
      for (std::size_t j = 1; j <= candidate.size(); ++j) {
        const std::size_t change = diagonal + (word[i - 1] == candidate[j - 1] ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
      }
    }
    if (row.back() < best_distance && row.back() < candidate.size()) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

}  // namespace sipheal::inline v0_1::cli
