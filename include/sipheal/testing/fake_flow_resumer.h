// SPDX-License-Identifier: Apache-2.0
// FakeFlowResumer: a FlowResumer that only writes down what it would have done. It obeys the
// resumer's contract: a flow resumed twice is one flow, a group ends in one bridge.
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/flow_resumer.h"

namespace sipheal::inline v0_1::testing {

// Thread-safe.
class SIPHEAL_EXPORT FakeFlowResumer final : public FlowResumer {
 public:
  // `clock` must outlive it; the system's when null.
  explicit FakeFlowResumer(const Clock* clock = nullptr);
  ~FakeFlowResumer() override;

  // Accept gives this status for the session from now on.
  void SetAccept(const std::string& session_id, absl::Status status);
  // Prepare gives these for the session from now on; as long as none are set, none.
  void SetPrepare(const std::string& session_id, Variables variables);
  // The next `times` calls of Resume for the session give this status; then it works.
  void FailResume(const std::string& session_id, absl::Status status, int times = 1);
  // Every Resume gives this status, until it is set to OK again.
  void SetError(absl::Status error);
  // Each Resume takes this long by the clock, or until its context ends.
  void SetDelay(std::chrono::milliseconds delay);

  // Every call of Resume, in order.
  std::vector<ResumeParams> calls() const;
  // Channels whose flow was resumed.
  std::set<std::string> resumed() const;
  // Channels in each bridge, by "instance/bridge"; one that a partner who lived there
  // draws, without a bridge of its own, is in "instance/group".
  std::map<std::string, std::set<std::string>> bridges() const;
  // Playbacks that run, by channel.
  std::map<std::string, int> playbacks() const;

  // --- FlowResumer ---
  absl::Status Accept(const Session& session) override;
  Variables Prepare(const Session& session, WallTime died_at) override;
  absl::Status Resume(const CallContext& ctx, const ResumeParams& params) override;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace sipheal::inline v0_1::testing
