// SPDX-License-Identifier: Apache-2.0
// A FlowResumer puts a recovered session back to what it was doing: its bridge or conference, the
// playback at its position, hold, recording, or the host's own flow. sipheal ships one for ARI
// (adapters/ari.h); hosts write their own. The Healer calls it after the phone has answered, never
// before.
//
// CONTRACT (each clause has the conformance case of the same id)
//  [Threading]    FR-1  All methods may be called from several threads at once, for different
//                       sessions.
//  [Deadlines]    FR-2  A call returns DeadlineExceeded within 100 ms of ctx.deadline, and
//                       Cancelled within 100 ms of ctx.stop being requested.
//  [Idempotence]  FR-3  Resume may be called again for the same session, epoch and channel after
//                       a failure or by a second controller; the flow is then not doubled (one
//                       bridge, one playback).
//  [Partners]     FR-4  Sessions of one group that were in a bridge end in one bridge, in whatever
//                       order they are resumed; none waits for another. One that was in none did
//                       not talk to those beside it, and is joined to none of them; a partner that
//                       lived elsewhere (`lived_there`) draws it into the bridge that it is in.
//  [Errors]       FR-5  Unavailable may be tried again. FailedPrecondition and InvalidArgument
//                       may not: the session is then ended with BYE and the status as reason.
//  [Accept]       FR-6  Accept asks before anything is sent whether this session could be
//                       resumed at all; it does no I/O and returns at once.
//  [Exceptions]   FR-7  None may leave a method. sipheal turns one that does into Internal.
//  [Prepare]      FR-8  Prepare does no I/O, returns at once, and gives the same for the same
//                       arguments.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1 {

class SIPHEAL_EXPORT FlowResumer {
 public:
  struct Partner {
    std::string session_id;
    std::string instance;
    std::string channel_id;
    // It lived there when the session's own incarnation died, and was not recovered itself.
    bool lived_there = false;
  };
  struct ResumeParams {
    Session session;                // as it was when its incarnation died
    WallTime died_at{};             // the last sign of life of that incarnation
    std::string instance;           // where it lives now
    std::string channel_id;         // its channel there, answered
    std::vector<Partner> partners;  // sessions of its group that are up on that instance
    // The channel was made with what Prepare gave (as far as a server can be given it: plain names,
    // values in UTF-8 of at most 40,000 bytes), and nobody has called Resume for it before: what
    // FR-3 asks for need not be looked at. False when that is not known.
    bool first = false;
    // The media server has done all that Prepare's variables told it to do (FlowProgress::kDone).
    bool done_by_server = false;
  };
  // Plain channel variables, by name.
  using Variables = std::vector<std::pair<std::string, std::string>>;

  FlowResumer(const FlowResumer&) = delete;
  FlowResumer& operator=(const FlowResumer&) = delete;
  virtual ~FlowResumer();

  // OK, or why this session's flow cannot be resumed: it is then ended with BYE and this reason.
  virtual absl::Status Accept(const Session& session) = 0;
  // Variables that the session's next channel is to be born with, which spares Resume a request.
  // `died_at` is that of ResumeParams. As it stands here: none.
  virtual Variables Prepare(const Session& session, WallTime died_at);
  virtual absl::Status Resume(const CallContext& ctx, const ResumeParams& params) = 0;

 protected:
  FlowResumer() = default;
};

}  // namespace sipheal::inline v0_1
