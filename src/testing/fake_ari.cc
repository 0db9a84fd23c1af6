// SPDX-License-Identifier: Apache-2.0
// A hand-made server, since the faults it must show (half an answer, a reset, a frozen process) are
// those that a server library takes care to prevent.
#include "sipheal/testing/fake_ari.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <libwebsockets.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <thread>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/mutex.h"
#include "base/thread.h"

namespace sipheal::inline v0_1::testing {
namespace {

using internal::Mutex;
using internal::MutexLock;
using nlohmann::json;
using Time = std::chrono::steady_clock::time_point;

std::string Base64(const std::string& text) {
  std::vector<char> out(text.size() * 2 + 8);
  lws_b64_encode_string(text.data(), static_cast<int>(text.size()), out.data(),
                        static_cast<int>(out.size()));
  return out.data();
}

std::string AcceptKey(const std::string& key) {
  const std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[20];
  lws_SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return Base64(std::string(reinterpret_cast<char*>(digest), sizeof digest));
}

std::string Frame(int opcode, const std::string& payload) {
  std::string frame(1, static_cast<char>(0x80 | opcode));
  const std::size_t size = payload.size();
  if (size < 126) {
    frame += static_cast<char>(size);
  } else if (size < 65536) {
    frame += static_cast<char>(126);
    frame += static_cast<char>(size >> 8);
    frame += static_cast<char>(size);
  } else {
    frame += static_cast<char>(127);
    for (int shift = 56; shift >= 0; shift -= 8) frame += static_cast<char>(size >> shift);
  }
  return frame + payload;
}

std::string Unescape(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::stoi(text.substr(i + 1, 2), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

struct Connection {
  int fd = -1;
  std::string in;
  std::string out;
  bool web_socket = false;
  bool close_after_out = false;
  bool reset = false;
  bool hung = false;
  // An answer that is held back.
  std::string later;
  Time later_at{};
};

}  // namespace

class FakeAri::Server {
 public:
  explicit Server(Options options) : options_(std::move(options)), life_(options_.life) {}

  absl::Status Start() {
    wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    reserved_ = Bind();
    if (reserved_ < 0 || !Listen()) {
      return absl::UnavailableError(
          absl::StrFormat("no port on 127.0.0.1: %s", std::strerror(errno)));
    }
    thread_ = internal::StartThread("fake-ari", [this] { Run(); });
    return absl::OkStatus();
  }

  ~Server() {
    if (thread_.joinable()) {
      stopping_ = true;
      Wake();
      thread_.join();
    }
    for (Connection& connection : connections_) close(connection.fd);
    if (listen_ >= 0) close(listen_);
    if (reserved_ >= 0) close(reserved_);
    close(wake_);
  }

  int port() const { return port_; }

  // Runs `change` on the server's state and waits until the loop has seen it.
  template <typename Change>
  void Do(Change change) {
    std::uint64_t turn = 0;
    {
      const MutexLock lock(mutex_);
      change();
      turn = turns_;
    }
    Wake();
    // A socket that was closed lives on in the kernel while the loop polls it.
    while (turns_ == turn) std::this_thread::yield();
  }
  template <typename Read>
  auto Get(Read read) const {
    const MutexLock lock(mutex_);
    return read();
  }

  // A socket on the server's port, which the first one chooses; -1 when there is none.
  int Bind() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
      close(fd);
      return -1;
    }
    socklen_t size = sizeof address;
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    return fd;
  }

  bool Listen() {
    listen_ = Bind();
    return listen_ >= 0 && listen(listen_, 64) == 0;
  }

  void CloseListener() {
    if (listen_ >= 0) close(std::exchange(listen_, -1));
  }

  void CloseAll(bool reset, bool web_sockets_only) {
    for (Connection& connection : connections_) {
      if (web_sockets_only && !connection.web_socket) continue;
      Close(connection, reset);
    }
    Sweep();
  }

