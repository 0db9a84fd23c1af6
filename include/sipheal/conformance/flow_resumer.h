// SPDX-License-Identifier: Apache-2.0
// The contract of sipheal/flow_resumer.h (FR-1 to FR-8) as cases for any implementation.
#pragma once

#include <memory>
#include <set>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/conformance/case.h"
#include "sipheal/export.h"
#include "sipheal/flow_resumer.h"

namespace sipheal::inline v0_1::conformance {

// What the implementer gives: one media server with answered channels, and a resumer for it.
class SIPHEAL_EXPORT FlowResumerHarness {
 public:
  virtual ~FlowResumerHarness();

  virtual absl::StatusOr<std::shared_ptr<FlowResumer>> Make() = 0;
  // An answered channel of a recovered session, as the Healer would hand it to Resume: session
  // (with an id of its own, in Stasis), instance, channel and time of death. The cases add bridge,
  // group and playback.
  virtual absl::StatusOr<FlowResumer::ResumeParams> NewRecovered() = 0;
  // Makes the channel what it would be had it been born with these variables, which Prepare gave.
  // By default Unimplemented when there are any: a resumer without a Prepare of its own needs none.
  virtual absl::Status BearWith(const std::string& channel_id,
                                const FlowResumer::Variables& variables);

  // The channels of the bridge that this channel is in now, itself included; empty when in none.
  virtual absl::StatusOr<std::set<std::string>> BridgeOf(const std::string& channel_id) = 0;
  // How many playbacks run on this channel now.
  virtual absl::StatusOr<int> Playbacks(const std::string& channel_id) = 0;
  // A media URI of some seconds' length that the server can play.
  virtual std::string Sound() const { return "tone:ring"; }

  // By default Unimplemented: the cases that need it are skipped.
  virtual absl::Status BreakConnection();
  virtual absl::Status HealConnection();
  virtual absl::Status BlockInstance();
  virtual absl::Status UnblockInstance();
};

SIPHEAL_EXPORT std::span<const Case<FlowResumerHarness>> FlowResumerCases();

}  // namespace sipheal::inline v0_1::conformance
