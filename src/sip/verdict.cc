// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/verdict.h"

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// True when `ip` lies in "192.0.2.0/24" or is "192.0.2.1". A text that is no network holds nothing.
bool InNetwork(const IpAddress& ip, std::string_view network) {
  const std::size_t slash = network.find('/');
  std::optional<IpAddress> base = IpAddress::Parse(network.substr(0, slash));
  if (!base || base->is_v4() != ip.is_v4()) return false;
  const std::uint32_t width = ip.is_v4() ? 32 : 128;
  std::uint32_t bits = width;
  if (slash != network.npos) {
    std::optional<std::uint32_t> given = ParseUnsigned(network.substr(slash + 1), width);
    if (!given) return false;
    bits = *given;
  }
  for (std::uint32_t bit = 0; bit < bits; ++bit) {
    const std::uint8_t mask = static_cast<std::uint8_t>(0x80u >> (bit % 8));
    if ((ip.bytes()[bit / 8] & mask) != (base->bytes()[bit / 8] & mask)) return false;
  }
  return true;
}

bool InAny(const IpAddress& ip, const std::vector<std::string>& networks) {
  return std::any_of(networks.begin(), networks.end(),
                     [&](const std::string& network) { return InNetwork(ip, network); });
}

std::string ForMessage(const DialogState& dialog, Field field) {
  const Evidence* evidence = dialog.FindEvidence(field);
  if (evidence == nullptr || evidence->message.sequence == 0) return {};
  return absl::StrFormat(" (message %d)", evidence->message.sequence);
}

std::string WhyEnded(const DialogState& dialog) {
  const Evidence* evidence = dialog.FindEvidence(Field::kEnd);
  std::string why = evidence != nullptr ? evidence->Why() : std::string(ToString(dialog.end));
  return why + ForMessage(dialog, Field::kEnd);
}

// The fields without which nothing may be sent. A dialog whose session description was not captured
// can be continued, only not as exactly; the plan shows it as missing.
constexpr Field kNeeded[] = {Field::kCallId, Field::kLocalTag, Field::kRemoteTag, Field::kLocalUri,
                             Field::kRemoteUri, Field::kPhase, Field::kInviteUsage,
                             Field::kRouteSet, Field::kRemoteTarget,
                             // Missing only when a stored state was damaged there.
                             Field::kLocalSeq, Field::kEnd};

// Of a host that is no address. Resolvers take "127.1" or "2130706433" for one all the same, and a
// name never ends in a number (RFC 3261 25.1, toplabel); "localhost" is this machine (RFC
// 6761 6.3).
std::string RefuseName(std::string_view host, const TargetPolicy& policy) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);
  if (last.empty() || !IsAlpha(last.front())) {
    return "the target's host is neither a name nor an address";
  }
  if (EqualsIgnoreCase(last, "localhost") &&
      !InAny(*IpAddress::Parse("127.0.0.1"), policy.allow_targets)) {
    return "the target is a loopback address (allow_targets)";
  }
  return {};
}

// Rule 12.8 for one URI that a request would be sent to. Empty: allowed.
std::string RefuseTarget(const DialogState& dialog, std::string_view text,
                         const TargetPolicy& policy, bool first_hop) {
  std::optional<UriView> uri = UriView::Parse(text);
  if (!uri) return "the target is no URI";
  if (!uri->is_sip) return first_hop ? "the target is no SIP URI and there is no route" : "";
  std::string_view where = uri->host;
  // maddr overrules the host (RFC 3261 19.1.1), so it is what must be judged.
  if (std::optional<std::string_view> maddr = uri->Param("maddr")) where = *maddr;
  std::optional<IpAddress> ip = IpAddress::Parse(where);
  if (!ip) return RefuseName(where, policy);  // whoever resolves it must judge the addresses
  if (InAny(*ip, policy.deny_targets)) return "the target is in a denied network";
  if (!InAny(*ip, policy.allow_targets)) {
    if (ip->IsUnspecified()) return "the target is the unspecified address";
    if (ip->IsLoopback()) return "the target is a loopback address (allow_targets)";
    if (ip->IsLinkLocal()) return "the target is a link-local address (allow_targets)";
    if (ip->IsMulticast() || ip->IsBroadcast())
      return "the target is a group address (allow_targets)";
    const bool seen = std::find(dialog.seen_hosts.begin(), dialog.seen_hosts.end(), *ip) !=
                      dialog.seen_hosts.end();
    if (first_hop && policy.only_seen_hosts && !seen) {
      return "the target was never part of the dialog (allow_targets)";
    }
  }
  if (policy.refuse_service_ports && uri->port != 0 && uri->port < 1024) {
    return "the target's port belongs to another service";
  }
  return {};
}

