// SPDX-License-Identifier: Apache-2.0
// AriConnections: the event sockets and HTTP connections to every configured Asterisk, shared by
// the driver, the crash detector, the tracker and the flow resumer.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/base/call_context.h"
#include "sipheal/model/incarnation.h"

namespace sipheal::inline v0_1 {

namespace internal {

// Hears what happens on the event sockets. Called on the socket thread, in order for each instance:
// it must be quick, and must not make HTTP requests there. All time stamps are those of arrival.
class AriEventHandler {
 public:
  virtual ~AriEventHandler() = default;
  // The event socket of this incarnation is open and the application registered. State must be read
  // anew.
  virtual void OnConnected(const Incarnation& incarnation) = 0;
  // The event socket closed, or could not be opened (then `incarnation.life` is empty).
  virtual void OnDisconnected(const Incarnation& incarnation, const absl::Status& why) = 0;
  // One ARI event, already parsed; `event["type"]` is a string.
  virtual void OnEvent(const Incarnation& incarnation, const nlohmann::json& event,
                       WallTime at) = 0;
};

struct AriReply {
  int http_status = 0;
  std::string body;  // JSON text as the server sent it; may be empty (204)
};

// `status.startup_time` of the answer to GET /ari/asterisk/info: what tells one life of an Asterisk
// from another. Says what is wrong with an answer that is none: 401 is Unauthenticated, 403
// PermissionDenied, 404 NotFound, anything else Unavailable.
absl::StatusOr<std::string> ParseLife(const AriInstanceOptions& instance, const AriReply& reply);
inline constexpr char kLifePath[] = "/ari/asterisk/info?only=status";

// Escapes one path segment or query value (RFC 3986: all but unreserved characters).
std::string EscapeUri(std::string_view text);

}  // namespace internal

class AriConnections {
 public:
  virtual ~AriConnections() = default;

  // Handlers are held weakly: one that is gone is no longer called.
  virtual void AddHandler(std::weak_ptr<internal::AriEventHandler> handler) = 0;

  // One request: `path` begins with "/ari/" and is escaped already. Any HTTP status is OK; a server
  // that cannot be reached is Unavailable, a request cut in mid-answer too. Blocks; thread-safe.
  virtual absl::StatusOr<internal::AriReply> Request(const CallContext& ctx,
                                                     const std::string& instance,
                                                     const std::string& method,
                                                     const std::string& path,
                                                     const std::string& json_body) = 0;

  // The same without waiting: `done` is called once, on the HTTP thread, and must be quick.
  // Requests of several instances do not wait for each other.
  using Done = std::function<void(absl::StatusOr<internal::AriReply>)>;
  virtual void RequestAsync(const std::string& instance, const std::string& method,
                            const std::string& path, const std::string& json_body,
                            std::chrono::milliseconds timeout, Done done) = 0;

  // Asks for a sign of life on the event socket: a WebSocket ping, whose pong renews LastHeard.
  // False when no event socket is open.
  virtual bool Ping(const std::string& instance) = 0;
  // When the socket thread last looked at its sockets. While this lags behind, what the servers
  // said may lie unread: their silence then means nothing. Each Ping makes the thread come round.
  virtual MonotonicTime SocketThreadTurn() const = 0;

  // The incarnation whose event socket is open now; empty when there is none.
  virtual std::optional<Incarnation> Connected(const std::string& instance) const = 0;
  // When anything was last received from the instance, over the event socket (pongs included) or
  // HTTP.
  virtual std::optional<MonotonicTime> LastHeard(const std::string& instance) const = 0;
  virtual std::vector<std::string> Instances() const = 0;
  // Passwords are not in it. Its `instances` are those of the start: see Instances().
  virtual const AriOptions& options() const = 0;
  // The options of one instance, without its password.
  virtual std::optional<AriInstanceOptions> Instance(const std::string& name) const = 0;

  virtual absl::Status Add(AriInstanceOptions instance) = 0;
  virtual absl::Status Remove(const std::string& name) = 0;
};

}  // namespace sipheal::inline v0_1
