// SPDX-License-Identifier: Apache-2.0
// Makes capture files for tests, byte by byte, so that wrong ones can be made too.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"

namespace sipheal::testing {

inline std::string Net16(std::uint32_t value) {
  return {static_cast<char>(value >> 8 & 0xff), static_cast<char>(value & 0xff)};
}
inline std::string Net32(std::uint32_t value) { return Net16(value >> 16) + Net16(value & 0xffff); }
inline std::string Host32(std::uint32_t value) {
  return {static_cast<char>(value & 0xff), static_cast<char>(value >> 8 & 0xff),
          static_cast<char>(value >> 16 & 0xff), static_cast<char>(value >> 24 & 0xff)};
}

// 192.0.2.`host`
inline std::string V4(int host) { return {'\xc0', '\0', '\x02', static_cast<char>(host)}; }
// 2001:db8::`host`
inline std::string V6(int host) {
  std::string address("\x20\x01\x0d\xb8", 4);
  address.resize(15);
  address.push_back(static_cast<char>(host));
  return address;
}

inline std::string Udp(int from, int to, std::string_view payload) {
  return Net16(static_cast<std::uint32_t>(from)) + Net16(static_cast<std::uint32_t>(to)) +
         Net16(static_cast<std::uint32_t>(payload.size() + 8)) + Net16(0) + std::string(payload);
}
inline constexpr int kFin = 1;
inline constexpr int kSyn = 2;
inline constexpr int kAck = 16;
inline std::string Tcp(int from, int to, std::uint32_t sequence, std::string_view payload,
                       int flags = kAck) {
  return Net16(static_cast<std::uint32_t>(from)) + Net16(static_cast<std::uint32_t>(to)) +
         Net32(sequence) + Net32(0) + std::string{'\x50', static_cast<char>(flags)} + Net16(1000) +
         Net16(0) + Net16(0) + std::string(payload);
}
// `fragment`: the flags and offset field.
inline std::string Ip4(int from, int to, int protocol, std::string_view payload,
                       std::uint32_t fragment = 0, std::uint32_t id = 7) {
  return std::string("\x45\0", 2) + Net16(static_cast<std::uint32_t>(payload.size() + 20)) +
         Net16(id) + Net16(fragment) + std::string{'\x40', static_cast<char>(protocol)} + Net16(0) +
         V4(from) + V4(to) + std::string(payload);
}
inline std::string Ip6(int from, int to, int next, std::string_view payload) {
  return std::string("\x60\0\0\0", 4) + Net16(static_cast<std::uint32_t>(payload.size())) +
         std::string{static_cast<char>(next), '\x40'} + V6(from) + V6(to) + std::string(payload);
}
inline std::string Ethernet(std::string_view payload, std::uint32_t type = 0x0800) {
  return std::string(12, '\x02') + Net16(type) + std::string(payload);
}

// Link types as files name them.
inline constexpr std::uint32_t kLinkNull = 0;
inline constexpr std::uint32_t kLinkEthernet = 1;
inline constexpr std::uint32_t kLinkRaw = 101;
inline constexpr std::uint32_t kLinkLoop = 108;
inline constexpr std::uint32_t kLinkCooked = 113;
inline constexpr std::uint32_t kLinkCooked2 = 276;

// A pcap file; frame i is captured at second 1000 + i.
inline std::string PcapFile(const std::vector<std::string>& frames,
                            std::uint32_t link_type = kLinkEthernet) {
  std::string file = Host32(0xa1b2c3d4) + Host32(0x00040002) + Host32(0) + Host32(0) +
                     Host32(262144) + Host32(link_type);
  std::uint32_t second = 1000;
  for (const std::string& frame : frames) {
    const auto size = static_cast<std::uint32_t>(frame.size());
    file += Host32(++second) + Host32(250) + Host32(size) + Host32(size) + frame;
  }
  return file;
}

// The same frames as pcapng, without time stamps' options.
inline std::string PcapngFile(const std::vector<std::string>& frames,
                              std::uint32_t link_type = kLinkEthernet) {
  const auto block = [](std::uint32_t type, std::string body) {
    while (body.size() % 4 != 0) body.push_back('\0');
    const std::string length = Host32(static_cast<std::uint32_t>(body.size() + 12));
    return Host32(type) + length + body + length;
  };
  std::string file = block(0x0a0d0d0a, Host32(0x1a2b3c4d) + Host32(1) + std::string(8, '\xff'));
  file += block(1, Host32(link_type) + Host32(262144));
  for (const std::string& frame : frames) {
    const auto size = static_cast<std::uint32_t>(frame.size());
    file +=
        block(6, Host32(0) + Host32(0) + Host32(1001'000250) + Host32(size) + Host32(size) + frame);
  }
  return file;
}

// A file that is gone again at the end of the test.
class TempFile {
 public:
  explicit TempFile(std::string_view bytes) {
    static int count = 0;
    path_ = ::testing::TempDir() + "sipheal_pcap_" + std::to_string(::getpid()) + "_" +
            std::to_string(++count) + ".pcap";
    std::ofstream(path_, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  ~TempFile() { std::remove(path_.c_str()); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace sipheal::testing
