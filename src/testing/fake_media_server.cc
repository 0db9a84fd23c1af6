// SPDX-License-Identifier: Apache-2.0
#include "sipheal/testing/fake_media_server.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "model/store_rules.h"
#include "testing/courier.h"

namespace sipheal::inline v0_1::testing {
namespace {

using ::sipheal::internal::CheckContext;
using ::sipheal::internal::Mutex;
using ::sipheal::internal::MutexLock;
using std::chrono::milliseconds;

struct Channel {
  std::string call_id;
  DialogAction action = DialogAction::kReinvite;
  bool up = false;
  bool has_flow = false;  // it was made with variables of its flow
};

struct Instance {
  Incarnation incarnation;
  bool alive = true;
  bool reachable = true;
  milliseconds delay{0};
  std::string cannot_because;
  std::vector<std::string> missing_endpoints;
  int own_channels = 0;
  absl::Status error;
  absl::Status create_error;
  bool loses_create_answers = false;
  std::map<std::string, Channel> channels;
  std::vector<ChannelEvent> held;  // while it cannot be reached
};

struct Phone {
  std::vector<PhoneAnswer> answers;
  std::size_t next = 0;
  int invites = 0;
  int byes = 0;
};

std::string CallIdOf(const MediaServerDriver::CreateParams& params) {
  for (const auto& [name, value] : params.variables) {
    if (name == "PJSIP_RECOVERY_CALL-ID") return value;
  }
  return {};
}

}  // namespace

class FakeMediaServer::Impl {
 public:
  explicit Impl(const Clock& clock) : clock_(clock), courier_(clock) {}

  absl::Status Start(std::shared_ptr<MediaServerListener> listener) {
    MutexLock lock(mutex_);
    if (listener_) {
      return absl::FailedPreconditionError("the fake media server is started: stop it first");
    }
    listener_ = std::move(listener);
    return absl::OkStatus();
  }

  // The phones go on; only nobody hears of it.
  void Stop() {
    {
      MutexLock lock(mutex_);
      listener_.reset();
    }
    courier_.Barrier();
  }

