// SPDX-License-Identifier: Apache-2.0
// SIP request methods that the dialog rules speak of.
#pragma once

#include <cstdint>
#include <string_view>

#include "sipheal/export.h"

namespace sipheal::inline v0_1::sip {

enum class Method : std::uint8_t {
  kOther,  // a method without rules of its own; compare the text
  kInvite,
  kAck,
  kBye,
  kCancel,
  kUpdate,
  kPrack,
  kInfo,
  kRefer,
  kNotify,
  kSubscribe,
  kMessage,
  kOptions,
  kRegister,
  kPublish,
};

// Methods are case-sensitive and are never unescaped (RFC 3261 7.1, RFC 4475 3.1.1.5).
SIPHEAL_EXPORT Method MethodFromString(std::string_view text);
// "INVITE", ...; "OTHER" for kOther.
SIPHEAL_EXPORT std::string_view ToString(Method method);

}  // namespace sipheal::inline v0_1::sip
