// SPDX-License-Identifier: Apache-2.0
// AriConnections: the event sockets and HTTP connections to every configured Asterisk, shared by
// the driver, the crash detector, the tracker and the flow resumer.
#pragma once

#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
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

  // The incarnation whose event socket is open now; empty when there is none.
  virtual std::optional<Incarnation> Connected(const std::string& instance) const = 0;
  // When anything was last received from the instance, over the event socket (pongs included) or
  // HTTP.
  virtual std::optional<MonotonicTime> LastHeard(const std::string& instance) const = 0;
  virtual std::vector<std::string> Instances() const = 0;
  virtual const AriOptions& options() const = 0;
};

}  // namespace sipheal::inline v0_1
