// SPDX-License-Identifier: Apache-2.0
// HEP of versions 1 and 2, which old agents still send: fixed headers before the message.
#pragma once

#include <optional>
#include <string_view>

#include "sipheal/sip/address.h"

namespace sipheal::inline v0_1::pcap {

struct LegacyHep {
  sip::Endpoint source;
  sip::Endpoint destination;
  sip::Transport transport = sip::Transport::kUnknown;
  std::string_view payload;
};

// Empty when it is none, or holds no SIP. The time that version 2 has is left out: it is in the
// byte order of the agent, which nothing tells.
std::optional<LegacyHep> DecodeLegacyHep(std::string_view bytes);

}  // namespace sipheal::inline v0_1::pcap