  void Broadcast(const std::string& text) {
    for (Connection& connection : connections_) {
      if (connection.web_socket) {
        connection.out += Frame(1, text);
        Write(connection);
      }
    }
    Sweep();
  }

  json ChannelJson(const std::string& id) const {
    const auto found = channels_.find(id);
    return {{"id", id},
            {"name", "PJSIP/fake-" + id},
            {"state", found == channels_.end() ? "Down" : found->second},
            {"protocol_id", "call-" + id},
            {"dialplan", {{"app_name", "Stasis"}, {"app_data", ""}}}};
  }

  void Event(json event) {
    event["timestamp"] = "2026-01-01T00:00:01.000+0000";
    event["application"] = app_;
    Broadcast(event.dump());
  }

  std::map<std::string, std::string> channels_;  // id -> state
  std::vector<std::string> missing_;
  bool module_loaded_ = true;
  bool frozen_ = false;
  std::string life_value() const { return life_; }
  void set_life(std::string life) { life_ = std::move(life); }
  std::vector<Behaviour> behaviours_;
  std::function<std::optional<Answer>(const Request&)> handler_;
  std::vector<Request> requests_;
  std::vector<Connection> connections_;

 private:
  void Wake() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = write(wake_, &one, sizeof one);
  }

  void Run() {
    while (!stopping_) {
      std::vector<pollfd> fds{{wake_, POLLIN, 0}};
      int timeout = 1000;
      {
        const MutexLock lock(mutex_);
        if (!frozen_) {
          if (listen_ >= 0) fds.push_back({listen_, POLLIN, 0});
          for (const Connection& connection : connections_) {
            short events = connection.hung ? 0 : POLLIN;
            if (!connection.out.empty()) events |= POLLOUT;
            fds.push_back({connection.fd, events, 0});
            if (!connection.later.empty()) {
              const auto left = std::chrono::ceil<std::chrono::milliseconds>(
                  connection.later_at - std::chrono::steady_clock::now());
              timeout = std::clamp<int>(static_cast<int>(left.count()), 0, timeout);
            }
          }
        }
      }
      poll(fds.data(), fds.size(), timeout);
      std::uint64_t count;
      [[maybe_unused]] const auto got = read(wake_, &count, sizeof count);
      const MutexLock lock(mutex_);
      if (!frozen_) Serve();
      ++turns_;
    }
  }

