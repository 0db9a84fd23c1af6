// SPDX-License-Identifier: Apache-2.0
// What an answer to a request in the dialog ends (RFC 5057 5.1).
#pragma once

#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip {

constexpr bool EndsDialog(int status) {
  switch (status) {
    case 404:
    case 410:
    case 416:
    case 482:
    case 483:
    case 484:
    case 485:
    case 502:
    case 604:
      return true;
    default:
      return false;
  }
}

constexpr bool EndsUsage(int status) {
  return status == 405 || status == 408 || status == 480 || status == 481 || status == 489 ||
         status == 501;
}

constexpr bool OfInviteUsage(Method method) {
  return method == Method::kInvite || method == Method::kUpdate || method == Method::kInfo ||
         method == Method::kPrack || method == Method::kBye;
}

// The call, be it with the dialog or alone.
constexpr bool EndsCall(Method method, int status) {
  return EndsDialog(status) || (EndsUsage(status) && OfInviteUsage(method));
}

}  // namespace sipheal::inline v0_1::sip
