// SPDX-License-Identifier: Apache-2.0
// The names of the header fields that are read, found by one multiplication and one comparison of
// vectors: a perfect hash over size and first two letters, made by the compiler.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "sipheal/sip/header_id.h"

namespace sipheal::inline v0_1::sip::kernel {

// A name with its colon, in lower case, to compare a line's first bytes with: a letter's case is
// the bit 0x20, and but for control characters only letters become letters by it, and only a colon
// and a hyphen are one with it.
struct alignas(32) HeaderName {
  std::array<std::uint8_t, 32> letters{};
};

struct HeaderNameEntry {
  HeaderId id;
  std::string_view name;  // in lower case
};

inline constexpr HeaderNameEntry kHeaderNames[] = {
    {HeaderId::kVia, "via"},
    {HeaderId::kVia, "v"},
    {HeaderId::kFrom, "from"},
    {HeaderId::kFrom, "f"},
    {HeaderId::kTo, "to"},
    {HeaderId::kTo, "t"},
    {HeaderId::kCallId, "call-id"},
    {HeaderId::kCallId, "i"},
    {HeaderId::kCseq, "cseq"},
    {HeaderId::kContact, "contact"},
    {HeaderId::kContact, "m"},
    {HeaderId::kRecordRoute, "record-route"},
    {HeaderId::kRoute, "route"},
    {HeaderId::kMaxForwards, "max-forwards"},
    {HeaderId::kContentLength, "content-length"},
    {HeaderId::kContentLength, "l"},
    {HeaderId::kContentType, "content-type"},
    {HeaderId::kContentType, "c"},
    {HeaderId::kContentEncoding, "content-encoding"},
    {HeaderId::kContentEncoding, "e"},
    {HeaderId::kContentDisposition, "content-disposition"},
    {HeaderId::kSessionExpires, "session-expires"},
    {HeaderId::kSessionExpires, "x"},
    {HeaderId::kMinSe, "min-se"},
    {HeaderId::kSupported, "supported"},
    {HeaderId::kSupported, "k"},
    {HeaderId::kRequire, "require"},
    {HeaderId::kAllow, "allow"},
    {HeaderId::kRseq, "rseq"},
    {HeaderId::kRack, "rack"},
    {HeaderId::kEvent, "event"},
    {HeaderId::kEvent, "o"},
    {HeaderId::kReplaces, "replaces"},
    {HeaderId::kJoin, "join"},
    {HeaderId::kOtherLegCallId, "x-cid"},
    {HeaderId::kOtherLegCallId, "x-call-id"},
    {HeaderId::kExpires, "expires"},
    {HeaderId::kReferSub, "refer-sub"},
    {HeaderId::kSessionId, "session-id"},
    {HeaderId::kAuthorization, "authorization"},
    {HeaderId::kWwwAuthenticate, "www-authenticate"},
    {HeaderId::kChargingVector, "p-charging-vector"},
    {HeaderId::kProxyAuthenticate, "proxy-authenticate"},
    {HeaderId::kSubscriptionState, "subscription-state"},
    {HeaderId::kProxyAuthorization, "proxy-authorization"},
};

struct HeaderNameTable {
  static constexpr unsigned kBits = 8;
  static constexpr unsigned kSlots = 1u << kBits;

  std::uint32_t factor = 0;
  std::array<HeaderName, kSlots> names{};
  std::array<std::uint8_t, kSlots> ids{};  // HeaderId; kOther: no name has this hash
  std::array<std::string_view, kSlots> full_names{};

  // `first_two` as they stand in memory, letters of any case; of a name of one letter the second is
  // the colon.
  constexpr unsigned SlotOf(std::uint32_t first_two, std::uint32_t size) const {
    return (((first_two | 0x2020u) + (size << 16)) * factor) >> (32 - kBits);
  }
};

constexpr std::uint32_t FirstTwo(char first, char second) {
  return static_cast<std::uint32_t>(static_cast<unsigned char>(first)) |
         static_cast<std::uint32_t>(static_cast<unsigned char>(second)) << 8;
}

// Two bytes must be readable.
inline std::uint32_t FirstTwo(const char* name) {
  if constexpr (std::endian::native == std::endian::big) return FirstTwo(name[0], name[1]);
  std::uint16_t word;
  std::memcpy(&word, name, sizeof word);
  return word;
}

constexpr std::uint32_t FirstTwo(std::string_view name) {
  return FirstTwo(name[0], name.size() > 1 ? name[1] : ':');
}

constexpr HeaderNameTable MakeHeaderNameTable() {
  HeaderNameTable table;
  // Odd factors are tried until no two names share a slot; nothing depends on which it is.
  bool found = false;
  for (std::uint32_t factor = 0x9e3779b1u; !found; factor += 0x3c6ef372u) {
    table.factor = factor;
    std::array<bool, HeaderNameTable::kSlots> taken{};
    found = true;
    for (const HeaderNameEntry& entry : kHeaderNames) {
      const unsigned slot =
          table.SlotOf(FirstTwo(entry.name), static_cast<std::uint32_t>(entry.name.size()));
      if (taken[slot]) {
        found = false;
        break;
      }
      taken[slot] = true;
    }
  }
  for (const HeaderNameEntry& entry : kHeaderNames) {
    const unsigned slot =
        table.SlotOf(FirstTwo(entry.name), static_cast<std::uint32_t>(entry.name.size()));
    table.ids[slot] = static_cast<std::uint8_t>(entry.id);
    table.full_names[slot] = entry.name;
    HeaderName& name = table.names[slot];
    for (std::size_t i = 0; i < entry.name.size(); ++i) {
      name.letters[i] = static_cast<std::uint8_t>(entry.name[i]);
    }
    name.letters[entry.name.size()] = ':';
  }
  return table;
}

inline constexpr HeaderNameTable kHeaderNameTable = MakeHeaderNameTable();

}  // namespace sipheal::inline v0_1::sip::kernel
