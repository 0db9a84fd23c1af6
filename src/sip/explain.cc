// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/explain.h"

#include <utility>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "sip/printable.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/takeover_plan.h"

namespace sipheal::inline v0_1::sip {
namespace {

std::string Party(const DialogParty& party) {
  std::string text = party.display.empty() ? "" : party.display + ' ';
  return text + '<' + party.uri + '>' + party.params + ";tag=" + party.tag;
}

std::string Join(const std::vector<std::string>& uris) {
  if (uris.empty()) return "(none)";
  std::string text;
  for (const std::string& uri : uris) {
    if (!text.empty()) text += ", ";
    text += '<' + uri + '>';
  }
  return text;
}

std::string Describe(const SdpSummary& sdp) {
  if (sdp.empty()) return "(none)";
  std::string text = "o=" + sdp.Origin();
  for (const SdpMedia& media : sdp.media) {
    text += absl::StrFormat("; %s %d %s %s %s", media.type, media.port, media.protocol,
                            media.formats, std::string(ToString(media.direction)));
  }
  return text;
}

std::string Describe(const MediaSecurity& security) {
  std::string text;
  for (const auto& [on, name] : {std::pair(security.sdes, "SRTP"), std::pair(security.dtls, "DTLS"),
                                 std::pair(security.ice, "ICE")}) {
    if (on) text += (text.empty() ? "" : ", ") + std::string(name);
  }
  return text;
}

std::string Value(const DialogState& dialog, Field field) {
  switch (field) {
    case Field::kCallId:
      return dialog.call_id;
    case Field::kLocalTag:
      return dialog.local.tag;
    case Field::kRemoteTag:
      return dialog.remote.tag;
    case Field::kLocalUri:
      return Party(dialog.local);
    case Field::kRemoteUri:
      return Party(dialog.remote);
    case Field::kRole:
      return std::string(ToString(dialog.role));
    case Field::kPhase:
      return std::string(ToString(dialog.phase));
    case Field::kLocalSeq:
      return dialog.local_seq ? std::to_string(*dialog.local_seq) : "(never sent)";
    case Field::kRemoteSeq:
      return dialog.remote_seq ? std::to_string(*dialog.remote_seq) : "(none)";
    case Field::kRouteSet:
      return Join(dialog.route_set);
    case Field::kRemoteTarget:
      return dialog.remote_target;
    case Field::kLocalTarget:
      return dialog.local_target;
    case Field::kTransport:
      return std::string(ToString(dialog.transport));
    case Field::kNextHop:
      return dialog.next_hop.ToString();
    case Field::kLocalSdp:
      return Describe(dialog.local_sdp);
    case Field::kRemoteSdp:
      return Describe(dialog.remote_sdp);
    case Field::kSessionTimer:
      return dialog.session_timer.active()
                 ? absl::StrFormat("%d s, refreshed by the %s, expires %s",
                                   dialog.session_timer.interval.count(),
                                   dialog.session_timer.local_refreshes ? "server" : "peer",
                                   Clock(dialog.session_timer.expires_at))
                 : "(none)";
    case Field::kHold:
      return dialog.held_by_local ? (dialog.held_by_remote ? "both" : "server")
                                  : (dialog.held_by_remote ? "peer" : "nobody");
    case Field::kInviteUsage:
      return dialog.IsMissing(Field::kInviteUsage) ? "not proved" : "proved";
    case Field::kEnd:
      return std::string(ToString(dialog.end));
    case Field::kSecure:
      return dialog.secure ? "sips" : "";
    case Field::kPendingTarget:
      return dialog.pending_remote_target;
    case Field::kContactTarget:
      return dialog.contact_target;
    case Field::kObservedSource:
      return dialog.observed_source.ToString();
    case Field::kRedirectTargets:
      return Join(dialog.redirect_targets);
    case Field::kResync:
      return dialog.resync_needed ? "the next offer must set the session right" : "";
    case Field::kMediaSecurity:
      return Describe(dialog.media_security);
    case Field::kAbilities:
      return dialog.remote_supported + (dialog.remote_allow.empty() ? "" : "; ") +
             dialog.remote_allow;
    case Field::kDeadline:
      return dialog.deadline ? Clock(*dialog.deadline) : "";
  }
  return {};
}

void AppendLine(std::string_view label, std::string_view text, std::string* out) {
  *out += "  ";
  *out += label;
  out->append(label.size() < 14 ? 14 - label.size() : 1, ' ');
  *out += Printable(text);
  *out += '\n';
}

std::string Reference(const MessageRef& message) {
  return message.sequence == 0 ? Clock(message.time)
                               : absl::StrFormat("#%d %s", message.sequence, Clock(message.time));
}

}  // namespace

std::string Explain(const DialogState& dialog, const Verdict& verdict) {
  std::string out = "verdict: " + std::string(ToString(verdict.token)) + '\n';
  for (const std::string& reason : verdict.reasons) out += "  because " + Printable(reason) + '\n';
  for (int i = 0; i < kFieldCount; ++i) {
    const Field field = static_cast<Field>(i);
    const Evidence* evidence = dialog.FindEvidence(field);
    if (dialog.IsMissing(field)) {
      AppendLine(ToString(field), "MISSING: nothing that was captured proves it", &out);
      continue;
    }
    const std::string value = Value(dialog, field);
    if (evidence == nullptr && (value.empty() || value.front() == '(')) continue;
    AppendLine(ToString(field), value, &out);
    if (evidence != nullptr) {
      AppendLine("", "by " + Reference(evidence->message) + ": " + evidence->Why(), &out);
    }
  }
  if (const absl::StatusOr<RequestTarget> next = NextRequest(dialog); next.ok()) {
    AppendLine("next request", "to " + next->request_uri + ", Route " + Join(next->route), &out);
  }
  for (const OpenTransaction& open : dialog.open_transactions) {
    AppendLine("open",
               absl::StrFormat("%s %d by the %s%s, %s", open.method, open.cseq,
                               open.sent_by_server ? "server" : "peer",
                               open.awaits_ack ? ", waits for ACK" : "", Reference(open.request)),
               &out);
  }
  for (const DialogUsage& usage : dialog.usages) {
    AppendLine("usage",
               usage.event + (usage.id.empty() ? "" : ";id=" + usage.id) + ", the " +
                   (usage.server_subscribes ? "server" : "peer") + " subscribed, " +
                   (usage.active ? "active" : "not confirmed") +
                   (usage.expires_at ? ", until " + Clock(*usage.expires_at) : "") + ", " +
                   Reference(usage.message),
               &out);
  }
  for (const DialogLink& link : dialog.links) {
    AppendLine("other leg", link.call_id + ", local tag " + link.local_tag + ": " + link.reason,
               &out);
  }
  const TakeoverPlan plan = PlanTakeover(dialog);
  if (plan.request != FirstRequest::kNone) {
    AppendLine("plan",
               std::string(ToString(plan.request)) +
                   (plan.ack_first ? absl::StrFormat(", ACK %d first", *plan.ack_first) : "") +
                   (plan.expect_glare ? ", 491 may come" : ""),
               &out);
    for (const std::string& reason : plan.reasons) AppendLine("", reason, &out);
  }
  for (const Conflict& conflict : dialog.conflicts) {
    AppendLine("conflict",
               std::string(ToString(conflict.field)) + ": " + conflict.reason + " (" +
                   Reference(conflict.message) +
                   (conflict.loser.empty() ? "" : ", not taken: " + conflict.loser) + ")",
               &out);
  }
  for (const std::string& warning : dialog.warnings) AppendLine("warning", warning, &out);
  if (dialog.quarantined > 0) {
    AppendLine("quarantined", absl::StrFormat("%d messages kept out", dialog.quarantined), &out);
  }
  if (dialog.limits_reached) AppendLine("limits", "reached: some messages were dropped", &out);
  return out;
}

}  // namespace sipheal::inline v0_1::sip
