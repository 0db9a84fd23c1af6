// SPDX-License-Identifier: Apache-2.0
// Life cycle, the public methods, instances.
#include "engine/engine.h"

#include <unistd.h>

#include <future>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "engine/plugin_pool.h"

namespace sipheal::inline v0_1 {

HealerListener::~HealerListener() = default;
Healer::~Healer() = default;

namespace internal {
namespace {

// For calls into plug-ins that run, and then for the threads that they hold.
constexpr std::chrono::milliseconds kStopGrace{1'000};
constexpr std::size_t kMostThreads = 256;

std::string MakeOwner() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  std::random_device random;
  return absl::StrFormat("%s:%d:%08x", host, getpid(), random());
}

}  // namespace

class Engine::Ears final : public CrashListener, public MediaServerListener {
 public:
  Ears(std::shared_ptr<Loop> loop, Engine* engine) : loop_(std::move(loop)), engine_(engine) {}

  void OnCrash(const CrashEvent& event) override {
    loop_->Post([engine = engine_, event] { engine->HandleCrash(event); });
  }
  void OnReturned(const ReturnEvent& event) override {
    loop_->Post([engine = engine_, event] { engine->HandleReturned(event); });
  }
  void OnChannel(const ChannelEvent& event) override {
    loop_->Post([engine = engine_, event] { engine->HandleChannel(event); });
  }