  // Waits for a slow server, then looks whether the instance can be asked at all.
  absl::Status Reach(const CallContext& ctx, const std::string& name) {
    ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "media server"));
    milliseconds delay{0};
    {
      MutexLock lock(mutex_);
      const auto it = instances_.find(name);
      if (it == instances_.end()) {
        return absl::NotFoundError(absl::StrFormat("instance %s is not configured", name));
      }
      delay = it->second.delay;
    }
    const MonotonicTime until = clock_.Monotonic() + delay;
    while (clock_.Monotonic() < until) {
      ABSL_RETURN_IF_ERROR(CheckContext(ctx, clock_, "media server"));
      std::this_thread::sleep_for(milliseconds(1));
    }
    return absl::OkStatus();
  }

  // The instance, when it answers; mutex_ held.
  absl::StatusOr<Instance*> Living(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    const auto it = instances_.find(name);
    if (it == instances_.end()) {
      return absl::NotFoundError(absl::StrFormat("instance %s is not configured", name));
    }
    if (!it->second.alive || !it->second.reachable) {
      return absl::UnavailableError(absl::StrFormat("instance %s cannot be reached", name));
    }
    if (!it->second.error.ok()) return it->second.error;
    return &it->second;
  }

  absl::Status Create(const CreateParams& params) {
    MutexLock lock(mutex_);
    ABSL_ASSIGN_OR_RETURN(Instance* const instance, Living(params.instance));
    if (!instance->create_error.ok()) return instance->create_error;
    if (instance->channels.contains(params.channel_id)) {
      return absl::AlreadyExistsError(
          absl::StrFormat("%s has a channel %s", params.instance, params.channel_id));
    }
    if (!instance->cannot_because.empty()) {
      return absl::FailedPreconditionError(
          absl::StrFormat("%s cannot recover: %s", params.instance, instance->cannot_because));
    }
    for (const auto& [name, value] : params.variables) {
      if (refused_.contains(name) || value.find_first_of("\r\n") != std::string::npos) {
        return absl::FailedPreconditionError(
            absl::StrFormat("%s refused the variable %s", params.instance, name));
      }
    }
    const std::string call_id = CallIdOf(params);
    instance->channels[params.channel_id] = {call_id, params.action, false,
                                             !params.flow_variables.empty()};
    Phone& phone = phones_[call_id];
    (params.action == DialogAction::kReinvite ? phone.invites : phone.byes)++;
    sent_.push_back({params.instance, params.channel_id, params.endpoint, call_id, params.action,
                     params.variables, clock_.Now()});
    PhoneAnswer answer;
    if (!phone.answers.empty()) {
      answer = phone.answers[std::min(phone.next++, phone.answers.size() - 1)];
    }
    const bool silent = answer.sip_status == 0 && !answer.kills_server;
    courier_.Post(silent ? params.answer_timeout : answer.delay,
                  [this, incarnation = instance->incarnation, id = params.channel_id, answer] {
                    Answer(incarnation, id, answer);
                  });
    if (instance->loses_create_answers) return absl::UnavailableError("the answer was lost");
    return absl::OkStatus();
  }

  // On the event thread: the phone's answer arrives at the server that asked, if that still lives.
  void Answer(const Incarnation& incarnation, const std::string& channel_id,
              const PhoneAnswer& answer) {
    std::function<void(const Incarnation&)> on_death;
    {
      MutexLock lock(mutex_);
      const auto it = instances_.find(incarnation.instance);
      if (it == instances_.end() || it->second.incarnation != incarnation || !it->second.alive) {
        return;
      }
      Instance& instance = it->second;
      const auto channel = instance.channels.find(channel_id);
      if (channel == instance.channels.end()) return;
      if (answer.kills_server) {
        instance.alive = false;
        instance.channels.clear();
        instance.held.clear();
        on_death = on_death_;
      } else {
        const std::vector<ChannelEvent> events =
            Outcome(instance, channel->first, channel->second, answer);
        if (!channel->second.up) instance.channels.erase(channel);
        for (const ChannelEvent& event : events) Announce(instance, event);
      }
    }
    if (on_death) on_death(incarnation);
  }

  // Events of a server that cannot be reached arrive when it can be again.
  void Announce(Instance& instance, const ChannelEvent& event)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    if (!instance.reachable) {
      instance.held.push_back(event);
      return;
    }
    courier_.Post(std::chrono::nanoseconds(0), [this, event] { Deliver(event); });
  }

  void SetReachable(const std::string& name, bool reachable) {
    MutexLock lock(mutex_);
    Instance& instance = instances_[name];
    instance.reachable = reachable;
    if (!reachable) return;
    for (const ChannelEvent& event : std::exchange(instance.held, {})) Announce(instance, event);
  }

  std::vector<ChannelEvent> Outcome(const Instance& instance, const std::string& id,
                                    Channel& channel, const PhoneAnswer& answer)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ChannelEvent event;
    event.instance = instance.incarnation.instance;
    event.channel_id = id;
    event.sip_status = answer.sip_status;
    event.reason = answer.reason;
    event.retry_after = answer.retry_after;
    if (answer.sip_status == 0) {
      event.local_timeout = true;
      return {event};
    }
    if (channel.action == DialogAction::kBye) {
      event.kind = ChannelEventKind::kAnswered;
      ChannelEvent gone = event;
      gone.kind = ChannelEventKind::kGone;
      return {event, gone};
    }
    channel.up = answer.sip_status >= 200 && answer.sip_status < 300;
    if (channel.up) event.kind = ChannelEventKind::kAnswered;
    if (channel.up && channel.has_flow) event.flow = flow_;
    return {event};
  }

  // Removes a channel; says what the server says then.
  void End(Instance& instance, const std::string& id, bool up)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    ChannelEvent event;
    event.instance = instance.incarnation.instance;
    event.channel_id = id;
    event.kind = up ? ChannelEventKind::kGone : ChannelEventKind::kFailed;
    event.reason = "hung up";
    instance.channels.erase(id);
    Announce(instance, event);
  }

  void Deliver(const ChannelEvent& event) {
    std::shared_ptr<MediaServerListener> listener;
    {
      MutexLock lock(mutex_);
      listener = listener_;
    }
    if (listener) listener->OnChannel(event);
  }

  const Clock& clock_;
  Mutex mutex_;
  std::shared_ptr<MediaServerListener> listener_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Instance> instances_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, Phone> phones_ ABSL_GUARDED_BY(mutex_);
  std::set<std::string> refused_ ABSL_GUARDED_BY(mutex_);
  FlowProgress flow_ ABSL_GUARDED_BY(mutex_) = FlowProgress::kNotBegun;
  std::function<void(const Incarnation&)> on_death_ ABSL_GUARDED_BY(mutex_);
  std::vector<SentRequest> sent_ ABSL_GUARDED_BY(mutex_);
  int given_up_ ABSL_GUARDED_BY(mutex_) = 0;
  internal::Courier courier_;  // last: its thread uses all the others
};

