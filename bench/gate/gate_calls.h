// SPDX-License-Identifier: Apache-2.0
// Calls for the instruction count: the same in every run and on every machine.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::bench {

using GateCall = std::vector<sip::CapturedMessage>;

// Calls of ten messages each between a media server and phones behind two record-routing proxies:
// INVITE, 100, 180, 200, ACK, re-INVITE, 200, ACK, INFO, 200. The server calls in every other one.
std::vector<GateCall> MakeGateCalls(std::size_t count);

sip::ServerIdentity GateServer();

}  // namespace sipheal::bench
