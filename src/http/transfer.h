// SPDX-License-Identifier: Apache-2.0
// One HTTP transfer on a libcurl easy handle: how it is set up, what it gathers, and how libcurl's
// errors become statuses. Shared by the blocking and the asynchronous client.
#pragma once

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::internal {

struct HttpRequest {
  std::string method = "GET";
  std::string url;                                // http:// or https://, escaped already
  std::string body;                               // sent when not empty
  std::string content_type = "application/json";  // of `body`
  std::vector<std::string> headers;               // "Name: value"
  std::string user;                               // basic authentication; none when empty
  std::string password;
  // Takes the body piece by piece instead of HttpResponse::body; false ends the transfer as
  // Cancelled. `max_body` is not its limit.
  std::function<bool(int status, std::string_view piece)> on_body;
};

struct HttpResponse {
  int status = 0;
  std::string body;
  std::string peer_address;  // numeric: whom the answer came from
};

struct HttpOptions {
  std::chrono::milliseconds connect_timeout{1000};
  std::size_t max_body = 16u << 20;  // a longer answer is ResourceExhausted
  // Of https: whom to believe (PEM; none: the system's), and whether to ask at all.
  std::string ca_file;
  bool verify_peer = true;
  std::size_t buffer_bytes = 0;  // of one read from the socket; 0: libcurl's own
};

// Whether the request failed because the peer's kernel refused the connection: nobody listens.
SIPHEAL_EXPORT bool WasRefused(const absl::Status& status);
// Whether it failed on this side, before anything was asked of the peer (no route, no address, out
// of file descriptors): such a failure says nothing about the peer.
SIPHEAL_EXPORT bool WasLocal(const absl::Status& status);

// A reusable easy handle. Not thread-safe; one transfer at a time.
class Transfer {
 public:
  Transfer();
  ~Transfer();
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // Makes the handle ready for `request`. `timeout` is of the whole transfer; zero: none.
  void Prepare(const HttpRequest& request, const HttpOptions& options,
               std::chrono::milliseconds timeout);
  // After libcurl finished the transfer with `code`: the response, or what went wrong.
  absl::StatusOr<HttpResponse> Finish(CURLcode code);

  CURL* easy() const { return easy_; }

 private:
  static std::size_t OnBody(char* data, std::size_t size, std::size_t count, void* self);

  CURL* const easy_;
  curl_slist* headers_ = nullptr;
  std::string method_;
  std::string url_without_query_;  // for messages
  std::string request_body_;
  std::function<bool(int, std::string_view)> on_body_;
  bool refused_by_reader_ = false;
  std::string body_;
  std::size_t max_body_ = 0;
  bool too_long_ = false;
  char error_[CURL_ERROR_SIZE] = {};
};

// Initialises libcurl once for the process; thread-safe.
void InitCurl();

}  // namespace sipheal::inline v0_1::internal
