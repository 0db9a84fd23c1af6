// SPDX-License-Identifier: Apache-2.0
// The MediaServerDriver over ARI. Requests run on the caller's thread; events come from the socket
// thread, pass the ChannelBook, and are delivered by one thread that Start makes.
#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <functional>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "ari/channel_book.h"
#include "ari/connections.h"
#include "ari/create_request.h"
#include "ari/server_check.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "base/thread.h"
#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1 {
namespace internal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// How long an answer about module and endpoints is believed. A module cannot be unloaded while it
// serves a dialog, and a restart is seen by the event socket at once, so both change rarely.
constexpr seconds kBelieve{5};
constexpr milliseconds kSnapshotTimeout{5000};
// Function arguments are one string: Asterisk's buffer for it is 4,096 bytes.
constexpr std::size_t kGiveUpBatch = 30;

constexpr milliseconds kTick{100};

// Hands events to the listener, in order, on a thread of its own.
class Delivery {
 public:
  ~Delivery() { Stop(); }

  // `tick` is called every 100 ms on the same thread.
  bool Start(std::shared_ptr<MediaServerListener> listener, std::function<void()> tick) {
    const std::scoped_lock lock(mutex_);
    if (state_) return false;
    state_ = std::make_shared<State>();
    state_->listener = std::move(listener);
    state_->tick = std::move(tick);
    thread_ = StartThread("sipheal-driver", [state = state_] { state->Run(); });
    return true;
  }

  void Stop() {
    std::shared_ptr<State> state;
    std::thread thread;
    {
      const std::scoped_lock lock(mutex_);
      state.swap(state_);
      thread.swap(thread_);
    }
    if (!state) return;
    {
      const std::scoped_lock lock(state->mutex);
      state->stopping = true;
    }
    state->ready.notify_all();
    if (thread.get_id() == std::this_thread::get_id()) {
      thread.detach();  // the listener called Stop: its thread ends when that call returns
    } else {
      thread.join();
    }
  }

  void Push(ChannelBook::Events events) {
    if (events.empty()) return;
    std::shared_ptr<State> state;
    {
      const std::scoped_lock lock(mutex_);
      state = state_;
    }
    if (!state) return;
    {
      const std::scoped_lock lock(state->mutex);
      for (ChannelEvent& event : events) state->queue.push_back(std::move(event));
    }
    state->ready.notify_one();
  }

 private:
  struct State {
    void Run() {
      std::unique_lock lock(mutex);
      for (;;) {
        const bool due =
            !ready.wait_for(lock, kTick, [this] { return stopping || !queue.empty(); });
        if (stopping) return;
        if (due) {
          lock.unlock();
          tick();
          lock.lock();
          continue;
        }
        const ChannelEvent event = std::move(queue.front());
        queue.pop_front();
        lock.unlock();
        try {
          listener->OnChannel(event);
        } catch (const std::exception&) {
          // The listener's fault must not end the host; there is nobody to tell.
        }
        lock.lock();
      }
    }
    std::shared_ptr<MediaServerListener> listener;
    std::function<void()> tick;
    std::mutex mutex;
    std::condition_variable ready;
    std::deque<ChannelEvent> queue;
    bool stopping = false;
  };
  std::mutex mutex_;
  std::shared_ptr<State> state_;
  std::thread thread_;
};

// What is known of one instance.
struct Server {
  explicit Server(const std::string& name) : book(name) {}
  ChannelBook book;
  std::string life;  // of the open event socket; empty when there is none
  MonotonicTime module_checked{};
  absl::Status module = absl::UnknownError("not asked yet");
  std::map<std::string, std::pair<bool, MonotonicTime>> endpoints;  // missing? asked when?
};

class DriverCore final : public AriEventHandler, public std::enable_shared_from_this<DriverCore> {
 public:
  explicit DriverCore(std::shared_ptr<AriConnections> connections)
      : connections_(std::move(connections)), clock_(*connections_->options().clock) {}

  // Hears the sockets that are open already, too.
  void Begin() {
    connections_->AddHandler(weak_from_this());
    for (const std::string& instance : connections_->Instances()) {
      if (const auto incarnation = connections_->Connected(instance)) OnConnected(*incarnation);
    }
  }

  absl::Status Start(std::shared_ptr<MediaServerListener> listener) {
    if (!listener) return absl::InvalidArgumentError("listener: is null");
    const auto tick = [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->GiveUpOverdue();
    };
    if (!delivery_.Start(std::move(listener), tick)) {
      return absl::FailedPreconditionError("the driver is started already: stop it first");
    }
    return absl::OkStatus();
  }
  void Stop() { delivery_.Stop(); }

  absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                         const MediaServerDriver::InspectParams& params) {
    const auto options = connections_->Instance(params.instance);
    ABSL_ASSIGN_OR_RETURN(const AriReply reply,
                          connections_->Request(ctx, params.instance, "GET", kLifePath, ""));
    InstanceStatus status;
    status.incarnation.instance = params.instance;
    ABSL_ASSIGN_OR_RETURN(status.incarnation.life,
                          ParseLife(options.value_or(AriInstanceOptions{}), reply));
    const absl::Status module = Module(ctx, params.instance);
    if (!module.ok() && !absl::IsFailedPrecondition(module)) return module;
    {
      const std::scoped_lock lock(mutex_);
      const Server& server = At(params.instance);
      status.channels = static_cast<int>(server.book.channels());
      if (!module.ok()) {
        status.cannot_because = std::string(module.message());
      } else if (server.life != status.incarnation.life) {
        status.cannot_because = absl::StrFormat(
            "the event socket of \"%s\" is not open: wait, or see the log", params.instance);
      } else {
        status.can_recover = true;
      }
    }
    for (const std::string& endpoint : params.endpoints) {
      ABSL_ASSIGN_OR_RETURN(const bool missing, Missing(ctx, params.instance, endpoint));
      if (missing) status.missing_endpoints.push_back(endpoint);
    }
    return status;
  }

  absl::Status Create(const CallContext& ctx, const MediaServerDriver::CreateParams& params) {
    ABSL_ASSIGN_OR_RETURN(const CreateRequest request,
                          MakeCreateRequest(params, connections_->options().app));
    // Without the module the server would ring the phone with a new call.
    ABSL_RETURN_IF_ERROR(Module(ctx, params.instance));
    {
      const std::scoped_lock lock(mutex_);
      Server& server = At(params.instance);
      if (server.life.empty()) {
        return absl::UnavailableError(absl::StrFormat(
            "the event socket of \"%s\" is not open, so that the answer of the phone would not be "
            "heard: try again when it is",
            params.instance));
      }
      // Before the request: its events may be quicker than its answer.
      server.book.Expect(params.channel_id, params.action, request.has_server_flow);
      const milliseconds timeout =
          std::clamp<milliseconds>(params.answer_timeout, milliseconds(0), std::chrono::hours(1));
      overdue_.emplace(clock_.Monotonic() + timeout, std::pair(params.instance, params.channel_id));
    }
    const auto reply =
        connections_->Request(ctx, params.instance, "POST", "/ari/channels", request.body);
    if (!reply.ok()) return reply.status();  // it may exist: its events will tell
    const absl::Status status = ToStatus(
        absl::StrFormat("creating channel \"%s\" on \"%s\"", params.channel_id, params.instance),
        *reply);
    if (!status.ok() && !absl::IsAlreadyExists(status)) {
      {
        const std::scoped_lock lock(mutex_);
        At(params.instance).book.Forget(params.channel_id);
      }
      if (reply->http_status == 500) {
        // Asterisk says "Allocation failed" for an endpoint that it does not have.
        const auto missing = Missing(ctx, params.instance, params.endpoint);
        if (missing.ok() && *missing) {
          return absl::FailedPreconditionError(absl::StrFormat(
              "\"%s\" has no PJSIP endpoint \"%s\": configure it there as on the other instances",
              params.instance, params.endpoint));
        }
      }
      return status;
    }
    for (const std::string& variable : request.variables) {
      const auto set = connections_->Request(ctx, params.instance, "POST",
                                             Path(params.channel_id) + "/variable", variable);
      // One that is gone already needs none.
      if (set.ok() && (set->http_status / 100 == 2 || set->http_status == 404)) continue;
      return absl::UnavailableError(absl::StrFormat(
          "channel \"%s\" on \"%s\" was created, but a variable of its flow could not be set: %s",
          params.channel_id, params.instance,
          set.ok() ? absl::StrFormat("Asterisk answered %d", set->http_status)
                   : std::string(set.status().message())));
    }
    return status;
  }

  absl::StatusOr<MediaServerDriver::ChannelState> Find(
      const CallContext& ctx, const MediaServerDriver::ChannelParams& params) {
    ABSL_ASSIGN_OR_RETURN(const AriReply reply, connections_->Request(ctx, params.instance, "GET",
                                                                      Path(params.channel_id), ""));
    ABSL_RETURN_IF_ERROR(ToStatus(
        absl::StrFormat("channel \"%s\" on \"%s\"", params.channel_id, params.instance), reply));
    const auto channel = nlohmann::json::parse(reply.body, nullptr, false);
    const auto state = channel.is_object() ? channel.find("state") : channel.end();
    if (!channel.is_object() || state == channel.end()) {
      return absl::UnavailableError(
          absl::StrFormat("\"%s\" answered something that is no channel", params.instance));
    }
    // Answered, but not yet in Stasis: nothing can be done with it, and its event will come.
    return *state == "Up" && InStasis(channel) ? MediaServerDriver::ChannelState::kUp
                                               : MediaServerDriver::ChannelState::kInviting;
  }

  absl::Status HangUp(const CallContext& ctx, const MediaServerDriver::ChannelParams& params) {
    ABSL_ASSIGN_OR_RETURN(const AriReply reply,
                          connections_->Request(ctx, params.instance, "DELETE",
                                                Path(params.channel_id) + "?reason=normal", ""));
    return ToStatus(
        absl::StrFormat("hanging up \"%s\" on \"%s\"", params.channel_id, params.instance), reply);
  }

  absl::Status GiveUp(const CallContext& ctx, const MediaServerDriver::GiveUpParams& params) {
    if (params.channel_ids.empty()) {
      return connections_->Instance(params.instance) ? absl::OkStatus() : Unknown(params.instance);
    }
    ABSL_RETURN_IF_ERROR(Module(ctx, params.instance));
    for (std::size_t at = 0; at < params.channel_ids.size(); at += kGiveUpBatch) {
      const std::size_t end = std::min(at + kGiveUpBatch, params.channel_ids.size());
      const std::string body =
          MakeGiveUpBody({params.channel_ids.begin() + static_cast<std::ptrdiff_t>(at),
                          params.channel_ids.begin() + static_cast<std::ptrdiff_t>(end)});
      if (body.empty()) continue;
      ABSL_ASSIGN_OR_RETURN(
          const AriReply reply,
          connections_->Request(ctx, params.instance, "POST", "/ari/asterisk/variable", body));
      ABSL_RETURN_IF_ERROR(
          ToStatus(absl::StrFormat("giving up channels of \"%s\"", params.instance), reply));
    }
    return absl::OkStatus();
  }

  // --- AriEventHandler, on the socket thread ---

  void OnConnected(const Incarnation& incarnation) override {
    {
      const std::scoped_lock lock(mutex_);
      Server& server = At(incarnation.instance);
      server.life = incarnation.life;
      server.book.BeginSync(incarnation.life);
      server.module = absl::UnknownError("not asked yet");
      server.module_checked = {};
      server.endpoints.clear();
    }
    Snapshot(incarnation, 3);
  }

  void OnDisconnected(const Incarnation& incarnation, const absl::Status& /*why*/) override {
    const std::scoped_lock lock(mutex_);
    Server& server = At(incarnation.instance);
    server.life.clear();
    // What comes next at this address may be another server.
    server.module_checked = {};
    server.module = absl::UnknownError("not asked yet");
  }

  void OnEvent(const Incarnation& incarnation, const nlohmann::json& event,
               WallTime /*at*/) override {
    const std::scoped_lock lock(mutex_);
    // Pushed under the lock, so that two events of one channel cannot change places.
    delivery_.Push(At(incarnation.instance).book.OnEvent(event));
  }

 private:
  static absl::Status Unknown(const std::string& instance) {
    return absl::NotFoundError(absl::StrFormat("instance \"%s\" is not configured", instance));
  }
  static std::string Path(const std::string& channel_id) {
    return "/ari/channels/" + EscapeUri(channel_id);
  }

  Server& At(const std::string& instance) {
    return servers_.try_emplace(instance, instance).first->second;
  }

  // Nobody answered in time: the channel is given up without a packet, so that the phone's dialog
  // stays as it is for another attempt.
  void GiveUpOverdue() {
    std::map<std::string, std::vector<std::string>> channels;
    {
      const MonotonicTime now = clock_.Monotonic();
      const std::scoped_lock lock(mutex_);
      while (!overdue_.empty() && overdue_.begin()->first <= now) {
        const auto& [instance, channel] = overdue_.begin()->second;
        if (At(instance).book.Overdue(channel)) channels[instance].push_back(channel);
        overdue_.erase(overdue_.begin());
      }
    }
    for (const auto& [instance, ids] : channels) {
      for (std::size_t at = 0; at < ids.size(); at += kGiveUpBatch) {
        const std::size_t end = std::min(at + kGiveUpBatch, ids.size());
        const std::string body = MakeGiveUpBody({ids.begin() + static_cast<std::ptrdiff_t>(at),
                                                 ids.begin() + static_cast<std::ptrdiff_t>(end)});
        connections_->RequestAsync(instance, "POST", "/ari/asterisk/variable", body,
                                   kSnapshotTimeout, [](const absl::StatusOr<AriReply>&) {});
      }
    }
  }

  // Reads which channels there are, to learn what was missed while the socket was closed.
  void Snapshot(const Incarnation& incarnation, int tries) {
    connections_->RequestAsync(
        incarnation.instance, "GET", "/ari/channels", "", kSnapshotTimeout,
        [weak = weak_from_this(), incarnation, tries](absl::StatusOr<AriReply> reply) {
          const auto self = weak.lock();
          if (!self) return;
          const bool good = reply.ok() && reply->http_status == 200;
          if (!good && tries > 1) return self->Snapshot(incarnation, tries - 1);
          const auto channels =
              good ? nlohmann::json::parse(reply->body, nullptr, false) : nlohmann::json();
          const std::scoped_lock lock(self->mutex_);
          Server& server = self->At(incarnation.instance);
          // Without an answer the book stays as it is: Find tells the engine what it must know.
          if (server.life != incarnation.life || !server.book.syncing() || !channels.is_array()) {
            return;
          }
          self->delivery_.Push(server.book.EndSync(channels));
        });
  }

  absl::Status Module(const CallContext& ctx, const std::string& instance) {
    std::string life;
    {
      const std::scoped_lock lock(mutex_);
      const auto found = servers_.find(instance);
      if (found != servers_.end()) {
        Server& server = found->second;
        life = server.life;
        const MonotonicTime now = clock_.Monotonic();
        if (server.module_checked != MonotonicTime{} && now - server.module_checked < kBelieve) {
          return server.module;
        }
        // One caller looks again; a crowd of them would hold up a recovery for nothing.
        if (server.module.ok() && server.module_checked != MonotonicTime{}) {
          server.module_checked = now;
        }
      }
    }
    const absl::Status status = CheckRecoveryModule(*connections_, ctx, instance);
    if (status.ok() || absl::IsFailedPrecondition(status)) {
      const std::scoped_lock lock(mutex_);
      Server& server = At(instance);
      if (!life.empty() && server.life == life) {
        server.module = status;
        server.module_checked = clock_.Monotonic();
      }
    }
    return status;
  }

  absl::StatusOr<bool> Missing(const CallContext& ctx, const std::string& instance,
                               const std::string& endpoint) {
    const MonotonicTime now = clock_.Monotonic();
    {
      const std::scoped_lock lock(mutex_);
      const auto& known = At(instance).endpoints;
      const auto found = known.find(endpoint);
      if (found != known.end() && now - found->second.second < kBelieve) {
        return found->second.first;
      }
    }
    ABSL_ASSIGN_OR_RETURN(const AriReply reply,
                          connections_->Request(ctx, instance, "GET",
                                                "/ari/endpoints/PJSIP/" + EscapeUri(endpoint), ""));
    const absl::Status status =
        ToStatus(absl::StrFormat("endpoint \"%s\" of \"%s\"", endpoint, instance), reply);
    if (!status.ok() && !absl::IsNotFound(status)) return status;
    const bool missing = !status.ok();
    const std::scoped_lock lock(mutex_);
    At(instance).endpoints[endpoint] = {missing, now};
    return missing;
  }

  const std::shared_ptr<AriConnections> connections_;
  const Clock& clock_;
  Delivery delivery_;
  std::mutex mutex_;
  std::map<std::string, Server, std::less<>> servers_;  // guarded by mutex_
  // Until when each created channel may be unanswered; guarded by mutex_.
  std::multimap<MonotonicTime, std::pair<std::string, std::string>> overdue_;
};

