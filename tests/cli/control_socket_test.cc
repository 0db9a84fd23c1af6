// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "cli/control_client.h"
#include "cli/control_server.h"
#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

class ControlSocket : public ::testing::Test {
 protected:
  ControlSocket() {
    std::string pattern = std::filesystem::path(::testing::TempDir()) / "sipheal-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/control.sock";
  }
  ~ControlSocket() override { std::filesystem::remove_all(folder_); }

  static absl::StatusOr<Json> Echo(const nlohmann::json& request) {
    const std::string command = request["command"].get<std::string>();
    if (command == "missing") return absl::NotFoundError("no such instance");
    if (command == "throw") return Json(request.at("instance").get<int>());
    Json out;
    out["command"] = command;
    return out;
  }

  std::unique_ptr<ControlServer> Listen() {
    absl::StatusOr<std::unique_ptr<ControlServer>> server = ControlServer::Listen(path_, Echo);
    EXPECT_TRUE(server.ok()) << server.status();
    return server.ok() ? *std::move(server) : nullptr;
  }

  // Sends bytes as they are and reads until `lines` lines came, or the server closed.
  std::string Raw(const std::string& bytes, int lines) {
    const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = UnixAddress(path_);
    EXPECT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    std::size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t part = send(fd.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (part <= 0) break;
      sent += static_cast<std::size_t>(part);
    }
    std::string reply;
    char buffer[4096];
    while (std::count(reply.begin(), reply.end(), '\n') < lines) {
      const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
      if (got <= 0) break;
      reply.append(buffer, static_cast<std::size_t>(got));
    }
    return reply;
  }

  std::string folder_;
  std::string path_;
};

TEST_F(ControlSocket, AnswersOneRequestAndCarriesErrorsWithTheirCode) {
  const auto server = Listen();
  const absl::StatusOr<Json> good = AskDaemon(path_, {{"command", "status"}});
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_EQ((*good)["command"], "status");
  const absl::StatusOr<Json> bad = AskDaemon(path_, {{"command", "missing"}});
  EXPECT_EQ(bad.status(), absl::NotFoundError("no such instance"));
}

