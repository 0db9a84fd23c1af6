// SPDX-License-Identifier: Apache-2.0
// A hand-made server, since the faults it must show (half an answer, none at all, a frozen process)
// are those that a server library takes care to prevent. What it answers is written after
// homer-app's controller/v1/search.go and data/service/search.go, and HOMER 11's handlers.
#include "sipheal/testing/fake_homer.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/thread.h"
#include "sipheal/sip/message_view.h"

namespace sipheal::inline v0_1::testing {
namespace {

using nlohmann::json;

constexpr std::size_t kLargestRequest = 16u << 20;
// How much wider homer-app's default rules look for what belongs to a call.
constexpr std::int64_t kWiderBefore = 300, kWiderAfter = 200;

struct Reply {
  int status = 201;
  std::string body;
};

struct HttpRequest {
  std::string method, path, body, authorization, token, content_type;
};

bool SameName(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) ==
                  std::tolower(static_cast<unsigned char>(y));
         });
}

bool SendAll(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

// One request from a keep-alive connection; `in` keeps what is read too much.
std::optional<HttpRequest> ReadRequest(int fd, std::string& in) {
  const auto more = [&] {
    char buffer[65536];
    const ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got <= 0 || in.size() > kLargestRequest) return false;
    in.append(buffer, static_cast<std::size_t>(got));
    return true;
  };
  std::size_t end;
  while ((end = in.find("\r\n\r\n")) == in.npos) {
    if (!more()) return std::nullopt;
  }
  HttpRequest request;
  std::size_t length = 0;
  const std::string head = in.substr(0, end + 2);
  const std::size_t line_end = head.find("\r\n");
  const std::size_t space = head.find(' ');
  request.method = head.substr(0, space);
  request.path = head.substr(space + 1, head.find(' ', space + 1) - space - 1);
  for (std::size_t at = line_end + 2; at < head.size();) {
    const std::size_t next = head.find("\r\n", at);
    const std::size_t colon = head.find(':', at);
    if (colon < next) {
      const std::string name = head.substr(at, colon - at);
      std::size_t begin = colon + 1;
      while (begin < next && head[begin] == ' ') ++begin;
      const std::string value = head.substr(begin, next - begin);
      if (SameName(name, "content-length")) length = std::strtoul(value.c_str(), nullptr, 10);
      if (SameName(name, "authorization")) request.authorization = value;
      if (SameName(name, "auth-token")) request.token = value;
      if (SameName(name, "content-type")) request.content_type = value;
    }
    at = next + 2;
  }
  if (length > kLargestRequest) return std::nullopt;
  while (in.size() < end + 4 + length) {
    if (!more()) return std::nullopt;
  }
  request.body = in.substr(end + 4, length);
  in.erase(0, end + 4 + length);
  return request;
}

// NUL and what is not UTF-8 never reach HOMER's database; invalid bytes are replaced here.
std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

Reply Error(int status, const std::string& message) {
  return {status, Dump({{"data", json::object()}, {"message", message}})};
}

// How a method is filed by heplify-server (decoder/sip.go).
std::string ProfileOf(const std::string& method) {
  static const std::set<std::string> calls = {"INVITE", "ACK",   "BYE",  "CANCEL", "UPDATE",
                                              "PRACK",  "REFER", "INFO", "NOTIFY"};
  if (method == "REGISTER") return "1_registration";
  return calls.contains(method) ? "1_call" : "1_default";
}

}  // namespace

class FakeHomer::Server {
 public:
  explicit Server(Options options) : options_(std::move(options)), random_(options_.seed) {}