 private:
  const std::shared_ptr<Loop> loop_;
  Engine* const engine_;  // outlives every task of the loop: Stop ends the loop first
};

Engine::Engine(HealerOptions options, HealerParts parts, bool own_thread)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      clock_(parts_.clock != nullptr ? *parts_.clock : SystemClock()),
      own_thread_(own_thread) {
  if (options_.owner.empty()) options_.owner = MakeOwner();
  if (!parts_.log) parts_.log = NullLogSink();
  if (!parts_.telemetry) parts_.telemetry = NullTelemetrySink();
  paused_ = options_.paused;
  status_.paused = paused_;
  for (const InstanceOptions& instance : options_.instances) {
    targets_[instance.name] =
        std::make_unique<Target>(instance, options_.pacing, clock_.Monotonic());
    status_.instances.push_back(instance.name);
  }
}

Engine::~Engine() { Stop(); }

absl::Status Engine::Start() {
  {
    std::lock_guard lock(mutex_);
    if (started_) {
      return absl::FailedPreconditionError("Healer::Start was called twice: call Stop in between");
    }
    started_ = true;
  }
  stopping_ = false;
  loop_ = std::make_shared<Loop>(clock_);
  std::shared_ptr<Executor> executor = parts_.executor;
  if (!executor) {
    executor = MakePluginPool(static_cast<std::size_t>(options_.threads), kMostThreads, kStopGrace);
  }
  calls_ = std::make_unique<PluginCalls>(loop_, std::move(executor), clock_);
  journal_ = std::make_unique<JournalWriter>(parts_.store, *calls_, *loop_, *parts_.log,
                                             options_.lease, options_.plugin_timeout);
  ears_ = std::make_shared<Ears>(loop_, this);

  absl::Status status = parts_.driver->Start(ears_);
  if (status.ok()) {
    status = parts_.detector->Start(ears_);
    if (!status.ok()) parts_.driver->Stop();
  }
  if (!status.ok()) {
    std::lock_guard lock(mutex_);
    started_ = false;
    return status;
  }
  loop_->Post([this] {
    InspectTargets();
    if (!options_.dry_run) {
      LearnTaken();
      TakeOverUnfinished();
    }
    ExpectAllStored();
    RenewLeases();
  });
  if (own_thread_) {
    thread_ = StartThread("sipheal-engine", [loop = loop_] { loop->Run(); });
  }
  return absl::OkStatus();
}

void Engine::Stop() {
  {
    std::lock_guard lock(mutex_);
    if (!started_) return;
    started_ = false;
  }
  stopping_ = true;
  parts_.detector->Stop();
  parts_.driver->Stop();
  calls_->RequestStop();
  // The answers of the calls that ran come to the loop before it ends.
  const bool quiet = calls_->AwaitQuiet(kStopGrace);
  loop_->Quit();
  if (thread_.joinable()) thread_.join();
  if (quiet) HandOver();
  recoveries_.clear();
  placing_.clear();
  legs_up_.clear();
  crashes_.clear();
  by_channel_.clear();
  placing_timer_.reset();
  journal_.reset();
  calls_.reset();
}

void Engine::AddListener(std::shared_ptr<HealerListener> listener) {
  std::lock_guard lock(mutex_);
  if (started_) {
    loop_->Post([this, listener = std::move(listener)] { listeners_.push_back(listener); });
  } else {
    listeners_.push_back(std::move(listener));
  }
}

void Engine::Pause() {
  std::lock_guard lock(mutex_);
  status_.paused = true;
  if (!started_) {
    paused_ = true;
    return;
  }
  loop_->Post([this] { paused_ = true; });
}

void Engine::Resume() {
  std::lock_guard lock(mutex_);
  status_.paused = false;
  if (!started_) {
    paused_ = false;
    return;
  }
  loop_->Post([this] {
    paused_ = false;
    for (const auto& crash : std::exchange(held_, {})) BeginCrash(crash);
    SchedulePlacing(clock_.Monotonic());
  });
}

absl::Status Engine::AddInstance(InstanceOptions instance) {
  HealerOptions check = options_;
  check.instances = {instance};
  ABSL_RETURN_IF_ERROR(check.Validate());
  std::lock_guard lock(mutex_);
  for (const std::string& name : status_.instances) {
    if (name == instance.name) {
      return absl::AlreadyExistsError(absl::StrFormat("there is an instance '%s' already", name));
    }
  }
  status_.instances.push_back(instance.name);
  const auto add = [this, instance] {
    targets_[instance.name] =
        std::make_unique<Target>(instance, options_.pacing, clock_.Monotonic());
    if (loop_) Inspect(*targets_[instance.name], {});
  };
  if (started_) {
    loop_->Post(add);
  } else {
    targets_[instance.name] =
        std::make_unique<Target>(instance, options_.pacing, clock_.Monotonic());
  }
  return absl::OkStatus();
}

absl::Status Engine::RemoveInstance(const std::string& name) {
  std::lock_guard lock(mutex_);
  if (std::erase(status_.instances, name) == 0) {
    return absl::NotFoundError(absl::StrFormat("there is no instance '%s'", name));
  }
  // It is no target any more. Answers that are on their way still find their recovery by its
  // channel.
  const auto remove = [this, name] {
    if (const auto found = targets_.find(name); found != targets_.end()) {
      found->second->options.target = false;
      if (found->second->inviting == 0 && !found->second->inspecting &&
          found->second->creating == 0) {
        targets_.erase(found);
      }
    }
  };
  if (started_) {
    loop_->Post(remove);
  } else {
    targets_.erase(name);
  }
  return absl::OkStatus();
}

absl::Status Engine::AnnounceStop(const std::string& instance, WallTime until) {
  return parts_.detector->AnnounceStop({instance, until});
}

HealerStatus Engine::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

void Engine::PublishStatus() {
  std::lock_guard lock(mutex_);
  status_.recoveries = recoveries_.size();
  status_.lost.clear();
  for (const auto& [incarnation, crash] : crashes_) status_.lost.push_back(incarnation);
  for (const auto& crash : held_) status_.lost.push_back(crash->event.incarnation);
}

void Engine::Emit(HealerEvent event) {
  event.at = clock_.Now();
  for (const auto& listener : listeners_) listener->OnEvent(event);
}

void Engine::Log(LogLevel level, std::string event, std::string message,
                 std::vector<std::pair<std::string, std::string>> fields) {
  parts_.log->Write({level, std::move(event), std::move(message), std::move(fields)});
}

}  // namespace internal

absl::StatusOr<std::unique_ptr<Healer>> Healer::Create(HealerOptions options, HealerParts parts) {
  ABSL_RETURN_IF_ERROR(options.Validate());
  const std::pair<const char*, bool> needed[] = {{"detector", parts.detector != nullptr},
                                                 {"store", parts.store != nullptr},
                                                 {"capture", parts.capture != nullptr},
                                                 {"driver", parts.driver != nullptr},
                                                 {"resumer", parts.resumer != nullptr}};
  for (const auto& [name, present] : needed) {
    if (!present) {
      return absl::InvalidArgumentError(
          absl::StrFormat("HealerParts::%s is missing: give one of sipheal's or your own", name));
    }
  }
  return std::make_unique<internal::Engine>(std::move(options), std::move(parts), true);
}

}  // namespace sipheal::inline v0_1
