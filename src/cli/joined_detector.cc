// SPDX-License-Identifier: Apache-2.0
#include "cli/joined_detector.h"

#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <variant>

#include "base/status_macros.h"

namespace sipheal::inline v0_1::cli {
namespace {

// What each of the two says of each incarnation, and what follows. Calls the listener one at a
// time and without its lock, on the thread of the side that spoke first.
class Told {
 public:
  void Begin(std::shared_ptr<CrashListener> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }
  // The listener is not called any more when this has returned; but for the call that this is
  // called from.
  void End() {
    std::shared_ptr<CrashListener> last;  // goes without the lock
    std::unique_lock lock(mutex_);
    last = std::move(listener_);
    listener_ = nullptr;
    news_.clear();
    told_.wait(lock, [this] {
      return teller_ == std::thread::id() || teller_ == std::this_thread::get_id();
    });
  }

  void OwnCrash(const CrashEvent& event) {
    std::unique_lock lock(mutex_);
    Death& death = deaths_[event.incarnation];
    death.own = event;
    Pass(death, event, death.reports);
    Deliver(lock);
  }
  void ReportedCrash(const CrashEvent& event, bool own_knows) {
    std::unique_lock lock(mutex_);
    Death& death = deaths_[event.incarnation];
    death.reports = event;
    death.own_knows = own_knows;
    if (death.ReportsCount()) Pass(death, event, std::nullopt);
    Deliver(lock);
  }
  void OwnReturned(const ReturnEvent& event) {
    Returned(event, [](Death& death) { return std::exchange(death.own, {}).has_value(); });
  }
  void ReportedReturned(const ReturnEvent& event) {
    Returned(event, [](Death& death) { return std::exchange(death.reports, {}).has_value(); });
  }

 private:
  struct Death {
    std::optional<CrashEvent> own;
    std::optional<CrashEvent> reports;
    bool own_knows = true;
    std::optional<CrashKind> passed;

    bool ReportsCount() const {
      return reports && (reports->kind != CrashKind::kSilent || !own_knows);
    }
  };

  // Once; once more when what was silent is known to have ended.
  void Pass(Death& death, CrashEvent event, const std::optional<CrashEvent>& also) {
    if (death.passed && (*death.passed != CrashKind::kSilent || event.kind == CrashKind::kSilent)) {
      return;
    }
    if (also && !death.passed) {
      event.evidence.insert(event.evidence.end(), also->evidence.begin(), also->evidence.end());
    }
    death.passed = event.kind;
    if (listener_ != nullptr) news_.emplace_back(std::move(event));
  }

  template <typename TakeBack>
  void Returned(const ReturnEvent& event, TakeBack take_back) {
    std::unique_lock lock(mutex_);
    const auto known = deaths_.find(event.incarnation);
    if (known == deaths_.end() || !take_back(known->second)) return;
    Death& death = known->second;
    if (death.own || death.ReportsCount()) return;
    const bool passed = std::exchange(death.passed, {}).has_value();
    if (!death.reports) deaths_.erase(known);
    if (passed && listener_ != nullptr) news_.emplace_back(event);
    Deliver(lock);
  }

  void Deliver(std::unique_lock<std::mutex>& lock) {
    if (teller_ != std::thread::id()) return;  // who is at it delivers these, too
    teller_ = std::this_thread::get_id();
    while (listener_ != nullptr && !news_.empty()) {
      const News news = std::move(news_.front());
      news_.pop_front();
      std::shared_ptr<CrashListener> listener = listener_;
      lock.unlock();
      if (const auto* crash = std::get_if<CrashEvent>(&news)) {
        listener->OnCrash(*crash);
      } else {
        listener->OnReturned(std::get<ReturnEvent>(news));
      }
      listener.reset();
      lock.lock();
    }
    teller_ = std::thread::id();
    told_.notify_all();
  }

  using News = std::variant<CrashEvent, ReturnEvent>;

