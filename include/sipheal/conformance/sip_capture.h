// SPDX-License-Identifier: Apache-2.0
// The contract of sipheal/sip_capture.h (SC-1 to SC-7) as cases for any implementation.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/conformance/case.h"
#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1::conformance {

// What the implementer gives. One harness is one source that has seen nothing yet.
class SIPHEAL_EXPORT SipCaptureHarness {
 public:
  virtual ~SipCaptureHarness();

  virtual absl::StatusOr<std::shared_ptr<SipCapture>> Make() = 0;
  // The source sees this message. When this returns, Fetch gives it. The message is of the dialog
  // `call_id`, its agent and addresses are those below.
  virtual absl::Status Feed(const std::string& call_id, const sip::CapturedMessage& message) = 0;

  // Whose side of the dialogs is captured: the name that Fetch is asked for, the capture agent's
  // name, and the SIP addresses of server and phone. Defaults: "conformance", "conformance",
  // 127.0.0.1:5060 and 127.0.0.2:5062.
  virtual std::string instance() const;
  virtual std::string agent() const;
  virtual sip::Endpoint server() const;
  virtual sip::Endpoint phone() const;
  // False for a source that keeps folded dialogs instead of messages.
  virtual bool KeepsMessages() const { return true; }

  // As in SessionStoreHarness; Unimplemented by default.
  virtual absl::Status BreakConnection();
  virtual absl::Status HealConnection();
  virtual absl::Status BlockSource();
  virtual absl::Status UnblockSource();
};

SIPHEAL_EXPORT std::span<const Case<SipCaptureHarness>> SipCaptureCases();

}  // namespace sipheal::inline v0_1::conformance
