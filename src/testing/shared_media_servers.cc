// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/shared_media_servers.h"

#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "base/status_macros.h"

namespace sipheal::inline v0_1::testing {

// Hands every event to every controller that listens.
class SharedMediaServers::Attached::Events final : public MediaServerListener {
 public:
  void OnChannel(const ChannelEvent& event) override {
    std::vector<std::shared_ptr<MediaServerListener>> all;
    {
      const std::lock_guard lock(mutex_);
      for (const auto& [who, listener] : listeners_) all.push_back(listener);
    }
    for (const auto& listener : all) listener->OnChannel(event);
  }
  bool Add(const Attached* who, std::shared_ptr<MediaServerListener> listener) {
    const std::lock_guard lock(mutex_);
    return listeners_.emplace(who, std::move(listener)).second;
  }
  void Remove(const Attached* who) {
    const std::lock_guard lock(mutex_);
    listeners_.erase(who);
  }

 private:
  std::mutex mutex_;
  std::map<const Attached*, std::shared_ptr<MediaServerListener>> listeners_;
};

SharedMediaServers::Attached::Attached(std::shared_ptr<MediaServerDriver> servers,
                                       std::shared_ptr<Events> events)
    : servers_(std::move(servers)), events_(std::move(events)) {}

SharedMediaServers::Attached::~Attached() { events_->Remove(this); }

void SharedMediaServers::Attached::Cut() {
  cut_ = true;
  events_->Remove(this);
}

absl::Status SharedMediaServers::Attached::Check() const {
  return cut_ ? absl::UnavailableError("this controller was cut off") : absl::OkStatus();
}

absl::Status SharedMediaServers::Attached::Start(std::shared_ptr<MediaServerListener> listener) {
  if (listener == nullptr) return absl::InvalidArgumentError("a driver needs a listener");
  ABSL_RETURN_IF_ERROR(Check());
  if (!events_->Add(this, std::move(listener))) {
    return absl::FailedPreconditionError("the driver is started: stop it first");
  }
  return absl::OkStatus();
}

void SharedMediaServers::Attached::Stop() { events_->Remove(this); }

absl::StatusOr<InstanceStatus> SharedMediaServers::Attached::Inspect(const CallContext& ctx,
                                                                     const InspectParams& params) {
  ABSL_RETURN_IF_ERROR(Check());
  return servers_->Inspect(ctx, params);
}

absl::Status SharedMediaServers::Attached::Create(const CallContext& ctx,
                                                  const CreateParams& params) {
  ABSL_RETURN_IF_ERROR(Check());
  return servers_->Create(ctx, params);
}

absl::StatusOr<MediaServerDriver::ChannelState> SharedMediaServers::Attached::Find(
    const CallContext& ctx, const ChannelParams& params) {
  ABSL_RETURN_IF_ERROR(Check());
  return servers_->Find(ctx, params);
}

absl::Status SharedMediaServers::Attached::HangUp(const CallContext& ctx,
                                                  const ChannelParams& params) {
  ABSL_RETURN_IF_ERROR(Check());
  return servers_->HangUp(ctx, params);
}

absl::Status SharedMediaServers::Attached::GiveUp(const CallContext& ctx,
                                                  const GiveUpParams& params) {
  ABSL_RETURN_IF_ERROR(Check());
  return servers_->GiveUp(ctx, params);
}

SharedMediaServers::SharedMediaServers(std::shared_ptr<MediaServerDriver> servers)
    : servers_(std::move(servers)), events_(std::make_shared<Attached::Events>()) {
  servers_->Start(events_).IgnoreError();  // one that is started is refused by its own contract
}

SharedMediaServers::~SharedMediaServers() { servers_->Stop(); }

std::shared_ptr<SharedMediaServers::Attached> SharedMediaServers::Attach() {
  return std::shared_ptr<Attached>(new Attached(servers_, events_));
}

}  // namespace sipheal::inline v0_1::testing
