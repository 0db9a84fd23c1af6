// SPDX-License-Identifier: Apache-2.0
#include "ari/connections.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "ari/base_url.h"
#include "ari/event_screen.h"
#include "ari/event_socket.h"
#include "ari/socket_loop.h"
#include "base/absl_compat.h"
#include "base/mutex.h"
#include "base/status_macros.h"
#include "http/async_http_client.h"
#include "http/http_client.h"

namespace sipheal::inline v0_1 {
namespace internal {

absl::StatusOr<std::string> ParseLife(const AriInstanceOptions& instance, const AriReply& reply) {
  const std::string what = absl::StrFormat("the ARI of \"%s\" at %s", instance.name, instance.url);
  switch (reply.http_status) {
    case 200:
      break;
    case 401:
      return absl::UnauthenticatedError(absl::StrFormat(
          "%s refuses user \"%s\" (401): compare the password with ari.conf", what, instance.user));
    case 403:
      return absl::PermissionDeniedError(absl::StrFormat(
          "%s forbids user \"%s\" (403): the user in ari.conf must not be read_only", what,
          instance.user));
    case 404:
      return absl::NotFoundError(absl::StrFormat(
          "%s is not there (404): set enabled=yes in ari.conf, load res_ari, and put the prefix of "
          "http.conf into the url",
          what));
    default:
      return absl::UnavailableError(absl::StrFormat("%s answers %d", what, reply.http_status));
  }
  const auto info = nlohmann::json::parse(reply.body, nullptr, false);
  if (info.is_object()) {
    const auto status = info.find("status");
    if (status != info.end() && status->is_object()) {
      const auto startup = status->find("startup_time");
      if (startup != status->end() && startup->is_string()) {
        auto life = startup->get<std::string>();
        if (!life.empty() && life.size() <= 64) return life;
      }
    }
  }
  return absl::UnavailableError(
      absl::StrFormat("%s does not say when it started: it answered \"%s\"", what,
                      absl::CHexEscape(AbslView(std::string_view(reply.body).substr(0, 80)))));
}

namespace {

using std::chrono::milliseconds;

absl::Status Check(const AriInstanceOptions& instance) {
  if (instance.name.empty() || instance.name.size() > 64) {
    return absl::InvalidArgumentError(absl::StrFormat("name: \"%s\" has %d characters: use 1 to 64",
                                                      instance.name, instance.name.size()));
  }
  if (instance.user.empty()) {
    return absl::InvalidArgumentError(
        absl::StrFormat("instance \"%s\": user: is empty: name a user of ari.conf", instance.name));
  }
  if (instance.user.find(':') != std::string::npos) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "instance \"%s\": user: holds a colon, which basic authentication cannot carry",
        instance.name));
  }
  if (!instance.password.empty() && !instance.password_file.empty()) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "instance \"%s\": password and password_file are both set: use one", instance.name));
  }
  return absl::OkStatus();
}

absl::Status ReadPassword(AriInstanceOptions& instance) {
  if (instance.password_file.empty()) return absl::OkStatus();
  std::ifstream file(instance.password_file);
  std::stringstream text;
  text << file.rdbuf();
  if (!file) {
    return absl::InvalidArgumentError(
        absl::StrFormat("instance \"%s\": password_file: \"%s\" cannot be read", instance.name,
                        instance.password_file));
  }
  instance.password = text.str();
  if (!instance.password.empty() && instance.password.back() == '\n') instance.password.pop_back();
  return absl::OkStatus();
}

// One configured Asterisk.
struct Node {
  AriInstanceOptions options;  // with the password
  BaseUrl url;
  std::string base;  // url, to which a path is appended
  std::unique_ptr<HttpClient> http;
  std::atomic<MonotonicTime::rep> heard{0};
  Mutex mutex;
  Incarnation connected ABSL_GUARDED_BY(mutex);  // `life` is empty while there is no event socket
};

class Connections final : public AriConnections, public EventSocketHost {
 public:
  explicit Connections(AriOptions options)
      : options_(std::move(options)), handlers_(std::make_shared<const Handlers>()) {
    HttpOptions http;
    http.connect_timeout = options_.connect_timeout;
    async_ = std::make_unique<AsyncHttpClient>(http);
  }

  ~Connections() override {
    // First the thread that posts to the loop, which still asks in vain until it ends, too.
    async_->Close();
    if (loop_ == nullptr) return;
    loop_->Post([this] { sockets_.clear(); });
    loop_->Stop();
  }

