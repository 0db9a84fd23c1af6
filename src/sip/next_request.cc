// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/next_request.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "sip/kernel/kernel.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

std::string StripForRequestUri(const UriView& uri) {
  std::string text;
  ForRequestUri(uri, [&](std::string_view piece) { text += piece; });
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
    const bool complete = TailIsKnown(dialog, policy);
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

}  // namespace sipheal::inline v0_1::sip
