// SPDX-License-Identifier: Apache-2.0
// Sends a SIP OPTIONS to a media server, so that there is a message that it must copy over HEP.
#pragma once

#include <chrono>

#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::cli {

// True when any SIP response came back over UDP. An OPTIONS outside a dialog changes nothing
// (RFC 3261 section 11). An address without a port is asked at 5060; one that is not UDP is not
// asked.
bool ProbeWithOptions(const sip::ServerAddress& address, std::chrono::milliseconds timeout);

}  // namespace sipheal::inline v0_1::cli
