// SPDX-License-Identifier: Apache-2.0
#include "http/http_client.h"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

}  // namespace

class HttpClient::Line {
 public:
  Line() : multi_(curl_multi_init()) {}
  ~Line() { curl_multi_cleanup(multi_); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  absl::StatusOr<HttpResponse> Send(const CallContext& ctx, const HttpRequest& request,
                                    const HttpOptions& options) {
    transfer_.Prepare(request, options, milliseconds(0));
    curl_multi_add_handle(multi_, transfer_.easy());
    absl::StatusOr<HttpResponse> result = Run(ctx, request);
    curl_multi_remove_handle(multi_, transfer_.easy());
    return result;
  }

 private:
  absl::StatusOr<HttpResponse> Run(const CallContext& ctx, const HttpRequest& request) {
    // A plain easy transfer looks at its progress callback once a second only: a multi handle can
    // be woken.
    std::stop_callback wake(ctx.stop, [this] { curl_multi_wakeup(multi_); });
    for (;;) {
      int running = 0;
      curl_multi_perform(multi_, &running);
      if (running == 0) break;
      if (ctx.stop.stop_requested()) {
        return absl::CancelledError(absl::StrFormat("%s: cancelled", request.method));
      }
      const auto left = ctx.Remaining(SystemClock().Monotonic());
      if (left <= std::chrono::nanoseconds(0)) {
        return absl::DeadlineExceededError(
            absl::StrFormat("%s %s: no answer before the deadline", request.method,
                            request.url.substr(0, request.url.find('?'))));
      }
      const auto wait = std::min<std::chrono::nanoseconds>(left, std::chrono::seconds(1));
      curl_multi_poll(multi_, nullptr, 0,
                      static_cast<int>(std::chrono::ceil<milliseconds>(wait).count()), nullptr);
    }
    int left_in_queue = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left_in_queue)) {
      if (message->msg == CURLMSG_DONE) return transfer_.Finish(message->data.result);
    }
    return absl::InternalError("libcurl ended a transfer without saying how");
  }

  // The multi handle outlives the transfer: it owns the connection cache.
  CURLM* const multi_;
  Transfer transfer_;
};

HttpClient::HttpClient(HttpOptions options) : options_(options) { InitCurl(); }
HttpClient::~HttpClient() = default;

absl::StatusOr<std::unique_ptr<HttpClient::Line>> HttpClient::Take(const CallContext& ctx) {
  std::unique_lock lock(mutex_);
  const auto ready = [this] { return !idle_.empty() || lines_ < kLines; };
  const bool in_time = ctx.deadline == MonotonicTime::max()
                           ? changed_.wait(lock, ctx.stop, ready)
                           : changed_.wait_until(lock, ctx.stop, ctx.deadline, ready);
  if (ctx.stop.stop_requested()) return absl::CancelledError("cancelled before it was sent");
  if (!in_time || ctx.deadline <= SystemClock().Monotonic()) {
    return absl::DeadlineExceededError("no turn before the deadline");
  }
  if (idle_.empty()) {
    ++lines_;
    return std::make_unique<Line>();
  }
  std::unique_ptr<Line> line = std::move(idle_.back());
  idle_.pop_back();
  return line;
}

void HttpClient::GiveBack(std::unique_ptr<Line> line) {
  {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(line));
  }
  changed_.notify_one();
}

absl::StatusOr<HttpResponse> HttpClient::Send(const CallContext& ctx, const HttpRequest& request) {
  ABSL_ASSIGN_OR_RETURN(std::unique_ptr<Line> line, Take(ctx));
  absl::StatusOr<HttpResponse> result = line->Send(ctx, request, options_);
  GiveBack(std::move(line));
  return result;
}

}  // namespace sipheal::inline v0_1::internal
