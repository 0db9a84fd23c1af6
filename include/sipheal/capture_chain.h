// SPDX-License-Identifier: Apache-2.0
// Several captures as one: for example the HEP receiver, which has all in memory, and behind it
// HOMER, which is slower and has seen what was before the controller was started. Part of the core.
//
// They are asked in order, and only for what is not known well enough yet: the next one when those
// before it have answered, have failed, or have taken longer than `hedge`. What they give is put
// together: messages are a union, dialogs are combined by the rules of sip/combine_dialogs.h, and
// L1 decides on both. An end that one of them saw is the end.
//
// One that fails, throws, hangs, or answers something else than it was asked holds up no other.
// A Call-ID that is not known well enough while one of those did not answer gets that one's error
// in its DialogCapture::status; Fetch as a whole is Unavailable only when none answered.
//
// Completeness is that of the best: with one member that gives kOwnInterface for a Call-ID nothing
// can be missing, whatever the others gave.
//
// Threads: the chain starts none. With an executor each member is asked on one of its threads, so
// that a member that hangs costs a thread of it and not the caller; without one, the members are
// asked on the caller's thread, one behind the other, each with its share of the time.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/clock.h"
#include "sipheal/base/executor.h"
#include "sipheal/base/log_sink.h"
#include "sipheal/export.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1 {

struct CaptureChainOptions {
  struct Member {
    std::string name;  // for errors and logs: "hep"; unique
    std::shared_ptr<SipCapture> capture;
    // How long it may take for one Fetch when the caller's deadline is not earlier. 1 ms to 60 s.
    std::chrono::milliseconds timeout{3000};
  };
  // In the order in which they are asked. 1 to 8.
  std::vector<Member> members;

  // When the next member is asked although those before it have not answered. 0 to 60 s; 0: all at
  // once. Only with an executor.
  std::chrono::milliseconds hedge{100};

  enum class Enough {
    // When each Call-ID has a dialog that is over, or one of which nothing needed is missing, or a
    // complete capture.
    kUsable,
    // When every member has answered, or did not in time: the most careful, and the slowest.
    kEveryone,
  };
  // When no further member is waited for.
  Enough enough = Enough::kUsable;

  // Runs the members' Fetch; at least one thread for each member. None: see above.
  std::shared_ptr<Executor> executor;
  std::shared_ptr<LogSink> log;  // none: silent. Members that fail are told here
  const Clock* clock = nullptr;  // none: the system's; must outlive the chain

  // InvalidArgument names the field, what it was and what it may be.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

SIPHEAL_EXPORT absl::StatusOr<std::shared_ptr<SipCapture>> MakeCaptureChain(
    CaptureChainOptions options);

}  // namespace sipheal::inline v0_1
