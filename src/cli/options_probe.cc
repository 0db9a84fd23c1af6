// SPDX-License-Identifier: Apache-2.0
#include "cli/options_probe.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>

#include <random>
#include <string>

#include "absl/strings/str_format.h"
#include "cli/unix_socket.h"

namespace sipheal::inline v0_1::cli {
namespace {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t size = 0;
};

SocketAddress ToSocketAddress(const sip::IpAddress& ip, std::uint16_t port) {
  SocketAddress address;
  if (ip.is_v4()) {
    auto* v4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    std::memcpy(&v4->sin_addr, ip.bytes().data(), 4);
    address.size = sizeof(sockaddr_in);
  } else {
    auto* v6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(port);
    std::memcpy(&v6->sin6_addr, ip.bytes().data(), 16);
    address.size = sizeof(sockaddr_in6);
  }
  return address;
}

// The local address as it stands in a SIP header, with its port.
std::string LocalHostPort(int fd) {
  sockaddr_storage storage{};
  socklen_t size = sizeof(storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return "127.0.0.1";
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(&storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof(text));
    return absl::StrFormat("%s:%d", text, ntohs(v4->sin_port));
  }
  const auto* v6 = reinterpret_cast<const sockaddr_in6*>(&storage);
  inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof(text));
  return absl::StrFormat("[%s]:%d", text, ntohs(v6->sin6_port));
}

}  // namespace

bool ProbeWithOptions(const sip::ServerAddress& address, std::chrono::milliseconds timeout) {
  if (sip::IsStream(address.transport) || address.ip.empty()) return false;
  const std::uint16_t port = address.port == 0 ? 5060 : address.port;
  const FileDescriptor fd(
      socket(address.ip.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  const SocketAddress peer = ToSocketAddress(address.ip, port);
  if (!fd || connect(fd.get(), reinterpret_cast<const sockaddr*>(&peer.storage), peer.size) != 0) {
    return false;
  }
  const std::string local = LocalHostPort(fd.get());
  const std::string target = sip::Endpoint{.ip = address.ip, .port = port}.ToString();
  std::random_device random;
  const std::string unique = absl::StrFormat("%08x%08x", random(), random());
  const std::string request = absl::StrFormat(
      "OPTIONS sip:%s SIP/2.0\r\n"
      "Via: SIP/2.0/UDP %s;branch=z9hG4bK%s;rport\r\n"
      "From: <sip:sipheal@%s>;tag=%s\r\n"
      "To: <sip:%s>\r\n"
      "Call-ID: sipheal-doctor-%s\r\n"
      "CSeq: 1 OPTIONS\r\n"
      "Max-Forwards: 1\r\n"
      "Contact: <sip:sipheal@%s>\r\n"
      "User-Agent: sipheal doctor\r\n"
      "Content-Length: 0\r\n\r\n",
      target, local, unique, local, unique, target, unique, local);
  if (send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL) < 0) return false;
  pollfd ready{.fd = fd.get(), .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, static_cast<int>(timeout.count())) <= 0) return false;
  char reply[16];
  const ssize_t got = recv(fd.get(), reply, sizeof(reply), 0);
  return got >= 8 && std::string_view(reply, 8) == "SIP/2.0 ";
}

}  // namespace sipheal::inline v0_1::cli