TEST_F(ControlSocket, IsOpenToItsOwnerOnly) {
  const auto server = Listen();
  struct stat status {};
  ASSERT_EQ(stat(path_.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0600U);
}

TEST_F(ControlSocket, AnswersSeveralRequestsOnOneConnectionInOrder) {
  const auto server = Listen();
  EXPECT_EQ(Raw("{\"command\":\"a\"}\n{\"command\":\"missing\"}\n{\"command\":\"b\"}\n", 3),
            "{\"ok\":true,\"result\":{\"command\":\"a\"}}\n"
            "{\"ok\":false,\"code\":\"not_found\",\"error\":\"no such instance\"}\n"
            "{\"ok\":true,\"result\":{\"command\":\"b\"}}\n");
}

TEST_F(ControlSocket, AnswersManyRequestsOfAClientThatReadsLate) {
  const auto server = Listen();
  std::string requests;
  for (int i = 0; i < 1'000; ++i) requests += "{\"command\":\"" + std::string(500, 'x') + "\"}\n";
  const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = UnixAddress(path_);
  ASSERT_EQ(connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  std::jthread writer([&] {
    std::size_t sent = 0;
    while (sent < requests.size()) {
      const ssize_t part =
          send(fd.get(), requests.data() + sent, requests.size() - sent, MSG_NOSIGNAL);
      if (part <= 0) return;
      sent += static_cast<std::size_t>(part);
    }
  });
  int lines = 0;
  char buffer[4096];
  while (lines < 1'000) {
    const ssize_t got = recv(fd.get(), buffer, sizeof(buffer), 0);
    ASSERT_GT(got, 0);
    lines += static_cast<int>(std::count(buffer, buffer + got, '\n'));
  }
  EXPECT_EQ(lines, 1'000);
}

TEST_F(ControlSocket, RefusesWhatIsNoRequestAndGoesOn) {
  const auto server = Listen();
  for (const std::string& line :
       {std::string("garbage\n"), std::string("[]\n"), std::string("{}\n"),
        std::string("{\"command\":5}\n"), std::string("\n"), std::string("\0\xff\n", 3)}) {
    const std::string reply = Raw(line + "{\"command\":\"after\"}\n", 2);
    EXPECT_THAT(reply, HasSubstr("\"ok\":false,\"code\":\"invalid_argument\"")) << line;
    EXPECT_THAT(reply, HasSubstr("\"command\":\"after\"")) << line;
  }
}

TEST_F(ControlSocket, TurnsAnExceptionOfOneRequestIntoAnErrorOfThatRequest) {
  const auto server = Listen();
  EXPECT_THAT(Raw("{\"command\":\"throw\",\"instance\":\"text\"}\n{\"command\":\"after\"}\n", 2),
              ::testing::AllOf(HasSubstr("cannot be carried out"), HasSubstr("after")));
}

TEST_F(ControlSocket, ClosesAConnectionWhoseRequestDoesNotEnd) {
  const auto server = Listen();
  const std::string reply = Raw(std::string(ControlServer::kMostRequest + 5'000, 'x'), 2);
  // The reply may be lost when the server closes with bytes unread; what matters is that it lives.
  if (!reply.empty()) {
    EXPECT_THAT(reply, HasSubstr("longer than 65536 bytes"));
  }
  EXPECT_TRUE(AskDaemon(path_, {{"command", "status"}}).ok());
}

TEST_F(ControlSocket, IsNotHeldUpByAClientThatSaysNothing) {
  const auto server = Listen();
  const FileDescriptor idle(socket(AF_UNIX, SOCK_STREAM, 0));
  const sockaddr_un address = UnixAddress(path_);
  ASSERT_EQ(connect(idle.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  EXPECT_TRUE(AskDaemon(path_, {{"command", "status"}}).ok());
}

TEST_F(ControlSocket, SaysThatNoDaemonRuns) {
  absl::StatusOr<Json> reply = AskDaemon(path_, {{"command", "status"}});
  EXPECT_TRUE(IsNoDaemon(reply.status())) << reply.status();
  EXPECT_THAT(std::string(reply.status().message()),
              HasSubstr("no sipheal runs at " + path_ +
                        ": No such file or directory: start it with 'sipheal run --config FILE'"));
  EXPECT_FALSE(IsNoDaemon(absl::FailedPreconditionError("something else")));
}

TEST_F(ControlSocket, ReplacesTheSocketOfADeadProcessButNeverALiveOne) {
  {
    // What a killed process leaves: a bound socket that nobody listens on.
    const FileDescriptor fd(socket(AF_UNIX, SOCK_STREAM, 0));
    const sockaddr_un address = UnixAddress(path_);
    ASSERT_EQ(bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  }
  EXPECT_TRUE(IsNoDaemon(AskDaemon(path_, {{"command", "status"}}).status()));
  const auto server = Listen();
  ASSERT_NE(server, nullptr);
  const absl::StatusOr<std::unique_ptr<ControlServer>> second = ControlServer::Listen(path_, Echo);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr("another sipheal answers on"));
  EXPECT_TRUE(AskDaemon(path_, {{"command", "status"}}).ok());
}

TEST_F(ControlSocket, NeverRemovesAFileThatIsNoSocket) {
  std::ofstream(path_) << "mine";
  const absl::StatusOr<std::unique_ptr<ControlServer>> server = ControlServer::Listen(path_, Echo);
  EXPECT_EQ(server.status().code(), absl::StatusCode::kUnavailable);
  std::ifstream file(path_);
  std::string text;
  file >> text;
  EXPECT_EQ(text, "mine");
}

TEST_F(ControlSocket, SaysWhatToDoWhenItsFolderIsMissing) {
  const absl::StatusOr<std::unique_ptr<ControlServer>> server =
      ControlServer::Listen(folder_ + "/none/control.sock", Echo);
  EXPECT_THAT(std::string(server.status().message()), HasSubstr("make its folder"));
}

TEST_F(ControlSocket, IsGoneWhenTheServerIs) {
  Listen().reset();
  EXPECT_FALSE(std::filesystem::exists(path_));
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