  std::mutex mutex_;
  std::condition_variable told_;
  std::shared_ptr<CrashListener> listener_;  // mutex_
  std::map<Incarnation, Death> deaths_;      // mutex_
  std::deque<News> news_;                    // mutex_
  std::thread::id teller_;                   // mutex_; who calls the listener
};

class OwnSide final : public CrashListener {
 public:
  explicit OwnSide(std::shared_ptr<Told> told) : told_(std::move(told)) {}
  void OnCrash(const CrashEvent& event) override { told_->OwnCrash(event); }
  void OnReturned(const ReturnEvent& event) override { told_->OwnReturned(event); }

 private:
  const std::shared_ptr<Told> told_;
};

class ReportsSide final : public CrashListener {
 public:
  ReportsSide(std::shared_ptr<Told> told, std::shared_ptr<CrashDetector> own)
      : told_(std::move(told)), own_(std::move(own)) {}
  void OnCrash(const CrashEvent& event) override {
    // Whether `own` knows the instance; and if it does, it is to look at this incarnation, too.
    const bool own_knows = !absl::IsNotFound(own_->Expect(event.incarnation));
    told_->ReportedCrash(event, own_knows);
  }
  void OnReturned(const ReturnEvent& event) override { told_->ReportedReturned(event); }

 private:
  const std::shared_ptr<Told> told_;
  const std::shared_ptr<CrashDetector> own_;
};

class JoinedDetector final : public CrashDetector {
 public:
  JoinedDetector(std::shared_ptr<CrashDetector> own, std::shared_ptr<CrashDetector> reports)
      : own_(std::move(own)), reports_(std::move(reports)) {}
  ~JoinedDetector() override { Stop(); }

  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    std::unique_lock lock(mutex_);
    if (state_ != State::kStopped) {
      return absl::FailedPreconditionError("the crash detector is started already: stop it first");
    }
    state_ = State::kStarting;
    lock.unlock();
    told_->Begin(std::move(listener));
    absl::Status status = own_->Start(std::make_shared<OwnSide>(told_));
    if (status.ok()) {
      status = reports_->Start(std::make_shared<ReportsSide>(told_, own_));
      if (!status.ok()) {
        Enter(State::kStopping);
        told_->End();
        own_->Stop();
      }
    } else {
      told_->End();
    }
    Enter(status.ok() ? State::kStarted : State::kStopped);
    return status;
  }

  // Its threads are waited for without the lock: one of them may be in a listener that stops, too.
  void Stop() override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return state_ != State::kStarting; });
    const bool mine = state_ == State::kStarted;
    if (mine) state_ = State::kStopping;
    if (state_ == State::kStopped) return;
    lock.unlock();
    told_->End();
    if (!mine) return;
    own_->Stop();
    reports_->Stop();
    Enter(State::kStopped);
  }

  absl::Status Expect(const Incarnation& incarnation) override {
    return Either(own_->Expect(incarnation), reports_->Expect(incarnation));
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return Either(own_->AnnounceStop(params), reports_->AnnounceStop(params));
  }

 private:
  enum class State { kStopped, kStarting, kStarted, kStopping };

  // An instance that only one of them knows is known.
  static absl::Status Either(absl::Status first, absl::Status second) {
    if (absl::IsNotFound(first)) return second;
    if (absl::IsNotFound(second)) return first;
    first.Update(second);
    return first;
  }

  void Enter(State state) {
    const std::lock_guard lock(mutex_);
    state_ = state;
    changed_.notify_all();
  }

  const std::shared_ptr<CrashDetector> own_;
  const std::shared_ptr<CrashDetector> reports_;
  const std::shared_ptr<Told> told_ = std::make_shared<Told>();
  std::mutex mutex_;
  std::condition_variable changed_;
  State state_ = State::kStopped;  // mutex_
};

}  // namespace

std::shared_ptr<CrashDetector> JoinDetectors(std::shared_ptr<CrashDetector> own,
                                             std::shared_ptr<CrashDetector> reports) {
  return std::make_shared<JoinedDetector>(std::move(own), std::move(reports));
}

}  // namespace sipheal::inline v0_1::cli