FakeMediaServer::FakeMediaServer(const Clock* clock)
    : impl_(std::make_unique<Impl>(clock != nullptr ? *clock : SystemClock())) {}
FakeMediaServer::~FakeMediaServer() { impl_->Stop(); }

void FakeMediaServer::AddInstance(Incarnation incarnation) {
  MutexLock lock(impl_->mutex_);
  Instance& instance = impl_->instances_[incarnation.instance];
  instance = {};
  instance.incarnation = std::move(incarnation);
}
void FakeMediaServer::RemoveInstance(const std::string& instance) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_.erase(instance);
}
void FakeMediaServer::Kill(const std::string& instance) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].alive = false;
  impl_->instances_[instance].channels.clear();
  impl_->instances_[instance].held.clear();
}
void FakeMediaServer::AddChannel(const std::string& instance, const std::string& channel_id,
                                 const std::string& call_id) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].channels[channel_id] = {call_id, DialogAction::kReinvite, true};
}
void FakeMediaServer::Restart(const Incarnation& incarnation) {
  MutexLock lock(impl_->mutex_);
  Instance& instance = impl_->instances_[incarnation.instance];
  instance.incarnation = incarnation;
  instance.alive = true;
  instance.channels.clear();
  instance.held.clear();
}
void FakeMediaServer::SetReachable(const std::string& instance, bool reachable) {
  impl_->SetReachable(instance, reachable);
}
void FakeMediaServer::SetDelay(const std::string& instance, milliseconds delay) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].delay = delay;
}
void FakeMediaServer::SetCannotRecover(const std::string& instance, std::string because) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].cannot_because = std::move(because);
}
void FakeMediaServer::SetMissingEndpoints(const std::string& instance,
                                          std::vector<std::string> endpoints) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].missing_endpoints = std::move(endpoints);
}
void FakeMediaServer::SetOwnChannels(const std::string& instance, int channels) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].own_channels = channels;
}
void FakeMediaServer::SetCreateError(const std::string& instance, absl::Status error) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].create_error = std::move(error);
}
void FakeMediaServer::SetLosesCreateAnswers(const std::string& instance, bool loses) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].loses_create_answers = loses;
}
void FakeMediaServer::SetError(const std::string& instance, absl::Status error) {
  MutexLock lock(impl_->mutex_);
  impl_->instances_[instance].error = std::move(error);
}
void FakeMediaServer::SetFlowProgress(FlowProgress flow) {
  MutexLock lock(impl_->mutex_);
  impl_->flow_ = flow;
}
void FakeMediaServer::RefuseVariable(std::string name) {
  MutexLock lock(impl_->mutex_);
  impl_->refused_.insert(std::move(name));
}
void FakeMediaServer::OnServerDeath(std::function<void(const Incarnation&)> callback) {
  MutexLock lock(impl_->mutex_);
  impl_->on_death_ = std::move(callback);
}
void FakeMediaServer::ScriptPhone(const std::string& call_id, std::vector<PhoneAnswer> answers) {
  MutexLock lock(impl_->mutex_);
  impl_->phones_[call_id].answers = std::move(answers);
  impl_->phones_[call_id].next = 0;
}

void FakeMediaServer::PhoneHangsUp(const std::string& call_id) {
  MutexLock lock(impl_->mutex_);
  for (auto& [name, instance] : impl_->instances_) {
    std::vector<std::string> ended;
    for (const auto& [id, channel] : instance.channels) {
      if (channel.up && channel.call_id == call_id) ended.push_back(id);
    }
    for (const std::string& id : ended) impl_->End(instance, id, /*up=*/true);
  }
}

