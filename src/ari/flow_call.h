// SPDX-License-Identifier: Apache-2.0
// One call of FlowResumer::Resume, and the requests that it makes of the session's new instance.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ari/connections.h"
#include "sipheal/flow_resumer.h"

namespace sipheal::inline v0_1::internal {

// What an answer means for the recovery: may it be tried again, or is this flow impossible?
absl::Status ToFlowStatus(const AriReply& reply, const std::string& what);

// What it is made of must outlive it. Thread-safe.
class FlowCall {
 public:
  FlowCall(AriConnections& connections, const CallContext& ctx_in,
           const FlowResumer::ResumeParams& params_in)
      : ctx(ctx_in),
        params(params_in),
        own_app(connections.options().app),
        connections_(connections) {}

  const CallContext& ctx;
  const FlowResumer::ResumeParams& params;
  const std::string& own_app;

  // One request; an error when there was no answer before the context ended.
  absl::StatusOr<AriReply> Ask(const std::string& method, const std::string& path,
                               const nlohmann::json& body = nullptr) const;
  // One request that must succeed; `what` it does, for the error.
  absl::Status Do(const std::string& method, const std::string& path, const nlohmann::json& body,
                  const std::string& what) const;
  // A GET; null when there is no such thing.
  absl::StatusOr<nlohmann::json> Get(const std::string& path, const std::string& what) const;

  std::string ChannelPath(const std::string& rest) const;

 private:
  AriConnections& connections_;
};

}  // namespace sipheal::inline v0_1::internal