  // All sockets are non-blocking, so it does not matter which of them poll named.
  void Serve() {
    if (listen_ >= 0) {
      for (int fd; (fd = accept4(listen_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
        Connection connection;
        connection.fd = fd;
        connections_.push_back(std::move(connection));
      }
    }
    for (std::size_t i = 0; i < connections_.size(); ++i) {
      Connection& connection = connections_[i];
      if (!connection.later.empty() && std::chrono::steady_clock::now() >= connection.later_at) {
        connection.out += std::exchange(connection.later, "");
      }
      char buffer[16384];
      ssize_t size = 0;
      while ((size = read(connection.fd, buffer, sizeof buffer)) > 0) {
        connection.in.append(buffer, static_cast<std::size_t>(size));
      }
      const bool ended = size == 0 || (size < 0 && errno != EAGAIN);
      if (connection.web_socket) {
        ReadFrames(connection);
      } else {
        ReadRequests(connection);
      }
      Write(connection);
      if (ended) Close(connection, false);
    }
    Sweep();
  }

  void Write(Connection& connection) {
    while (connection.fd >= 0 && !connection.out.empty()) {
      const ssize_t size =
          send(connection.fd, connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
      if (size <= 0) return;
      connection.out.erase(0, static_cast<std::size_t>(size));
    }
    if (connection.close_after_out) Close(connection, connection.reset);
  }

  static void Close(Connection& connection, bool reset) {
    if (connection.fd < 0) return;
    if (reset) {
      const linger now{1, 0};
      setsockopt(connection.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(std::exchange(connection.fd, -1));
  }

  void Sweep() {
    std::erase_if(connections_, [](const Connection& connection) { return connection.fd < 0; });
  }

  void ReadFrames(Connection& connection) {
    while (connection.in.size() >= 6) {
      const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(connection.in[i]); };
      const int opcode = byte(0) & 15;
      const std::size_t size = byte(1) & 127;  // clients send only short frames here
      if (size > 125) return Close(connection, true);
      if (connection.in.size() < 6 + size) return;
      std::string payload;
      for (std::size_t i = 0; i < size; ++i) {
        payload += static_cast<char>(byte(6 + i) ^ byte(2 + i % 4));
      }
      connection.in.erase(0, 6 + size);
      if (opcode == 9) connection.out += Frame(10, payload);
      if (opcode == 8) {
        connection.out += Frame(8, payload);
        connection.close_after_out = true;
      }
    }
  }

  void ReadRequests(Connection& connection) {
    while (!connection.hung && connection.later.empty() && !connection.web_socket &&
           !connection.close_after_out) {
      const std::size_t end = connection.in.find("\r\n\r\n");
      if (end == std::string::npos) return;
      const std::string head = connection.in.substr(0, end + 2);
      const std::string length = Header(head, "content-length");
      const std::size_t body_size = length.empty() ? 0 : std::stoul(length);
      if (connection.in.size() < end + 4 + body_size) return;
      Request request;
      request.body = connection.in.substr(end + 4, body_size);
      connection.in.erase(0, end + 4 + body_size);
      const std::size_t first = head.find(' ');
      const std::size_t second = head.find(' ', first + 1);
      request.method = head.substr(0, first);
      std::string target = head.substr(first + 1, second - first - 1);
      const std::size_t question = target.find('?');
      if (question != std::string::npos) {
        request.query = target.substr(question + 1);
        target.resize(question);
      }
      request.path = Unescape(target);
      request.authorization = Header(head, "authorization");
      requests_.push_back(request);
      const std::string key = Header(head, "sec-websocket-key");
      Serve(connection, request, key);
    }
  }

  static std::string Header(const std::string& head, const std::string& name) {
    std::string lower = head;
    std::transform(lower.begin(), lower.end(), lower.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    const std::size_t at = lower.find("\r\n" + name + ":");
    if (at == std::string::npos) return "";
    std::size_t begin = at + name.size() + 3;
    while (head[begin] == ' ') ++begin;
    return head.substr(begin, head.find("\r\n", begin) - begin);
  }

  void Serve(Connection& connection, const Request& request, const std::string& key) {
    Behaviour behaviour;
    for (const Behaviour& candidate : behaviours_) {
      if (request.path.rfind(candidate.path, 0) == 0) behaviour = candidate;
    }
    std::optional<Answer> answer = behaviour.answer;
    if (!answer && handler_) answer = handler_(request);
    const std::string expected = "Basic " + Base64(options_.user + ":" + options_.password);
    if (!answer && request.authorization != expected) {
      answer = Answer{401, R"({"message":"Authentication required"})"};
    }
    std::string out;
    if (!answer && request.path == "/ari/events" && !key.empty()) {
      out =
          "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          "Sec-WebSocket-Accept: " +
          AcceptKey(key) + "\r\n\r\n";
      app_ = request.query.substr(4, request.query.find('&') - 4);
    } else {
      if (!answer) answer = Usual(request);
      out = absl::StrFormat(
          "HTTP/1.1 %d Answer\r\nContent-Type: application/json\r\nContent-Length: "
          "%d\r\n\r\n%s",
          answer->status, answer->body.size(), answer->body);
    }
    switch (behaviour.fault) {
      case Fault::kNone:
        connection.web_socket = !answer;
        break;
      case Fault::kCut:
        out.resize(
            out.size() -
            std::min(out.size(), std::max<std::size_t>(answer ? answer->body.size() / 2 : 20, 1)));
        connection.close_after_out = true;
        break;
      case Fault::kReset:
        Close(connection, true);
        return;
      case Fault::kHang:
        connection.hung = true;
        return;
    }
    if (behaviour.delay.count() > 0) {
      connection.later = std::move(out);
      connection.later_at = std::chrono::steady_clock::now() + behaviour.delay;
    } else {
      connection.out += out;
    }
  }

  Answer Usual(const Request& request) {
    const std::string& path = request.path;
    if (path.rfind("/ari/applications/", 0) == 0) return {200, R"({"name":"sipheal"})"};
    if (path == "/ari/asterisk/info") {
      return {200, json{{"status", {{"startup_time", life_}, {"last_reload_time", life_}}}}.dump()};
    }
    if (path == "/ari/asterisk/modules/res_pjsip_recovery.so") {
      if (!module_loaded_) return {404, R"({"message":"Module not found"})"};
      return {200, json{{"name", "res_pjsip_recovery.so"}, {"status", "Running"}}.dump()};
    }
    if (path.rfind("/ari/asterisk/modules/", 0) == 0) {
      return {200, json{{"name", path.substr(22)}, {"status", "Running"}}.dump()};
    }
    if (path == "/ari/asterisk/variable") return {200, R"({"value":"4"})"};
    if (path.rfind("/ari/endpoints/PJSIP/", 0) == 0) {
      const std::string name = path.substr(21);
      if (std::find(missing_.begin(), missing_.end(), name) != missing_.end()) {
        return {404, R"({"message":"Endpoint not found"})"};
      }
      return {200, json{{"technology", "PJSIP"}, {"resource", name}, {"state", "online"}}.dump()};
    }
    if (path == "/ari/channels" && request.method == "GET") {
      json list = json::array();
      for (const auto& [id, state] : channels_) list.push_back(ChannelJson(id));
      return {200, list.dump()};
    }
    if (path == "/ari/channels" && request.method == "POST") return CreateChannel(request);
    if (path.rfind("/ari/channels/", 0) == 0) return OneChannel(request, path.substr(14));
    return {404, R"({"message":"Resource not found"})"};
  }

  Answer CreateChannel(const Request& request) {
    const json body = json::parse(request.body, nullptr, false);
    std::string id;
    if (body.is_object() && body.contains("channelId") && body["channelId"].is_string()) {
      id = body["channelId"].get<std::string>();
    } else if (const auto at = request.query.find("channelId="); at != std::string::npos) {
      id = Unescape(request.query.substr(at + 10, request.query.find('&', at) - at - 10));
    } else {
      return {400, R"({"message":"no channelId"})"};
    }
    if (!channels_.emplace(id, "Down").second) {
      return {409, R"({"message":"Channel with given unique ID already exists"})"};
    }
    Event({{"type", "ChannelCreated"}, {"channel", ChannelJson(id)}});
    return {200, ChannelJson(id).dump()};
  }

  Answer OneChannel(const Request& request, const std::string& rest) {
    const std::string id = rest.substr(0, rest.find('/'));
    if (channels_.count(id) == 0) return {404, R"({"message":"Channel not found"})"};
    if (rest != id) return {204, ""};  // a sub-resource
    if (request.method == "DELETE") {
      const json channel = ChannelJson(id);
      channels_.erase(id);
      Event({{"type", "ChannelDestroyed"},
             {"cause", 16},
             {"cause_txt", "Normal Clearing"},
             {"channel", channel}});
      return {204, ""};
    }
    return {200, ChannelJson(id).dump()};
  }

  const Options options_;
  std::string life_;
  std::string app_;
  int port_ = 0;
  // Bound and never listening: while the server is dead nobody else gets its port.
  int reserved_ = -1;
  int listen_ = -1;
  int wake_ = -1;
  std::atomic<bool> stopping_{false};
  std::atomic<std::uint64_t> turns_{0};
  mutable Mutex mutex_;
  std::thread thread_;
};

FakeAri::FakeAri(std::unique_ptr<Server> server) : server_(std::move(server)) {}
FakeAri::~FakeAri() = default;

absl::StatusOr<std::unique_ptr<FakeAri>> FakeAri::Start(Options options) {
  auto server = std::make_unique<Server>(std::move(options));
  if (absl::Status status = server->Start(); !status.ok()) return status;
  return std::unique_ptr<FakeAri>(new FakeAri(std::move(server)));
}

std::string FakeAri::url() const { return absl::StrFormat("http://127.0.0.1:%d", server_->port()); }

void FakeAri::Behave(Behaviour behaviour) {
  server_->Do([&] { server_->behaviours_.push_back(std::move(behaviour)); });
}

void FakeAri::ClearBehaviour() {
  server_->Do([&] { server_->behaviours_.clear(); });
}

void FakeAri::OnRequest(std::function<std::optional<Answer>(const Request&)> handler) {
  server_->Do([&] { server_->handler_ = std::move(handler); });
}

void FakeAri::SendEvent(const std::string& text) {
  server_->Do([&] { server_->Broadcast(text); });
}

void FakeAri::SetChannelState(const std::string& id, const std::string& state) {
  server_->Do([&] {
    server_->channels_[id] = state;
    server_->Event({{"type", "ChannelStateChange"}, {"channel", server_->ChannelJson(id)}});
    if (state == "Up") {
      server_->Event({{"type", "StasisStart"},
                      {"args", json::array()},
                      {"channel", server_->ChannelJson(id)}});
    }
  });
}

void FakeAri::DestroyChannel(const std::string& id, int cause, const std::string& cause_text) {
  server_->Do([&] {
    const json channel = server_->ChannelJson(id);
    server_->channels_.erase(id);
    server_->Event({{"type", "ChannelDestroyed"},
                    {"cause", cause},
                    {"cause_txt", cause_text},
                    {"channel", channel}});
  });
}

void FakeAri::SetChannelVariable(const std::string& id, const std::string& name,
                                 const std::string& value) {
  server_->Do([&] {
    server_->Event({{"type", "ChannelVarset"},
                    {"variable", name},
                    {"value", value},
                    {"channel", server_->ChannelJson(id)}});
  });
}

void FakeAri::SetChannelStateUnheard(const std::string& id, const std::string& state) {
  server_->Do([&] { server_->channels_[id] = state; });
}

void FakeAri::DestroyChannelUnheard(const std::string& id) {
  server_->Do([&] { server_->channels_.erase(id); });
}

void FakeAri::SetMissingEndpoint(const std::string& name) {
  server_->Do([&] { server_->missing_.push_back(name); });
}

void FakeAri::SetModuleLoaded(bool loaded) {
  server_->Do([&] { server_->module_loaded_ = loaded; });
}

void FakeAri::ResetEventSockets() {
  server_->Do([&] { server_->CloseAll(true, true); });
}

void FakeAri::CloseEventSockets() {
  server_->Do([&] { server_->CloseAll(false, true); });
}

void FakeAri::RefuseConnections(bool refuse) {
  server_->Do([&] {
    server_->CloseListener();
    if (!refuse) server_->Listen();
  });
}

void FakeAri::Freeze(bool frozen) {
  server_->Do([&] { server_->frozen_ = frozen; });
}

void FakeAri::Kill() {
  server_->Do([&] {
    server_->CloseListener();
    server_->CloseAll(true, false);
    server_->channels_.clear();
    server_->frozen_ = false;
  });
}

void FakeAri::Revive(const std::string& life) {
  server_->Do([&] {
    server_->set_life(life);
    server_->Listen();
  });
}

int FakeAri::event_sockets() const {
  return server_->Get([&] {
    return static_cast<int>(
        std::count_if(server_->connections_.begin(), server_->connections_.end(),
                      [](const auto& connection) { return connection.web_socket; }));
  });
}

std::vector<FakeAri::Request> FakeAri::requests() const {
  return server_->Get([&] { return server_->requests_; });
}

bool FakeAri::HasChannel(const std::string& id) const {
  return server_->Get([&] { return server_->channels_.count(id) != 0; });
}

bool FakeAri::WaitFor(const std::function<bool()>& condition, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace sipheal::inline v0_1::testing
