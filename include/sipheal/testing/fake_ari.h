// SPDX-License-Identifier: Apache-2.0
// FakeAri: an ARI server in this process for tests of faults that a real Asterisk cannot be made to
// show. It answers like an Asterisk with res_pjsip_recovery and no channels, keeps the channels
// that are posted to it, carries the event WebSocket, and does wrong on request. It listens on
// 127.0.0.1 at a free port and runs one thread.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/export.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe. All changes have taken effect when the method returns; none may be made from inside
// the OnRequest handler.
class SIPHEAL_EXPORT FakeAri {
 public:
  struct Options {
    std::string user = "sipheal";
    std::string password = "secret";
    std::string life = "2026-01-01T00:00:00.000+0000";  // status.startup_time
  };
  struct Request {
    std::string method;
    std::string path;   // "/ari/channels/x", unescaped
    std::string query;  // as sent
    std::string body;
    std::string authorization;
  };
  struct Answer {
    int status = 200;
    std::string body;
  };
  enum class Fault {
    kNone,
    kCut,    // half of the answer, then the connection is closed
    kReset,  // the connection is reset instead of an answer
    kHang,   // never answers
  };
  // What to do with requests whose path begins with `path`.
  struct Behaviour {
    std::string path = "/";
    Fault fault = Fault::kNone;
    std::optional<Answer> answer;        // instead of the usual one
    std::chrono::milliseconds delay{0};  // before it
  };

  static absl::StatusOr<std::unique_ptr<FakeAri>> Start(Options options);
  ~FakeAri();
  FakeAri(const FakeAri&) = delete;
  FakeAri& operator=(const FakeAri&) = delete;

  std::string url() const;  // "http://127.0.0.1:<port>"

  // The last behaviour set whose path fits wins. Clear: all usual again.
  void Behave(Behaviour behaviour);
  void ClearBehaviour();
  // Sees every request first, on the fake's thread; nullopt leaves it to the fake.
  void OnRequest(std::function<std::optional<Answer>(const Request&)> handler);

  // Sends a text to every open event socket; whatever it is, it is sent.
  void SendEvent(const std::string& text);
  // Changes a channel as Asterisk would, and sends the events of it. State: "Ring", "Up", ...
  void SetChannelState(const std::string& id, const std::string& state);
  void DestroyChannel(const std::string& id, int cause, const std::string& cause_text);
  void SetChannelVariable(const std::string& id, const std::string& name, const std::string& value);
  // The same without events: what happened while nobody listened.
  void SetChannelStateUnheard(const std::string& id, const std::string& state);
  void DestroyChannelUnheard(const std::string& id);
  void SetMissingEndpoint(const std::string& name);
  void SetModuleLoaded(bool loaded);

  void ResetEventSockets();      // TCP reset
  void CloseEventSockets();      // a proper close
  void RefuseConnections(bool);  // the port is closed to new connections
  // Like SIGSTOP: the kernel accepts connections, the server reads and answers nothing. Lifted, it
  // answers what came in the meantime.
  void Freeze(bool);
  // Like SIGKILL: all sockets closed, the port refused, channels gone.
  void Kill();
  // The next life, at the same port.
  void Revive(const std::string& life);

  int event_sockets() const;
  std::vector<Request> requests() const;
  bool HasChannel(const std::string& id) const;
  // Waits until `condition` holds; false when it does not within `timeout`.
  static bool WaitFor(const std::function<bool()>& condition,
                      std::chrono::milliseconds timeout = std::chrono::seconds(5));

 private:
  class Server;
  explicit FakeAri(std::unique_ptr<Server> server);
  std::unique_ptr<Server> server_;
};

}  // namespace sipheal::inline v0_1::testing
