// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/fake_crash_detector.h"

#include <map>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "testing/courier.h"

namespace sipheal::inline v0_1::testing {
namespace {

using ::sipheal::internal::Mutex;
using ::sipheal::internal::MutexLock;
using std::chrono::nanoseconds;

struct Instance {
  Incarnation current;
  bool alive = true;
  std::optional<MonotonicTime> silent_since;
  WallTime last_alive{};
  WallTime planned_until{};
};

}  // namespace

// One rule decides every report: Look() compares what is with what was said, and is called whenever
// something changed or a time has come.
class FakeCrashDetector::Impl {
 public:
  Impl(const Clock& clock, nanoseconds silence) : clock_(clock), silence_(silence) {}

  void LookSoon(const std::string& name) {
    courier_.Post(nanoseconds(0), [this, name] { Look(name); });
  }

  void Look(const std::string& name) {
    std::optional<CrashEvent> crash;
    std::optional<ReturnEvent> returned;
    std::shared_ptr<CrashListener> listener;
    {
      MutexLock lock(mutex_);
      const auto it = instances_.find(name);
      if (it == instances_.end() || !listener_) return;
      listener = listener_;
      crash = CrashOf(it->second);
      if (!crash) returned = ReturnOf(it->second);
    }
    if (crash) listener->OnCrash(*crash);
    if (returned) listener->OnReturned(*returned);
    if (crash) Look(name);  // an instance may have several dead incarnations to tell of
  }

  std::optional<CrashEvent> CrashOf(Instance& instance) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const WallTime now = clock_.Now();
    if (now < instance.planned_until) {
      courier_.Post(instance.planned_until - now,
                    [this, name = instance.current.instance] { Look(name); });
      return std::nullopt;
    }
    for (const auto* const known : {&expected_, &replaced_}) {
      for (const Incarnation& old : *known) {
        if (old.instance != instance.current.instance || old == instance.current) continue;
        if (auto crash = Once(instance, old, CrashKind::kRestarted)) return crash;
      }
    }
    if (!instance.alive) return Once(instance, instance.current, CrashKind::kProcessGone);
    if (!instance.silent_since) return std::nullopt;
    const nanoseconds silent = clock_.Monotonic() - *instance.silent_since;
    if (silent >= silence_) return Once(instance, instance.current, CrashKind::kSilent);
    courier_.Post(silence_ - silent, [this, name = instance.current.instance] { Look(name); });
    return std::nullopt;
  }

  std::optional<CrashEvent> Once(const Instance& instance, const Incarnation& dead, CrashKind kind)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!reported_.insert(dead).second) return std::nullopt;
    if (kind == CrashKind::kSilent) silent_.insert(dead);
    CrashEvent crash;
    crash.incarnation = dead;
    crash.kind = kind;
    crash.last_alive = instance.last_alive;
    crash.detected_at = clock_.Now();
    crash.evidence = {absl::StrFormat("the test let %s die", dead.instance)};
    crash.detector = "fake";
    return crash;
  }

  std::optional<ReturnEvent> ReturnOf(const Instance& instance)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!instance.alive || instance.silent_since) return std::nullopt;
    if (silent_.erase(instance.current) == 0) return std::nullopt;
    reported_.erase(instance.current);
    return ReturnEvent{instance.current, clock_.Now()};
  }

  // Applies `change` to the instance, then looks what that means.
  template <typename Change>
  void Update(const std::string& name, Change change) {
    {
      MutexLock lock(mutex_);
      change(instances_[name], clock_);
    }
    LookSoon(name);
  }

  const Clock& clock_;
  const nanoseconds silence_;
  Mutex mutex_;
  std::shared_ptr<CrashListener> listener_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Instance> instances_ ABSL_GUARDED_BY(mutex_);
  std::vector<Incarnation> expected_ ABSL_GUARDED_BY(mutex_);
  std::vector<Incarnation> replaced_ ABSL_GUARDED_BY(mutex_);  // while somebody watched
  std::set<Incarnation> reported_ ABSL_GUARDED_BY(mutex_);
  std::set<Incarnation> silent_ ABSL_GUARDED_BY(mutex_);  // reported so, and not returned yet
  internal::Courier courier_{clock_};                     // last: its thread uses all the others
};

FakeCrashDetector::FakeCrashDetector(const Clock* clock, std::chrono::milliseconds silence)
    : impl_(std::make_unique<Impl>(clock != nullptr ? *clock : SystemClock(), silence)) {}
