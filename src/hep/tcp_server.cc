// SPDX-License-Identifier: Apache-2.0
#include "hep/tcp_server.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "hep/udp_socket.h"

namespace sipheal::inline v0_1::hep {

absl::Status TcpServer::Open(const sip::Endpoint& address, std::size_t max_connections,
                             TcpHandlers handlers) {
  handlers_ = std::move(handlers);
  max_connections_ = max_connections;
  scratch_.resize(kReadBytes);
  const int family = address.ip.is_v6() ? AF_INET6 : AF_INET;
  listener_.Reset(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!listener_.valid()) {
    return absl::UnavailableError(absl::StrFormat("hep tcp: no socket: %s", std::strerror(errno)));
  }
  const int on = 1;
  ::setsockopt(listener_.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  absl::Status status = Bind(listener_.get(), address, "hep tcp", address_);
  if (status.ok() && ::listen(listener_.get(), 64) != 0) {
    status = absl::UnavailableError(
        absl::StrFormat("hep tcp %s: listen failed: %s", address.ToString(), std::strerror(errno)));
  }
  if (!status.ok()) listener_.Reset();
  return status;
}

void TcpServer::Close() {
  connections_.clear();
  listener_.Reset();
}

void TcpServer::Accept() {
  for (;;) {
    sockaddr_storage address{};
    socklen_t size = sizeof(address);
    UniqueFd fd(::accept4(listener_.get(), reinterpret_cast<sockaddr*>(&address), &size,
                          SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ECONNABORTED || errno == EINTR) continue;
      return;
    }
    const sip::IpAddress source = FromSockaddr(address).ip;
    if (connections_.size() >= max_connections_ || !handlers_.admit(source)) {
      ++refused_;
      continue;
    }
    ++accepted_;
    const int number = fd.get();
    connections_[number] = Connection{std::move(fd), source, {}};
    handlers_.watch(number);
  }
}

bool TcpServer::Read(int fd) {
  const auto found = connections_.find(fd);
  if (found == connections_.end()) return false;
  const ssize_t count = ::recv(fd, scratch_.data(), scratch_.size(), MSG_DONTWAIT);
  if (count > 0) {
    // A sender that gathers small writes waits for this before it sends more (RFC 896).
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof(on));
    found->second.buffer.append(scratch_.data(), static_cast<std::size_t>(count));
    if (TakePackets(found->second)) return true;
  } else if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    return false;
  }
  connections_.erase(found);  // it ended, or what it says is not HEP3
  return false;
}

bool TcpServer::TakePackets(Connection& connection) {
  std::string_view rest = connection.buffer;
  for (;;) {
    sip::HepError error;
    const std::size_t length = sip::HepFrameLength(rest, error);
    if (error != sip::HepError::kNone) {
      handlers_.refuse(error);
      return false;
    }
    if (length == 0 || length > rest.size()) break;
    handlers_.take(rest.substr(0, length), connection.source);
    rest.remove_prefix(length);
  }
  connection.buffer.erase(0, connection.buffer.size() - rest.size());
  return true;
}

void TcpServer::DrainAll() {
  Accept();
  std::vector<int> fds;
  fds.reserve(connections_.size());
  for (const auto& [fd, connection] : connections_) fds.push_back(fd);
  for (const int fd : fds) {
    // Until it is empty: each read opens the window for what the sender's kernel still holds. But
    // not for ever, should it never cease.
    for (std::size_t left = kMaxDrain; left > 0; left -= kReadBytes) {
      if (!Read(fd)) break;
    }
  }
}

}  // namespace sipheal::inline v0_1::hep
