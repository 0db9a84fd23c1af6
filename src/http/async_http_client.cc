// SPDX-License-Identifier: Apache-2.0
#include "http/async_http_client.h"

#include <atomic>
#include <map>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace sipheal::inline v0_1::internal {

class AsyncHttpClient::Loop {
 public:
  explicit Loop(HttpOptions options) : options_(options), multi_((InitCurl(), curl_multi_init())) {
    thread_ = StartThread("sipheal-http", [this] { Run(); });
  }

  ~Loop() {
    Close();
    curl_multi_cleanup(multi_);
  }

  void Close() {
    {
      const MutexLock lock(mutex_);
      stopping_ = true;
    }
    curl_multi_wakeup(multi_);
    if (thread_.joinable()) thread_.join();
  }

  bool OnThread() const { return std::this_thread::get_id() == thread_id_.load(); }

  void Send(HttpRequest request, std::chrono::milliseconds timeout, Done done) {
    bool closed = false;
    {
      const MutexLock lock(mutex_);
      closed = stopping_;
      if (!closed) queue_.push_back({std::move(request), timeout, std::move(done)});
    }
    if (closed) return done(absl::CancelledError("the client is closed"));
    curl_multi_wakeup(multi_);
  }

 private:
  struct Job {
    HttpRequest request;
    std::chrono::milliseconds timeout;
    Done done;
  };
  struct Running {
    std::unique_ptr<Transfer> transfer;
    Done done;
  };

  void Run() {
    thread_id_ = std::this_thread::get_id();
    while (Begin()) {
      int running = 0;
      curl_multi_perform(multi_, &running);
      End();
      curl_multi_poll(multi_, nullptr, 0, 10'000, nullptr);
    }
    for (auto& [easy, job] : running_) {
      curl_multi_remove_handle(multi_, easy);
      job.done(absl::CancelledError("the client is closing"));
    }
    running_.clear();
    std::vector<Job> queue;
    {
      const MutexLock lock(mutex_);
      queue.swap(queue_);
    }
    for (Job& job : queue) job.done(absl::CancelledError("the client is closing"));
  }

  // Starts what was queued; false when the client is closing.
  bool Begin() {
    std::vector<Job> queue;
    {
      const MutexLock lock(mutex_);
      if (stopping_) return false;
      queue.swap(queue_);
    }
    for (Job& job : queue) {
      auto transfer = idle_.empty() ? std::make_unique<Transfer>() : std::move(idle_.back());
      if (!idle_.empty()) idle_.pop_back();
      transfer->Prepare(job.request, options_, job.timeout);
      CURL* const easy = transfer->easy();
      running_[easy] = {std::move(transfer), std::move(job.done)};
      curl_multi_add_handle(multi_, easy);
    }
    return true;
  }

  void End() {
    int left = 0;
    while (CURLMsg* message = curl_multi_info_read(multi_, &left)) {
      if (message->msg != CURLMSG_DONE) continue;
      CURL* const easy = message->easy_handle;
      const CURLcode code = message->data.result;
      const auto found = running_.find(easy);
      Running job = std::move(found->second);
      running_.erase(found);
      absl::StatusOr<HttpResponse> result = job.transfer->Finish(code);
      curl_multi_remove_handle(multi_, easy);
      if (idle_.size() < 16) idle_.push_back(std::move(job.transfer));
      job.done(std::move(result));
    }
  }

  const HttpOptions options_;
  CURLM* const multi_;
  std::map<CURL*, Running> running_;             // the thread's own
  std::vector<std::unique_ptr<Transfer>> idle_;  // the thread's own
  Mutex mutex_;
  std::vector<Job> queue_ ABSL_GUARDED_BY(mutex_);
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<std::thread::id> thread_id_{};
  std::thread thread_;
};

AsyncHttpClient::AsyncHttpClient(HttpOptions options) : loop_(std::make_unique<Loop>(options)) {}
AsyncHttpClient::~AsyncHttpClient() = default;
void AsyncHttpClient::Close() { loop_->Close(); }
bool AsyncHttpClient::OnThread() const { return loop_->OnThread(); }

void AsyncHttpClient::Send(HttpRequest request, std::chrono::milliseconds timeout, Done done) {
  loop_->Send(std::move(request), timeout, std::move(done));
}

}  // namespace sipheal::inline v0_1::internal
