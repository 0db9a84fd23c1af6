// SPDX-License-Identifier: Apache-2.0
// Tells systemd how the service is (sd_notify(3), Type=notify), without its library.
#pragma once

#include <string>

namespace sipheal::inline v0_1::cli {

// Sends `state` ("READY=1", "STOPPING=1", "RELOADING=1\nMONOTONIC_USEC=...", "STATUS=...") to the
// socket that the variable NOTIFY_SOCKET names. Does nothing, and returns false, without one.
bool NotifyServiceManager(const std::string& state);

}  // namespace sipheal::inline v0_1::cli
