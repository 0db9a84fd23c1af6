// SPDX-License-Identifier: Apache-2.0
// The next request that the server, or whoever takes over for it, sends in a dialog: its target and
// route (RFC 3261 12.2.1.1), its CSeq, and the channel variables that make a media server send it.
// reinvite.h writes its text.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::sip {

// No request may be numbered above this: the recovered dialog must still be able to count, and
// stacks hold the number in an int32 (rule 5.7).
inline constexpr std::uint32_t kMaxCseq = 0x7fffffffu - 1024;

struct RequestTarget {
  std::string request_uri;         // on the wire: the strict router's URI if the first route is one
  std::vector<std::string> route;  // Route values on the wire, without <>
};

// FailedPrecondition when target or route set are not known; InvalidArgument when a value is no
// URI.
SIPHEAL_EXPORT absl::StatusOr<RequestTarget> NextRequest(const DialogState& dialog);

// The CSeq of the next request: above everything that the peer may have seen. Between the last
// request seen and `now` a server that was sending fast may have sent more: twice as many are left
// free, where that is more than the policy's head-room. `now` is also the start when the server
// never sent a request (clock-based, RFC 3261 8.1.1.5). OutOfRange above kMaxCseq.
SIPHEAL_EXPORT absl::StatusOr<std::uint32_t> NextCseq(const DialogState& dialog,
                                                      const CseqPolicy& policy, CaptureTime now);

// o= version for the next offer: one above the highest that the server sent, as text of any size.
// Empty when the server's SDP is not known. `margin` is added when the capture's tail may be lost.
SIPHEAL_EXPORT std::string NextSdpVersion(const DialogState& dialog, std::uint32_t margin = 0);

// The direction to offer, so that a held call stays held (rule 9.6).
SIPHEAL_EXPORT SdpDirection NextOfferDirection(const DialogState& dialog);

struct RecoveryOptions {
  CseqPolicy cseq;
  // Zero: the dialog's last_seen.
  CaptureTime now{};
};

using ChannelVariable = std::pair<std::string, std::string>;

struct VariableView {
  std::string_view name;
  std::string_view value;
};

// Makes the PJSIP_RECOVERY_* variables of one dialog after the other in memory of its own, which it
// keeps. One thread at a time.
class SIPHEAL_EXPORT RecoveryVariableWriter {
 public:
  // The variables for res_pjsip_recovery, in a stable order. FROM is the server's side. Valid until
  // the next call and while the dialog stays as it is. Allocates nothing once as much was written.
  // Fails with the name of the variable when one cannot be made, or holds CR, LF or NUL, or would
  // not read back as what it was made from. It does not judge: call Judge() first. The version in
  // SDP_ORIGIN is 1,000 above the last one seen, unless the capture is complete (rule 9.2).
  absl::StatusOr<std::span<const VariableView>> Write(const DialogState& dialog,
                                                      const RecoveryOptions& options = {});

 private:
  std::vector<VariableView> variables_;
  std::string text_;  // of the values that do not stand in the dialog as they are
};

// The same as texts of their own.
SIPHEAL_EXPORT absl::StatusOr<std::vector<ChannelVariable>> RecoveryVariables(
    const DialogState& dialog, const RecoveryOptions& options = {});

}  // namespace sipheal::inline v0_1::sip
