// SPDX-License-Identifier: Apache-2.0
#include "ari/base_url.h"

#include <curl/curl.h>

#include <cstdlib>
#include <memory>

#include "absl/strings/str_format.h"
#include "ari/connections.h"
#include "http/transfer.h"

namespace sipheal::inline v0_1::internal {
namespace {

std::string Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK || text == nullptr) return "";
  std::string copy(text);
  curl_free(text);
  return copy;
}

}  // namespace

std::string BaseUrl::ToString() const {
  const bool v6 = host.find(':') != std::string::npos;
  return absl::StrFormat("%s://%s%s%s:%d%s", tls ? "https" : "http", v6 ? "[" : "", host,
                         v6 ? "]" : "", port, prefix);
}

absl::StatusOr<BaseUrl> ParseBaseUrl(const std::string& url) {
  InitCurl();
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> handle(curl_url(), &curl_url_cleanup);
  const CURLUcode code = curl_url_set(handle.get(), CURLUPART_URL, url.c_str(), 0);
  if (code != CURLUE_OK) {
    return absl::InvalidArgumentError(
        absl::StrFormat("url: \"%s\" is not a URL (%s): use for example http://127.0.0.1:8088", url,
                        curl_url_strerror(code)));
  }
  BaseUrl base;
  const std::string scheme = Part(handle.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") {
    return absl::InvalidArgumentError(
        absl::StrFormat("url: the scheme is \"%s\": use http or https", scheme));
  }
  if (!Part(handle.get(), CURLUPART_USER).empty() ||
      !Part(handle.get(), CURLUPART_PASSWORD).empty()) {
    return absl::InvalidArgumentError(
        "url: holds credentials: give them as user and password_file");
  }
  if (!Part(handle.get(), CURLUPART_QUERY).empty()) {
    return absl::InvalidArgumentError("url: holds a query: end it before the question mark");
  }
  base.tls = scheme == "https";
  base.host = Part(handle.get(), CURLUPART_HOST);
  if (base.host.size() > 2 && base.host.front() == '[') {
    base.host = base.host.substr(1, base.host.size() - 2);
  }
  base.port = std::atoi(Part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT).c_str());
  base.prefix = Part(handle.get(), CURLUPART_PATH);
  while (!base.prefix.empty() && base.prefix.back() == '/') base.prefix.pop_back();
  if (base.prefix.size() >= 4 && base.prefix.compare(base.prefix.size() - 4, 4, "/ari") == 0) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "url: \"%s\" ends with /ari, which sipheal adds itself: leave it out", url));
  }
  return base;
}

std::string EscapeUri(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool unreserved = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                            (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
    if (unreserved) {
      out += c;
    } else {
      out += '%';
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    }
  }
  return out;
}

}  // namespace sipheal::inline v0_1::internal
