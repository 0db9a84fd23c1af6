// SPDX-License-Identifier: Apache-2.0
// CrashEvent: a CrashDetector's statement that one incarnation is dead, with what proves it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/model/incarnation.h"

namespace sipheal::inline v0_1 {

enum class CrashKind {
  kProcessGone,  // the process ended (pidfd, or every connection refused)
  kRestarted,    // the instance answers, but as another incarnation
  kSilent,       // it may be alive, but says nothing on any channel: it must be fenced
  kReported,     // an operator or a host said so
};

// "process_gone", "restarted", "silent" or "reported".
SIPHEAL_EXPORT std::string_view ToString(CrashKind kind);

struct CrashEvent {
  Incarnation incarnation;
  CrashKind kind = CrashKind::kReported;
  WallTime last_alive{};  // the last sign of life; playback positions are taken from here
  WallTime detected_at{};
  std::vector<std::string> evidence;  // one sentence each, for a person
  std::string detector;               // who says it: "ari", "kubernetes", ...
};

// An incarnation that was declared dead (kSilent) answers again: its taken sessions must be given
// up there.
struct ReturnEvent {
  Incarnation incarnation;
  WallTime at{};
};

}  // namespace sipheal::inline v0_1
