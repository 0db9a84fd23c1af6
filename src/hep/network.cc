// SPDX-License-Identifier: Apache-2.0
#include "hep/network.h"

#include <charconv>
#include <cstring>

namespace sipheal::inline v0_1::hep {

std::optional<Network> Network::Parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::optional<sip::IpAddress> base = sip::IpAddress::Parse(text.substr(0, slash));
  if (!base.has_value()) return std::nullopt;
  const int bits = base->is_v4() ? 32 : 128;
  int prefix = bits;
  if (slash != std::string_view::npos) {
    const char* const begin = text.data() + slash + 1;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(begin, end, prefix);
    if (error != std::errc() || stop != end || prefix < 0 || prefix > bits) return std::nullopt;
  }
  return Network(*base, prefix);
}

bool Network::Contains(const sip::IpAddress& ip) const {
  if (ip.is_v4() != base_.is_v4() || ip.empty()) return false;
  const auto whole = static_cast<std::size_t>(prefix_ / 8);
  if (std::memcmp(ip.bytes().data(), base_.bytes().data(), whole) != 0) return false;
  const int rest = prefix_ % 8;
  if (rest == 0) return true;
  const int mask = 0xff << (8 - rest) & 0xff;
  return (ip.bytes()[whole] & mask) == (base_.bytes()[whole] & mask);
}

}  // namespace sipheal::inline v0_1::hep