// The flow died with the server and nobody else can open it (rules 3.12, 3.13).
std::string WhyNewFlow(const DialogState& dialog) {
  std::optional<UriView> target = UriView::Parse(dialog.remote_target);
  const bool websocket =
      dialog.transport == Transport::kWs || dialog.transport == Transport::kWss ||
      (target && (target->transport() == Transport::kWs || target->transport() == Transport::kWss));
  const std::string_view host = target ? target->host : std::string_view();
  constexpr std::string_view kInvalid = ".invalid";
  const bool invalid = host.size() > kInvalid.size() &&
                       EqualsIgnoreCase(host.substr(host.size() - kInvalid.size()), kInvalid);
  if (!dialog.route_set.empty()) return {};  // the flow lives at the proxy
  if (websocket || invalid) return "a WebSocket to the phone ended with the server";
  if (!dialog.flow_held_by_server) return {};
  if (IsSecure(dialog.transport)) return "a TLS connection to the phone ended with the server";
  if (!target) return {};
  if (target->Param("ob")) return "the phone's flow (RFC 5626) ended with the server";
  // Over TCP the phone can be called back where it listens; behind a NAT it cannot. Where the
  // server spoke to it at its Contact, what was heard from elsewhere came through a proxy that
  // left.
  std::optional<IpAddress> ip = IpAddress::Parse(host);
  if (ip && !dialog.observed_source.ip.empty() && *ip != dialog.observed_source.ip) {
    if (*ip == dialog.next_hop.ip) return {};
    return "the phone's TCP connection through a NAT ended with the server";
  }
  const bool transport_named = target->transport() == Transport::kTcp;
  const bool same_port = target->port != 0 && target->port == dialog.observed_source.port;
  const bool server_connected =
      !dialog.next_hop.ip.empty() && target->port != 0 && dialog.next_hop.port == target->port;
  if (same_port && !server_connected && !transport_named) {
    return "the phone named the port of a connection that ended with the server";
  }
  return {};
}

}  // namespace

Verdict Judge(const DialogState& dialog, const VerdictOptions& options) {
  const CaptureTime now = options.now == CaptureTime{} ? dialog.last_seen : options.now;
  Verdict verdict;
  auto decide = [&](VerdictToken token, std::string reason) {
    verdict.token = token;
    verdict.reasons.push_back(std::move(reason));
  };
  auto decided = [&] { return !verdict.reasons.empty(); };

  // Over, or about to be: nothing is sent, whatever else is known.
  if (dialog.phase == DialogPhase::kTerminated) {
    decide(VerdictToken::kEnded, WhyEnded(dialog));
    return verdict;
  }
  if (dialog.end != DialogEnd::kNone) {
    decide(VerdictToken::kEnding, WhyEnded(dialog));
    return verdict;
  }
  if (dialog.phase == DialogPhase::kEarly) {
    if (dialog.deadline && now >= *dialog.deadline) {
      decide(VerdictToken::kExpired, dialog.deadline_reason);
    } else {
      decide(VerdictToken::kEarly, "ringing: the INVITE has no 2xx");
    }
    return verdict;
  }
  // One-sided evidence alone is nobody's dialog.
  if (dialog.IsMissing(Field::kInviteUsage) && dialog.quarantined > 0) {
    decide(VerdictToken::kForged,
           "only messages that do not fit the server's own speak of this dialog");
    return verdict;
  }
  for (Field field : kNeeded) {
    if (dialog.IsMissing(field)) {
      decide(VerdictToken::kIncomplete,
             absl::StrFormat("%s is not proved by what was captured", ToString(field)));
    }
  }
  if (decided()) return verdict;
  for (const Conflict& conflict : dialog.conflicts) {
    if (!conflict.undecided) continue;
    decide(VerdictToken::kConflicting,
           absl::StrFormat("%s: %s (message %d)", ToString(conflict.field), conflict.reason,
                           conflict.message.sequence));
  }
  if (decided()) return verdict;
  if (std::string why = WhyNewFlow(dialog); !why.empty()) {
    decide(VerdictToken::kNeedsNewFlow, why);
    return verdict;
  }
  if (dialog.deadline && now >= *dialog.deadline) {
    decide(VerdictToken::kExpired, dialog.deadline_reason);
    return verdict;
  }
  if (options.max_silence.count() > 0 && !dialog.session_timer.active() &&
      now - dialog.last_seen > options.max_silence) {
    decide(VerdictToken::kExpired, "no message and no session timer for too long");
    return verdict;
  }

  // Policy.
  if (dialog.media_security.any() && !options.allow_secure_media) {
    decide(VerdictToken::kRefused, dialog.media_security.dtls   ? "DTLS media cannot be continued"
                                   : dialog.media_security.sdes ? "SRTP media cannot be continued"
                                                                : "ICE media cannot be continued");
  }
  absl::StatusOr<RequestTarget> request = NextRequest(dialog);
  if (!request.ok()) {
    decide(VerdictToken::kRefused, std::string(request.status().message()));
  } else {
    const std::string& first_hop =
        dialog.route_set.empty() ? request->request_uri : dialog.route_set.front();
    std::string why = RefuseTarget(dialog, first_hop, options.targets, true);
    if (why.empty() && !dialog.route_set.empty()) {
      why = RefuseTarget(dialog, dialog.remote_target, options.targets, false);
    }
    if (!why.empty()) decide(VerdictToken::kRefused, why);
    std::optional<UriView> target = UriView::Parse(first_hop);
    if (dialog.secure && target && !target->is_sips) {
      decide(VerdictToken::kRefused, "a sips dialog would go on without TLS");
    }
  }
  RecoveryOptions recovery;
  recovery.cseq = options.cseq;
  recovery.now = now;
  if (request.ok()) {
    if (absl::Status made = CheckVariables(dialog, recovery).status(); !made.ok()) {
      decide(VerdictToken::kRefused, std::string(made.message()));
    }
  }
  if (decided()) return verdict;
  verdict.token = VerdictToken::kRecoverable;
  return verdict;
}

}  // namespace sipheal::inline v0_1::sip
