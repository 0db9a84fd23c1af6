// SPDX-License-Identifier: Apache-2.0
// Where an ARI lives: the parts of AriInstanceOptions::url.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace sipheal::inline v0_1::internal {

struct BaseUrl {
  bool tls = false;
  std::string host;  // without the brackets of an IPv6 address
  int port = 0;
  std::string prefix;  // of http.conf: "" or "/asterisk", no slash at the end
  // "http://host:port/prefix", to which "/ari/..." is appended.
  std::string ToString() const;
};

// InvalidArgument says what is wrong; credentials in the URL are refused, since URLs are logged.
absl::StatusOr<BaseUrl> ParseBaseUrl(const std::string& url);

}  // namespace sipheal::inline v0_1::internal
