// SPDX-License-Identifier: Apache-2.0
// The contract of sipheal/media_server_driver.h (MD-1 to MD-8) as cases for any implementation.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/conformance/case.h"
#include "sipheal/export.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::conformance {

// What a phone does with a re-INVITE.
enum class PhoneConduct {
  kAnswers,  // 200 at once
  kRefuses,  // 488 at once
  kSilent,   // nothing at all
};

// What the implementer gives: one media server, one driver for it, and phones that are in dialogs
// which the server does not know.
class SIPHEAL_EXPORT MediaServerDriverHarness {
 public:
  virtual ~MediaServerDriverHarness();

  virtual absl::StatusOr<std::shared_ptr<MediaServerDriver>> Make() = 0;
  // The instance's name. "conformance" by default.
  virtual std::string instance() const;

  // A phone in a confirmed dialog that acts as said: gives what Create needs to continue that
  // dialog (endpoint and variables; a channel id of its own), with the Call-ID in
  // PJSIP_RECOVERY_CALL-ID.
  virtual absl::StatusOr<MediaServerDriver::CreateParams> NewDialog(PhoneConduct conduct) = 0;
  // What that phone received since NewDialog: requests by method, "INVITE" or "BYE",
  // retransmissions not counted.
  virtual absl::StatusOr<int> Received(const MediaServerDriver::CreateParams& dialog,
                                       const std::string& method) = 0;
  virtual absl::Status PhoneHangsUp(const MediaServerDriver::CreateParams& dialog) = 0;

  // The media server dies. By default Unimplemented, as all that follow.
  virtual absl::Status KillInstance();
  virtual absl::Status BreakConnection();
  virtual absl::Status HealConnection();
  // The server does not answer the driver any more, and does again.
  virtual absl::Status BlockInstance();
  virtual absl::Status UnblockInstance();
  // Its recovery module is gone.
  virtual absl::Status RemoveModule();
  // A driver with wrong credentials for the same instance.
  virtual absl::StatusOr<std::shared_ptr<MediaServerDriver>> MakeWithBadCredentials();

  // How long an event may take to arrive, in real time. 5 s by default.
  virtual std::chrono::milliseconds patience() const;
  // Waits until what is due has been reported; by default it really waits 200 ms.
  virtual void Settle();
};

SIPHEAL_EXPORT std::span<const Case<MediaServerDriverHarness>> MediaServerDriverCases();

}  // namespace sipheal::inline v0_1::conformance
