// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/next_request.h"

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

using internal::AbslView;

absl::StatusOr<UriView> CheckedUri(std::string_view text, std::string_view what) {
  std::optional<UriView> uri = UriView::Parse(text);
  if (!uri) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no request can be made: %s is no URI: see its evidence", what));
  }
  return *uri;
}

// A URI as a Request-URI may hold it: without headers and `method` (RFC 3261 19.1.1, table 1).
std::string StripForRequestUri(const UriView& uri) {
  std::string text(uri.text.substr(0, uri.text.size() - uri.params.size() - uri.headers.size()));
  if (!uri.is_sip) return std::string(uri.text);
  std::string_view params = uri.params;
  while (!params.empty()) {
    const std::size_t end = params.find(';', 1);
    const std::string_view one = params.substr(0, end);
    if (!FindParam(one, "method")) text += one;
    params = end == params.npos ? std::string_view() : params.substr(end);
  }
  return text;
}

// A URI without its headers, other parameters kept: as a Route value.
std::string StripHeaders(const UriView& uri) {
  return std::string(uri.text.substr(0, uri.text.size() - uri.headers.size()));
}

// The display name that a quoted string stands for; a token stands for itself.
std::string UnquoteDisplay(std::string_view display) {
  if (display.size() < 2 || display.front() != '"' || display.back() != '"') {
    return std::string(display);
  }
  display = display.substr(1, display.size() - 2);
  std::string text;
  for (std::size_t i = 0; i < display.size(); ++i) {
    if (display[i] == '\\' && i + 1 < display.size()) ++i;
    text += display[i];
  }
  return text;
}

std::string RouteList(const std::vector<std::string>& uris) {
  std::string text;
  for (const std::string& uri : uris) {
    if (!text.empty()) text += ',';
    text += '<' + uri + '>';
  }
  return text;
}

bool IsUnsigned32(std::string_view text, std::uint32_t limit) {
  return ParseUnsigned(text, limit).has_value();
}

// The value of the o= line as the server last sent it, highest version; empty when it does not fit
// into what a media server can continue.
std::string OriginValue(const DialogState& dialog) {
  SdpSummary sdp = dialog.local_sdp;
  if (!dialog.highest_local_sdp_version.empty())
    sdp.origin_version = dialog.highest_local_sdp_version;
  const bool fits = !sdp.origin_user.empty() && !sdp.origin_address.empty() &&
                    sdp.origin_net_type == "IN" &&
                    (sdp.origin_address_type == "IP4" || sdp.origin_address_type == "IP6") &&
                    IsUnsigned32(sdp.origin_session_id, 0xffffffffu) &&
                    IsUnsigned32(sdp.origin_version, 0xfffffffeu);
  return fits ? sdp.Origin() : std::string();
}

std::string MediaValue(const DialogState& dialog) {
  std::string text;
  for (const SdpMedia& media : dialog.local_sdp.media) {
    if (media.type.empty() || media.protocol.empty() || media.formats.empty() ||
        media.formats.find(',') != std::string::npos) {
      return {};
    }
    if (!text.empty()) text += ',';
    text += absl::StrFormat("%s %d %s %s", media.type, media.port, media.protocol, media.formats);
  }
  return text;
}

std::string_view ViaTransport(Transport transport) {
  switch (transport) {
    case Transport::kTcp:
      return "TCP";
    case Transport::kTls:
      return "TLS";
    case Transport::kWs:
      return "WS";
    case Transport::kWss:
      return "WSS";
    default:
      return "UDP";
  }
}

// The dead server may have told its sessions apart by the user part of its Contact (rule 3.17): a
// Contact without one takes it over, host and parameters stay the successor's.
std::string ContactWithUser(const UriView& contact, const std::string& old_contact) {
  std::optional<UriView> old = UriView::Parse(old_contact);
  if (!contact.user.empty() || !old || old->user.empty() || HasUnsafeBytes(old_contact)) {
    return std::string(contact.text);
  }
  const std::size_t host = contact.scheme.size() + 1;
  std::string text(contact.text.substr(0, host));
  text += old->user;
  text += '@';
  text += contact.text.substr(host);
  return text;
}

