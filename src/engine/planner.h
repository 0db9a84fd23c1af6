// SPDX-License-Identifier: Apache-2.0
// Planner: from a session, what was captured of its dialog and what was stored of it, to what shall
// be done with it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/healer_options.h"
#include "sipheal/media_server_driver.h"
#include "sipheal/model/session.h"
#include "sipheal/session_store.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/verdict.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1::internal {

enum class PlannedStep {
  kReinvite,  // recover it
  kBye,       // its dialog is proved, but it shall not or cannot be recovered
  kClose,     // nothing may be sent
};

struct Plan {
  PlannedStep step = PlannedStep::kClose;
  sip::Verdict verdict;
  std::string reason;  // for kBye and kClose: the verdict's token, or "opt_out", "flow: ..."
  // The rebuilt dialog, when there is one.
  std::optional<sip::DialogState> dialog;
};

// What earlier attempts have used up already, so that the next one is above it.
struct UsedUp {
  std::uint32_t cseq = 0;       // the highest CSeq of an attempt; 0: none
  std::uint32_t cseq_jump = 0;  // go this much further
  // The CSeq of each request with an SDP offer. Those up to the dialog's own were captured, and
  // their o= version with them.
  std::vector<std::uint32_t> offers;
};

struct PlanInput {
  Session session;
  DialogCapture capture;
  std::vector<DialogRecord> stored;  // of this Call-ID, of any instance
  sip::ServerIdentity identity;      // of the incarnation that died
  absl::Status flow;                 // FlowResumer::Accept
  WallTime now{};
  UsedUp used;  // by earlier recoveries of this session: the capture may not show them
};

// Pure; may be called from any thread.
Plan MakePlan(const PlanInput& input, const HealerOptions& options);

// Whether a source that did not answer might still turn this verdict.
bool MoreEvidenceMayHelp(const sip::Verdict& verdict);

// The variables of the next request in `dialog`.
struct RequestVariables {
  std::vector<sip::ChannelVariable> variables;
  std::uint32_t cseq = 0;
};
absl::StatusOr<RequestVariables> MakeVariables(const sip::DialogState& dialog,
                                               const HealerOptions& options,
                                               bool capture_is_complete, WallTime now,
                                               const UsedUp& used);

}  // namespace sipheal::inline v0_1::internal
