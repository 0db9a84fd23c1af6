// SPDX-License-Identifier: Apache-2.0
#include "grpc/event_watchers.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/thread.h"

namespace sipheal::inline v0_1::internal {
namespace {

constexpr char kStopping[] = "sipheal is stopping: ask again later";

}  // namespace

// One stream. It has at most one message under way, and its place in the ring; it keeps itself
// until gRPC says that the stream is done.
class EventWatchers::Watcher final : public grpc::ServerWriteReactor<v1::WatchEventsResponse>,
                                     public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(EventWatchers& watchers, bool with_steps)
      : watchers_(watchers), with_steps_(with_steps) {}

  // Before anything else is called. `refusal`: OK, or why this stream ends at once.
  void Begin(const v1::WatchEventsRequest& request, const grpc::Status& refusal) {
    self_ = shared_from_this();
    const std::lock_guard lock(mutex_);
    begun_ = true;
    if (!refusal.ok()) {
      FinishLocked(refusal);
      return;
    }
    EventRing& ring = watchers_.ring_;
    place_ = ring.newest();
    if (!request.cursor().empty()) {
      switch (ring.Find(request.cursor(), place_)) {
        case EventRing::Place::kKnown:
          cause_ = v1::EventGap::CAUSE_TOO_OLD;
          break;
        case EventRing::Place::kOtherRun:
          gap_due_ = true;
          cause_ = v1::EventGap::CAUSE_OTHER_RUN;
          place_ = 0;
          break;
        case EventRing::Place::kNonsense:
          FinishLocked({grpc::StatusCode::INVALID_ARGUMENT,
                        "this cursor was not made here: give one of an event, or none"});
          return;
      }
    }
    v1::WatchEventsResponse started;
    started.set_cursor(ring.CursorOf(place_));
    started.mutable_started();
    Send(std::make_shared<const v1::WatchEventsResponse>(std::move(started)));
  }

  // Writes what is next, unless something is under way.
  void Wake() {
    const std::lock_guard lock(mutex_);
    Continue();
  }
  void End(const grpc::Status& status) {
    const std::lock_guard lock(mutex_);
    FinishLocked(status);
  }

  void OnWriteDone(bool ok) override {
    const std::lock_guard lock(mutex_);
    sending_.reset();
    if (!ok) {
      FinishLocked({grpc::StatusCode::CANCELLED, "the watcher has gone"});
    } else {
      Continue();
    }
  }
  void OnCancel() override { End({grpc::StatusCode::CANCELLED, "the watcher has gone"}); }
  void OnDone() override {
    watchers_.Forget(self_);
    const std::shared_ptr<Watcher> last = std::move(self_);
  }

 private:
  void FinishLocked(const grpc::Status& status) {
    if (!std::exchange(finished_, true)) Finish(status);
  }

  void Send(EventRing::Event event) {
    sending_ = std::move(event);
    StartWrite(sending_.get());
  }

  void Continue() {
    if (!begun_ || finished_ || sending_ != nullptr) return;
    EventRing& ring = watchers_.ring_;
    const EventRing::Next next = ring.After(place_, with_steps_);
    if (gap_due_ || next.dropped > std::max(place_, forgiven_)) {
      v1::WatchEventsResponse gap;
      gap.set_cursor(ring.CursorOf(place_));
      gap.mutable_gap()->set_cause(std::exchange(cause_, v1::EventGap::CAUSE_TOO_SLOW));
      gap_due_ = false;
      forgiven_ = next.dropped;
      Send(std::make_shared<const v1::WatchEventsResponse>(std::move(gap)));
      return;
    }
    cause_ = v1::EventGap::CAUSE_TOO_SLOW;
    if (next.event == nullptr) return;
    place_ = next.number;
    Send(next.event);
  }

  EventWatchers& watchers_;
  const bool with_steps_;
  std::shared_ptr<Watcher> self_;
  std::mutex mutex_;
  bool begun_ = false;          // mutex_; until then nobody knows its place
  std::uint64_t place_ = 0;     // mutex_; the number of the last event that was handed out
  std::uint64_t forgiven_ = 0;  // mutex_; the watcher was told that those up to here are gone
  bool gap_due_ = false;        // mutex_
  v1::EventGap::Cause cause_ = v1::EventGap::CAUSE_TOO_SLOW;  // mutex_; of the next gap
  EventRing::Event sending_;                                  // mutex_
  bool finished_ = false;                                     // mutex_
};

EventWatchers::EventWatchers(std::size_t keep, std::string run, int most)
    : ring_(keep, std::move(run)), most_(most) {
  thread_ = StartThread("sipheal-events", [this] { Pump(); });
}

EventWatchers::~EventWatchers() { Stop(); }

void EventWatchers::Publish(v1::WatchEventsResponse event) {
  ring_.Append(std::move(event));
  const std::lock_guard lock(mutex_);
  news_ = true;
  changed_.notify_all();
}

grpc::ServerWriteReactor<v1::WatchEventsResponse>* EventWatchers::Watch(
    const v1::WatchEventsRequest& request) {
  const auto watcher = std::make_shared<Watcher>(*this, request.with_steps());
  grpc::Status refusal;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) {
      refusal = {grpc::StatusCode::UNAVAILABLE, kStopping};
    } else if (static_cast<int>(watchers_.size()) >= most_) {
      refusal = {grpc::StatusCode::RESOURCE_EXHAUSTED,
                 absl::StrFormat("%d watchers are here already", most_)};
    } else {
      watchers_.insert(watcher);
    }
  }
  watcher->Begin(request, refusal);
  return watcher.get();
}

void EventWatchers::Forget(const std::shared_ptr<Watcher>& watcher) {
  const std::lock_guard lock(mutex_);
  watchers_.erase(watcher);
}

void EventWatchers::Pump() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return news_ || stopping_; });
    if (stopping_) return;
    news_ = false;
    const std::vector<std::shared_ptr<Watcher>> all(watchers_.begin(), watchers_.end());
    lock.unlock();
    for (const auto& watcher : all) watcher->Wake();
    lock.lock();
  }
}

void EventWatchers::Stop() {
  std::vector<std::shared_ptr<Watcher>> all;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
    all.assign(watchers_.begin(), watchers_.end());
  }
  if (thread_.joinable()) thread_.join();
  for (const auto& watcher : all) {
    watcher->End({grpc::StatusCode::UNAVAILABLE, kStopping});
  }
}

}  // namespace sipheal::inline v0_1::internal