  absl::Status Start(std::vector<AriInstanceOptions> instances) {
    ABSL_ASSIGN_OR_RETURN(loop_, SocketLoop::Start(options_.clock));
    for (AriInstanceOptions& instance : instances) {
      ABSL_RETURN_IF_ERROR(Add(std::move(instance)));
    }
    return absl::OkStatus();
  }

  bool OnOwnThread() const {
    return async_->OnThread() || (loop_ != nullptr && loop_->OnLoopThread());
  }

  absl::Status Add(AriInstanceOptions instance) override {
    ABSL_RETURN_IF_ERROR(Check(instance));
    auto url = ParseBaseUrl(instance.url);
    if (!url.ok()) {
      return absl::InvalidArgumentError(absl::StrFormat("instance \"%s\": %s", instance.name,
                                                        std::string(url.status().message())));
    }
    ABSL_RETURN_IF_ERROR(ReadPassword(instance));
    auto node = std::make_shared<Node>();
    node->options = std::move(instance);
    node->url = *url;
    node->base = url->ToString();
    HttpOptions http;
    http.connect_timeout = options_.connect_timeout;
    node->http = std::make_unique<HttpClient>(http);
    const std::string name = node->options.name;
    {
      const MutexLock lock(mutex_);
      if (!nodes_.emplace(name, node).second) {
        return absl::AlreadyExistsError(
            absl::StrFormat("instance \"%s\" is configured already", name));
      }
    }
    loop_->Post([this, node, name] {
      auto socket =
          std::make_shared<EventSocket>(*loop_, *this, node->options, node->url, options_);
      sockets_[name] = socket;
      socket->Begin();
    });
    return absl::OkStatus();
  }

  absl::Status Remove(const std::string& name) override {
    {
      const MutexLock lock(mutex_);
      if (nodes_.erase(name) == 0) return Unknown(name);
    }
    loop_->Post([this, name] { sockets_.erase(name); });
    return absl::OkStatus();
  }

  void AddHandler(std::weak_ptr<AriEventHandler> handler) override {
    const MutexLock lock(mutex_);
    auto handlers = std::make_shared<Handlers>();
    for (const auto& old : *handlers_) {
      if (!old.expired()) handlers->push_back(old);
    }
    handlers->push_back(std::move(handler));
    handlers_ = std::move(handlers);
  }

  absl::StatusOr<AriReply> Request(const CallContext& ctx, const std::string& instance,
                                   const std::string& method, const std::string& path,
                                   const std::string& json_body) override {
    const auto node = Find(instance);
    if (!node) return Unknown(instance);
    ABSL_ASSIGN_OR_RETURN(HttpResponse response,
                          node->http->Send(ctx, MakeRequest(*node, method, path, json_body)));
    Heard(*node);
    return AriReply{response.status, std::move(response.body)};
  }

  void RequestAsync(const std::string& instance, const std::string& method, const std::string& path,
                    const std::string& json_body, milliseconds timeout, Done done) override {
    const auto node = Find(instance);
    if (!node) return done(Unknown(instance));
    async_->Send(MakeRequest(*node, method, path, json_body), timeout,
                 [this, node, done = std::move(done)](absl::StatusOr<HttpResponse> response) {
                   if (!response.ok()) return done(response.status());
                   Heard(*node);
                   done(AriReply{response->status, std::move(response->body)});
                 });
  }

  bool Ping(const std::string& instance) override {
    const auto node = Find(instance);
    if (!node) return false;
    {
      const MutexLock lock(node->mutex);
      if (node->connected.life.empty()) return false;
    }
    loop_->Post([this, instance] {
      const auto found = sockets_.find(instance);
      if (found != sockets_.end()) found->second->Ping();
    });
    return true;
  }

  MonotonicTime SocketThreadTurn() const override { return loop_->turn(); }

  std::optional<Incarnation> Connected(const std::string& instance) const override {
    const auto node = Find(instance);
    if (!node) return std::nullopt;
    const MutexLock lock(node->mutex);
    if (node->connected.life.empty()) return std::nullopt;
    return node->connected;
  }

  std::optional<MonotonicTime> LastHeard(const std::string& instance) const override {
    const auto node = Find(instance);
    const MonotonicTime::rep heard = node ? node->heard.load(std::memory_order_acquire) : 0;
    if (heard == 0) return std::nullopt;
    return MonotonicTime(MonotonicTime::duration(heard));
  }

  std::vector<std::string> Instances() const override {
    const MutexLock lock(mutex_);
    std::vector<std::string> names;
    for (const auto& [name, node] : nodes_) names.push_back(name);
    return names;
  }

