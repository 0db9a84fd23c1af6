// SPDX-License-Identifier: Apache-2.0
#include "ari/server_check.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"

namespace sipheal::inline v0_1::internal {
namespace {

// A string field of a JSON object; empty when there is none.
std::string Field(const std::string& body, const char* name) {
  const auto json = nlohmann::json::parse(body, nullptr, false);
  if (!json.is_object()) return "";
  const auto field = json.find(name);
  return field != json.end() && field->is_string() ? field->get<std::string>() : "";
}

// The status of a module ("Running", ...); NotFound when it is not loaded.
absl::StatusOr<std::string> ModuleStatus(AriConnections& connections, const CallContext& ctx,
                                         const std::string& instance, const std::string& module) {
  ABSL_ASSIGN_OR_RETURN(
      const AriReply reply,
      connections.Request(ctx, instance, "GET", "/ari/asterisk/modules/" + EscapeUri(module), ""));
  // 409: the file is there, but not loaded.
  if (reply.http_status == 409) return absl::NotFoundError(module + " is not loaded");
  ABSL_RETURN_IF_ERROR(ToStatus("asking for " + module, reply));
  return Field(reply.body, "status");
}

}  // namespace

absl::Status ToStatus(const std::string& what, const AriReply& reply) {
  if (reply.http_status >= 200 && reply.http_status < 300) return absl::OkStatus();
  std::string said = Field(reply.body, "message");
  if (said.empty()) said = Field(reply.body, "error");
  const std::string text = absl::StrFormat(
      "%s: the server answered %d%s%s", what, reply.http_status, said.empty() ? "" : ": ",
      absl::CHexEscape(AbslView(std::string_view(said).substr(0, 200))));
  switch (reply.http_status) {
    case 401:
      return absl::UnauthenticatedError(text + ": compare user and password with ari.conf");
    case 403:
      return absl::PermissionDeniedError(text + ": the user in ari.conf must not be read_only");
    case 404:
      return absl::NotFoundError(text);
    case 409:
      return absl::AlreadyExistsError(text);
    default:
      break;
  }
  if (reply.http_status >= 400 && reply.http_status < 500) {
    return absl::FailedPreconditionError(text);
  }
  return absl::UnavailableError(text);
}

absl::Status CheckRecoveryModule(AriConnections& connections, const CallContext& ctx,
                                 const std::string& instance) {
  if (!connections.Instance(instance)) {
    return absl::NotFoundError(absl::StrFormat("instance \"%s\" is not configured", instance));
  }
  const auto status = ModuleStatus(connections, ctx, instance, kRecoveryModule);
  if (absl::IsNotFound(status.status())) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "\"%s\" has no %s: copy the module to its modules folder and run \"module load %s\"",
        instance, kRecoveryModule, kRecoveryModule));
  }
  if (!status.ok()) return status.status();
  if (*status != "Running") {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s of \"%s\" is \"%s\", not Running: see why in Asterisk's log", kRecoveryModule, instance,
        absl::CHexEscape(AbslView(std::string_view(*status).substr(0, 40)))));
  }
  ABSL_ASSIGN_OR_RETURN(
      const AriReply reply,
      connections.Request(ctx, instance, "GET",
                          "/ari/asterisk/variable?variable=PJSIP_RECOVERY_VERSION", ""));
  ABSL_RETURN_IF_ERROR(ToStatus("asking for PJSIP_RECOVERY_VERSION", reply));
  const std::string version = Field(reply.body, "value");
  if (version != kRecoveryVersion) {
    return absl::FailedPreconditionError(absl::StrFormat(
        "%s of \"%s\" has version \"%s\", and this sipheal needs \"%s\": install the module that "
        "came with it",
        kRecoveryModule, instance,
        absl::CHexEscape(AbslView(std::string_view(version).substr(0, 40))), kRecoveryVersion));
  }
  return absl::OkStatus();
}

}  // namespace sipheal::inline v0_1::internal
