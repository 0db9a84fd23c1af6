// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/next_request.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "base/absl_compat.h"
#include "base/status_macros.h"
#include "sip/kernel/kernel.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

using internal::AbslView;

std::string StripForRequestUri(const UriView& uri) {
  std::string text;
  ForRequestUri(uri, [&](std::string_view piece) { text += piece; });
  return text;
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

std::string RouteValue(const std::vector<std::string>& uris) {
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

// 0: plain in any display name; 1: in a quoted one alone; 2: look closer.
constexpr std::array<std::uint8_t, 256> kDisplayBytes = [] {
  std::array<std::uint8_t, 256> bytes{};
  bytes['<'] = bytes[','] = 1;
  bytes['"'] = bytes['\\'] = 2;
  return bytes;
}();

constexpr std::array<bool, 256> kTokenBytes = [] {
  std::array<bool, 256> bytes{};
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = IsTokenChar(static_cast<char>(i));
  return bytes;
}();

bool IsTagToken(std::string_view tag) {
  bool token = !tag.empty();
  for (const char c : tag) token &= kTokenBytes[static_cast<unsigned char>(c)];
  return token;
}

// Whether a From or To made of the party reads back as what it was made from.
bool ReadsBack(const DialogParty& party) {
  const std::string_view display = party.display;
  const bool quoted = display.size() >= 2 && display.front() == '"' && display.back() == '"';
  const std::string_view inside = quoted ? display.substr(1, display.size() - 2) : display;
  bool plain = true;
  for (const char c : inside) {
    const std::uint8_t kind = kDisplayBytes[static_cast<unsigned char>(c)];
    plain = plain && (kind == 0 || (kind == 1 && quoted));
  }
  // Nothing but the URI then decides: its grammar knows neither '>' nor white space.
  if (plain && party.params.empty() && display == TrimLws(display)) {
    return UriView::Parse(party.uri).has_value();
  }
  std::string text = party.display;
  if (!text.empty()) text += ' ';
  text += '<' + party.uri + '>' + party.params + ";tag=" + party.tag;
  const std::optional<NameAddrView> read = NameAddrView::Parse(text);
  return read && read->uri == party.uri && read->display == party.display &&
         read->Param("tag") == std::string_view(party.tag);
}

}  // namespace

absl::StatusOr<UriView> CheckedUri(std::string_view text, std::string_view what) {
  std::optional<UriView> uri = UriView::Parse(text);
  if (!uri) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no request can be made: %s is no URI: see its evidence", what));
  }
  return *uri;
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
  // The parser takes no other, so that only a stored dialog can hold one.
  if (!kernel::IsPrintable(dialog.call_id)) {
    return absl::InvalidArgumentError(
        "no request can be made: call_id holds white space or a control character: refused");
  }
  if (!IsTagToken(dialog.local.tag) || !IsTagToken(dialog.remote.tag)) {
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
    if (!ReadsBack(*party)) {
      return absl::InvalidArgumentError(
          "no request can be made: From or To does not read back as it was captured: refused");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<WireTarget> FindTarget(const DialogState& dialog) {
  if (dialog.remote_target.empty()) {
    return absl::FailedPreconditionError(
        "no request can be made: remote_target is not known: see the dialog's missing fields");
  }
  if (dialog.IsMissing(Field::kRouteSet)) {
    return absl::FailedPreconditionError(
        "no request can be made: route_set is not known: see the dialog's missing fields");
  }
  WireTarget wire;
  ABSL_ASSIGN_OR_RETURN(wire.request_uri, CheckedUri(dialog.remote_target, "remote_target"));
  if (dialog.route_set.empty()) return wire;
  wire.routes = dialog.route_set;
  const UriView target = wire.request_uri;
  UriView first;
  for (const std::string& text : dialog.route_set) {
    ABSL_ASSIGN_OR_RETURN(const UriView route, CheckedUri(text, "an entry of route_set"));
    if (&text == &dialog.route_set.front()) first = route;
  }
  // Only the first element decides (RFC 3261 16.12.1.2).
  if (first.loose()) return wire;
  wire.request_uri = first;
  wire.routes = wire.routes.subspan(1);
  wire.last_route = target;
  return wire;
}

absl::StatusOr<RequestTarget> NextRequest(const DialogState& dialog) {
  ABSL_ASSIGN_OR_RETURN(const WireTarget wire, FindTarget(dialog));
  RequestTarget request;
  request.request_uri = StripForRequestUri(wire.request_uri);
  request.route.assign(wire.routes.begin(), wire.routes.end());
  if (wire.last_route) request.route.push_back(StripForRequestUri(*wire.last_route));
  return request;
}

absl::StatusOr<std::uint32_t> NextCseq(const DialogState& dialog, const CseqPolicy& policy,
                                       CaptureTime now) {
  std::uint64_t next;
  if (dialog.local_seq) {
    // Beyond that it is no pace, but a clock that was never set, or a number that was made up.
    constexpr std::uint64_t kMostUnseen = 1'000'000;
    const bool complete = policy.capture_is_complete && !dialog.from_stored_state;
    std::uint64_t headroom = complete ? 0 : policy.headroom;
    // Twice what the server could have sent since, at the pace at which it was seen to send.
    const Evidence* last = !complete && dialog.local_pace.count() > 0
                               ? dialog.FindEvidence(Field::kLocalSeq)
                               : nullptr;
    if (last != nullptr && now > last->message.time) {
      const auto unseen =
          static_cast<std::uint64_t>((now - last->message.time) / dialog.local_pace);
      headroom = std::max(headroom, std::min<std::uint64_t>(2 * unseen, kMostUnseen));
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
  if (absl::Status status = FindTarget(dialog).status(); !status.ok()) return status;
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
  add("ROUTES", RouteValue(dialog.route_set));
  add("RECORD-ROUTES", RouteValue(dialog.record_route));
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

}  // namespace sipheal::inline v0_1::sip