  const AriOptions& options() const override { return options_; }

  std::optional<AriInstanceOptions> Instance(const std::string& name) const override {
    const auto node = Find(name);
    if (!node) return std::nullopt;
    AriInstanceOptions copy = node->options;
    copy.password.clear();
    return copy;
  }

 private:
  using Handlers = std::vector<std::weak_ptr<AriEventHandler>>;

  static absl::Status Unknown(const std::string& instance) {
    return absl::NotFoundError(absl::StrFormat("instance \"%s\" is not configured", instance));
  }

  static HttpRequest MakeRequest(const Node& node, const std::string& method,
                                 const std::string& path, const std::string& json_body) {
    HttpRequest request;
    request.method = method;
    request.url = node.base + path;
    request.body = json_body;
    request.user = node.options.user;
    request.password = node.options.password;
    return request;
  }

  std::shared_ptr<Node> Find(const std::string& name) const {
    const MutexLock lock(mutex_);
    const auto found = nodes_.find(name);
    return found == nodes_.end() ? nullptr : found->second;
  }

  void Heard(Node& node) const {
    node.heard.store(options_.clock->Monotonic().time_since_epoch().count(),
                     std::memory_order_release);
  }

  // --- EventSocketHost, on the loop's thread ---

  void OnSocketHeard(const std::string& instance) override {
    if (const auto node = Find(instance)) Heard(*node);
  }

  void AskLife(const std::string& instance,
               std::function<void(absl::StatusOr<Life>)> done) override {
    const auto node = Find(instance);
    if (!node) return done(Unknown(instance));
    async_->Send(MakeRequest(*node, "GET", kLifePath, ""), options_.connect_timeout,
                 [this, node, done = std::move(done)](absl::StatusOr<HttpResponse> response) {
                   loop_->Post([done, life = ToLife(*node, std::move(response))] { done(life); });
                 });
  }

  // All channels and all bridges, and no device states: an Asterisk (22.10.1) whose event socket
  // closes while it delivers a device state to it accepts no event socket any more. docs/flow.md
  // says more.
  void Subscribe(const std::string& instance, std::function<void(absl::Status)> done) override {
    const auto node = Find(instance);
    if (!node) return done(Unknown(instance));
    const std::string path = absl::StrFormat(
        "/ari/applications/%s/subscription?eventSource=channel:,bridge:", EscapeUri(options_.app));
    async_->Send(MakeRequest(*node, "POST", path, ""), options_.connect_timeout,
                 [this, node, done = std::move(done)](absl::StatusOr<HttpResponse> response) {
                   absl::Status status = response.status();
                   if (response.ok() && response->status / 100 != 2) {
                     status = absl::UnavailableError(
                         absl::StrFormat("\"%s\" refused the subscription to its channels and "
                                         "bridges (%d): give the ARI user "
                                         "write access (read_only = no)",
                                         node->options.name, response->status));
                   }
                   loop_->Post([done, status] { done(status); });
                 });
  }

  absl::StatusOr<Life> ToLife(Node& node, absl::StatusOr<HttpResponse> response) const {
    if (!response.ok()) return response.status();
    Heard(node);
    ABSL_ASSIGN_OR_RETURN(std::string startup_time,
                          ParseLife(node.options, {response->status, std::move(response->body)}));
    return Life{std::move(startup_time), std::move(response->peer_address)};
  }

  void OnSocketConnected(const Incarnation& incarnation) override {
    if (const auto node = Find(incarnation.instance)) {
      const MutexLock lock(node->mutex);
      node->connected = incarnation;
    }
    last_why_.erase(incarnation.instance);
    Log(LogLevel::kInfo, "ari_connected",
        absl::StrFormat("The event socket of \"%s\" is open", incarnation.instance),
        {{"instance", incarnation.instance}, {"life", incarnation.life}});
    Tell([&](AriEventHandler& handler) { handler.OnConnected(incarnation); });
  }

  void OnSocketLost(const Incarnation& incarnation, const absl::Status& why) override {
    if (const auto node = Find(incarnation.instance)) {
      const MutexLock lock(node->mutex);
      node->connected.life.clear();
    }
    // The same reason again and again is said once.
    std::string& last = last_why_[incarnation.instance];
    if (last != why.ToString()) {
      last = why.ToString();
      Log(LogLevel::kWarning, "ari_disconnected", std::string(why.message()),
          {{"instance", incarnation.instance},
           {"life", incarnation.life},
           {"code", absl::StatusCodeToString(why.code())}});
    }
    Tell([&](AriEventHandler& handler) { handler.OnDisconnected(incarnation, why); });
  }

