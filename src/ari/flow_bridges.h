// SPDX-License-Identifier: Apache-2.0
// A recovered channel finds the bridge that it was in, or where its partners are.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "ari/done_once.h"
#include "ari/flow_call.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class FlowBridges {
 public:
  // `done` remembers the bridges that were made, and must outlive this.
  explicit FlowBridges(DoneOnce& done) : done_(done) {}

  // The bridge of the session's flow is made under its id when it is not there, and entered.
  absl::Status Join(const FlowCall& call);

 private:
  absl::Status FollowPartner(const FlowCall& call);
  absl::Status Enter(const FlowCall& call, const std::string& bridge_id, bool first);
  absl::Status Make(const FlowCall& call, const std::string& bridge_id, const std::string& path,
                    const std::string& key);

  DoneOnce& done_;
};

}  // namespace sipheal::inline v0_1::internal
