// SPDX-License-Identifier: Apache-2.0
// As operator==, which g++ 12 compiles to a call of memcmp for the sixteen bytes of an address:
// each message is asked for a dozen times whose it is.
#pragma once

#include <cstring>

#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::sip {

inline bool SameAddress(const IpAddress& a, const IpAddress& b) {
  return std::memcmp(a.bytes().data(), b.bytes().data(), 16) == 0 && a.is_v4() == b.is_v4() &&
         a.is_v6() == b.is_v6();
}

inline bool SameAddress(const Endpoint& a, const Endpoint& b) {
  return a.port == b.port && SameAddress(a.ip, b.ip);
}

}  // namespace sipheal::inline v0_1::sip
