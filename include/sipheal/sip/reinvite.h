// SPDX-License-Identifier: Apache-2.0
// The text of the re-INVITE by which a successor takes a dialog over, for dry runs and tests;
// Asterisk writes its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/export.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1::sip {

namespace kernel {
struct Kernel;
}

// The successor, the same for all its dialogs.
struct ReinviteOptions {
  CseqPolicy cseq;
  // Its Contact URI; needed. Without a user part it takes over that of the server's last Contact,
  // by which the server may have known its session.
  std::string contact;
  std::string via_sent_by;  // "192.0.2.9:5060"; needed
  Transport transport = Transport::kUdp;
  std::string user_agent;  // empty: none
};

// What is of one re-INVITE alone.
struct ReinviteParams {
  std::string_view branch;  // a token that starts with z9hG4bK, never seen in the capture; needed
  std::string_view sdp;     // body; empty: an INVITE without an offer
  CaptureTime now{};        // zero: the dialog's last_seen
};

// Writes one re-INVITE after the other into memory of its own, which it keeps. One thread at a
// time.
class SIPHEAL_EXPORT ReinviteWriter {
 public:
  // InvalidArgument when the Contact is no SIP URI, via_sent_by no host and port, or an option
  // holds CR, LF or NUL.
  static absl::StatusOr<ReinviteWriter> Create(const ReinviteOptions& options);

  // The text, valid until the next call. Allocates nothing once a text as long was written. Fails
  // like NextRequest and NextCseq, and with InvalidArgument when the branch is none, or when a part
  // of the dialog is unsafe or would not read back as what it is. It does not judge: call Judge()
  // first.
  absl::StatusOr<std::string_view> Write(const DialogState& dialog, const ReinviteParams& params);

 private:
  friend struct kernel::Kernel;  // one of several that read back what was written; not for hosts

  ReinviteWriter() = default;

  CseqPolicy cseq_;
  bool contact_is_sips_ = false;
  bool takes_user_over_ = false;
  std::string via_;      // up to the branch
  std::string contact_;  // from behind the CSeq's number up to where a user that is taken over goes
  std::string contact_rest_;  // and from there on
  std::vector<char> memory_;
};

}  // namespace sipheal::inline v0_1::sip