  ~Server() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      CloseAll();
    }
    changed_.notify_all();
    if (acceptor_.joinable()) acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    if (reserved_ >= 0) close(reserved_);
  }

  absl::Status Start() {
    reserved_ = Bind();
    const std::lock_guard lock(mutex_);
    if (reserved_ < 0 || !Listen()) {
      return absl::UnavailableError(
          absl::StrFormat("no port on 127.0.0.1: %s", std::strerror(errno)));
    }
    acceptor_ = internal::StartThread("fake-homer", [this] { Accept(); });
    return absl::OkStatus();
  }

  int port() const { return port_; }

  void Add(Row row) {
    sip::MessageView view;
    if (view.Parse(row.message.bytes).ok()) {
      if (row.sid.empty()) row.sid = view.call_id();
      if (row.profile.empty()) row.profile = ProfileOf(std::string(view.method_text()));
    }
    if (row.profile.empty()) row.profile = absl::StrFormat("%d_default", row.payload_type);
    if (row.correlation_id.empty()) row.correlation_id = row.sid;
    const std::lock_guard lock(mutex_);
    Stored& stored = rows_.emplace_back(Stored{std::move(row), next_id_++, "", ""});
    by_sid_[stored.row.sid].push_back(&stored);
    by_correlation_[stored.row.correlation_id].push_back(&stored);
    // Written once: what a test waits for is the client.
    stored.message = Dump(ToJson(stored));
    stored.calldata = Dump({{"id", stored.id},
                            {"sid", stored.row.sid},
                            {"srcIp", stored.row.message.source.ip.ToString()},
                            {"dstIp", stored.row.message.destination.ip.ToString()}});
  }
  void Clear() {
    const std::lock_guard lock(mutex_);
    by_sid_.clear();
    by_correlation_.clear();
    rows_.clear();
  }
  void Fail(Fault fault, int times) {
    const std::lock_guard lock(mutex_);
    fault_ = fault;
    fault_times_ = times;
  }
  void Delay(std::chrono::milliseconds delay) {
    const std::lock_guard lock(mutex_);
    delay_ = delay;
  }
  void AnswerWith(std::string body) {
    const std::lock_guard lock(mutex_);
    canned_ = std::make_shared<const std::string>(std::move(body));
  }
  void ForgetLogins() {
    const std::lock_guard lock(mutex_);
    ++secret_;
  }
  void RefuseConnections(bool refuse) {
    std::unique_lock lock(mutex_);
    if (refuse) {
      CloseAll();
    } else if (listener_ < 0) {
      Listen();
    }
    changed_.notify_all();
  }
  void Freeze(bool freeze) {
    const std::lock_guard lock(mutex_);
    frozen_ = freeze;
    changed_.notify_all();
  }
  int logins() const {
    const std::lock_guard lock(mutex_);
    return logins_;
  }
  int questions() const {
    const std::lock_guard lock(mutex_);
    return questions_;
  }
  int connections() const {
    const std::lock_guard lock(mutex_);
    return accepted_;
  }
  std::vector<Request> requests() const {
    const std::lock_guard lock(mutex_);
    return requests_;
  }

 private:
  struct Stored {
    Row row;
    std::int64_t id;
    std::string message, calldata;  // as they stand in an answer
  };
  using Index = std::unordered_map<std::string, std::vector<const Stored*>>;

  // A socket at the port that all of this server's have; a new one at first.
  int Bind() {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port_));
    socklen_t size = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) {
      close(fd);
      return -1;
    }
    getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    return fd;
  }
  bool Listen() {
    listener_ = Bind();
    return listener_ >= 0 && listen(listener_, 64) == 0;
  }
  // The threads that read from them close them.
  void CloseAll() {
    if (listener_ >= 0) {
      shutdown(listener_, SHUT_RDWR);
      close(listener_);
      listener_ = -1;
    }
    for (const int fd : open_) Reset(fd);
  }
  static void Reset(int fd) {
    const linger now{1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    shutdown(fd, SHUT_RDWR);
  }

  void Accept() {
    for (;;) {
      int listener = -1;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [&] { return stopping_ || listener_ >= 0; });
        if (stopping_) return;
        listener = dup(listener_);
      }
      pollfd ready{listener, POLLIN, 0};
      poll(&ready, 1, 50);
      const int fd =
          (ready.revents & POLLIN) != 0 ? accept4(listener, nullptr, nullptr, SOCK_CLOEXEC) : -1;
      close(listener);
      const std::lock_guard lock(mutex_);
      if (fd < 0) continue;
      if (stopping_ || listener_ < 0) {
        Reset(fd);
        close(fd);
        continue;
      }
      const int on = 1;  // or an answer in two pieces waits for the peer's delayed acknowledgement
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      ++accepted_;
      open_.insert(fd);
      threads_.push_back(internal::StartThread("fake-homer", [this, fd] { Serve(fd); }));
    }
  }

  void Serve(int fd) {
    std::string in;
    while (const auto request = ReadRequest(fd, in)) {
      if (!Answer(fd, *request)) break;
    }
    const std::lock_guard lock(mutex_);
    open_.erase(fd);
    close(fd);
  }

  // False: the connection ends.
  bool Answer(int fd, const HttpRequest& request) {
    std::optional<Reply> reply;
    std::shared_ptr<const std::string> canned;
    Fault fault = Fault::kNone;
    {
      std::unique_lock lock(mutex_);
      requests_.push_back({request.method, request.path, request.body});
      const auto until = std::chrono::steady_clock::now() + delay_;
      changed_.wait_until(lock, until, [&] { return stopping_; });
      changed_.wait(lock, [&] { return stopping_ || !frozen_; });
      if (stopping_) return false;
      const bool question = request.path == "/api/v3/call/transaction" ||
                            request.path == "/api/v4/transactions/messages";
      if (question && fault_ != Fault::kNone && fault_times_ != 0) {
        fault = fault_;
        if (fault_times_ > 0) --fault_times_;
      }
      if (fault == Fault::kNoReply) return false;
      reply = Handle(request, fault);
      if (question) ++questions_;
      if (question && canned_ != nullptr) canned = canned_;
    }
    if (!reply) return false;  // a panic of homer-app's
    switch (fault) {
      case Fault::kServerError:
        *reply = Error(500, "database is gone");
        break;
      case Fault::kBadJson:
        reply->body = "{\"data\":{\"messages\":[{\"raw\":\"INVITE\",}]}}";
        break;
      case Fault::kWrongForm:
        reply->body = "{\"status\":\"ok\"}";
        break;
      default:
        break;
    }
    const std::string& body = canned != nullptr ? *canned : reply->body;
    const std::string head = absl::StrFormat(
        "HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
        reply->status, body.size());
    if (!SendAll(fd, head)) return false;
    if (fault == Fault::kCut) {
      SendAll(fd, std::string_view(body).substr(0, body.size() / 2));
      return false;
    }
    return SendAll(fd, body);
  }

  std::string Jwt() const { return absl::StrFormat("eyJ.%d.%s", secret_, options_.user); }

  // Nothing: homer-app panics.
  std::optional<Reply> Handle(const HttpRequest& request, Fault fault) {
    const bool v11 = options_.version == Version::kHomer11;
    const std::string login = v11 ? "/api/v4/auth/sessions" : "/api/v3/auth";
    if (request.path == login) return LogIn(request, v11);
    if (request.path == "/api/v3/auth") return Reply{404, R"({"message":"Not Found"})"};
    if (request.token != options_.token && request.authorization != "Bearer " + Jwt()) {
      const bool none = request.token.empty() && request.authorization.empty();
      return Reply{
          401, Dump({{"message", none ? "missing or malformed jwt" : "invalid or expired jwt"}})};
    }
    if (v11) return HandleV4(request);
    if (request.path == "/api/v3/mapping/protocol") return Reply{200, R"({"count":0,"data":[]})"};
    const bool transaction = request.path == "/api/v3/call/transaction";
    if (!transaction && request.path != "/api/v3/search/call/data") {
      return Reply{404, R"({"message":"Not Found"})"};
    }
    const json body = json::parse(request.body, nullptr, false);
    if (request.content_type.rfind("application/json", 0) != 0 || !body.is_object()) {
      return Error(400, "request format is not correct");
    }
    const json search = body.value("/param/search"_json_pointer, json());
    const json from = body.value("/timestamp/from"_json_pointer, json());
    const json to = body.value("/timestamp/to"_json_pointer, json());
    if (!search.is_object() || !from.is_number_integer() || !to.is_number_integer()) {
      return Error(400, "request format is not correct");
    }
    if (search.empty()) return std::nullopt;
    // Of several tables one is read: which, is up to the order of a Go map.
    auto chosen = search.begin();
    std::advance(chosen, random_() % search.size());
    static const std::set<std::string> seeded = {"1_call", "1_registration", "1_default",
                                                 "100_default", "2000_default"};
    if (options_.version == Version::kHomerApp1_5_20 && !seeded.contains(chosen.key())) {
      return Error(400, "invalid search profile key: \"" + chosen.key() + "\"");
    }
    const std::int64_t first = from.get<std::int64_t>() / 1000,
                       last = to.get<std::int64_t>() / 1000;
    if (!transaction) return Discover(chosen.key(), first, last, fault);
    if (!chosen.value().is_object() || !chosen.value().contains("callid") ||
        !chosen.value()["callid"].is_array()) {
      return std::nullopt;
    }
    // Those of all tables are put together.
    std::set<std::string> call_ids;
    for (const json& table : search) {
      for (const json& call_id : table.value("callid", json::array())) {
        if (call_id.is_string()) call_ids.insert(call_id.get<std::string>());
      }
    }
    return Transaction(chosen.key(), call_ids, first, last, fault);
  }

  Reply LogIn(const HttpRequest& request, bool v11) {
    const json body = json::parse(request.body, nullptr, false);
    if (!body.is_object()) return Error(400, "request format is not correct");
    if (body.value("username", "") != options_.user ||
        body.value("password", "") != options_.password) {
      return {401, Dump({{"statuscode", 401},
                         {"error", "Unauthorized"},
                         {"message", "incorrect password"}})};
    }
    ++logins_;
    json answer = {{"token", Jwt()},
                   {"scope", "6b0b1f0e-0000-4000-8000-000000000001"},
                   {"user", {{"admin", true}}}};
    if (v11) answer = {{"data", answer}, {"meta", json::object()}};
    return {201, Dump(answer)};
  }

  bool IsVisible(const Stored& stored) const { return stored.row.after_questions <= questions_; }
  static std::int64_t Microseconds(const Row& row) {
    return row.message.time.time_since_epoch().count();
  }

  // Inclusive at both ends, of times that were cut to seconds.
  static bool IsWithin(const Row& row, std::int64_t first, std::int64_t last) {
    const std::int64_t us = Microseconds(row);
    return us >= first * 1'000'000 && us <= last * 1'000'000;
  }

  Reply Transaction(const std::string& profile, const std::set<std::string>& call_ids,
                    std::int64_t first, std::int64_t last, Fault fault) {
    std::vector<const Stored*> found;
    for (const std::string& call_id : call_ids) {
      for (const Stored* stored : Of(by_sid_, call_id)) {
        if (fault != Fault::kNoRows && IsVisible(*stored) && stored->row.profile == profile &&
            IsWithin(stored->row, first, last)) {
          found.push_back(stored);
        }
      }
    }
    if (!found.empty() && profile == "1_call") Correlate(found, first, last);
    std::shuffle(found.begin(), found.end(), random_);
    std::sort(found.begin(), found.end(), [](const Stored* a, const Stored* b) {
      return Microseconds(a->row) < Microseconds(b->row);
    });
    std::string messages, calldata;
    for (const Stored* stored : found) {
      (messages += messages.empty() ? "" : ",") += stored->message;
      (calldata += calldata.empty() ? "" : ",") += stored->calldata;
    }
    return {201, R"({"data":{"alias":{},"calldata":[)" + calldata + R"(],"hosts":{},"messages":[)" +
                     messages + R"(]},"keys":)" + (found.empty() ? "[]" : R"(["id","sid","raw"])") +
                     absl::StrFormat(",\"total\":%d}", found.size())};
  }

  // The rules that homer-app is seeded with: reports and logs of the calls found, and other legs.
  void Correlate(std::vector<const Stored*>& found, std::int64_t first, std::int64_t last) {
    std::set<const Stored*> have(found.begin(), found.end());
    const std::vector<const Stored*> begin = found;
    const auto add = [&](const Stored* stored, bool wanted) {
      if (wanted && IsVisible(*stored) &&
          IsWithin(stored->row, first - kWiderBefore, last + kWiderAfter) &&
          have.insert(stored).second) {
        found.push_back(stored);
      }
    };
    for (const Stored* one : begin) {
      for (const Stored* other : Of(by_sid_, one->row.sid)) {
        add(other, other->row.profile == "100_default" || other->row.profile == "5_default");
      }
      for (const Stored* other : Of(by_sid_, one->row.correlation_id)) {
        add(other, other->row.profile == "1_call");
      }
      for (const Stored* other : Of(by_correlation_, one->row.sid)) {
        add(other, other->row.profile == "1_call");
      }
    }
  }

  static const std::vector<const Stored*>& Of(const Index& index, const std::string& key) {
    static const std::vector<const Stored*> none;
    const auto found = index.find(key);
    return found != index.end() ? found->second : none;
  }

  json ToJson(const Stored& stored) const {
    const Row& row = stored.row;
    const sip::CapturedMessage& message = row.message;
    const std::int64_t us = Microseconds(row);
    std::string raw = message.bytes;
    std::erase(raw, '\0');
    const bool old = options_.version == Version::kHomerApp1_5_15;
    return {{"id", stored.id},
            {"sid", row.sid},
            {"profile", row.profile},
            {"node", "localnode"},
            {"dbnode", "localnode"},
            {"raw", raw},
            {"create_date", us / 1000},
            {"create_ts", us / 1000},
            {"micro_ts", old ? us / 1000 : us},
            {"protocolFamily", message.source.ip.is_v6() ? 10 : 2},
            {"protocol", ProtocolOf(message.transport)},
            {"srcIp", message.source.ip.ToString()},
            {"srcPort", message.source.port},
            {"dstIp", message.destination.ip.ToString()},
            {"dstPort", message.destination.port},
            {"timeSeconds", us / 1'000'000},
            {"timeUseconds", us % 1'000'000},
            {"payloadType", row.payload_type},
            {"captureId", message.agent},
            {"capturePass", "fake-capture-pass"},
            {"correlation_id", row.correlation_id},
            {"callid", row.sid},
            {"cseq", "1 INVITE"},
            {"from_user", "phone"},
            {"to_user", "100"}};
  }

  static int ProtocolOf(sip::Transport transport) {
    if (transport == sip::Transport::kUdp) return 17;
    return transport == sip::Transport::kTcp ? 6 : 22;
  }

  Reply Discover(const std::string& profile, std::int64_t first, std::int64_t last, Fault fault) {
    json rows = json::array();
    for (const Stored& stored : rows_) {
      const bool failed =
          fault == Fault::kNoRows || (fault_ == Fault::kNoRows && fault_times_ != 0);
      if (failed || !rows.empty() || !IsVisible(stored) || stored.row.profile != profile ||
          !IsWithin(stored.row, first, last)) {
        continue;
      }
      json row = ToJson(stored);
      row.erase("raw");
      rows.push_back(std::move(row));
    }
    return {201, Dump({{"total", rows.size()}, {"data", rows}, {"keys", json::array()}})};
  }

  // src/coordinator/handlers/transactions_v4.go of HOMER 11.
  Reply HandleV4(const HttpRequest& request) {
    const auto error = [](int status, const char* title, const char* detail) -> Reply {
      return {status, Dump({{"error",
                             {{"type", "about:blank"},
                              {"title", title},
                              {"status", status},
                              {"detail", detail}}}})};
    };
    if (request.path == "/api/v3/call/transaction") {
      return {400, R"({"success":false,"error":"callid is required"})"};
    }
    if (request.path != "/api/v4/transactions/messages") {
      return error(404, "Not Found", "no such path");
    }
    const json body = json::parse(request.body, nullptr, false);
    const json ids = body.is_object() ? body.value("session_ids", json::array()) : json();
    if (!ids.is_array() || ids.empty()) {
      return error(400, "Bad Request", "session_id or non-empty session_ids is required");
    }
    std::set<std::string> call_ids;
    for (const json& id : ids) {
      if (call_ids.size() < 50 && id.is_string()) call_ids.insert(id.get<std::string>());
    }
    const std::string profile = "1_" + body.value("event_type", "call");
    const std::int64_t from = body.value("/timestamp/from"_json_pointer, std::int64_t{0});
    const std::int64_t to = body.value("/timestamp/to"_json_pointer, std::int64_t{0});
    json items;  // null when there is none: a Go slice that was never made
    for (const Stored& stored : rows_) {
      const Row& row = stored.row;
      const std::int64_t us = Microseconds(row);
      if (!IsVisible(stored) || row.profile != profile || !call_ids.contains(row.sid) ||
          us < from * 1000 || us > to * 1000) {
        continue;
      }
      const std::time_t seconds = static_cast<std::time_t>(us / 1'000'000);
      std::tm utc{};
      gmtime_r(&seconds, &utc);
      char text[32];
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc);
      items.push_back({{"uuid", absl::StrFormat("00000000-0000-4000-8000-%012d", stored.id)},
                       {"timestamp", absl::StrFormat("%s.%06dZ", text, us % 1'000'000)},
                       {"session_id", row.sid},
                       {"src_ip", row.message.source.ip.ToString()},
                       {"dst_ip", row.message.destination.ip.ToString()},
                       {"src_port", row.message.source.port},
                       {"dst_port", row.message.destination.port},
                       {"protocol", ProtocolOf(row.message.transport)},
                       {"node_id", row.message.agent},
                       {"cid", row.correlation_id},
                       {"payload", row.message.bytes}});
    }
    return {200, Dump({{"data", {{"items", items}}}, {"meta", json::object()}})};
  }

  const Options options_;
  std::mt19937 random_;
  int port_ = 0;
  int reserved_ = -1;
  std::thread acceptor_;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  int listener_ = -1;
  std::set<int> open_;
  std::vector<std::thread> threads_;
  std::deque<Stored> rows_;  // which stay where they are
  Index by_sid_;
  Index by_correlation_;
  std::int64_t next_id_ = 1;
  Fault fault_ = Fault::kNone;
  int fault_times_ = -1;
  std::chrono::milliseconds delay_{0};
  std::shared_ptr<const std::string> canned_;
  int secret_ = 0;
  int logins_ = 0;
  int questions_ = 0;
  int accepted_ = 0;
  bool frozen_ = false;
  bool stopping_ = false;
  std::vector<Request> requests_;
};

