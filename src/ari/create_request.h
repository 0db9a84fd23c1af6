// SPDX-License-Identifier: Apache-2.0
// The bodies of the requests that make and give up recovered channels. Everything in them comes
// from a capture, so everything is checked here.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::internal {

struct CreateRequest {
  std::string body;  // of POST /ari/channels
  // Of POST /ari/channels/<id>/variable, once the channel is there: the flow variables for which
  // the body has no room.
  std::vector<std::string> variables;
  bool has_server_flow = false;  // the server will put the flow back by itself
};

// FailedPrecondition when a name or value cannot be carried unchanged (CR, LF, NUL, not UTF-8, too
// long); optional display names that cannot are left out.
absl::StatusOr<CreateRequest> MakeCreateRequest(const MediaServerDriver::CreateParams& params,
                                                const std::string& app);

// The JSON body of POST /ari/asterisk/variable that gives these channels up. Ids that no channel
// can have are left out; empty when none is left.
std::string MakeGiveUpBody(const std::vector<std::string>& channel_ids);

}  // namespace sipheal::inline v0_1::internal
