// SPDX-License-Identifier: Apache-2.0
#include "ari/socket_loop.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

// Accepts connections and resets them at once.
class ResettingServer {
 public:
  ResettingServer() : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const any = reinterpret_cast<sockaddr*>(&address);
    if (bind(socket_, any, size) != 0 || listen(socket_, 64) != 0 ||
        getsockname(socket_, any, &size) != 0) {
      ADD_FAILURE() << "no port to listen at";
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (int peer; (peer = accept(socket_, nullptr, nullptr)) >= 0; close(peer)) {
        const linger reset{1, 0};
        setsockopt(peer, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      }
    });
  }
  ~ResettingServer() {
    shutdown(socket_, SHUT_RDWR);
    thread_.join();
    close(socket_);
  }
  ResettingServer(const ResettingServer&) = delete;
  ResettingServer& operator=(const ResettingServer&) = delete;
  int port() const { return port_; }

 private:
  const int socket_;
  int port_ = 0;
  std::thread thread_;
};

struct CountingEvents final : SocketEvents {
  void OnOpen() override { ++opened; }
  void OnData(const char*, std::size_t, bool) override {}
  void OnPong() override {}
  void OnWritable() override {}
  std::string BasicAuth() override { return ""; }
  void OnClosed(const std::string&) override { ++closed; }
  std::atomic<int> opened = 0;
  std::atomic<int> closed = 0;
};

// A reset may come in any state of the handshake. Of a socket that is closed in silence the owner
// would keep a pointer to what libwebsockets has freed.
TEST(SocketLoop, TellsOfEveryConnectionOnceThatItIsClosed) {
  constexpr int kConnections = 200;
  ResettingServer server;
  std::vector<CountingEvents> events(kConnections);
  auto loop = SocketLoop::Start(&SystemClock());
  ASSERT_TRUE(loop.ok()) << loop.status();
  for (int i = 0; i < kConnections; ++i) {
    (*loop)->Post([&, i] {
      SocketLoop::ConnectParams params;
      params.address = "127.0.0.1";
      params.host = "127.0.0.1";
      params.port = server.port();
      params.path = "/";
      params.events = &events[static_cast<std::size_t>(i)];
      (*loop)->Connect(params);
    });
    const auto& closed = events[static_cast<std::size_t>(i)].closed;
    ASSERT_TRUE(testing::FakeAri::WaitFor([&] { return closed > 0; }))
        << "connection " << i << " was closed, or not, without a word";
  }
  (*loop)->Stop();
  for (const CountingEvents& one : events) {
    EXPECT_EQ(one.closed, 1);
    EXPECT_EQ(one.opened, 0);
  }
}

}  // namespace
}  // namespace sipheal::inline v0_1::internal
