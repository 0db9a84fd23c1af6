// SPDX-License-Identifier: Apache-2.0
#include "http/batch_client.h"

#include <algorithm>
#include <chrono>
#include <stop_token>
#include <utility>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

// Callers beyond these open new connections.
constexpr std::size_t kIdleLines = 4;

absl::Status OverStatus(const CallContext& ctx) {
  if (ctx.stop.stop_requested()) return absl::CancelledError("HTTP: cancelled");
  if (ctx.Remaining(SystemClock().Monotonic()) <= std::chrono::nanoseconds(0)) {
    return absl::DeadlineExceededError("HTTP: no answer before the deadline");
  }
  return absl::OkStatus();
}

}  // namespace

class BatchHttpClient::Line {
 public:
  Line() : multi_((InitCurl(), curl_multi_init())) {}
  ~Line() {
    places_.clear();
    curl_multi_cleanup(multi_);
  }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void Run(const CallContext& ctx, const std::vector<HttpRequest>& requests,
           const HttpOptions& options, int at_once,
           std::vector<absl::StatusOr<HttpResponse>>& results) {
    std::stop_callback wake(ctx.stop, [this] { curl_multi_wakeup(multi_); });
    while (places_.size() < std::min<std::size_t>(at_once, requests.size())) places_.emplace_back();
    std::size_t next = 0;
    std::size_t ended = 0;
    absl::Status over = OverStatus(ctx);
    while (over.ok() && ended < requests.size()) {
      for (Place& place : places_) {
        if (place.request != kFree || next == requests.size()) continue;
        place.request = next;
        place.transfer->Prepare(requests[next++], options, milliseconds(0));
        curl_multi_add_handle(multi_, place.transfer->easy());
      }
      int running = 0;
      curl_multi_perform(multi_, &running);
      const std::size_t before = ended;
      ended += TakeEnded(results);
      over = OverStatus(ctx);
      if (ended != before || !over.ok()) continue;
      const auto left = ctx.Remaining(SystemClock().Monotonic());
      const auto wait = std::min<std::chrono::nanoseconds>(left, std::chrono::seconds(1));
      curl_multi_poll(multi_, nullptr, 0,
                      static_cast<int>(std::chrono::ceil<milliseconds>(wait).count()), nullptr);
    }
    for (Place& place : places_) {
      if (place.request == kFree) continue;
      results[place.request] = over;
      Leave(place);
    }
    for (; next < requests.size(); ++next) results[next] = over;
  }

 private:
  static constexpr std::size_t kFree = static_cast<std::size_t>(-1);
  struct Place {
    std::unique_ptr<Transfer> transfer = std::make_unique<Transfer>();
    std::size_t request = kFree;
  };

  void Leave(Place& place) {
    curl_multi_remove_handle(multi_, place.transfer->easy());
    place.request = kFree;
  }

  std::size_t TakeEnded(std::vector<absl::StatusOr<HttpResponse>>& results) {
    std::size_t count = 0;
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* const easy = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto place = std::find_if(places_.begin(), places_.end(), [&](const Place& other) {
        return other.transfer->easy() == easy;
      });
      results[place->request] = place->transfer->Finish(code);
      Leave(*place);
      ++count;
    }
    return count;
  }

  CURLM* const multi_;
  std::vector<Place> places_;
};

BatchHttpClient::BatchHttpClient(HttpOptions options, int at_once)
    : options_(std::move(options)), at_once_(at_once) {
  InitCurl();
}
BatchHttpClient::~BatchHttpClient() = default;

std::vector<absl::StatusOr<HttpResponse>> BatchHttpClient::SendAll(
    const CallContext& ctx, const std::vector<HttpRequest>& requests) {
  std::vector<absl::StatusOr<HttpResponse>> results(requests.size(),
                                                    absl::InternalError("was not sent"));
  std::unique_ptr<Line> line;
  {
    const std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      line = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (line == nullptr) line = std::make_unique<Line>();
  line->Run(ctx, requests, options_, at_once_, results);
  const std::lock_guard lock(mutex_);
  if (idle_.size() < kIdleLines) idle_.push_back(std::move(line));
  return results;
}

}  // namespace sipheal::inline v0_1::internal
