// SPDX-License-Identifier: Apache-2.0
// The tracker's shell: events of all instances into one TrackerState each, questions to the servers
// on a thread of its own, changes to the store by WriteBehind.
#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "ari/ari_json.h"
#include "ari/connections.h"
#include "ari/tracker_state.h"
#include "ari/write_behind.h"
#include "base/thread.h"
#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1 {
namespace internal {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

// A request that takes longer is tried again; the server may be gone.
constexpr milliseconds kRequestTimeout{2000};
// Records of recovered sessions are looked for this often, and, while they do not come, ever less.
constexpr milliseconds kFirstSearch{100};
constexpr milliseconds kLastSearch{2000};
// A pause has no event, so playing playbacks are asked: each this often, all together not more
// often than that.
constexpr milliseconds kPlaybackInterval{200};
constexpr milliseconds kBetweenPlaybacks{50};
// Each answered channel in Stasis is asked this often whether we hold it, and no more of an
// instance than five a second: a thousand of them have their turn in three minutes.
constexpr milliseconds kHoldInterval{1'000};
constexpr milliseconds kBetweenHolds{200};
constexpr milliseconds kResyncRetry{500};

class Tracker final : public AriTracker,
                      public AriEventHandler,
                      public std::enable_shared_from_this<Tracker> {
 public:
  Tracker(std::shared_ptr<AriConnections> connections, std::shared_ptr<SessionStore> store,
          AriTrackerOptions options)
      : connections_(std::move(connections)), store_(std::move(store)), options_(options) {
    const AriOptions& ari = connections_->options();
    log_ = ari.log ? ari.log : NullLogSink();
    clock_ = ari.clock != nullptr ? ari.clock : &SystemClock();
    WriteBehind::Options behind;
    behind.gather = options.write_behind;
    behind.store_timeout = options.store_timeout;
    behind.log = log_;
    behind.telemetry = ari.telemetry ? ari.telemetry : NullTelemetrySink();
    behind.unknown = [this](const SessionKey& key) { ForgetSuccessor(key); };
    behind.overflowed = [this] { ResyncAll(); };
    writer_ = std::make_unique<WriteBehind>(store_, std::move(behind));
  }
  ~Tracker() override { Stop(); }

  absl::Status Start() override {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return absl::FailedPreconditionError("the tracker was stopped: make a new one");
      if (started_) return absl::OkStatus();
      started_ = true;
      reader_ = StartThread("sipheal-read", [this] { Read(); });
    }
    writer_->Start();
    connections_->AddHandler(weak_from_this());
    // Sockets that opened before the handler was there.
    for (const std::string& instance : connections_->Instances()) {
      const std::optional<Incarnation> connected = connections_->Connected(instance);
      if (connected) Connected(*connected, /*again=*/false);
    }
    return absl::OkStatus();
  }

  void Stop() override {
    std::thread reader;
    {
      const std::lock_guard lock(mutex_);
      stopped_ = true;
      reader = std::move(reader_);
    }
    stop_.request_stop();
    wake_.notify_all();
    if (reader.joinable()) reader.join();
    writer_->Stop();
  }

  absl::Status Flush(const CallContext& ctx) override { return writer_->Flush(ctx); }

  void Resync(const std::string& instance) override {
    {
      const std::lock_guard lock(mutex_);
      const auto node = nodes_.find(instance);
      if (node == nodes_.end()) return;
      node->second.resync = true;
      node->second.resync_at = std::chrono::steady_clock::now();
    }
    wake_.notify_one();
  }

  // --- AriEventHandler, on the socket thread ---
  void OnConnected(const Incarnation& incarnation) override { Connected(incarnation, true); }

  void OnDisconnected(const Incarnation& incarnation, const absl::Status&) override {
    const std::lock_guard lock(mutex_);
    const auto node = nodes_.find(incarnation.instance);
    if (node != nodes_.end()) node->second.connected = false;
  }

  void OnEvent(const Incarnation& incarnation, const json& event, WallTime at) override {
    bool wake = false;
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      Node* node = Find(incarnation);
      if (node == nullptr) return;
      node->state->Apply(event, at);
      // Under the lock, so that no older state overtakes a newer one on its way to the writer.
      writer_->Add(node->state->TakeChanged());
      if (node->state->WantsSuccessors() && !node->searching) {
        node->searching = wake = true;
        node->search_after = kFirstSearch;
        node->search_at = std::chrono::steady_clock::now() + kFirstSearch;
      }
      if (!node->polling && !node->state->PlaybackIds().empty()) {
        node->polling = wake = true;
        node->poll_at = std::chrono::steady_clock::now() + kPlaybackInterval;
      }
    }
    if (wake) wake_.notify_one();
  }

