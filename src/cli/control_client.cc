// SPDX-License-Identifier: Apache-2.0
#include "cli/control_client.h"

#include <cerrno>
#include <cstring>

#include "absl/strings/cord.h"
#include "absl/strings/str_format.h"
#include "cli/control_server.h"
#include "cli/json_views.h"
#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {
namespace {

constexpr char kNoDaemon[] = "type.sipheal.dev/NoDaemon";
// A reply that is longer is no daemon's: `sessions` pages at 10,000 sessions.
constexpr std::size_t kMostReply = 64 << 20;

absl::Status NoDaemon(const std::string& socket, const std::string& why) {
  absl::Status status = absl::FailedPreconditionError(
      absl::StrFormat("no sipheal runs at %s: %s: start it with 'sipheal run --config FILE', or "
                      "name its socket with --socket",
                      socket, why));
  status.SetPayload(kNoDaemon, absl::Cord());
  return status;
}

absl::StatusCode CodeOf(const std::string& name) {
  for (int code = 1; code <= 16; ++code) {
    if (CodeName(static_cast<absl::StatusCode>(code)) == name) {
      return static_cast<absl::StatusCode>(code);
    }
  }
  return absl::StatusCode::kUnknown;
}

}  // namespace

bool IsNoDaemon(const absl::Status& status) { return status.GetPayload(kNoDaemon).has_value(); }

absl::StatusOr<nlohmann::ordered_json> AskDaemon(const std::string& socket,
                                                 const nlohmann::ordered_json& request,
                                                 std::chrono::milliseconds timeout) {
  FileDescriptor fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_un address = UnixAddress(socket);
  const timeval limit{.tv_sec = timeout.count() / 1000, .tv_usec = timeout.count() % 1000 * 1000};
  setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == EACCES || errno == EPERM) {
      return absl::PermissionDeniedError(absl::StrFormat(
          "the control socket %s is not open to this user: run the command as the user that runs "
          "sipheal, or as root",
          socket));
    }
    return NoDaemon(socket, std::strerror(errno));
  }
  const std::string line = Dump(request) + "\n";
  if (send(fd.get(), line.data(), line.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(line.size())) {
    return NoDaemon(socket, std::strerror(errno));
  }
  std::string reply;
  while (reply.empty() || reply.back() != '\n') {
    char buffer[16 * 1024];
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      return absl::DeadlineExceededError(absl::StrFormat(
          "the sipheal at %s did not answer within %d ms: see its log", socket, timeout.count()));
    }
    if (got <= 0) {
      return absl::UnavailableError(absl::StrFormat(
          "the sipheal at %s closed the connection without an answer: see its log", socket));
    }
    reply.append(buffer, static_cast<std::size_t>(got));
    if (reply.size() > kMostReply) {
      return absl::ResourceExhaustedError(absl::StrFormat("the reply of %s does not end", socket));
    }
  }
  const auto json = nlohmann::ordered_json::parse(reply, nullptr, false);
  if (!json.is_object() || !json.contains("ok") || !json["ok"].is_boolean()) {
    return absl::InternalError(
        absl::StrFormat("what answers at %s is no sipheal: see control.socket", socket));
  }
  if (json["ok"].get<bool>()) return json.value("result", nlohmann::ordered_json::object());
  const std::string code = json.contains("code") && json["code"].is_string()
                               ? json["code"].get<std::string>()
                               : "unknown";
  const std::string error = json.contains("error") && json["error"].is_string()
                                ? json["error"].get<std::string>()
                                : "no reason given";
  return absl::Status(CodeOf(code), error);
}

}  // namespace sipheal::inline v0_1::cli
