// SPDX-License-Identifier: Apache-2.0
#include "homer/options.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <set>

#include "base/status_macros.h"

namespace sipheal::inline v0_1 {
namespace internal::homer {
namespace {

// What may stand in a header's value.
bool IsPrintable(const std::string& text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c > ' ' && c < '\x7f'; });
}

absl::StatusOr<std::string> ReadOne(const char* field, const std::string& value,
                                    const std::string& file, const std::string& environment) {
  const int given = !value.empty() + !file.empty() + !environment.empty();
  if (given > 1) {
    return absl::InvalidArgumentError(
        absl::StrFormat("homer: more than one of %s, %s_file and %s_environment is set: use one",
                        field, field, field));
  }
  if (!environment.empty()) {
    const char* const found = std::getenv(environment.c_str());
    if (found != nullptr && *found != '\0') return std::string(found);
    return absl::InvalidArgumentError(absl::StrFormat(
        "homer: %s_environment: the variable \"%s\" is not set", field, environment));
  }
  if (file.empty()) return value;
  std::ifstream stream(file, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  if (!stream.is_open() || stream.bad()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("homer: %s_file: \"%s\" cannot be read", field, file));
  }
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  if (text.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("homer: %s_file: \"%s\" is empty", field, file));
  }
  return text;
}

absl::Status CheckUrl(const std::string& url) {
  const bool known = url.starts_with("http://") || url.starts_with("https://");
  const std::string rest = known ? url.substr(url.find("//") + 2) : "";
  // A URL with a password in it is not repeated.
  if (rest.substr(0, rest.find('/')).find('@') != rest.npos) {
    return absl::InvalidArgumentError(
        "homer: url has a user in it: use user and password, or token");
  }
  if (!known || rest.empty() || rest.front() == '/') {
    return absl::InvalidArgumentError(
        absl::StrFormat("homer: url is \"%s\": use http://HOST:PORT or https://HOST:PORT", url));
  }
  if (url.find("/api/v") != url.npos) {
    return absl::InvalidArgumentError(
        absl::StrFormat("homer: url is \"%s\": leave /api/... out", url));
  }
  if (!IsPrintable(url) || url.find_first_of("?#\"<>\\^`{|}") != url.npos) {
    return absl::InvalidArgumentError("homer: url has characters that no address has");
  }
  return absl::OkStatus();
}

bool IsProfile(const std::string& name) {
  const std::size_t digits = name.find_first_not_of("0123456789");
  return digits != 0 && digits != name.npos && name[digits] == '_' && digits + 1 < name.size() &&
         name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  c == '_';
         });
}

}  // namespace

absl::StatusOr<Secrets> ReadSecrets(const HomerOptions& options) {
  Secrets secrets;
  secrets.user = options.user;
  ABSL_ASSIGN_OR_RETURN(secrets.token, ReadOne("token", options.token, options.token_file,
                                               options.token_environment));
  ABSL_ASSIGN_OR_RETURN(
      secrets.password,
      ReadOne("password", options.password, options.password_file, options.password_environment));
  if (!IsPrintable(secrets.token)) {
    return absl::InvalidArgumentError("homer: token has characters that no token has");
  }
  return secrets;
}

}  // namespace internal::homer

using internal::homer::CheckRange;

absl::Status HomerReadOptions::Validate() const {
  std::set<std::string> seen;
  for (const HomerInstanceOptions& one : instances) {
    if (one.instance.empty() || !seen.insert(one.instance).second) {
      return absl::InvalidArgumentError(
          absl::StrFormat("homer: instances: \"%s\": each needs a name of its own", one.instance));
    }
    if (one.agents.empty()) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "homer: instances: \"%s\" has no agents: leave it out to take all", one.instance));
    }
  }
  ABSL_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("ingest_delay", ingest_delay.count(), 0, 120'000, " ms"));
  ABSL_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("requery_interval", requery_interval.count(), 10, 10'000, " ms"));
  ABSL_RETURN_IF_ERROR(CheckRange<std::int64_t>("lookback", lookback.count(), 1, 24 * 90, " h"));
  ABSL_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("clock_skew", clock_skew.count(), 0, 24 * 60, " min"));
  ABSL_RETURN_IF_ERROR(CheckRange<std::size_t>("max_rows", max_rows, 1, 100'000'000, ""));
  return CheckRange<std::size_t>("max_bytes", max_bytes, 64 * 1024, std::size_t{64} << 30, "");
}

absl::Status HomerOptions::Validate() const {
  ABSL_RETURN_IF_ERROR(internal::homer::CheckUrl(url));
  const bool has_token = !token.empty() || !token_file.empty() || !token_environment.empty();
  const bool has_password =
      !password.empty() || !password_file.empty() || !password_environment.empty();
  if (has_token == !user.empty() || user.empty() == has_password) {
    return absl::InvalidArgumentError("homer: use either token or user with password");
  }
  if (token_header.empty() ||
      token_header.find_first_not_of("-_0123456789abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != token_header.npos) {
    return absl::InvalidArgumentError(
        "homer: token_header has characters that no header's name has");
  }
  ABSL_RETURN_IF_ERROR(read.Validate());
  if (profiles.empty() || profiles.size() > 16 ||
      !std::all_of(profiles.begin(), profiles.end(), internal::homer::IsProfile)) {
    return absl::InvalidArgumentError(
        "homer: profiles: use names such as 1_call, at least one and at most 16");
  }
  ABSL_RETURN_IF_ERROR(CheckRange<std::size_t>("batch", batch, 1, 200, ""));
  ABSL_RETURN_IF_ERROR(CheckRange("connections", connections, 1, 32, ""));
  ABSL_RETURN_IF_ERROR(
      CheckRange<std::int64_t>("connect_timeout", connect_timeout.count(), 10, 60'000, " ms"));
  return CheckRange<std::size_t>("max_row_bytes", max_row_bytes, 64 * 1024, 64 << 20, "");
}

absl::Status HomerSqlOptions::Validate() const {
  ABSL_RETURN_IF_ERROR(read.Validate());
  ABSL_RETURN_IF_ERROR(CheckRange<std::size_t>("batch", batch, 1, 10'000, ""));
  ABSL_RETURN_IF_ERROR(CheckRange("connections", connections, 1, 64, ""));
  return CheckRange<std::int64_t>("connect_timeout", connect_timeout.count(), 100, 60'000, " ms");
}

}  // namespace sipheal::inline v0_1