absl::StatusOr<std::unique_ptr<FakeHomer>> FakeHomer::Start(Options options) {
  auto server = std::make_unique<Server>(std::move(options));
  if (const absl::Status started = server->Start(); !started.ok()) return started;
  return std::unique_ptr<FakeHomer>(new FakeHomer(std::move(server)));
}

FakeHomer::FakeHomer(std::unique_ptr<Server> server) : server_(std::move(server)) {}
FakeHomer::~FakeHomer() = default;

std::string FakeHomer::url() const { return absl::StrFormat("http://127.0.0.1:%d", port()); }
int FakeHomer::port() const { return server_->port(); }
void FakeHomer::Add(Row row) { server_->Add(std::move(row)); }
void FakeHomer::Clear() { server_->Clear(); }
void FakeHomer::Fail(Fault fault, int times) { server_->Fail(fault, times); }
void FakeHomer::Delay(std::chrono::milliseconds delay) { server_->Delay(delay); }
void FakeHomer::AnswerWith(std::string body) { server_->AnswerWith(std::move(body)); }
void FakeHomer::ForgetLogins() { server_->ForgetLogins(); }
void FakeHomer::RefuseConnections(bool refuse) { server_->RefuseConnections(refuse); }
void FakeHomer::Freeze(bool freeze) { server_->Freeze(freeze); }
int FakeHomer::logins() const { return server_->logins(); }
int FakeHomer::questions() const { return server_->questions(); }
int FakeHomer::connections() const { return server_->connections(); }
std::vector<FakeHomer::Request> FakeHomer::requests() const { return server_->requests(); }

}  // namespace sipheal::inline v0_1::testing