  void OnSocketText(const Incarnation& incarnation, std::string text) override {
    if (IsBridgeVariable(text)) return;
    const WallTime at = options_.clock->Now();
    const auto event = nlohmann::json::parse(text, nullptr, false);
    const auto type = event.is_object() ? event.find("type") : event.end();
    if (!event.is_object() || type == event.end() || !type->is_string()) {
      Log(LogLevel::kWarning, "ari_event_malformed",
          absl::StrFormat(
              "\"%s\" sent an event of %d bytes that is not one; it is skipped. It begins \"%s\"",
              incarnation.instance, text.size(),
              absl::CHexEscape(AbslView(std::string_view(text).substr(0, 80)))),
          {{"instance", incarnation.instance}});
      return;
    }
    Tell([&](AriEventHandler& handler) { handler.OnEvent(incarnation, event, at); });
    if (*type == "ApplicationReplaced") {
      const auto found = sockets_.find(incarnation.instance);
      const auto app = event.find("application");
      if (found != sockets_.end() && app != event.end() && *app == options_.app) {
        found->second->OnReplaced();
      }
    }
  }

  template <typename Call>
  void Tell(Call call) {
    std::shared_ptr<const Handlers> handlers;
    {
      const MutexLock lock(mutex_);
      handlers = handlers_;
    }
    for (const auto& weak : *handlers) {
      const auto handler = weak.lock();
      if (!handler) continue;
      try {
        call(*handler);
      } catch (const std::exception& error) {
        Log(LogLevel::kError, "ari_handler_threw", error.what(), {});
      }
    }
  }

  void Log(LogLevel level, std::string event, std::string message,
           std::vector<std::pair<std::string, std::string>> fields) const {
    options_.log->Write({level, std::move(event), std::move(message), std::move(fields)});
  }

  const AriOptions options_;
  mutable Mutex mutex_;
  std::map<std::string, std::shared_ptr<Node>> nodes_ ABSL_GUARDED_BY(mutex_);
  std::shared_ptr<const Handlers> handlers_ ABSL_GUARDED_BY(mutex_);
  std::unique_ptr<SocketLoop> loop_;
  std::map<std::string, std::shared_ptr<EventSocket>> sockets_;  // the loop thread's own
  std::map<std::string, std::string> last_why_;                  // the loop thread's own
  std::unique_ptr<AsyncHttpClient> async_;
};

}  // namespace
}  // namespace internal

absl::StatusOr<std::shared_ptr<AriConnections>> ConnectAri(AriOptions options) {
  using std::chrono::milliseconds;
  if (options.app.empty()) {
    return absl::InvalidArgumentError("app: is empty: name the Stasis application");
  }
  if (options.app.find(',') != std::string::npos) {
    return absl::InvalidArgumentError("app: holds a comma: name one Stasis application");
  }
  if (options.connect_timeout < milliseconds(10)) {
    return absl::InvalidArgumentError(absl::StrFormat("connect_timeout: is %d ms: use at least 10",
                                                      options.connect_timeout.count()));
  }
  if (options.reconnect_min < milliseconds(1) || options.reconnect_max < options.reconnect_min) {
    return absl::InvalidArgumentError(
        absl::StrFormat("reconnect_min, reconnect_max: are %d and %d ms: use 1 <= min <= max",
                        options.reconnect_min.count(), options.reconnect_max.count()));
  }
  if (!options.log) options.log = NullLogSink();
  if (!options.telemetry) options.telemetry = NullTelemetrySink();
  if (options.clock == nullptr) options.clock = &SystemClock();
  std::vector<AriInstanceOptions> instances = options.instances;
  for (AriInstanceOptions& instance : options.instances) instance.password.clear();
  // The last owner may let go inside a callback, on a thread of these connections, which cannot
  // join itself.
  std::shared_ptr<internal::Connections> connections(
      new internal::Connections(std::move(options)), [](internal::Connections* last) {
        if (last->OnOwnThread()) {
          std::thread([last] { delete last; }).detach();
        } else {
          delete last;
        }
      });
  ABSL_RETURN_IF_ERROR(connections->Start(std::move(instances)));
  return std::shared_ptr<AriConnections>(std::move(connections));
}

absl::Status AddAriInstance(AriConnections& connections, AriInstanceOptions instance) {
  return connections.Add(std::move(instance));
}

absl::Status RemoveAriInstance(AriConnections& connections, const std::string& name) {
  return connections.Remove(name);
}

}  // namespace sipheal::inline v0_1
