// SPDX-License-Identifier: Apache-2.0
#include "http/transfer.h"

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr char kErrnoPayload[] = "sipheal.org/os_errno";

int OsErrno(const absl::Status& status) {
  const auto payload = status.GetPayload(kErrnoPayload);
  return payload ? std::atoi(std::string(*payload).c_str()) : 0;
}

// Credentials ride in a header, but a host may have put others into the query: messages leave it
// out.
std::string WithoutQuery(const std::string& url) { return url.substr(0, url.find('?')); }

}  // namespace

bool WasRefused(const absl::Status& status) { return OsErrno(status) == ECONNREFUSED; }

bool WasLocal(const absl::Status& status) {
  const int error = OsErrno(status);
  return error == ENETUNREACH || error == EADDRNOTAVAIL || error == EMFILE || error == ENFILE ||
         error == ENETDOWN || error == ENOBUFS || error == EACCES || error == EPERM;
}

void InitCurl() {
  static const CURLcode done = curl_global_init(CURL_GLOBAL_DEFAULT);
  (void)done;
}

Transfer::Transfer() : easy_((InitCurl(), curl_easy_init())) {}

Transfer::~Transfer() {
  curl_easy_cleanup(easy_);
  curl_slist_free_all(headers_);
}

std::size_t Transfer::OnBody(char* data, std::size_t size, std::size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const std::size_t bytes = size * count;
  if (transfer.on_body_) {
    long status = 0;
    curl_easy_getinfo(transfer.easy_, CURLINFO_RESPONSE_CODE, &status);
    if (transfer.on_body_(static_cast<int>(status), {data, bytes})) return bytes;
    transfer.refused_by_reader_ = true;
    return 0;
  }
  if (transfer.body_.size() + bytes > transfer.max_body_) {
    transfer.too_long_ = true;
    return 0;
  }
  transfer.body_.append(data, bytes);
  return bytes;
}

void Transfer::Prepare(const HttpRequest& request, const HttpOptions& options,
                       std::chrono::milliseconds timeout) {
  curl_easy_reset(easy_);  // keeps the connections
  curl_slist_free_all(headers_);
  headers_ = nullptr;
  method_ = request.method;
  url_without_query_ = WithoutQuery(request.url);
  request_body_ = request.body;
  on_body_ = request.on_body;
  refused_by_reader_ = false;
  body_.clear();
  max_body_ = options.max_body;
  too_long_ = false;
  error_[0] = '\0';

  curl_easy_setopt(easy_, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(easy_, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy_, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy_, CURLOPT_NOPROXY, "*");  // the environment's proxy is not for us
  curl_easy_setopt(easy_, CURLOPT_ERRORBUFFER, error_);
  curl_easy_setopt(easy_, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  curl_easy_setopt(easy_, CURLOPT_WRITEDATA, this);
  curl_easy_setopt(easy_, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(options.connect_timeout.count()));
  curl_easy_setopt(easy_, CURLOPT_TIMEOUT_MS, static_cast<long>(timeout.count()));
  if (!options.ca_file.empty()) curl_easy_setopt(easy_, CURLOPT_CAINFO, options.ca_file.c_str());
  if (!options.verify_peer) {
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYPEER, 0L);
    curl_easy_setopt(easy_, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  if (options.buffer_bytes != 0) {
    curl_easy_setopt(easy_, CURLOPT_BUFFERSIZE, static_cast<long>(options.buffer_bytes));
  }
  // Asterisk drops an idle connection after 15 s: do not begin a request on one that old.
  curl_easy_setopt(easy_, CURLOPT_MAXAGE_CONN, 10L);
  curl_easy_setopt(easy_, CURLOPT_CUSTOMREQUEST, method_.c_str());
  if (!request.user.empty()) {
    curl_easy_setopt(easy_, CURLOPT_HTTPAUTH, static_cast<long>(CURLAUTH_BASIC));
    curl_easy_setopt(easy_, CURLOPT_USERNAME, request.user.c_str());
    curl_easy_setopt(easy_, CURLOPT_PASSWORD, request.password.c_str());
  }
  headers_ = curl_slist_append(headers_, "Expect:");
  if (!request_body_.empty()) {
    headers_ = curl_slist_append(headers_, ("Content-Type: " + request.content_type).c_str());
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, request_body_.data());
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request_body_.size()));
  } else if (method_ == "POST" || method_ == "PUT") {
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDS, "");
    curl_easy_setopt(easy_, CURLOPT_POSTFIELDSIZE, 0L);
  }
  for (const std::string& header : request.headers) {
    headers_ = curl_slist_append(headers_, header.c_str());
  }
  curl_easy_setopt(easy_, CURLOPT_HTTPHEADER, headers_);
}

absl::StatusOr<HttpResponse> Transfer::Finish(CURLcode code) {
  if (code == CURLE_OK) {
    long status = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &status);
    char* address = nullptr;
    curl_easy_getinfo(easy_, CURLINFO_PRIMARY_IP, &address);
    return HttpResponse{static_cast<int>(status), std::move(body_),
                        address != nullptr ? address : ""};
  }
  const std::string what = absl::StrFormat("%s %s", method_, url_without_query_);
  if (too_long_) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("%s: the answer is longer than %d bytes", what, max_body_));
  }
  if (refused_by_reader_) {
    return absl::CancelledError(absl::StrFormat("%s: the reader of the answer ended it", what));
  }
  const char* seen = error_[0] != '\0' ? error_ : curl_easy_strerror(code);
  if (code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%s: %s: use http:// or https://", what, seen));
  }
  double connected = 0;
  curl_easy_getinfo(easy_, CURLINFO_CONNECT_TIME, &connected);
  if (code == CURLE_OPERATION_TIMEDOUT && connected > 0) {
    return absl::DeadlineExceededError(absl::StrFormat("%s: %s", what, seen));
  }
  absl::Status status = absl::UnavailableError(absl::StrFormat("%s: %s", what, seen));
  long os_errno = 0;
  curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_errno);
  if (code == CURLE_COULDNT_CONNECT && os_errno != 0) {
    status.SetPayload(kErrnoPayload, absl::Cord(absl::StrFormat("%d", os_errno)));
  }
  return status;
}

}  // namespace sipheal::inline v0_1::internal