void AppendParty(const DialogParty& party, std::string* out) {
  if (!party.display.empty()) {
    *out += party.display;
    *out += ' ';
  }
  *out += '<' + party.uri + '>' + party.params + ";tag=" + party.tag + "\r\n";
}

absl::Status CheckIdentity(const DialogState& dialog) {
  struct Needed {
    std::string_view name;
    const std::string& value;
  };
  const Needed needed[] = {
      {"call_id", dialog.call_id},       {"local_tag", dialog.local.tag},
      {"remote_tag", dialog.remote.tag}, {"local_uri", dialog.local.uri},
      {"remote_uri", dialog.remote.uri},
  };
  for (const Needed& field : needed) {
    if (field.value.empty()) {
      return absl::FailedPreconditionError(
          absl::StrFormat("no request can be made: %s is not known: without it the phone would "
                          "ring as for a new call",
                          field.name));
    }
    if (HasUnsafeBytes(field.value)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("no request can be made: %s holds CR, LF or NUL: refused", field.name));
    }
  }
  if (!IsToken(dialog.local.tag) || !IsToken(dialog.remote.tag)) {
    return absl::InvalidArgumentError("no request can be made: a tag is no token: refused");
  }
  for (const std::string* text : {&dialog.local.display, &dialog.remote.display,
                                  &dialog.local.params, &dialog.remote.params}) {
    if (HasUnsafeBytes(*text)) {
      return absl::InvalidArgumentError(
          "no request can be made: From or To holds CR, LF or NUL: refused");
    }
  }
  // What is written must read back as what it was made from.
  for (const DialogParty* party : {&dialog.local, &dialog.remote}) {
    std::string text;
    AppendParty(*party, &text);
    text.resize(text.size() - 2);
    std::optional<NameAddrView> read = NameAddrView::Parse(text);
    if (!read || read->uri != party->uri || read->display != party->display ||
        read->Param("tag") != std::string_view(party->tag)) {
      return absl::InvalidArgumentError(
          "no request can be made: From or To does not read back as it was captured: refused");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RequestTarget> NextRequest(const DialogState& dialog) {
  if (dialog.remote_target.empty()) {
    return absl::FailedPreconditionError(
        "no request can be made: remote_target is not known: see the dialog's missing fields");
  }
  if (dialog.IsMissing(Field::kRouteSet)) {
    return absl::FailedPreconditionError(
        "no request can be made: route_set is not known: see the dialog's missing fields");
  }
  ABSL_ASSIGN_OR_RETURN(const UriView target, CheckedUri(dialog.remote_target, "remote_target"));
  RequestTarget request;
  if (dialog.route_set.empty()) {
    request.request_uri = StripForRequestUri(target);
    return request;
  }
  std::vector<UriView> routes;
  for (const std::string& text : dialog.route_set) {
    ABSL_ASSIGN_OR_RETURN(const UriView route, CheckedUri(text, "an entry of route_set"));
    routes.push_back(route);
  }
  // Only the first element decides (RFC 3261 16.12.1.2).
  if (routes.front().loose()) {
    request.request_uri = StripForRequestUri(target);
    request.route = dialog.route_set;
    return request;
  }
  request.request_uri = StripForRequestUri(routes.front());
  for (std::size_t i = 1; i < routes.size(); ++i) request.route.push_back(dialog.route_set[i]);
  request.route.push_back(StripHeaders(target));
  return request;
}

absl::StatusOr<std::uint32_t> NextCseq(const DialogState& dialog, const CseqPolicy& policy,
                                       CaptureTime now) {
  std::uint64_t next;
  if (dialog.local_seq) {
    const bool complete = policy.capture_is_complete && !dialog.from_stored_state;
    std::uint64_t headroom = complete ? 0 : policy.headroom;
    // Twice what the server could have sent since, at the pace at which it was seen to send.
    const Evidence* last = dialog.FindEvidence(Field::kLocalSeq);
    if (!complete && last != nullptr && dialog.local_pace.count() > 0 && now > last->message.time) {
      const auto unseen = (now - last->message.time) / dialog.local_pace;
      headroom = std::max(headroom, 2 * static_cast<std::uint64_t>(unseen));
    }
    next = std::uint64_t{*dialog.local_seq} + 1 + headroom;
  } else {
    // The server never sent a request that was seen. Half the clock's seconds is above any number
    // that a stack starts with, and the peer accepts any first one (RFC 3261 8.1.1.5, rule 5.10).
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now.time_since_epoch());
    next = static_cast<std::uint64_t>(std::max<std::int64_t>(seconds.count(), 0) >> 1) + 1;
    if (next > kMaxCseq) next = (next & 0x3fffffffu) + 1;
  }
  if (next == 0 || next > kMaxCseq) {
    return absl::OutOfRangeError(absl::StrFormat(
        "CSeq would be %d, above %d: the dialog could not count on: end it", next, kMaxCseq));
  }
  return static_cast<std::uint32_t>(next);
}

std::string NextSdpVersion(const DialogState& dialog, std::uint32_t margin) {
  std::string version = dialog.highest_local_sdp_version.empty() ? dialog.local_sdp.origin_version
                                                                 : dialog.highest_local_sdp_version;
  if (version.empty() || !std::all_of(version.begin(), version.end(), IsDigit)) return {};
  std::uint64_t carry = std::uint64_t{1} + margin;
  for (auto digit = version.rbegin(); digit != version.rend() && carry > 0; ++digit) {
    carry += static_cast<std::uint64_t>(*digit - '0');
    *digit = static_cast<char>('0' + carry % 10);
    carry /= 10;
  }
  while (carry > 0) {
    version.insert(version.begin(), static_cast<char>('0' + carry % 10));
    carry /= 10;
  }
  return version;
}

SdpDirection NextOfferDirection(const DialogState& dialog) {
  if (dialog.held_by_local && dialog.held_by_remote) return SdpDirection::kInactive;
  if (dialog.held_by_local) return SdpDirection::kSendOnly;
  if (dialog.held_by_remote) return SdpDirection::kRecvOnly;
  return SdpDirection::kSendRecv;
}

absl::StatusOr<std::vector<ChannelVariable>> RecoveryVariables(const DialogState& dialog,
                                                               const RecoveryOptions& options) {
  if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
  // Checks target and routes; the variables hold them as they are, since pjsip does strict routing.
  ABSL_ASSIGN_OR_RETURN(const RequestTarget request, NextRequest(dialog));
  (void)request;
  ABSL_ASSIGN_OR_RETURN(const UriView target, CheckedUri(dialog.remote_target, "remote_target"));
  const CaptureTime now = options.now == CaptureTime{} ? dialog.last_seen : options.now;
  ABSL_ASSIGN_OR_RETURN(const std::uint32_t cseq, NextCseq(dialog, options.cseq, now));

  std::vector<ChannelVariable> variables;
  auto add = [&](std::string_view name, std::string value) {
    variables.emplace_back("PJSIP_RECOVERY_" + std::string(name), std::move(value));
  };
  add("FROM_DISPLAY", UnquoteDisplay(dialog.local.display));
  add("FROM_URI", dialog.local.uri);
  add("FROM_TAG", dialog.local.tag);
  add("TO_DISPLAY", UnquoteDisplay(dialog.remote.display));
  add("TO_URI", dialog.remote.uri);
  add("TO_TAG", dialog.remote.tag);
  add("CALL-ID", dialog.call_id);
  add("CSEQ", absl::StrFormat("%d", cseq));
  add("ROUTES", RouteList(dialog.route_set));
  add("RECORD-ROUTES", RouteList(dialog.record_route));
  add("REQUEST_URI", StripForRequestUri(target));
  if (dialog.remote_seq && *dialog.remote_seq <= 0x7fffffffu) {
    add("REMOTE_CSEQ", absl::StrFormat("%d", *dialog.remote_seq));
  }
  if (std::string origin = OriginValue(dialog); !origin.empty()) add("SDP_ORIGIN", origin);
  if (std::string media = MediaValue(dialog); !media.empty()) add("SDP_MEDIA", media);
  for (const ChannelVariable& variable : variables) {
    if (HasUnsafeBytes(variable.second)) {
      return absl::InvalidArgumentError(absl::StrFormat(
          "no request can be made: %s would hold CR, LF or NUL: refused", variable.first));
    }
  }
  return variables;
}

absl::StatusOr<std::string> BuildReinvite(const DialogState& dialog,
                                          const ReinviteOptions& options) {
  if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
  ABSL_ASSIGN_OR_RETURN(const RequestTarget request, NextRequest(dialog));
  const CaptureTime now = options.now == CaptureTime{} ? dialog.last_seen : options.now;
  ABSL_ASSIGN_OR_RETURN(const std::uint32_t cseq, NextCseq(dialog, options.cseq, now));
  ABSL_ASSIGN_OR_RETURN(const UriView contact,
                        CheckedUri(options.contact, "ReinviteOptions::contact"));
  if (dialog.secure && !contact.is_sips) {
    return absl::InvalidArgumentError(
        "no request can be made: the dialog is secure (sips) and the Contact is not: give a sips "
        "URI");
  }
  for (const std::string* text : {&options.via_sent_by, &options.branch, &options.user_agent}) {
    if (HasUnsafeBytes(*text)) {
      return absl::InvalidArgumentError("no request can be made: an option holds CR, LF or NUL");
    }
  }
  if (options.via_sent_by.empty() || options.branch.substr(0, 7) != "z9hG4bK") {
    return absl::InvalidArgumentError(
        "no request can be made: via_sent_by and a branch that starts with z9hG4bK are needed");
  }
  std::string text;
  text.reserve(1024 + options.sdp.size());
  text += "INVITE " + request.request_uri + " SIP/2.0\r\n";
  text += "Via: SIP/2.0/" + std::string(ViaTransport(options.transport)) + ' ' +
          options.via_sent_by + ";rport;branch=" + options.branch + "\r\n";
  for (const std::string& route : request.route) text += "Route: <" + route + ">\r\n";
  text += "Max-Forwards: 70\r\nFrom: ";
  AppendParty(dialog.local, &text);
  text += "To: ";
  AppendParty(dialog.remote, &text);
  text += "Call-ID: " + dialog.call_id + "\r\nCSeq: " + std::to_string(cseq) + " INVITE\r\n";
  text += "Contact: <" + ContactWithUser(contact, dialog.local_target) + ">\r\n";
  if (!options.user_agent.empty()) text += "User-Agent: " + options.user_agent + "\r\n";
  if (dialog.session_timer.active()) {
    const SessionTimer& timer = dialog.session_timer;
    text += absl::StrFormat("Supported: timer\r\nSession-Expires: %d;refresher=uac\r\n",
                            std::max(timer.interval, timer.min_interval).count());
    if (timer.min_interval.count() > 0) {
      text += absl::StrFormat("Min-SE: %d\r\n", timer.min_interval.count());
    }
  }
  if (!options.sdp.empty()) text += "Content-Type: application/sdp\r\n";
  text += "Content-Length: " + std::to_string(options.sdp.size()) + "\r\n\r\n" + options.sdp;
  return text;
}

}  // namespace sipheal::inline v0_1::sip
