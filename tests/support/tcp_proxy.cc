// SPDX-License-Identifier: Apache-2.0
#include "tests/support/tcp_proxy.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>

namespace sipheal::inline v0_1::testing {
namespace {

sockaddr_in Loopback(int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  return address;
}

}  // namespace

TcpProxy::TcpProxy(int server_port) : server_port_(server_port), wake_(eventfd(0, EFD_CLOEXEC)) {
  Listen();
  thread_ = std::thread([this] { Run(); });
}

TcpProxy::~TcpProxy() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  eventfd_write(wake_, 1);
  thread_.join();
  ResetAll();
  if (listener_ >= 0) close(listener_);
  close(wake_);
}

void TcpProxy::Break() { Set(true); }
void TcpProxy::Mend() { Set(false); }

void TcpProxy::Set(bool broken) {
  std::unique_lock lock(mutex_);
  broken_ = broken;
  applied_ = false;
  eventfd_write(wake_, 1);
  changed_.wait(lock, [this] { return applied_; });
}

void TcpProxy::Listen() {
  listener_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address = Loopback(port_);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (bind(listener_, any, size) != 0 || listen(listener_, 64) != 0 ||
      getsockname(listener_, any, &size) != 0) {
    ADD_FAILURE() << "the proxy cannot listen at port " << port_;
  }
  port_ = ntohs(address.sin_port);
}

void TcpProxy::Run() {
  for (;;) {
    std::vector<pollfd> polled = {{wake_, POLLIN, 0}};
    for (const auto& [client, server] : links_) {
      polled.push_back({client, POLLIN, 0});
      polled.push_back({server, POLLIN, 0});
    }
    if (listener_ >= 0) polled.push_back({listener_, POLLIN, 0});
    poll(polled.data(), polled.size(), -1);
    if (polled[0].revents != 0) {
      eventfd_t ignored = 0;
      eventfd_read(wake_, &ignored);
      const std::lock_guard lock(mutex_);
      if (stopping_) return;
      if (broken_ && listener_ >= 0) {
        close(std::exchange(listener_, -1));
        ResetAll();
      } else if (!broken_ && listener_ < 0) {
        Listen();
      }
      applied_ = true;
      changed_.notify_all();
      continue;
    }
    std::vector<std::pair<int, int>> open;
    for (std::size_t i = 0; i < links_.size(); ++i) {
      const auto [client, server] = links_[i];
      const bool good = (polled[1 + 2 * i].revents == 0 || Carry(client, server)) &&
                        (polled[2 + 2 * i].revents == 0 || Carry(server, client));
      if (good) {
        open.push_back(links_[i]);
      } else {
        close(client);
        close(server);
      }
    }
    links_ = std::move(open);
    if (listener_ >= 0 && polled.back().revents != 0) Accept();
  }
}

void TcpProxy::Accept() {
  const int client = accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
  if (client < 0) return;
  const int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_in address = Loopback(server_port_);
  if (connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    close(client);
    close(server);
    return;
  }
  links_.emplace_back(client, server);
}

void TcpProxy::ResetAll() {
  const linger reset{1, 0};
  for (const auto& [client, server] : links_) {
    for (const int one : {client, server}) {
      setsockopt(one, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
      close(one);
    }
  }
  links_.clear();
}

bool TcpProxy::Carry(int from, int to) {
  char buffer[16384];
  const ssize_t size = recv(from, buffer, sizeof buffer, 0);
  for (ssize_t sent = 0; sent < size;) {
    const ssize_t part =
        send(to, buffer + sent, static_cast<std::size_t>(size - sent), MSG_NOSIGNAL);
    if (part <= 0) return false;
    sent += part;
  }
  return size > 0;
}

}  // namespace sipheal::inline v0_1::testing