 private:
  using Time = std::chrono::steady_clock::time_point;

  struct Node {
    std::unique_ptr<TrackerState> state;
    bool connected = false;
    bool resync = false;
    Time resync_at{};
    bool searching = false;  // for records of recovered sessions
    Time search_at{};
    milliseconds search_after{0};
    bool polling = false;  // playing playbacks
    Time poll_at{};
    std::string last_polled;
    Time hold_at{};  // when the next channel is asked whether we hold it
    std::string last_hold;
  };

  // With the lock held.
  Node* Find(const Incarnation& incarnation) {
    const auto node = nodes_.find(incarnation.instance);
    if (node == nodes_.end() || node->second.state->incarnation() != incarnation) return nullptr;
    return &node->second;
  }

  void Connected(const Incarnation& incarnation, bool again) {
    {
      const std::lock_guard lock(mutex_);
      if (stopped_) return;
      Node& node = nodes_[incarnation.instance];
      if (node.state != nullptr && node.state->incarnation() == incarnation) {
        if (!again) return;
      } else {
        // A new life. What the old one held stays in the store: that is what will be recovered.
        node = Node();
        node.state = std::make_unique<TrackerState>(incarnation, connections_->options().app);
      }
      node.state->Connected();
      node.connected = true;
      node.resync = true;
      node.resync_at = std::chrono::steady_clock::now();
    }
    wake_.notify_one();
  }

  void ResyncAll() {
    {
      const std::lock_guard lock(mutex_);
      for (auto& [name, node] : nodes_) {
        node.resync = true;
        node.resync_at = std::chrono::steady_clock::now();
      }
    }
    wake_.notify_one();
  }

  void ForgetSuccessor(const SessionKey& key) {
    const std::lock_guard lock(mutex_);
    for (auto& [name, node] : nodes_) {
      node.state->ForgetSuccessor(key);
      if (node.state->WantsSuccessors() && !node.searching) {
        node.searching = true;
        node.search_after = kFirstSearch;
        node.search_at = std::chrono::steady_clock::now() + kFirstSearch;
      }
    }
    wake_.notify_one();
  }

  // --- the reading thread ---

  void Read() {
    std::unique_lock lock(mutex_);
    while (!stopped_) {
      Time next = Time::max();
      const Time now = std::chrono::steady_clock::now();
      bool worked = false;
      std::vector<std::string> names;
      for (const auto& [name, node] : nodes_) names.push_back(name);
      for (const std::string& name : names) {
        const auto found = nodes_.find(name);
        if (found == nodes_.end() || !found->second.connected) continue;
        worked |= ReadNode(found->second, now, lock, next);
        if (stopped_) return;
      }
      if (worked) continue;
      if (next == Time::max()) {
        wake_.wait(lock);
      } else {
        wake_.wait_until(lock, next);
      }
    }
  }

