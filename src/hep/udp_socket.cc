// SPDX-License-Identifier: Apache-2.0
#include "hep/udp_socket.h"

#include <arpa/inet.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>

#include "absl/strings/str_format.h"

namespace sipheal::inline v0_1::hep {

sip::Endpoint FromSockaddr(const sockaddr_storage& address) {
  sip::Endpoint endpoint;
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    std::array<std::uint8_t, 4> bytes;
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    endpoint.ip = sip::IpAddress::V4(bytes);
    endpoint.port = ntohs(v4.sin_port);
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    std::array<std::uint8_t, 16> bytes;
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    endpoint.ip = sip::IpAddress::V6(bytes);
    endpoint.port = ntohs(v6.sin6_port);
  }
  return endpoint;
}

socklen_t ToSockaddr(const sip::Endpoint& endpoint, sockaddr_storage& address) {
  std::memset(&address, 0, sizeof(address));
  if (endpoint.ip.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(address);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(endpoint.port);
    std::memcpy(&v4.sin_addr, endpoint.ip.bytes().data(), 4);
    return sizeof(v4);
  }
  if (endpoint.ip.is_v6()) {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(address);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(endpoint.port);
    std::memcpy(&v6.sin6_addr, endpoint.ip.bytes().data(), 16);
    return sizeof(v6);
  }
  return 0;
}

absl::Status Bind(int fd, const sip::Endpoint& wanted, std::string_view what,
                  sip::Endpoint& bound) {
  sockaddr_storage address;
  socklen_t size = ToSockaddr(wanted, address);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) {
    const int error = errno;
    const char* const hint = error == EADDRINUSE      ? "another process listens there"
                             : error == EADDRNOTAVAIL ? "no interface has this address"
                                                      : "choose another address or port";
    return absl::UnavailableError(absl::StrFormat("%s %s: bind failed: %s: %s", what,
                                                  wanted.ToString(), std::strerror(error), hint));
  }
  size = sizeof(address);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    return absl::UnavailableError(
        absl::StrFormat("%s %s: getsockname failed", what, wanted.ToString()));
  }
  bound = FromSockaddr(address);
  return absl::OkStatus();
}

absl::Status UdpSocket::Open(const sip::Endpoint& address, std::size_t receive_buffer_bytes) {
  const int family = address.ip.is_v6() ? AF_INET6 : AF_INET;
  fd_.Reset(::socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd_.valid()) {
    return absl::UnavailableError(absl::StrFormat("hep udp: no socket: %s", std::strerror(errno)));
  }
  const int bytes = static_cast<int>(receive_buffer_bytes);
  // With CAP_NET_ADMIN the kernel's limit does not hold; else it grants up to net.core.rmem_max.
  if (::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof(bytes)) != 0) {
    ::setsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
  }
  int granted = 0;
  socklen_t size = sizeof(granted);
  ::getsockopt(fd_.get(), SOL_SOCKET, SO_RCVBUF, &granted, &size);
  receive_buffer_bytes_ = static_cast<std::size_t>(granted);
  const int on = 1;
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof(on));
  ::setsockopt(fd_.get(), SOL_SOCKET, SO_RXQ_OVFL, &on, sizeof(on));
  if (absl::Status status = Bind(fd_.get(), address, "hep udp", address_); !status.ok()) {
    fd_.Reset();
    return status;
  }
  Prepare();
  return absl::OkStatus();
}

void UdpSocket::Prepare() {
  data_.resize(kBatch * kDatagramBytes);
  control_.resize(kBatch * kControlBytes);
  sources_.resize(kBatch);
  vectors_.resize(kBatch);
  headers_.resize(kBatch);
  for (std::size_t i = 0; i < kBatch; ++i) {
    vectors_[i] = {data_.data() + i * kDatagramBytes, kDatagramBytes};
  }
}

std::size_t UdpSocket::ReadBatch(const std::function<void(const Datagram&)>& take) {
  for (std::size_t i = 0; i < kBatch; ++i) {
    msghdr& header = headers_[i].msg_hdr;
    header = {};
    header.msg_name = &sources_[i];
    header.msg_namelen = sizeof(sources_[i]);
    header.msg_iov = &vectors_[i];
    header.msg_iovlen = 1;
    header.msg_control = control_.data() + i * kControlBytes;
    header.msg_controllen = kControlBytes;
  }
  const int count = ::recvmmsg(fd_.get(), headers_.data(), kBatch, MSG_DONTWAIT, nullptr);
  if (count <= 0) return 0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    msghdr& header = headers_[i].msg_hdr;
    Datagram datagram;
    datagram.bytes = {data_.data() + i * kDatagramBytes, headers_[i].msg_len};
    sockaddr_storage source{};
    std::memcpy(&source, &sources_[i], sizeof(sources_[i]));
    datagram.source = FromSockaddr(source).ip;
    for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
         control = CMSG_NXTHDR(&header, control)) {
      if (control->cmsg_level != SOL_SOCKET) continue;
      if (control->cmsg_type == SCM_TIMESTAMPNS) {
        timespec stamp;
        std::memcpy(&stamp, CMSG_DATA(control), sizeof(stamp));
        datagram.arrived = WallTime(std::chrono::seconds(stamp.tv_sec)) +
                           std::chrono::microseconds(stamp.tv_nsec / 1000);
      } else if (control->cmsg_type == SO_RXQ_OVFL) {
        std::uint32_t dropped;  // a running total that wraps
        std::memcpy(&dropped, CMSG_DATA(control), sizeof(dropped));
        dropped_ += static_cast<std::uint32_t>(dropped - static_cast<std::uint32_t>(dropped_));
      }
    }
    take(datagram);
  }
  return static_cast<std::size_t>(count);
}

}  // namespace sipheal::inline v0_1::hep
