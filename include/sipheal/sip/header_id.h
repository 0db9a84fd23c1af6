// SPDX-License-Identifier: Apache-2.0
// The header fields that sipheal reads, with their compact forms (RFC 3261 7.3.3).
#pragma once

#include <cstdint>
#include <string_view>

#include "sipheal/export.h"

namespace sipheal::inline v0_1::sip {

enum class HeaderId : std::uint8_t {
  kOther,
  kVia,
  kFrom,
  kTo,
  kCallId,
  kCseq,
  kContact,
  kRecordRoute,
  kRoute,
  kMaxForwards,
  kContentLength,
  kContentType,
  kContentEncoding,
  kContentDisposition,
  kSessionExpires,
  kMinSe,
  kSupported,
  kRequire,
  kAllow,
  kRseq,
  kRack,
  kEvent,
  kReplaces,
  // What tells usages of a dialog, its links to others, and whose credentials are in it.
  kExpires,
  kReferSub,
  kSubscriptionState,
  kJoin,
  kSessionId,
  kChargingVector,  // P-Charging-Vector
  kOtherLegCallId,  // X-CID, X-Call-ID
  kWwwAuthenticate,
  kProxyAuthenticate,
  kAuthorization,
  kProxyAuthorization,
};
inline constexpr int kHeaderIdCount = static_cast<int>(HeaderId::kProxyAuthorization) + 1;

// Ignores letter case; knows the compact forms. O(length).
SIPHEAL_EXPORT HeaderId HeaderIdFromName(std::string_view name);

}  // namespace sipheal::inline v0_1::sip
