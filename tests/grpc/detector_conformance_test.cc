// SPDX-License-Identifier: Apache-2.0
// The contract of the crash detector (CD-1 to CD-8) on the one that is told, with an agent that
// says what it sees again and again.
#include <condition_variable>
#include <map>
#include <mutex>
#include <string>
#include <thread>

#include "sipheal/adapters/grpc.h"
#include "sipheal/conformance/gtest.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class AgentHarness final : public conformance::CrashDetectorHarness {
 public:
  ~AgentHarness() override {
    if (agent_.joinable()) {
      agent_.request_stop();
      agent_.join();
    }
  }

  absl::StatusOr<Incarnation> AddInstance(const std::string& name) override {
    const std::lock_guard lock(mutex_);
    seen_[name] = {.incarnation = {name, "life-0"}};
    return seen_[name].incarnation;
  }
  absl::StatusOr<std::shared_ptr<CrashDetector>> Make() override {
    GrpcCrashDetectorOptions options;
    options.silence = silence();
    for (const auto& [name, seen] : seen_) options.instances.push_back(name);
    auto made = MakeGrpcCrashDetector(options);
    if (!made.ok()) return made.status();
    detector_ = *made;
    agent_ = std::jthread([this](const std::stop_token& stop) { Say(stop); });
    return detector_;
  }
  absl::Status Kill(const std::string& name) override {
    return Change(name, [](Seen& seen) { seen.state = LifeState::kGone; });
  }
  absl::StatusOr<Incarnation> Restart(const std::string& name) override {
    const absl::Status changed = Change(name, [&](Seen& seen) {
      seen.incarnation.life = "life-" + std::to_string(++seen.lives);
      seen.state = LifeState::kAlive;
    });
    if (!changed.ok()) return changed;
    const std::lock_guard lock(mutex_);
    return seen_[name].incarnation;
  }
  // The agent hears nothing, and says so when the silence is over.
  absl::Status Stall(const std::string& name) override {
    return Change(name, [](Seen& seen) {
      seen.state = LifeState::kSilent;
      seen.silent_since = std::chrono::steady_clock::now();
    });
  }
  absl::Status Wake(const std::string& name) override {
    return Change(name, [](Seen& seen) { seen.state = LifeState::kAlive; });
  }
  milliseconds silence() const override { return milliseconds(300); }

 private:
  struct Seen {
    Incarnation incarnation;
    LifeState state = LifeState::kAlive;
    int lives = 0;
    std::chrono::steady_clock::time_point silent_since{};
  };

  absl::Status Change(const std::string& name, const std::function<void(Seen&)>& change) {
    const std::lock_guard lock(mutex_);
    change(seen_[name]);
    Report(seen_[name]);
    return absl::OkStatus();
  }

  void Say(const std::stop_token& stop) {
    std::unique_lock lock(mutex_);
    while (!stop.stop_requested()) {
      for (const auto& [name, seen] : seen_) Report(seen);
      tick_.wait_for(lock, stop, milliseconds(20), [] { return false; });
    }
  }
  void Report(const Seen& seen) {
    if (detector_ == nullptr) return;
    if (seen.state == LifeState::kSilent &&
        std::chrono::steady_clock::now() - seen.silent_since < silence()) {
      return;
    }
    detector_->Report({.reporter = "agent", .incarnation = seen.incarnation, .state = seen.state})
        .IgnoreError();
  }

  std::mutex mutex_;
  std::condition_variable_any tick_;
  std::map<std::string, Seen> seen_;
  std::shared_ptr<GrpcCrashDetector> detector_;
  std::jthread agent_;
};

const bool registered = (conformance::RegisterCrashDetectorConformance(
                             "Told", [] { return std::make_unique<AgentHarness>(); }),
                         true);

}  // namespace
}  // namespace sipheal
