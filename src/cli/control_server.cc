// SPDX-License-Identifier: Apache-2.0
#include "cli/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <list>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "cli/json_views.h"
#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Connection {
  FileDescriptor fd;
  std::string in;
  std::string out;
  bool closing = false;  // after `out` is sent
};

Json Refusal(const absl::Status& status) {
  Json reply;
  reply["ok"] = false;
  reply["code"] = CodeName(status.code());
  reply["error"] = std::string(status.message());
  return reply;
}

bool FromUs(int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
         (peer.uid == geteuid() || peer.uid == 0);
}

class Server final : public ControlServer {
 public:
  Server(FileDescriptor listener, FileDescriptor wake_read, FileDescriptor wake_write,
         std::string path, ControlHandler handler)
      : listener_(std::move(listener)),
        wake_read_(std::move(wake_read)),
        wake_write_(std::move(wake_write)),
        path_(std::move(path)),
        handler_(std::move(handler)),
        thread_([this](const std::stop_token& stop) { Run(stop); }) {}

  ~Server() override {
    thread_.request_stop();
    const char byte = 0;
    // Cannot fail in a way that matters: a full pipe wakes the thread, too.
    [[maybe_unused]] const ssize_t written = write(wake_write_.get(), &byte, 1);
    thread_.join();
    unlink(path_.c_str());
  }

 private:
  void Run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
      std::vector<pollfd> fds;
      fds.push_back({.fd = wake_read_.get(), .events = POLLIN, .revents = 0});
      const bool room = connections_.size() < kMostConnections;
      fds.push_back({.fd = room ? listener_.get() : -1, .events = POLLIN, .revents = 0});
      for (const Connection& connection : connections_) {
        const short events = connection.out.empty() ? POLLIN : POLLOUT;
        fds.push_back({.fd = connection.fd.get(), .events = events, .revents = 0});
      }
      if (poll(fds.data(), fds.size(), -1) < 0) continue;
      std::size_t i = 2;
      for (auto it = connections_.begin(); it != connections_.end(); ++i) {
        const bool keep = fds[i].revents == 0 || Serve(*it);
        it = keep ? std::next(it) : connections_.erase(it);
      }
      if ((fds[1].revents & POLLIN) != 0) Accept();
    }
  }

  void Accept() {
    FileDescriptor fd(accept4(listener_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd || !FromUs(fd.get())) return;
    connections_.push_back({.fd = std::move(fd), .in = {}, .out = {}});
  }

  // False when the connection is over.
  bool Serve(Connection& connection) {
    if (connection.out.empty()) {
      char buffer[4096];
      const ssize_t got = recv(connection.fd.get(), buffer, sizeof(buffer), 0);
      if (got < 0) return errno == EAGAIN || errno == EINTR;
      if (got == 0) return false;
      connection.in.append(buffer, static_cast<std::size_t>(got));
    }
    while (true) {
      if (!Send(connection)) return false;
      if (!connection.out.empty()) return true;  // go on when the client has read
      const std::size_t end = connection.in.find('\n');
      if (end != std::string::npos) {
        const std::string line = connection.in.substr(0, end);
        connection.in.erase(0, end + 1);
        connection.out = Dump(Answer(line)) + "\n";
      } else if (connection.in.size() > kMostRequest) {
        connection.out =
            Dump(Refusal(absl::InvalidArgumentError(absl::StrFormat(
                "a request is longer than %d bytes", static_cast<int>(kMostRequest))))) +
            "\n";
        connection.closing = true;
      } else {
        return true;
      }
    }
  }

  static bool Send(Connection& connection) {
    while (!connection.out.empty()) {
      const ssize_t sent =
          send(connection.fd.get(), connection.out.data(), connection.out.size(), MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN || errno == EINTR;
      connection.out.erase(0, static_cast<std::size_t>(sent));
    }
    return !connection.closing;
  }

  Json Answer(const std::string& line) {
    const nlohmann::json request = nlohmann::json::parse(line, nullptr, false);
    if (!request.is_object() || !request.contains("command") || !request["command"].is_string()) {
      return Refusal(
          absl::InvalidArgumentError("a request is one line of JSON: {\"command\":\"status\"}"));
    }
    absl::StatusOr<Json> result = absl::InternalError("no answer");
    try {
      result = handler_(request);
    } catch (const std::exception& error) {
      // A wrong type in the request (nlohmann throws), or a fault of a plug-in: this request only.
      result = absl::InvalidArgumentError(
          absl::StrFormat("the request cannot be carried out: %s", error.what()));
    }
    if (!result.ok()) return Refusal(result.status());
    Json reply;
    reply["ok"] = true;
    reply["result"] = *std::move(result);
    return reply;
  }

  FileDescriptor listener_;
  FileDescriptor wake_read_;
  FileDescriptor wake_write_;
  const std::string path_;
  const ControlHandler handler_;
  std::list<Connection> connections_;  // of the thread
  std::jthread thread_;                // last: it uses all of the above
};

}  // namespace

ControlServer::~ControlServer() = default;

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Listen(const std::string& path,
                                                                     ControlHandler handler) {
  const auto failed = [&](const char* what, const char* advice) {
    return absl::UnavailableError(absl::StrFormat("the control socket %s cannot be %s: %s: %s",
                                                  path, what, std::strerror(errno), advice));
  };
  const sockaddr_un address = UnixAddress(path);
  FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("made", "see the limit of open files");
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    return absl::AlreadyExistsError(absl::StrFormat(
        "another sipheal answers on %s: stop it first, or give this one its own control.socket",
        path));
  }
  if (errno == ECONNREFUSED) {
    struct stat status {};
    if (lstat(path.c_str(), &status) == 0 && !S_ISSOCK(status.st_mode)) {
      errno = EEXIST;
      return failed("made", "something else lies there; choose another control.socket");
    }
    unlink(path.c_str());
  }
  fd = FileDescriptor(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) return failed("made", "see the limit of open files");
  // On Linux bind takes the mode of the open socket, so there is no moment at which others could
  // connect.
  fchmod(fd.get(), 0600);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return failed("made",
                  "make its folder, writable for the user that runs sipheal, or set control.socket "
                  "to another path");
  }
  chmod(path.c_str(), 0600);
  if (listen(fd.get(), 16) != 0) return failed("opened", "choose another control.socket");
  int pipes[2];
  if (pipe2(pipes, O_CLOEXEC | O_NONBLOCK) != 0) {
    return failed("served", "see the limit of open files");
  }
  return std::unique_ptr<ControlServer>(new Server(
      std::move(fd), FileDescriptor(pipes[0]), FileDescriptor(pipes[1]), path, std::move(handler)));
}

std::string CodeName(absl::StatusCode code) {
  std::string name = absl::AsciiStrToLower(absl::StatusCodeToString(code));
  return name;
}

}  // namespace sipheal::inline v0_1::cli
