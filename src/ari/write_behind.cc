// SPDX-License-Identifier: Apache-2.0
#include "ari/write_behind.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "base/thread.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t kMaxPending = 65'536;
constexpr std::size_t kMaxBatch = 500;  // sessions in one Put
constexpr milliseconds kFirstRetry{50};
constexpr milliseconds kLastRetry{2000};

}  // namespace

WriteBehind::WriteBehind(std::shared_ptr<SessionStore> store, Options options)
    : store_(std::move(store)), options_(std::move(options)) {}

WriteBehind::~WriteBehind() { Stop(); }

void WriteBehind::Start() {
  const std::lock_guard lock(mutex_);
  if (thread_.joinable() || stopping_) return;
  thread_ = StartThread("sipheal-tracked", [this] { Run(); });
}

void WriteBehind::Stop() {
  std::thread thread;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    thread = std::move(thread_);
  }
  wake_.notify_all();
  if (thread.joinable()) thread.join();
  written_.notify_all();
}

void WriteBehind::Add(std::vector<Session> sessions) {
  if (sessions.empty()) return;
  bool overflowed = false;
  {
    const std::lock_guard lock(mutex_);
    for (Session& session : sessions) {
      const SessionKey key = session.key();
      if (pending_.size() + in_flight_ >= kMaxPending && !pending_.contains(key)) {
        overflowed = !std::exchange(overflow_, true);
        continue;
      }
      pending_.insert_or_assign(key, std::move(session));
      ++added_;
    }
  }
  wake_.notify_one();
  if (overflowed) {
    options_.log->Write(
        {LogLevel::kError,
         "tracker_overflow",
         "The session store has been away for too long: changes are dropped, and all "
         "is compared again when it is back",
         {}});
  }
}

std::size_t WriteBehind::pending() const {
  const std::lock_guard lock(mutex_);
  return pending_.size() + in_flight_;
}

absl::Status WriteBehind::Flush(const CallContext& ctx) {
  std::unique_lock lock(mutex_);
  const std::uint64_t wanted = added_;
  ++flushing_;
  wake_.notify_one();
  const auto done = [&] { return written_up_to_ >= wanted || stopping_; };
  if (ctx.deadline == MonotonicTime::max()) {
    written_.wait(lock, ctx.stop, done);
  } else {
    written_.wait_until(lock, ctx.stop, ctx.deadline, done);
  }
  --flushing_;
  if (written_up_to_ >= wanted) return absl::OkStatus();
  if (ctx.stop.stop_requested()) return absl::CancelledError("flush of the tracker was cancelled");
  if (stopping_) return absl::FailedPreconditionError("the tracker is not running: start it first");
  return absl::DeadlineExceededError(
      absl::StrFormat("flush of the tracker: %d sessions still wait for the store",
                      static_cast<int>(pending_.size() + in_flight_)));
}

void WriteBehind::Run() {
  milliseconds retry = kFirstRetry;
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !pending_.empty(); });
    if (pending_.empty()) return;
    // Gather, or wait for the store to come back; a flush or the end cuts the gathering short.
    const auto until = std::chrono::steady_clock::now() + (failing_ ? retry : options_.gather);
    while (!stopping_ && (failing_ || flushing_ == 0) &&
           wake_.wait_until(lock, until) != std::cv_status::timeout) {
    }
    Batch batch = std::exchange(pending_, {});
    const std::uint64_t up_to = added_;
    in_flight_ = batch.size();
    lock.unlock();
    const absl::Status status = Write(batch);
    lock.lock();
    in_flight_ = 0;
    if (status.ok()) {
      retry = kFirstRetry;
      failing_ = false;
      written_up_to_ = up_to;
      written_.notify_all();
      if (std::exchange(overflow_, false) && options_.overflowed) {
        lock.unlock();
        options_.overflowed();
        lock.lock();
      }
    } else {
      // What changed meanwhile is newer than what failed.
      pending_.merge(batch);
      options_.telemetry->Count("sipheal_tracker_store_failures_total", {}, 1);
      if (!std::exchange(failing_, true)) {
        lock.unlock();
        options_.log->Write({LogLevel::kWarning,
                             "tracker_store_failed",
                             "The session store cannot be written, it is tried again: " +
                                 std::string(status.message()),
                             {}});
        lock.lock();
      } else {
        retry = std::min(retry * 2, kLastRetry);
      }
    }
    options_.telemetry->Gauge("sipheal_tracker_pending_sessions", {},
                              static_cast<double>(pending_.size()));
    if (stopping_ && (!status.ok() || pending_.empty())) return;
  }
}

template <typename Call>
auto WriteBehind::Guard(Call call) -> decltype(call()) {
  try {
    return call();
  } catch (const std::exception& error) {
    return absl::InternalError(absl::StrFormat("the session store threw: %s", error.what()));
  } catch (...) {
    return absl::InternalError("the session store threw");
  }
}

absl::Status WriteBehind::Write(const Batch& batch) {
  // A recovered session's record is the engine's to make: it is only replaced, never made here.
  std::vector<Session> own, recovered;
  for (const auto& [key, session] : batch) {
    (session.epoch == 0 ? own : recovered).push_back(session);
  }
  ABSL_RETURN_IF_ERROR(Put(std::move(own), false));
  return Put(std::move(recovered), true);
}

absl::Status WriteBehind::Put(std::vector<Session> sessions, bool only_existing) {
  for (std::size_t begin = 0; begin < sessions.size(); begin += kMaxBatch) {
    const std::size_t end = std::min(begin + kMaxBatch, sessions.size());
    SessionStore::PutParams params;
    params.only_existing = only_existing;
    params.sessions.assign(
        std::make_move_iterator(sessions.begin() + static_cast<std::ptrdiff_t>(begin)),
        std::make_move_iterator(sessions.begin() + static_cast<std::ptrdiff_t>(end)));
    const auto result = Guard(
        [&] { return store_->Put(CallContext::WithTimeout(options_.store_timeout), params); });
    if (!result.ok()) return result.status();
    for (const SessionKey& key : result->unknown) {
      if (options_.unknown) options_.unknown(key);
    }
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal
