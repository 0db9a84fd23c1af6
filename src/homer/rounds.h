// SPDX-License-Identifier: Apache-2.0
// Reads HOMER in rounds until what it says does not change any more: it takes seconds until a
// message that was captured can be read.
#pragma once

#include <string>
#include <unordered_set>
#include <vector>

#include "absl/status/statusor.h"
#include "homer/gather.h"
#include "sipheal/adapters/homer.h"
#include "sipheal/base/call_context.h"
#include "sipheal/base/clock.h"
#include "sipheal/sip_capture.h"

namespace sipheal::inline v0_1::internal::homer {

struct Window {
  WallTime from;
  WallTime to;
};

class Source {
 public:
  virtual ~Source() = default;

  // Asks once for all of these and adds what is found to `gatherer`. Gives those of `call_ids` of
  // which the answer is to be believed even where it has nothing.
  virtual absl::StatusOr<std::unordered_set<std::string>> Ask(
      const CallContext& ctx, const std::vector<std::string>& call_ids, const Window& window,
      Gatherer& gatherer) = 0;
  // Why an answer that has nothing is not believed, and what to do.
  virtual std::string WhyNotBelieved() const = 0;
};

absl::StatusOr<std::vector<DialogCapture>> FetchInRounds(const CallContext& ctx,
                                                         const SipCapture::FetchParams& params,
                                                         const HomerReadOptions& options,
                                                         const Clock& clock, Source& source);

}  // namespace sipheal::inline v0_1::internal::homer
