// SPDX-License-Identifier: Apache-2.0
#include "ari/flow_call.h"

#include <optional>
#include <utility>

#include "absl/strings/str_format.h"
#include "ari/ari_json.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {

using nlohmann::json;

absl::Status ToFlowStatus(const AriReply& reply, const std::string& what) {
  if (reply.http_status >= 200 && reply.http_status < 300) return absl::OkStatus();
  std::string said;
  if (const auto body = ParseJson(reply.body)) said = Text(*body, "message");
  const std::string text = absl::StrFormat("%s: Asterisk answered %d%s%s", what, reply.http_status,
                                           said.empty() ? "" : ": ", said);
  switch (reply.http_status) {
    case 400:
    case 404:
    case 422:
      return absl::FailedPreconditionError(text);
    case 401:
      return absl::UnauthenticatedError(text);
    case 403:
      return absl::PermissionDeniedError(text);
    default:  // 409: not in the application yet, or busy; 5xx
      return absl::UnavailableError(text);
  }
}

absl::StatusOr<AriReply> FlowCall::Ask(const std::string& method, const std::string& path,
                                       const json& body) const {
  if (ctx.stop.stop_requested()) return absl::CancelledError("resume was cancelled");
  if (ctx.Remaining(SystemClock().Monotonic()).count() <= 0) {
    return absl::DeadlineExceededError("resume took too long");
  }
  return connections_.Request(ctx, params.instance, method, path,
                              body.is_null() ? "" : ToText(body));
}

absl::Status FlowCall::Do(const std::string& method, const std::string& path, const json& body,
                          const std::string& what) const {
  ABSL_ASSIGN_OR_RETURN(const AriReply reply, Ask(method, path, body));
  return ToFlowStatus(reply, what);
}

absl::StatusOr<json> FlowCall::Get(const std::string& path, const std::string& what) const {
  ABSL_ASSIGN_OR_RETURN(const AriReply reply, Ask("GET", path));
  if (reply.http_status == 404) return json();
  ABSL_RETURN_IF_ERROR(ToFlowStatus(reply, what));
  std::optional<json> value = ParseJson(reply.body);
  if (!value) {
    return absl::UnavailableError(absl::StrFormat("%s: the answer is no JSON", what));
  }
  return *std::move(value);
}

std::string FlowCall::ChannelPath(const std::string& rest) const {
  return "/ari/channels/" + EscapeUri(params.channel_id) + rest;
}

}  // namespace sipheal::inline v0_1::internal
