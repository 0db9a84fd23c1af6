// SPDX-License-Identifier: Apache-2.0
// What a Healer can be told. Every field has a default that is safe; order is API (append only).
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/export.h"
#include "sipheal/model/incarnation.h"
#include "sipheal/sip/server_identity.h"
#include "sipheal/sip/verdict.h"

namespace sipheal::inline v0_1 {

// One media server that the Healer looks after.
struct InstanceOptions {
  std::string name;
  // Its own SIP addresses and names, and the capture agents that speak for it.
  sip::ServerIdentity identity;
  // May take over calls of others (and, restarted, its own).
  bool target = true;
  // The most channels it shall hold, its own calls included; 0: no limit.
  int max_channels = 0;
};

// How fast one target is given recovered channels, apart from its normal calls.
struct PacingOptions {
  double rate = 500;       // channels a second when all is well; 0.1 to 100,000
  double min_rate = 10;    // what it falls back to while the target answers slowly or with 503
  int burst = 50;          // how many may go out at once
  int max_inviting = 250;  // channels of one target that wait for their phone's answer at a time
  // A create that takes longer than this counts as a slow target.
  std::chrono::milliseconds slow{500};
};

struct HealerOptions {
  // Names this controller in leases. Must differ between controllers that share a store; when
  // empty, one is made of host name, process id and a random number.
  std::string owner;
  std::vector<InstanceOptions> instances;

  // How long a claim is good without being renewed: what a dead controller's sessions wait for. 1 s
  // to 10 min.
  std::chrono::milliseconds lease{30'000};
  // From the crash on: when a recovery is given up (`expired`). A dialog's own deadline (session
  // timer, open transactions) counts when it is earlier. 1 s to 1 h.
  std::chrono::milliseconds recovery_deadline{60'000};
  // How long one re-INVITE may wait for the phone's final answer. 100 ms to 64*T1 = 32 s.
  std::chrono::milliseconds answer_timeout{8'000};
  // For each call to a plug-in: store, capture, driver, resumer.
  std::chrono::milliseconds plugin_timeout{5'000};
  // Wait between two attempts of one session when the answer named none.
  std::chrono::milliseconds retry_backoff{500};
  // How many attempts (channels) a session gets before it is ended; 1 to 100.
  int max_attempts = 5;
  // A session during whose recovery (or less than `coincidence` after it) the target died this
  // often is quarantined.
  int quarantine_after = 2;
  std::chrono::milliseconds coincidence{1'000};

  PacingOptions pacing;
  // Which addresses a recovered request may be sent to; loopback and the like only when allowed
  // here.
  sip::TargetPolicy targets;
  sip::CseqPolicy cseq;

  // Do everything up to the send, report what would be done, and claim nothing.
  bool dry_run = false;
  // Begin paused: crashes are noted, and worked on after Resume().
  bool paused = false;
  // Send BYE into dialogs that can be rebuilt but not recovered, so that no phone is left in a
  // silent call.
  bool end_unrecoverable = true;

  // Called before the calls of an incarnation that may still be alive (kSilent) are taken: make
  // sure that it does nothing any more (power it off, kill the process). An error is logged and the
  // recovery goes on, since the incarnation is told to give the calls up when it wakes. Runs on the
  // executor. None: only that.
  std::function<absl::Status(const Incarnation&)> fence;
  // How many calls to plug-ins may run at a time when the host gives no executor. 1 to 256.
  int threads = 8;

  // InvalidArgument names the field, what it was and what it may be.
  SIPHEAL_EXPORT absl::Status Validate() const;
};

}  // namespace sipheal::inline v0_1
