// SPDX-License-Identifier: Apache-2.0
// `sipheal doctor`: checks everything that a recovery will need, and says how to mend it.
#pragma once

#include "cli/config_reader.h"
#include "cli/output.h"

namespace sipheal::inline v0_1::cli {

// Exit code 0 when nothing failed. Changes nothing on the media servers: it reads over ARI, ends a
// channel that does not exist, and sends one SIP OPTIONS to each address. While a daemon runs, HEP
// is judged by what that received; else doctor listens itself for a moment.
int DoctorCommand(const LoadedConfig& loaded, const Console& console);

}  // namespace sipheal::inline v0_1::cli
