// SPDX-License-Identifier: Apache-2.0
#include "pcap/pcapng_file.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"

namespace sipheal::inline v0_1::pcap {
namespace {

constexpr std::uint32_t kSectionHeader = 0x0a0d0d0a;
constexpr std::uint32_t kInterface = 1;
constexpr std::uint32_t kObsoletePacket = 2;
constexpr std::uint32_t kSimplePacket = 3;
constexpr std::uint32_t kEnhancedPacket = 6;

constexpr std::uint32_t kByteOrderMagic = 0x1a2b3c4d;
// No honest block is longer, and no more than this is held.
constexpr std::uint32_t kMaxBlock = 64u << 20;
constexpr std::size_t kMaxInterfaces = 65536;
// No link type has this number: a frame of it is counted and not read.
constexpr int kNoLinkType = -1;

std::uint64_t PowerOfTen(int exponent) {
  std::uint64_t power = 1;
  for (; exponent > 0; --exponent) power *= 10;
  return power;
}

}  // namespace

std::uint16_t PcapngFile::Read16(std::string_view bytes, std::size_t at) const {
  if (at + 2 > bytes.size()) return 0;
  const auto first = static_cast<std::uint8_t>(bytes[at]);
  const auto second = static_cast<std::uint8_t>(bytes[at + 1]);
  return static_cast<std::uint16_t>(big_endian_ ? first << 8 | second : second << 8 | first);
}

std::uint32_t PcapngFile::Read32(std::string_view bytes, std::size_t at) const {
  const std::uint32_t first = Read16(bytes, at);
  const std::uint32_t second = Read16(bytes, at + 2);
  return big_endian_ ? first << 16 | second : second << 16 | first;
}

std::uint64_t PcapngFile::Read64(std::string_view bytes, std::size_t at) const {
  const std::uint64_t first = Read32(bytes, at);
  const std::uint64_t second = Read32(bytes, at + 4);
  return big_endian_ ? first << 32 | second : second << 32 | first;
}

bool PcapngFile::Damaged(std::string_view what) {
  damage_ = absl::StrFormat("the block at byte %d %s", block_at_, internal::AbslView(what));
  return false;
}

// In pieces, so that a length that lies takes no memory.
bool PcapngFile::ReadBytes(std::size_t count, std::string& bytes) {
  constexpr std::size_t kPiece = 1 << 20;
  while (count > 0) {
    const std::size_t size = bytes.size();
    const std::size_t piece = std::min(count, kPiece);
    bytes.resize(size + piece);
    const std::size_t got = std::fread(bytes.data() + size, 1, piece, file_.get());
    read_ += got;
    bytes.resize(size + got);
    if (got < piece) return false;
    count -= piece;
  }
  return true;
}

bool PcapngFile::ReadBlock(std::uint32_t& type) {
  block_at_ = read_;
  std::string head;
  if (!ReadBytes(8, head)) return !head.empty() && Damaged("breaks off in its head");
  type = Read32(head, 0);
  body_.clear();
  if (type == kSectionHeader) {  // reads the same in both byte orders, and tells which it is
    if (!ReadBytes(4, body_)) return Damaged("breaks off in its head");
    big_endian_ = false;
    if (Read32(body_, 0) != kByteOrderMagic) {
      big_endian_ = true;
      if (Read32(body_, 0) != kByteOrderMagic) return Damaged("has no byte-order magic");
    }
    interfaces_.clear();
  }
  const std::uint32_t length = Read32(head, 4);
  if (length % 4 != 0 || length < 12 + body_.size() || length > kMaxBlock) {
    return Damaged(absl::StrFormat("says that it has %d bytes", length));
  }
  std::string tail;
  if (!ReadBytes(length - 12 - body_.size(), body_) || !ReadBytes(4, tail)) {
    return Damaged("breaks off");
  }
  if (Read32(tail, 0) != length) return Damaged("ends with another length than it begins with");
  return true;
}

void PcapngFile::AddInterface() {
  Interface interface;
  interface.link_type = Read16(body_, 0);
  interface.snap_length = Read32(body_, 4);
  std::string_view options = std::string_view(body_).substr(std::min<std::size_t>(8, body_.size()));
  while (options.size() >= 4) {
    const std::uint16_t code = Read16(options, 0);
    const std::size_t length = Read16(options, 2);
    if (code == 0 || length > options.size() - 4) break;
    const std::string_view value = options.substr(4, length);
    if (code == 9 && length == 1) {  // if_tsresol
      const auto resolution = static_cast<std::uint8_t>(value[0]);
      interface.binary = (resolution & 0x80) != 0;
      interface.exponent = resolution & 0x7f;
    } else if (code == 14 && length == 8) {  // if_tsoffset
      interface.offset_seconds = static_cast<std::int64_t>(Read64(value, 0));
    }
    options.remove_prefix(std::min(options.size(), 4 + (length + 3) / 4 * 4));
  }
  if (interfaces_.size() < kMaxInterfaces) interfaces_.push_back(interface);
}

// Cut to microseconds. Times that no clock shows are put to the ends of what is possible.
sip::CaptureTime PcapngFile::TimeOf(const Interface& interface, std::uint64_t ticks) {
  constexpr std::uint64_t kMicro = 1'000'000;
  constexpr std::int64_t kYear9999 = 253'402'300'799;
  std::uint64_t seconds = 0;
  std::uint64_t micros = 0;
  if (interface.binary) {
    const int bits = interface.exponent;
    if (bits < 64) {
      seconds = ticks >> bits;
      std::uint64_t part =
          bits == 0 ? 0 : ticks & (std::numeric_limits<std::uint64_t>::max() >> (64 - bits));
      int part_bits = bits;
      if (part_bits > 40) {  // what remains is finer than a microsecond, and times 10^6 fits
        part >>= part_bits - 40;
        part_bits = 40;
      }
      micros = part * kMicro >> part_bits;
    }
  } else if (interface.exponent < 20) {
    const std::uint64_t units = PowerOfTen(interface.exponent);
    seconds = ticks / units;
    micros = interface.exponent <= 6 ? ticks % units * (kMicro / units)
                                     : ticks % units / (units / kMicro);
  }
  std::int64_t whole = static_cast<std::int64_t>(std::min<std::uint64_t>(seconds, kYear9999));
  whole += std::clamp(interface.offset_seconds, -kYear9999, kYear9999);
  return sip::CaptureTime(std::chrono::seconds(std::clamp<std::int64_t>(whole, 0, kYear9999))) +
         std::chrono::microseconds(micros);
}

Frame PcapngFile::PacketFrame(std::uint32_t interface, std::uint64_t ticks, std::size_t at,
                              std::size_t captured) {
  Frame frame;
  if (interface >= interfaces_.size()) {
    frame.link_type = kNoLinkType;
    frame.time = last_time_;
    return frame;
  }
  frame.link_type = interfaces_[interface].link_type;
  frame.time = last_time_ = TimeOf(interfaces_[interface], ticks);
  if (at < body_.size()) frame.bytes = std::string_view(body_).substr(at, captured);
  return frame;
}

std::optional<Frame> PcapngFile::Next() {
  std::uint32_t type = 0;
  while (damage_.empty() && ReadBlock(type)) {
    const auto ticks_at = [&](std::size_t at) {
      return std::uint64_t{Read32(body_, at)} << 32 | Read32(body_, at + 4);
    };
    switch (type) {
      case kInterface:
        AddInterface();
        break;
      case kEnhancedPacket:
        return PacketFrame(Read32(body_, 0), ticks_at(4), 20, Read32(body_, 12));
      case kObsoletePacket:
        return PacketFrame(Read16(body_, 0), ticks_at(4), 20, Read32(body_, 12));
      case kSimplePacket: {  // of the first interface, without a time
        std::size_t size = Read32(body_, 0);
        Frame frame;
        frame.link_type = interfaces_.empty() ? kNoLinkType : interfaces_[0].link_type;
        frame.time = last_time_;
        if (!interfaces_.empty() && interfaces_[0].snap_length != 0) {
          size = std::min<std::size_t>(size, interfaces_[0].snap_length);
        }
        if (body_.size() > 4) frame.bytes = std::string_view(body_).substr(4, size);
        return frame;
      }
      default:
        break;  // names, statistics, secrets, what is yet to come
    }
  }
  return std::nullopt;
}

}  // namespace sipheal::inline v0_1::pcap