  // Does one thing that is due, with the lock given back meanwhile; or says when the next is due.
  // References into `node` are not used after the lock was given back: the node may have become
  // another life.
  bool ReadNode(Node& node, Time now, std::unique_lock<std::mutex>& lock, Time& next) {
    const Incarnation incarnation = node.state->incarnation();
    if (node.resync) {
      if (node.resync_at <= now) {
        node.resync = false;
        lock.unlock();
        const bool ok = ReadAll(incarnation);
        lock.lock();
        if (Node* again = Find(incarnation); !ok && again != nullptr) {
          again->resync = true;
          again->resync_at = std::chrono::steady_clock::now() + kResyncRetry;
        }
        return true;
      }
      next = std::min(next, node.resync_at);
    }
    if (node.searching) {
      if (!node.state->WantsSuccessors()) {
        node.searching = false;
      } else if (node.search_at <= now) {
        lock.unlock();
        ReadStored(incarnation, /*adopt=*/false);
        lock.lock();
        if (Node* again = Find(incarnation); again != nullptr) {
          again->search_at = std::chrono::steady_clock::now() + again->search_after;
          again->search_after = std::min(again->search_after * 2, kLastSearch);
        }
        return true;
      } else {
        next = std::min(next, node.search_at);
      }
    }
    if (node.polling) {
      const std::vector<std::string> playing = node.state->PlaybackIds();
      if (playing.empty()) {
        node.polling = false;
      } else if (node.poll_at <= now) {
        auto turn = std::upper_bound(playing.begin(), playing.end(), node.last_polled);
        if (turn == playing.end()) turn = playing.begin();
        const std::string id = node.last_polled = *turn;
        node.poll_at =
            now + std::max(kBetweenPlaybacks, kPlaybackInterval / static_cast<int>(playing.size()));
        lock.unlock();
        ReadPlayback(incarnation, id);
        lock.lock();
        return true;
      } else {
        next = std::min(next, node.poll_at);
      }
    }
    if (node.hold_at > now) {
      next = std::min(next, node.hold_at);
      return false;
    }
    // ARI has no event for a hold of ours: the channels are asked in turn.
    const std::vector<std::string> channels = node.state->ChannelsThatMayBeHeld();
    auto turn = std::upper_bound(channels.begin(), channels.end(), node.last_hold);
    if (turn == channels.end()) turn = channels.begin();
    const int count = std::max(1, static_cast<int>(channels.size()));
    node.hold_at = now + std::max(kBetweenHolds, kHoldInterval / count);
    next = std::min(next, node.hold_at);
    if (turn == channels.end()) return false;
    const std::string id = node.last_hold = *turn;
    lock.unlock();
    ReadHold(incarnation, id);
    lock.lock();
    return true;
  }

  // A GET; nullopt when the server did not answer, null for 404.
  std::optional<json> Get(const Incarnation& incarnation, const std::string& path) {
    CallContext ctx = CallContext::WithTimeout(kRequestTimeout);
    ctx.stop = stop_.get_token();
    const auto reply = connections_->Request(ctx, incarnation.instance, "GET", path, "");
    if (!reply.ok()) return std::nullopt;
    if (reply->http_status == 404) return json();
    if (reply->http_status != 200) return std::nullopt;
    return ParseJson(reply->body);
  }

  // Changes the state and hands on what changed, under the lock, so that no older state overtakes a
  // newer one.
  template <typename Change>
  void ChangeState(const Incarnation& incarnation, Change change) {
    const std::lock_guard lock(mutex_);
    Node* node = Find(incarnation);
    if (node == nullptr) return;
    change(*node);
    writer_->Add(node->state->TakeChanged());
  }

  bool ReadAll(const Incarnation& incarnation) {
    const std::optional<json> bridges = Get(incarnation, "/ari/bridges");
    const std::optional<json> channels = Get(incarnation, "/ari/channels");
    if (!bridges || !channels || !channels->is_array()) return false;
    std::vector<std::string> ids;
    ChangeState(incarnation, [&](Node& node) {
      node.state->Adopt(*channels, *bridges, clock_->Now());
      ids = node.state->ChannelIds();
    });
    const bool stored = ReadStored(incarnation, /*adopt=*/true);
    std::vector<std::string> playbacks, recordings;
    ChangeState(incarnation, [&](Node& node) {
      playbacks = node.state->PlaybackIds();
      recordings = node.state->RecordingNames();
      if (!playbacks.empty() && !node.polling) {
        node.polling = true;
        node.poll_at = std::chrono::steady_clock::now() + kPlaybackInterval;
      }
    });
    for (const std::string& id : playbacks) ReadPlayback(incarnation, id);
    for (const std::string& name : recordings) {
      const auto live = Get(incarnation, "/ari/recordings/live/" + EscapeUri(name));
      if (live && live->is_null()) {
        ChangeState(incarnation, [&](Node& node) { node.state->RecordingGone(name); });
      }
    }
    for (const std::string& id : ids) {
      if (stop_.stop_requested()) break;
      ReadVariables(incarnation, id);
    }
    return stored;
  }

