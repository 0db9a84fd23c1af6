// SPDX-License-Identifier: Apache-2.0
// Stands in for doctor_command.cc in a build without the adapters that doctor needs.
#include "cli/daemon_commands.h"
#include "cli/doctor_command.h"
#include "cli/embedded_set.h"

namespace sipheal::inline v0_1::cli {

int DoctorCommand(const LoadedConfig& loaded, const Console& console) {
  return Fail(console, ComposeEmbeddedSet(loaded, nullptr, nullptr).status());
}

}  // namespace sipheal::inline v0_1::cli
