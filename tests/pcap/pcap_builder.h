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

// A pcap file; frame i is captured at second 1000 + i and 250 microseconds. Of each frame the file
// has no more than `snap` bytes.
inline std::string PcapFile(const std::vector<std::string>& frames,
                            std::uint32_t link_type = kLinkEthernet, std::size_t snap = 262144) {
  std::string file = Host32(0xa1b2c3d4) + Host32(0x00040002) + Host32(0) + Host32(0) +
                     Host32(262144) + Host32(link_type);
  std::uint32_t second = 1000;
  for (const std::string& frame : frames) {
    const std::string kept = frame.substr(0, snap);
    file += Host32(++second) + Host32(250) + Host32(static_cast<std::uint32_t>(kept.size())) +
            Host32(static_cast<std::uint32_t>(frame.size())) + kept;
  }
  return file;
}

// A pcapng file, block by block, in either byte order.
class Pcapng {
 public:
  explicit Pcapng(bool big_endian = false) : big_endian_(big_endian) { Section(); }

  std::string N16(std::uint32_t value) const {
    const std::string text = Net16(value);
    return big_endian_ ? text : std::string(text.rbegin(), text.rend());
  }
  std::string N32(std::uint32_t value) const { return big_endian_ ? Net32(value) : Host32(value); }
  std::string N64(std::uint64_t value) const {
    const auto high = N32(static_cast<std::uint32_t>(value >> 32));
    const auto low = N32(static_cast<std::uint32_t>(value));
    return big_endian_ ? high + low : low + high;
  }
  Pcapng& Block(std::uint32_t type, std::string body) {
    while (body.size() % 4 != 0) body.push_back('\0');
    const std::string length = N32(static_cast<std::uint32_t>(body.size() + 12));
    file_ += N32(type) + length + body + length;
    return *this;
  }
  Pcapng& Section() {
    return Block(0x0a0d0d0a, N32(0x1a2b3c4d) + N16(1) + N16(0) + std::string(8, '\xff'));
  }
  std::string Option(std::uint32_t code, std::string value) const {
    const std::string head = N16(code) + N16(static_cast<std::uint32_t>(value.size()));
    while (value.size() % 4 != 0) value.push_back('\0');
    return head + value;
  }
  Pcapng& Interface(std::uint32_t link_type, const std::string& options = "") {
    return Block(1, N16(link_type) + N16(0) + N32(262144) + options);
  }
  Pcapng& Packet(std::uint32_t interface, std::uint64_t ticks, std::string_view frame) {
    const std::string size = N32(static_cast<std::uint32_t>(frame.size()));
    return Block(6, N32(interface) + N32(static_cast<std::uint32_t>(ticks >> 32)) +
                        N32(static_cast<std::uint32_t>(ticks)) + size + size + std::string(frame));
  }
  const std::string& file() const { return file_; }

 private:
  bool big_endian_;
  std::string file_;
};

// The same frames as pcapng, all at one time, without options.
inline std::string PcapngFile(const std::vector<std::string>& frames,
                              std::uint32_t link_type = kLinkEthernet) {
  Pcapng file;
  file.Interface(link_type);
  for (const std::string& frame : frames) file.Packet(0, 1001'000250, frame);
  return file.file();
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
