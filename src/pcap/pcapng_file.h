// SPDX-License-Identifier: Apache-2.0
// Reads the blocks of a pcapng file (draft-ietf-opsawg-pcapng), each interface with its own link
// type and its own clock.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pcap/capture_file.h"

namespace sipheal::inline v0_1::pcap {

class PcapngFile final : public CaptureFile {
 public:
  // Owns the file, which must begin with a section header block.
  explicit PcapngFile(std::FILE* file) : file_(file) {}

  std::optional<Frame> Next() override;
  std::string damage() const override { return damage_; }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  struct Interface {
    int link_type = 0;
    std::uint32_t snap_length = 0;  // 0: none
    // Ticks of a second: 10 or 2 to the power of `exponent`.
    bool binary = false;
    int exponent = 6;
    std::int64_t offset_seconds = 0;
  };

  std::uint16_t Read16(std::string_view bytes, std::size_t at) const;
  std::uint32_t Read32(std::string_view bytes, std::size_t at) const;
  std::uint64_t Read64(std::string_view bytes, std::size_t at) const;
  // Reads one block into body_; false at the end of the file, or with damage_ set.
  bool ReadBlock(std::uint32_t& type);
  // Reads `count` bytes more into `bytes`; false when there are not so many.
  bool ReadBytes(std::size_t count, std::string& bytes);
  bool Damaged(std::string_view what);
  void AddInterface();
  // The frame of a packet block, `at` its data of `captured` bytes.
  Frame PacketFrame(std::uint32_t interface, std::uint64_t ticks, std::size_t at,
                    std::size_t captured);
  static sip::CaptureTime TimeOf(const Interface& interface, std::uint64_t ticks);

  std::unique_ptr<std::FILE, Close> file_;
  bool big_endian_ = false;
  std::vector<Interface> interfaces_;  // of this section
  std::string body_;                   // of the block last read, without type and lengths
  std::uint64_t block_at_ = 0;         // where it begins in the file
  std::uint64_t read_ = 0;             // bytes
  sip::CaptureTime last_time_{};       // for packets that have none
  std::string damage_;
};

}  // namespace sipheal::inline v0_1::pcap
