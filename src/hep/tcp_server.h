// SPDX-License-Identifier: Apache-2.0
// The TCP side of the receiver: connections that bring HEP3 packets one after the other.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "hep/unique_fd.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/hep_packet.h"

namespace sipheal::inline v0_1::hep {

// What it needs from its owner.
struct TcpHandlers {
  std::function<bool(const sip::IpAddress& source)> admit;
  std::function<void(std::string_view packet, const sip::IpAddress& source)> take;
  // The stream left HEP3; its connection is closed.
  std::function<void(sip::HepError error)> refuse;
  // Watch this descriptor for reading (it leaves the watch when it is closed).
  std::function<void(int fd)> watch;
};

// One thread at a time.
class TcpServer {
 public:
  absl::Status Open(const sip::Endpoint& address, std::size_t max_connections,
                    TcpHandlers handlers);
  void Close();

  int fd() const { return listener_.get(); }
  sip::Endpoint address() const { return address_; }
  std::uint64_t accepted() const { return accepted_; }
  std::uint64_t refused() const { return refused_; }

  // Accepts who waits.
  void Accept();
  // Reads one connection, at most kReadBytes. False when there was nothing to read, or it ended.
  bool Read(int fd);
  // Reads from all connections what the kernel holds for them now.
  void DrainAll();

  static constexpr std::size_t kReadBytes = 256 * 1024;
  static constexpr std::size_t kMaxDrain = 32 * kReadBytes;  // of one connection

 private:
  struct Connection {
    UniqueFd fd;
    sip::IpAddress source;
    std::string buffer;  // less than one packet, between two reads
  };

  // False when the stream cannot be followed any further.
  bool TakePackets(Connection& connection);

  TcpHandlers handlers_;
  UniqueFd listener_;
  sip::Endpoint address_;
  std::size_t max_connections_ = 0;
  std::unordered_map<int, Connection> connections_;
  std::vector<char> scratch_;
  std::uint64_t accepted_ = 0;
  std::uint64_t refused_ = 0;
};

}  // namespace sipheal::inline v0_1::hep
