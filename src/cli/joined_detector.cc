// SPDX-License-Identifier: Apache-2.0
#include "cli/joined_detector.h"

#include <map>
#include <mutex>
#include <utility>

#include "base/status_macros.h"

namespace sipheal::inline v0_1::cli {
namespace {

// What was told, by whom. Shared by both sides; calls the listener one at a time.
class Told {
 public:
  void Begin(std::shared_ptr<CrashListener> listener) {
    const std::lock_guard lock(mutex_);
    listener_ = std::move(listener);
  }
  void End() {
    std::shared_ptr<CrashListener> last;  // goes without the lock
    const std::lock_guard lock(mutex_);
    last = std::move(listener_);
  }

  void OnCrash(int side, const CrashEvent& event) {
    const std::lock_guard lock(mutex_);
    const auto [known, fresh] = by_.try_emplace(event.incarnation, side);
    if (fresh && listener_ != nullptr) listener_->OnCrash(event);
  }
  // One that the other side has declared dead is not back because this side hears it.
  void OnReturned(int side, const ReturnEvent& event) {
    const std::lock_guard lock(mutex_);
    const auto known = by_.find(event.incarnation);
    if (known == by_.end() || known->second != side) return;
    by_.erase(known);
    if (listener_ != nullptr) listener_->OnReturned(event);
  }

 private:
  std::mutex mutex_;
  std::shared_ptr<CrashListener> listener_;  // mutex_
  std::map<Incarnation, int> by_;            // mutex_
};

class Side final : public CrashListener {
 public:
  Side(std::shared_ptr<Told> told, int side) : told_(std::move(told)), side_(side) {}
  void OnCrash(const CrashEvent& event) override { told_->OnCrash(side_, event); }
  void OnReturned(const ReturnEvent& event) override { told_->OnReturned(side_, event); }

 private:
  const std::shared_ptr<Told> told_;
  const int side_;
};

class JoinedDetector final : public CrashDetector {
 public:
  JoinedDetector(std::shared_ptr<CrashDetector> first, std::shared_ptr<CrashDetector> second)
      : first_(std::move(first)), second_(std::move(second)) {}
  ~JoinedDetector() override { Stop(); }

  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    const std::lock_guard lock(mutex_);
    if (started_) {
      return absl::FailedPreconditionError("the crash detector is started already: stop it first");
    }
    told_->Begin(std::move(listener));
    absl::Status status = first_->Start(std::make_shared<Side>(told_, 1));
    if (status.ok()) {
      status = second_->Start(std::make_shared<Side>(told_, 2));
      if (!status.ok()) first_->Stop();
    }
    if (!status.ok()) told_->End();
    started_ = status.ok();
    return status;
  }
  void Stop() override {
    const std::lock_guard lock(mutex_);
    if (!std::exchange(started_, false)) return;
    first_->Stop();
    second_->Stop();
    told_->End();
  }
  absl::Status Expect(const Incarnation& incarnation) override {
    return Either(first_->Expect(incarnation), second_->Expect(incarnation));
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return Either(first_->AnnounceStop(params), second_->AnnounceStop(params));
  }

 private:
  static absl::Status Either(absl::Status first, absl::Status second) {
    if (absl::IsNotFound(first)) return second;
    if (absl::IsNotFound(second)) return first;
    first.Update(second);
    return first;
  }

  const std::shared_ptr<CrashDetector> first_;
  const std::shared_ptr<CrashDetector> second_;
  const std::shared_ptr<Told> told_ = std::make_shared<Told>();
  std::mutex mutex_;
  bool started_ = false;  // mutex_
};

}  // namespace

std::shared_ptr<CrashDetector> JoinDetectors(std::shared_ptr<CrashDetector> first,
                                             std::shared_ptr<CrashDetector> second) {
  return std::make_shared<JoinedDetector>(std::move(first), std::move(second));
}

}  // namespace sipheal::inline v0_1::cli
