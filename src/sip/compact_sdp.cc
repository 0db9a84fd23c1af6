// SPDX-License-Identifier: Apache-2.0
#include "sip/compact_sdp.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string>

#include "sip/find_line_end.h"
#include "sip/sdp_lines.h"
#include "sipheal/sip/sdp.h"

namespace sipheal::inline v0_1::sip {
namespace {

// What is done with an attribute.
enum class Attribute { kDrop, kKeep, kCrypto, kFingerprint, kIce, kDirection, kSendRecv };

Attribute KindOf(std::string_view attribute) {
  if (attribute.empty()) return Attribute::kDrop;
  switch (attribute.front()) {
    case 'c':
      return attribute.starts_with("crypto") ? Attribute::kCrypto : Attribute::kDrop;
    case 'f':
      return attribute.starts_with("fingerprint") ? Attribute::kFingerprint : Attribute::kDrop;
    case 'i':
      if (attribute.starts_with("ice-ufrag")) return Attribute::kIce;
      return attribute == "inactive" ? Attribute::kDirection : Attribute::kDrop;
    case 'r':
      if (attribute.starts_with("rtpmap:")) {
        return IsDynamicRtpmap(attribute.substr(7)) ? Attribute::kKeep : Attribute::kDrop;
      }
      return attribute == "recvonly" ? Attribute::kDirection : Attribute::kDrop;
    case 's':
      if (attribute == "sendrecv") return Attribute::kSendRecv;
      return attribute == "sendonly" ? Attribute::kDirection : Attribute::kDrop;
    default:
      return Attribute::kDrop;
  }
}

// Writes what is kept of each line. The lines before took at least as many bytes of the body as
// were written of them.
class Reduction {
 public:
  Reduction(const char* body_end, char* out) : body_end_(body_end), at_(out) {}

  // The line from `begin` to its line end at `stop`.
  void Take(const char* begin, const char* stop) {
    if (stop - begin < 2 || begin[1] != '=') return;
    const char kind = *begin;
    if (kind == 'o' || kind == 'c' || kind == 'm') {
      Keep(LineUpTo(begin, stop));
    } else if (kind == 'a') {
      TakeAttribute(LineUpTo(begin, stop));
    }
  }
  char* at() const { return at_; }

 private:
  void TakeAttribute(std::string_view line) {
    switch (KindOf(line.substr(2))) {
      case Attribute::kDrop:
        break;
      case Attribute::kCrypto:
        Once(&crypto_, "a=crypto");
        break;
      case Attribute::kFingerprint:
        Once(&fingerprint_, "a=fingerprint");
        break;
      case Attribute::kIce:
        Once(&ice_, "a=ice-ufrag");
        break;
      case Attribute::kSendRecv:
        if (directed_) Keep(line);
        break;
      case Attribute::kDirection:
        directed_ = true;
        Keep(line);
        break;
      case Attribute::kKeep:
        Keep(line);
        break;
    }
  }
  // Sixteen bytes at a time, where the body goes on for as many: there is room for as many, too.
  void Keep(std::string_view line) {
    constexpr std::size_t kStep = 16;
    if (static_cast<std::size_t>(body_end_ - (line.data() + line.size())) < kStep) {
      std::memcpy(at_, line.data(), line.size());
    } else {
      for (std::size_t i = 0; i < line.size(); i += kStep) {
        std::memcpy(at_ + i, line.data() + i, kStep);
      }
    }
    at_ += line.size();
    *at_++ = '\n';
  }
  // Keys and fingerprints are facts to refuse on, not values to keep: one line says that there are
  // any.
  void Once(bool* seen, std::string_view line) {
    if (*seen) return;
    *seen = true;
    std::memcpy(at_, line.data(), line.size());
    at_ += line.size();
    *at_++ = '\n';
  }

  const char* const body_end_;
  char* at_;
  bool crypto_ = false;
  bool fingerprint_ = false;
  bool ice_ = false;
  bool directed_ = false;  // another direction than the default was given
};

// A bit for each line end of the 64 bytes at `at`, and one for where the body ends before that.
std::uint64_t LineEndsUpTo(const char* end, const char* at) {
  constexpr std::size_t kBlock = 64;
  const auto left = static_cast<std::size_t>(end - at);
  if (left >= kBlock) return LineEndsOf64(at);
  std::array<char, kBlock> block{};
  if (left > 0) std::memcpy(block.data(), at, left);
  return LineEndsOf64(block.data()) | std::uint64_t{1} << left;
}

}  // namespace

std::size_t WriteCompactSdp(std::string_view body, char* const out) {
  const char* const end = body.data() + body.size();
  Reduction reduction(end, out);
  const char* line = body.data();
  for (const char* at = line;; at += 64) {
    for (std::uint64_t ends = LineEndsUpTo(end, at); ends != 0; ends &= ends - 1) {
      const char* const stop = at + std::countr_zero(ends);
      reduction.Take(line, stop);
      if (stop == end) return static_cast<std::size_t>(reduction.at() - out);
      line = stop + 1;
    }
  }
}

void AppendCompactSdp(std::string_view body, std::string* out) {
  const std::size_t before = out->size();
  out->resize(before + CompactSdpRoom(body));
  out->resize(before + WriteCompactSdp(body, out->data() + before));
}

}  // namespace sipheal::inline v0_1::sip
