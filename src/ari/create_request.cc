// SPDX-License-Identifier: Apache-2.0
#include "ari/create_request.h"

#include <algorithm>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string_view>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"
#include "ari/server_flow.h"
#include "base/absl_compat.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

constexpr std::string_view kPrefix = "PJSIP_RECOVERY_";
constexpr std::size_t kMaxBody = 40'960;  // Asterisk's main/http.c: MAX_CONTENT_LENGTH

bool IsWord(std::string_view text, std::string_view more) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [more](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           more.find(c) != std::string_view::npos;
  });
}

bool IsUtf8(const std::string& text) {
  if (std::all_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x80; })) return true;
  try {
    // nlohmann's writer is strict; it has no predicate.
    (void)json(text).dump();
    return true;
  } catch (const json::exception&) {
    return false;
  }
}

bool EndsWith(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && text.substr(text.size() - end.size()) == end;
}

// As the module's function, and not as a plain variable, of which Asterisk would tell every
// subscriber.
std::string FunctionOf(std::string_view name) {
  return absl::StrFormat("PJSIP_RECOVERY(%s)", AbslView(name.substr(kPrefix.size())));
}

// What would be a function to Asterisk, or a variable of the dialog, is none of the flow's.
bool IsFlowVariable(const std::string& name, const std::string& value) {
  const bool of_dialog =
      std::string_view(name).substr(0, kPrefix.size()) == kPrefix && name != kServerFlowVariable;
  return IsWord(name, "_") && !of_dialog && value.find('\0') == std::string::npos && IsUtf8(value);
}

absl::Status Refuse(std::string_view name, const char* why) {
  return absl::FailedPreconditionError(
      absl::StrFormat("variable \"%s\": %s: nothing was sent",
                      absl::CHexEscape(AbslView(name.substr(0, 64))), why));
}

}  // namespace

absl::StatusOr<CreateRequest> MakeCreateRequest(const MediaServerDriver::CreateParams& params,
                                                const std::string& app) {
  if (!IsWord(params.channel_id, "-_.")) {
    return absl::FailedPreconditionError(
        absl::StrFormat("channel_id: \"%s\" has other characters than letters, digits, - _ .",
                        absl::CHexEscape(AbslView(params.channel_id))));
  }
  // A slash or & would make another dial string of it.
  if (!IsWord(params.endpoint, "-_.+@ ~!$*#:;=%")) {
    return absl::FailedPreconditionError(
        absl::StrFormat("endpoint: \"%s\" is no name of a PJSIP endpoint",
                        absl::CHexEscape(AbslView(params.endpoint))));
  }
  json variables = json::object();
  std::string target;
  for (const auto& [name, value] : params.variables) {
    // Asterisk takes NAME(...) for a function to be called: only plain names pass.
    if (std::string_view(name).substr(0, kPrefix.size()) != kPrefix || !IsWord(name, "_-")) {
      return Refuse(name, "is no recovery variable");
    }
    if (value.find_first_of(std::string_view("\r\n\0", 3)) != std::string::npos) {
      return Refuse(name, "holds a line break or NUL");
    }
    if (!IsUtf8(value)) {
      // A display name takes no part in the dialog's identity, a Record-Route is for the record.
      if (EndsWith(name, "_DISPLAY") || EndsWith(name, "RECORD-ROUTES")) continue;
      return Refuse(name, "is not UTF-8, which ARI cannot carry");
    }
    if (name == "PJSIP_RECOVERY_REQUEST_URI") target = value;
    variables[FunctionOf(name)] = value;
  }
  variables[FunctionOf("PJSIP_RECOVERY_METHOD")] =
      params.action == DialogAction::kBye ? "BYE" : "INVITE";
  // The engine decides after a failure whether another attempt is made or the call ended.
  variables.emplace(FunctionOf("PJSIP_RECOVERY_ON_FAILURE"), "keep");

  // With a target of its own the channel needs no contact registered at this server. The module
  // sets the real one, so that it does not matter how Asterisk reads this.
  std::string endpoint = "PJSIP/" + params.endpoint;
  if (target.rfind("sip:", 0) == 0 || target.rfind("sips:", 0) == 0) endpoint += "/" + target;

  // The time-out is a safety net for the case that nobody listens any more: when it strikes,
  // Asterisk hangs up, which ends the dialog. The driver gives the channel up before.
  const auto timeout = std::chrono::ceil<std::chrono::seconds>(params.answer_timeout).count() + 5;
  // Not "app": Asterisk hangs up a channel that is answered while nobody has registered the name,
  // and a controller that dies meanwhile would lose the call. The module's context waits for the
  // next one.
  json body = {{"endpoint", endpoint},           {"context", "pjsip-recovery"},
               {"extension", "app-" + app},      {"priority", 1},
               {"channelId", params.channel_id}, {"timeout", timeout},
               {"variables", variables}};
  CreateRequest request;
  for (const auto& [name, value] : params.flow_variables) {
    if (!IsFlowVariable(name, value)) continue;
    if (name == kServerFlowVariable) {
      request.has_server_flow = true;
      body["variables"][FunctionOf(name)] = value;
    } else {
      body["variables"][name] = value;
    }
  }
  request.body = body.dump();
  if (request.body.size() > kMaxBody) {
    body["variables"] = std::move(variables);
    request.body = body.dump();
    request.has_server_flow = false;
    for (const auto& [name, value] : params.flow_variables) {
      // The server must have its own from the beginning: the phone may answer before the next
      // request.
      if (!IsFlowVariable(name, value) || name == kServerFlowVariable) continue;
      std::string variable = json{{"variable", name}, {"value", value}}.dump();
      if (variable.size() <= kMaxBody) request.variables.push_back(std::move(variable));
    }
  }
  if (request.body.size() > kMaxBody) {
    return absl::FailedPreconditionError(
        absl::StrFormat("the recovery variables take %d bytes: ARI takes %d at most: nothing was "
                        "sent",
                        request.body.size(), kMaxBody));
  }
  return request;
}

std::string MakeGiveUpBody(const std::vector<std::string>& channel_ids) {
  std::string list;
  for (const std::string& id : channel_ids) {
    // Asterisk's own ids are like 1764000000.12, with a system name before, which is free text: all
    // that cannot mean something in a list of arguments passes.
    const bool plain = !id.empty() && std::all_of(id.begin(), id.end(), [](char c) {
      return c >= ' ' && c <= '~' && std::string_view(",()\"'\\").find(c) == std::string_view::npos;
    });
    if (!plain) continue;
    if (!list.empty()) list += ',';
    list += id;
  }
  if (list.empty()) return "";
  return json{{"variable", "PJSIP_RECOVERY_RELEASE(" + list + ")"}, {"value", "1"}}.dump();
}

}  // namespace sipheal::inline v0_1::internal