class AriDriver final : public MediaServerDriver {
 public:
  explicit AriDriver(std::shared_ptr<DriverCore> core) : core_(std::move(core)) {}
  ~AriDriver() override { core_->Stop(); }

  absl::Status Start(std::shared_ptr<MediaServerListener> listener) override {
    return core_->Start(std::move(listener));
  }
  void Stop() override { core_->Stop(); }
  absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                         const InspectParams& params) override {
    return core_->Inspect(ctx, params);
  }
  absl::Status Create(const CallContext& ctx, const CreateParams& params) override {
    return core_->Create(ctx, params);
  }
  absl::StatusOr<ChannelState> Find(const CallContext& ctx, const ChannelParams& params) override {
    return core_->Find(ctx, params);
  }
  absl::Status HangUp(const CallContext& ctx, const ChannelParams& params) override {
    return core_->HangUp(ctx, params);
  }
  absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) override {
    return core_->GiveUp(ctx, params);
  }

 private:
  const std::shared_ptr<DriverCore> core_;
};

}  // namespace
}  // namespace internal

absl::StatusOr<std::shared_ptr<MediaServerDriver>> MakeAriDriver(
    std::shared_ptr<AriConnections> connections) {
  if (!connections) return absl::InvalidArgumentError("connections: is null");
  auto core = std::make_shared<internal::DriverCore>(std::move(connections));
  core->Begin();
  return std::shared_ptr<MediaServerDriver>(std::make_shared<internal::AriDriver>(std::move(core)));
}

}  // namespace sipheal::inline v0_1
