// SPDX-License-Identifier: Apache-2.0
#include "sipheal/model/crash_event.h"

namespace sipheal::inline v0_1 {

std::string_view ToString(CrashKind kind) {
  switch (kind) {
    case CrashKind::kProcessGone:
      return "process_gone";
    case CrashKind::kRestarted:
      return "restarted";
    case CrashKind::kSilent:
      return "silent";
    case CrashKind::kReported:
      return "reported";
  }
  return "unknown";
}

}  // namespace sipheal::inline v0_1
