// SPDX-License-Identifier: Apache-2.0
#include "sip/call_pack.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kWord = 8;

// What texts of calls often hold, as TextPool keeps them. References reach back 64 KB, and a pool
// is smaller than that by more than this.
constexpr std::string_view kCommon =
    ";transport=tcp;transport=tls;transport=udp;user=phone;lr;ob;r2=on;ftag=;did=.example.com"
    "sip:+sips:sip:asterisk@\"sip:5060;lr=on@10.192.168.172.16."
    "100rel, timer, replaces, norefersub, histinfo, path, outbound, gruu, record-aware, from-change"
    "a=inactive\na=recvonly\na=sendonly\no=root o=- c=IN IP6 c=IN IP4 "
    "m=video 0 RTP/SAVPF RTP/SAVP 111 9 18 3 a=rtpmap:96 telephone-event/8000\n"
    " RTP/AVP 9 0 8 18 101\n RTP/AVP 0 8 101\na=rtpmap:101 telephone-event/8000\n IN IP4 m=audio ";

// A byte below kMatch says that so many bytes + 1 follow as they are; another one, that so many
// bytes less kMatch plus kShortest stood before, at the distance that two bytes give.
constexpr unsigned kMatch = 0x80;
constexpr std::size_t kShortest = 4;
constexpr std::size_t kLongest = kShortest + 0x7f;
constexpr std::size_t kMostLiterals = kMatch;

static_assert(kCommon.size() < 4000);

// Where four bytes that hash alike were last seen: index + 1 into kCommon and the text behind it.
constexpr unsigned kHashBits = 11;
using Seen = std::array<std::uint16_t, std::size_t{1} << kHashBits>;

std::uint32_t Hash(const char* at) {
  std::uint32_t word;
  std::memcpy(&word, at, sizeof word);
  return (word * 0x9e3779b1u) >> (32 - kHashBits);
}

const Seen& SeenInCommon() {
  static const Seen seen = [] {
    Seen table{};
    for (std::size_t i = 0; i + kShortest <= kCommon.size(); ++i) {
      table[Hash(kCommon.data() + i)] = static_cast<std::uint16_t>(i + 1);
    }
    return table;
  }();
  return seen;
}

void AppendLiterals(std::string_view text, std::string* out) {
  while (!text.empty()) {
    const std::size_t size = std::min(text.size(), kMostLiterals);
    *out += static_cast<char>(size - 1);
    out->append(text.substr(0, size));
    text.remove_prefix(size);
  }
}

}  // namespace

void PackRecords(std::string_view records, std::string* out) {
  for (std::size_t at = 0; at < records.size(); at += kWord) {
    const std::size_t mask_at = out->size();
    unsigned mask = 0;
    *out += '\0';
    for (std::size_t i = 0; i < kWord; ++i) {
      if (records[at + i] == 0) continue;
      mask |= 1u << i;
      *out += records[at + i];
    }
    (*out)[mask_at] = static_cast<char>(mask);
  }
}

std::string_view UnpackRecords(std::string_view packed, std::size_t size, std::string* records) {
  records->assign(size, '\0');
  std::size_t from = 0;
  for (std::size_t at = 0; at < size; at += kWord) {
    const auto mask = static_cast<unsigned char>(packed[from++]);
    for (std::size_t i = 0; i < kWord; ++i) {
      if ((mask >> i & 1) != 0) (*records)[at + i] = packed[from++];
    }
  }
  return packed.substr(from);
}

void PackTexts(std::string_view texts, std::string* out) {
  std::string all(kCommon);
  all += texts;
  Seen seen = SeenInCommon();
  std::size_t literals = kCommon.size();  // not yet written
  std::size_t at = kCommon.size();
  while (at + kShortest <= all.size()) {
    const std::uint32_t hash = Hash(all.data() + at);
    const std::size_t before = seen[hash];
    seen[hash] = static_cast<std::uint16_t>(at + 1);
    std::size_t size = 0;
    if (before != 0) {
      const std::size_t most = std::min(kLongest, all.size() - at);
      while (size < most && all[before - 1 + size] == all[at + size]) ++size;
    }
    if (size < kShortest) {
      ++at;
      continue;
    }
    AppendLiterals(std::string_view(all).substr(literals, at - literals), out);
    const std::size_t distance = at - (before - 1);
    *out += static_cast<char>(kMatch + (size - kShortest));
    *out += static_cast<char>(distance & 0xff);
    *out += static_cast<char>(distance >> 8);
    for (const std::size_t end = at + size; ++at < end;) {
      if (at + kShortest <= all.size()) {
        seen[Hash(all.data() + at)] = static_cast<std::uint16_t>(at + 1);
      }
    }
    literals = at;
  }
  AppendLiterals(std::string_view(all).substr(literals), out);
}

void UnpackTexts(std::string_view packed, std::string* texts) {
  std::string all(kCommon);
  while (!packed.empty()) {
    const unsigned first = static_cast<unsigned char>(packed[0]);
    if (first < kMatch) {
      all += packed.substr(1, first + 1);
      packed.remove_prefix(first + 2);
      continue;
    }
    const std::size_t distance = static_cast<unsigned char>(packed[1]) |
                                 std::size_t{static_cast<unsigned char>(packed[2])} << 8;
    // What is copied may begin with what it is about to write.
    for (std::size_t left = first - kMatch + kShortest; left > 0; --left) {
      all += all[all.size() - distance];
    }
    packed.remove_prefix(3);
  }
  texts->assign(all, kCommon.size());
}

}  // namespace sipheal::inline v0_1::sip
