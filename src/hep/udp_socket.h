// SPDX-License-Identifier: Apache-2.0
// A bound UDP socket that reads datagrams in batches, with the kernel's time of arrival and its
// count of those that it had to drop.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "hep/unique_fd.h"
#include "sipheal/base/clock.h"
#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::hep {

struct Datagram {
  std::string_view bytes;  // valid during the call it is passed to
  sip::IpAddress source;
  std::optional<WallTime> arrived;  // by the kernel
};

// One thread at a time.
class UdpSocket {
 public:
  absl::Status Open(const sip::Endpoint& address, std::size_t receive_buffer_bytes);
  void Close() { fd_.Reset(); }

  int fd() const { return fd_.get(); }
  sip::Endpoint address() const { return address_; }
  // What the kernel granted.
  std::size_t receive_buffer_bytes() const { return receive_buffer_bytes_; }
  std::uint64_t dropped() const { return dropped_; }

  // Reads what is there, at most one batch, and passes it on. Returns how many there were; fewer
  // than kBatch means that the socket was empty.
  std::size_t ReadBatch(const std::function<void(const Datagram&)>& take);

  static constexpr std::size_t kBatch = 64;

 private:
  static constexpr std::size_t kDatagramBytes = 65536;
  static constexpr std::size_t kControlBytes = 128;

  void Prepare();

  UniqueFd fd_;
  sip::Endpoint address_;
  std::size_t receive_buffer_bytes_ = 0;
  std::uint64_t dropped_ = 0;
  std::vector<char> data_;
  std::vector<char> control_;
  std::vector<sockaddr_in6> sources_;
  std::vector<iovec> vectors_;
  std::vector<mmsghdr> headers_;
};

// For the other sockets of this receiver.
sip::Endpoint FromSockaddr(const sockaddr_storage& address);
// Returns the length of what was written; 0 for an empty address.
socklen_t ToSockaddr(const sip::Endpoint& endpoint, sockaddr_storage& address);
// Binds and reads back the bound address. `what` begins the error's text.
absl::Status Bind(int fd, const sip::Endpoint& wanted, std::string_view what, sip::Endpoint& bound);

}  // namespace sipheal::inline v0_1::hep
