// SPDX-License-Identifier: Apache-2.0
#include <nlohmann/json.hpp>
#include <utility>

#include "absl/strings/str_format.h"
#include "ari/connections.h"
#include "ari/server_check.h"
#include "sipheal/adapters/ari.h"

namespace sipheal::inline v0_1 {
namespace internal {
namespace {

using Findings = std::vector<AriFinding>;

AriFinding Good(std::string check, std::string seen) {
  return {true, std::move(check), std::move(seen), ""};
}
AriFinding Bad(std::string check, std::string seen, std::string fix) {
  return {false, std::move(check), std::move(seen), std::move(fix)};
}
std::string Words(const absl::Status& status) { return std::string(status.message()); }

// The text of `status` is "what: seen: what to do"; a person gets the last part as the fix.
AriFinding FromStatus(std::string check, const absl::Status& status, std::string fallback) {
  std::string seen = Words(status);
  const std::size_t colon = seen.rfind(": ");
  const bool says_fix = !absl::IsUnavailable(status) && !absl::IsDeadlineExceeded(status);
  if (says_fix && colon != std::string::npos) {
    std::string fix = seen.substr(colon + 2);
    seen.resize(colon);
    return Bad(std::move(check), std::move(seen), std::move(fix));
  }
  return Bad(std::move(check), std::move(seen), std::move(fallback));
}

// A request that a read_only user is refused, and that changes nothing for any other.
void CheckRights(AriConnections& connections, const CallContext& ctx,
                 const AriInstanceOptions& options, Findings& findings) {
  const auto reply = connections.Request(ctx, options.name, "DELETE",
                                         "/ari/channels/sipheal-doctor-no-such-channel", "");
  if (reply.ok() && reply->http_status == 404) {
    findings.push_back(Good("rights", absl::StrFormat("user \"%s\" may write", options.user)));
  } else if (reply.ok() && reply->http_status == 403) {
    findings.push_back(Bad("rights", absl::StrFormat("user \"%s\" may only read", options.user),
                           "set read_only=no for the user in ari.conf, then \"ari reload\""));
  } else {
    findings.push_back(
        Bad("rights",
            reply.ok() ? absl::StrFormat("the server answered %d to a DELETE", reply->http_status)
                       : Words(reply.status()),
            "see Asterisk's log"));
  }
}

void CheckEventSocket(AriConnections& connections, const std::string& life,
                      const std::string& instance, Findings& findings) {
  const auto connected = connections.Connected(instance);
  if (!connected) {
    findings.push_back(Bad("event_socket", "the event socket is not open",
                           "load res_http_websocket and res_ari_events; see sipheal's log"));
  } else if (connected->life != life) {
    findings.push_back(Bad("event_socket", "the event socket belongs to an earlier life",
                           "wait: it connects again by itself"));
  } else {
    findings.push_back(Good("event_socket", "open since Asterisk started at " + life));
  }
}

void CheckHep(AriConnections& connections, const CallContext& ctx, const std::string& instance,
              Findings& findings) {
  const auto status = ModuleStatus(connections, ctx, instance, "res_hep_pjsip.so");
  if (status.ok() && *status == "Running") {
    findings.push_back(Good("hep", "res_hep_pjsip is running"));
  } else if (status.ok() || absl::IsNotFound(status.status())) {
    findings.push_back(Bad("hep", "res_hep_pjsip is not running: SIP is not captured here",
                           "set enabled=yes, capture_address and capture_id in hep.conf, load "
                           "res_hep and res_hep_pjsip; or capture elsewhere"));
  } else {
    findings.push_back(Bad("hep", Words(status.status()), "see Asterisk's log"));
  }
}

void CheckEndpoints(AriConnections& connections, const CallContext& ctx,
                    const std::string& instance, const std::vector<std::string>& endpoints,
                    Findings& findings) {
  const auto reply = connections.Request(ctx, instance, "GET", "/ari/endpoints/PJSIP", "");
  const auto list =
      reply.ok() ? nlohmann::json::parse(reply->body, nullptr, false) : nlohmann::json();
  if (!reply.ok() || reply->http_status != 200 || !list.is_array()) {
    findings.push_back(Bad("endpoints",
                           reply.ok() ? absl::StrFormat("the server answered %d when asked for "
                                                        "its PJSIP endpoints",
                                                        reply->http_status)
                                      : Words(reply.status()),
                           "load chan_pjsip and res_ari_endpoints"));
    return;
  }
  std::string missing;
  for (const std::string& wanted : endpoints) {
    bool found = false;
    for (const auto& endpoint : list) {
      const auto name = endpoint.is_object() ? endpoint.find("resource") : endpoint.end();
      found = found || (endpoint.is_object() && name != endpoint.end() && *name == wanted);
    }
    if (!found) missing += (missing.empty() ? "" : ", ") + wanted;
  }
  if (!missing.empty()) {
    findings.push_back(Bad("endpoints", "missing: " + missing,
                           "configure them as on the other instances: their calls cannot be "
                           "recovered to this one"));
  } else if (list.empty()) {
    findings.push_back(
        Bad("endpoints", "there is no PJSIP endpoint", "configure endpoints in pjsip.conf"));
  } else {
    findings.push_back(Good("endpoints", absl::StrFormat("%d PJSIP endpoints", list.size())));
  }
}

}  // namespace
}  // namespace internal

absl::StatusOr<std::vector<AriFinding>> CheckAri(const CallContext& ctx,
                                                 AriConnections& connections,
                                                 const std::string& instance,
                                                 const std::vector<std::string>& endpoints) {
  const auto options = connections.Instance(instance);
  if (!options) {
    return absl::NotFoundError(absl::StrFormat("instance \"%s\" is not configured", instance));
  }
  internal::Findings findings;
  const auto reply = connections.Request(ctx, instance, "GET", internal::kLifePath, "");
  const absl::StatusOr<std::string> life = reply.ok() ? internal::ParseLife(*options, *reply)
                                                      : absl::StatusOr<std::string>(reply.status());
  if (!life.ok()) {
    findings.push_back(internal::FromStatus(
        "ari", life.status(),
        absl::StrFormat("is Asterisk running, and http.conf enabled and bound to %s?",
                        options->url)));
    return findings;
  }
  findings.push_back(
      internal::Good("ari", absl::StrFormat("%s answers; started at %s", options->url, *life)));
  internal::CheckRights(connections, ctx, *options, findings);
  internal::CheckEventSocket(connections, *life, instance, findings);
  if (const absl::Status module = internal::CheckRecoveryModule(connections, ctx, instance);
      module.ok()) {
    findings.push_back(internal::Good(
        "module",
        absl::StrFormat("%s, version %s", internal::kRecoveryModule, internal::kRecoveryVersion)));
  } else {
    findings.push_back(internal::FromStatus("module", module, "see Asterisk's log"));
  }
  internal::CheckHep(connections, ctx, instance, findings);
  internal::CheckEndpoints(connections, ctx, instance, endpoints, findings);
  return findings;
}

}  // namespace sipheal::inline v0_1