std::vector<SentRequest> FakeMediaServer::sent() const {
  MutexLock lock(impl_->mutex_);
  return impl_->sent_;
}
int FakeMediaServer::Invites(const std::string& call_id) const {
  MutexLock lock(impl_->mutex_);
  const auto it = impl_->phones_.find(call_id);
  return it == impl_->phones_.end() ? 0 : it->second.invites;
}
int FakeMediaServer::Byes(const std::string& call_id) const {
  MutexLock lock(impl_->mutex_);
  const auto it = impl_->phones_.find(call_id);
  return it == impl_->phones_.end() ? 0 : it->second.byes;
}
std::vector<std::string> FakeMediaServer::Channels(const std::string& instance) const {
  MutexLock lock(impl_->mutex_);
  std::vector<std::string> ids;
  const auto it = impl_->instances_.find(instance);
  if (it == impl_->instances_.end()) return ids;
  for (const auto& [id, channel] : it->second.channels) ids.push_back(id);
  return ids;
}
int FakeMediaServer::LiveChannels(const std::string& call_id) const {
  MutexLock lock(impl_->mutex_);
  int live = 0;
  for (const auto& [name, instance] : impl_->instances_) {
    for (const auto& [id, channel] : instance.channels) {
      if (channel.up && channel.call_id == call_id) ++live;
    }
  }
  return live;
}
int FakeMediaServer::given_up() const {
  MutexLock lock(impl_->mutex_);
  return impl_->given_up_;
}
void FakeMediaServer::Drain() { impl_->courier_.Drain(); }

absl::Status FakeMediaServer::Start(std::shared_ptr<MediaServerListener> listener) {
  return impl_->Start(std::move(listener));
}
void FakeMediaServer::Stop() { impl_->Stop(); }

absl::StatusOr<InstanceStatus> FakeMediaServer::Inspect(const CallContext& ctx,
                                                        const InspectParams& params) {
  ABSL_RETURN_IF_ERROR(impl_->Reach(ctx, params.instance));
  MutexLock lock(impl_->mutex_);
  ABSL_ASSIGN_OR_RETURN(const Instance* const instance, impl_->Living(params.instance));
  InstanceStatus status;
  status.incarnation = instance->incarnation;
  status.can_recover = instance->cannot_because.empty();
  status.cannot_because = instance->cannot_because;
  status.channels = instance->own_channels + static_cast<int>(instance->channels.size());
  for (const std::string& endpoint : params.endpoints) {
    const auto& missing = instance->missing_endpoints;
    if (std::find(missing.begin(), missing.end(), endpoint) != missing.end()) {
      status.missing_endpoints.push_back(endpoint);
    }
  }
  return status;
}

absl::Status FakeMediaServer::Create(const CallContext& ctx, const CreateParams& params) {
  ABSL_RETURN_IF_ERROR(impl_->Reach(ctx, params.instance));
  return impl_->Create(params);
}

absl::StatusOr<MediaServerDriver::ChannelState> FakeMediaServer::Find(const CallContext& ctx,
                                                                      const ChannelParams& params) {
  ABSL_RETURN_IF_ERROR(impl_->Reach(ctx, params.instance));
  MutexLock lock(impl_->mutex_);
  ABSL_ASSIGN_OR_RETURN(const Instance* const instance, impl_->Living(params.instance));
  const auto it = instance->channels.find(params.channel_id);
  if (it == instance->channels.end()) {
    return absl::NotFoundError(
        absl::StrFormat("%s has no channel %s", params.instance, params.channel_id));
  }
  return it->second.up ? ChannelState::kUp : ChannelState::kInviting;
}

absl::Status FakeMediaServer::HangUp(const CallContext& ctx, const ChannelParams& params) {
  ABSL_RETURN_IF_ERROR(impl_->Reach(ctx, params.instance));
  MutexLock lock(impl_->mutex_);
  ABSL_ASSIGN_OR_RETURN(Instance* const instance, impl_->Living(params.instance));
  const auto it = instance->channels.find(params.channel_id);
  if (it == instance->channels.end()) {
    return absl::NotFoundError(
        absl::StrFormat("%s has no channel %s", params.instance, params.channel_id));
  }
  if (it->second.action == DialogAction::kReinvite) impl_->phones_[it->second.call_id].byes++;
  impl_->End(*instance, params.channel_id, it->second.up);
  return absl::OkStatus();
}

absl::Status FakeMediaServer::GiveUp(const CallContext& ctx, const GiveUpParams& params) {
  ABSL_RETURN_IF_ERROR(impl_->Reach(ctx, params.instance));
  MutexLock lock(impl_->mutex_);
  ABSL_ASSIGN_OR_RETURN(Instance* const instance, impl_->Living(params.instance));
  for (const std::string& id : params.channel_ids) {
    const auto it = instance->channels.find(id);
    if (it == instance->channels.end()) continue;
    ++impl_->given_up_;
    impl_->End(*instance, id, it->second.up);
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::testing