  // The store's records of this incarnation: for a tracker that comes late, what its predecessor
  // knew; and the records that the engine makes of recovered sessions.
  bool ReadStored(const Incarnation& incarnation, bool adopt) {
    std::vector<Session> stored;
    SessionStore::ListParams params;
    params.incarnation = incarnation;
    do {
      CallContext ctx = CallContext::WithTimeout(options_.store_timeout);
      ctx.stop = stop_.get_token();
      absl::StatusOr<SessionStore::SessionPage> page = List(ctx, params);
      if (!page.ok()) return false;
      std::move(page->sessions.begin(), page->sessions.end(), std::back_inserter(stored));
      params.page_token = page->next_page_token;
    } while (!params.page_token.empty());
    if (!adopt) {
      ChangeState(incarnation, [&](Node& node) {
        for (const Session& session : stored) node.state->SetSuccessor(session);
      });
      return true;
    }
    std::vector<std::string> unknown;
    ChangeState(incarnation, [&](Node& node) { unknown = node.state->AdoptStored(stored); });
    bool all_answered = true;
    for (const std::string& id : unknown) {
      const auto channel = Get(incarnation, "/ari/channels/" + EscapeUri(id));
      if (!channel) {
        all_answered = false;
      } else if (channel->is_null()) {
        ChangeState(incarnation, [&](Node& node) { node.state->ChannelGone(id); });
      }
    }
    return all_answered;
  }

  absl::StatusOr<SessionStore::SessionPage> List(const CallContext& ctx,
                                                 const SessionStore::ListParams& params) {
    try {
      return store_->List(ctx, params);
    } catch (...) {
      return absl::InternalError("the session store threw");
    }
  }

  void ReadPlayback(const Incarnation& incarnation, const std::string& id) {
    const auto playback = Get(incarnation, "/ari/playbacks/" + EscapeUri(id));
    if (!playback) return;
    ChangeState(incarnation, [&](Node& node) {
      node.state->ObservePlayback(id, playback->is_null() ? nullptr : &*playback, clock_->Now());
    });
  }

  std::optional<std::string> ReadVariable(const Incarnation& incarnation,
                                          const std::string& channel, const std::string& name) {
    const auto value = Get(incarnation, "/ari/channels/" + EscapeUri(channel) +
                                            "/variable?variable=" + EscapeUri(name));
    if (!value || !value->is_object()) return std::nullopt;
    return Text(*value, "value");
  }

  void ReadHold(const Incarnation& incarnation, const std::string& channel) {
    const auto value = ReadVariable(incarnation, channel, "CHANNEL(onhold)");
    if (!value || (*value != "0" && *value != "1")) return;
    ChangeState(incarnation, [&](Node& node) { node.state->SetOnHold(channel, *value == "1"); });
  }

  void ReadVariables(const Incarnation& incarnation, const std::string& channel) {
    for (const char* name :
         {kRecoverVariable, kHostDataVariable, kEndsAtVariable, kGroupVariable, kFlowVariable}) {
      if (const auto value = ReadVariable(incarnation, channel, name)) {
        ChangeState(incarnation,
                    [&](Node& node) { node.state->SetVariable(channel, name, *value); });
      }
    }
    ReadHold(incarnation, channel);
  }

  const std::shared_ptr<AriConnections> connections_;
  const std::shared_ptr<SessionStore> store_;
  const AriTrackerOptions options_;
  std::shared_ptr<LogSink> log_;
  const Clock* clock_ = nullptr;
  std::unique_ptr<WriteBehind> writer_;
  std::stop_source stop_;

  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<std::string, Node> nodes_;
  bool started_ = false;
  bool stopped_ = false;
  std::thread reader_;
};

}  // namespace
}  // namespace internal

AriTracker::~AriTracker() = default;

absl::StatusOr<std::shared_ptr<AriTracker>> MakeAriTracker(
    std::shared_ptr<AriConnections> connections, std::shared_ptr<SessionStore> store,
    AriTrackerOptions options) {
  if (connections == nullptr) return absl::InvalidArgumentError("tracker: connections: is null");
  if (store == nullptr) return absl::InvalidArgumentError("tracker: store: is null");
  if (options.write_behind < std::chrono::milliseconds(0) ||
      options.write_behind > std::chrono::seconds(1)) {
    return absl::InvalidArgumentError(absl::StrFormat("tracker: write_behind: %d ms: use 0 to 1000",
                                                      options.write_behind.count()));
  }
  if (options.store_timeout < std::chrono::milliseconds(1)) {
    return absl::InvalidArgumentError("tracker: store_timeout: must be positive");
  }
  return std::make_shared<internal::Tracker>(std::move(connections), std::move(store), options);
}

}  // namespace sipheal::inline v0_1
