// SPDX-License-Identifier: Apache-2.0
// The control socket of a running daemon: a Unix socket on which each line is a JSON request and
// gets one line of JSON as reply, {"ok":true,"result":...} or {"ok":false,"code":...,"error":...}.
#pragma once

#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace sipheal::inline v0_1::cli {

// Answers one request, an object with a text "command". Called on the server's thread, one at a
// time.
using ControlHandler =
    std::function<absl::StatusOr<nlohmann::ordered_json>(const nlohmann::json& request)>;

class ControlServer {
 public:
  static constexpr std::size_t kMostRequest = 64 * 1024;
  static constexpr std::size_t kMostConnections = 32;

  virtual ~ControlServer();

  // Makes the socket with mode 0600, begins to serve. Only this user and root are answered. A
  // socket that a dead process left is replaced; AlreadyExists when a live one answers there.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Listen(const std::string& path,
                                                               ControlHandler handler);

 protected:
  ControlServer() = default;
};

// "not_found", "unavailable", ...: the codes of the replies.
std::string CodeName(absl::StatusCode code);

}  // namespace sipheal::inline v0_1::cli