FakeCrashDetector::~FakeCrashDetector() { Stop(); }

void FakeCrashDetector::AddInstance(Incarnation incarnation) {
  const std::string name = incarnation.instance;
  impl_->Update(name, [&](Instance& instance, const Clock& clock) {
    instance = {};
    instance.current = std::move(incarnation);
    instance.last_alive = clock.Now();
  });
}

void FakeCrashDetector::Kill(const std::string& name) {
  impl_->Update(name, [](Instance& instance, const Clock& clock) {
    instance.alive = false;
    instance.last_alive = clock.Now();
  });
}

void FakeCrashDetector::Restart(const Incarnation& incarnation) {
  {
    MutexLock lock(impl_->mutex_);
    Instance& instance = impl_->instances_[incarnation.instance];
    // What lived there is to be told of if somebody watched, unless its end was planned; if nobody
    // did, when somebody expects it.
    if (impl_->clock_.Now() < instance.planned_until) {
      impl_->reported_.insert(instance.current);
    } else if (impl_->listener_) {
      impl_->replaced_.push_back(instance.current);
    }
    instance.current = incarnation;
    instance.alive = true;
    instance.silent_since.reset();
    instance.last_alive = impl_->clock_.Now();
    instance.planned_until = {};
  }
  impl_->LookSoon(incarnation.instance);
}

void FakeCrashDetector::Stall(const std::string& name) {
  impl_->Update(name, [](Instance& instance, const Clock& clock) {
    instance.silent_since = clock.Monotonic();
    instance.last_alive = clock.Now();
  });
}

void FakeCrashDetector::Wake(const std::string& name) {
  impl_->Update(name, [](Instance& instance, const Clock&) { instance.silent_since.reset(); });
}

void FakeCrashDetector::Report(const CrashEvent& event) {
  impl_->courier_.Post(nanoseconds(0), [impl = impl_.get(), event] {
    std::shared_ptr<CrashListener> listener;
    {
      MutexLock lock(impl->mutex_);
      if (!impl->listener_ || !impl->reported_.insert(event.incarnation).second) return;
      if (event.kind == CrashKind::kSilent) impl->silent_.insert(event.incarnation);
      listener = impl->listener_;
    }
    listener->OnCrash(event);
  });
}

void FakeCrashDetector::ReportReturned(const ReturnEvent& event) {
  impl_->courier_.Post(nanoseconds(0), [impl = impl_.get(), event] {
    std::shared_ptr<CrashListener> listener;
    {
      MutexLock lock(impl->mutex_);
      impl->silent_.erase(event.incarnation);
      listener = impl->listener_;
    }
    if (listener) listener->OnReturned(event);
  });
}

std::vector<Incarnation> FakeCrashDetector::expected() const {
  MutexLock lock(impl_->mutex_);
  return impl_->expected_;
}
void FakeCrashDetector::Drain() { impl_->courier_.Drain(); }

absl::Status FakeCrashDetector::Start(std::shared_ptr<CrashListener> listener) {
  MutexLock lock(impl_->mutex_);
  if (impl_->listener_) {
    return absl::FailedPreconditionError("the fake crash detector is started: stop it first");
  }
  impl_->listener_ = std::move(listener);
  for (const auto& [name, instance] : impl_->instances_) impl_->LookSoon(name);
  return absl::OkStatus();
}

void FakeCrashDetector::Stop() {
  {
    MutexLock lock(impl_->mutex_);
    impl_->listener_.reset();
  }
  impl_->courier_.Barrier();
}

absl::Status FakeCrashDetector::Expect(const Incarnation& incarnation) {
  {
    MutexLock lock(impl_->mutex_);
    if (!impl_->instances_.contains(incarnation.instance)) {
      return absl::NotFoundError(
          absl::StrFormat("instance %s is not configured", incarnation.instance));
    }
    impl_->expected_.push_back(incarnation);
  }
  impl_->LookSoon(incarnation.instance);
  return absl::OkStatus();
}

absl::Status FakeCrashDetector::AnnounceStop(const AnnounceStopParams& params) {
  MutexLock lock(impl_->mutex_);
  const auto it = impl_->instances_.find(params.instance);
  if (it == impl_->instances_.end()) {
    return absl::NotFoundError(absl::StrFormat("instance %s is not configured", params.instance));
  }
  it->second.planned_until = params.until;
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::testing
