// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

// The longest number, and what stands between two texts.
constexpr std::size_t kNumberBytes = 20;
constexpr std::size_t kBetween = 3;

const std::string& OriginVersion(const DialogState& dialog) {
  return dialog.highest_local_sdp_version.empty() ? dialog.local_sdp.origin_version
                                                  : dialog.highest_local_sdp_version;
}

// The version that the server sent last, or as much above as leaves room for what may not have been
// captured (rule 9.2); empty when no media server can continue the o= line.
std::optional<std::uint32_t> VersionToContinue(const DialogState& dialog, bool tail_is_known) {
  constexpr std::uint32_t kMargin = 1000;
  constexpr std::uint32_t kHighest = 0xfffffffe;  // the next one must fit
  const SdpSummary& sdp = dialog.local_sdp;
  const bool fits = !sdp.origin_user.empty() && !sdp.origin_address.empty() &&
                    sdp.origin_net_type == "IN" &&
                    (sdp.origin_address_type == "IP4" || sdp.origin_address_type == "IP6") &&
                    ParseUnsigned(sdp.origin_session_id, 0xffffffffu);
  if (!fits) return std::nullopt;
  std::optional<std::uint32_t> version = ParseUnsigned(OriginVersion(dialog), kHighest);
  if (version && !tail_is_known) *version += std::min(kMargin, kHighest - *version);
  return version;
}

bool MediaFit(const std::vector<SdpMedia>& media) {
  return !media.empty() && std::all_of(media.begin(), media.end(), [](const SdpMedia& line) {
    return !line.type.empty() && !line.protocol.empty() && !line.formats.empty() &&
           line.formats.find(',') == std::string::npos;
  });
}

absl::Status CheckSafe(std::string_view text, std::string_view variable) {
  if (!HasUnsafeBytes(text)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrFormat("no request can be made: %s would hold CR, LF or NUL: refused", variable));
}

std::size_t MostBytes(const DialogState& dialog) {
  const SdpSummary& sdp = dialog.local_sdp;
  std::size_t size = dialog.local.display.size() + dialog.remote.display.size() +
                     dialog.remote_target.size() + sdp.origin_user.size() +
                     sdp.origin_session_id.size() + sdp.origin_address.size() + 16 +
                     3 * kNumberBytes;
  for (const auto* uris : {&dialog.route_set, &dialog.record_route}) {
    for (const std::string& uri : *uris) size += uri.size() + kBetween;
  }
  for (const SdpMedia& line : sdp.media) {
    size += line.type.size() + line.protocol.size() + line.formats.size() + kNumberBytes + kBetween;
  }
  return size;
}

// Values one behind the other. The text has room for all: what was written stays where it is.
class ValueWriter {
 public:
  explicit ValueWriter(std::string* text) : text_(text) {}

  ValueWriter& Put(std::string_view part) {
    *text_ += part;
    return *this;
  }
  ValueWriter& Put(std::uint32_t number) {
    char digits[kNumberBytes];
    return Put({digits, std::to_chars(digits, digits + sizeof digits, number).ptr});
  }
  // Ends the value: all that was put since the last one.
  std::string_view Take() {
    const std::string_view value = std::string_view(*text_).substr(taken_);
    taken_ = text_->size();
    return value;
  }
  bool empty() const { return taken_ == text_->size(); }

 private:
  std::string* text_;
  std::size_t taken_ = 0;
};

// The display name that a quoted string stands for; a token stands for itself.
std::string_view Unquoted(std::string_view display, ValueWriter& out) {
  if (display.size() < 2 || display.front() != '"' || display.back() != '"') return display;
  display = display.substr(1, display.size() - 2);
  for (std::size_t at; (at = display.find('\\')) != display.npos && at + 1 < display.size();) {
    out.Put(display.substr(0, at)).Put(display.substr(at + 1, 1));
    display.remove_prefix(at + 2);
  }
  return out.empty() ? display : out.Put(display).Take();
}

std::string_view RouteValue(const std::vector<std::string>& uris, ValueWriter& out) {
  for (const std::string& uri : uris) out.Put(out.empty() ? "<" : ",<").Put(uri).Put(">");
  return out.Take();
}

// The value of the o= line as the server last sent it, but for the version.
std::string_view OriginValue(const SdpSummary& sdp, std::uint32_t version, ValueWriter& out) {
  out.Put(sdp.origin_user).Put(" ").Put(sdp.origin_session_id).Put(" ").Put(version);
  for (const std::string_view part :
       {std::string_view(sdp.origin_net_type), std::string_view(sdp.origin_address_type),
        std::string_view(sdp.origin_address)}) {
    out.Put(" ").Put(part);
  }
  return out.Take();
}

std::string_view MediaValue(const std::vector<SdpMedia>& media, ValueWriter& out) {
  for (const SdpMedia& line : media) {
    out.Put(out.empty() ? "" : ",").Put(line.type).Put(" ").Put(line.port);
    out.Put(" ").Put(line.protocol).Put(" ").Put(line.formats);
  }
  return out.Take();
}

}  // namespace

absl::StatusOr<CheckedVariables> CheckVariables(const DialogState& dialog,
                                                const RecoveryOptions& options) {
  if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
  // Checks target and routes; the variables hold them as they are, since pjsip does strict routing.
  ABSL_ASSIGN_OR_RETURN(const WireTarget wire, FindTarget(dialog));
  const CaptureTime now = options.now == CaptureTime{} ? dialog.last_seen : options.now;
  CheckedVariables checked;
  ABSL_ASSIGN_OR_RETURN(checked.cseq, NextCseq(dialog, options.cseq, now));
  checked.target = wire.last_route ? *wire.last_route : wire.request_uri;
  checked.origin_version = VersionToContinue(dialog, TailIsKnown(dialog, options.cseq));
  checked.has_media = MediaFit(dialog.local_sdp.media);
  auto check = [](std::string_view variable, std::initializer_list<std::string_view> texts) {
    for (const std::string_view text : texts) {
      if (absl::Status status = CheckSafe(text, variable); !status.ok()) return status;
    }
    return absl::OkStatus();
  };
  for (const std::string& uri : dialog.record_route) {
    ABSL_RETURN_IF_ERROR(check("PJSIP_RECOVERY_RECORD-ROUTES", {uri}));
  }
  const SdpSummary& sdp = dialog.local_sdp;
  if (checked.origin_version) {
    ABSL_RETURN_IF_ERROR(check("PJSIP_RECOVERY_SDP_ORIGIN", {sdp.origin_user, sdp.origin_address}));
  }
  if (checked.has_media) {
    for (const SdpMedia& line : sdp.media) {
      ABSL_RETURN_IF_ERROR(
          check("PJSIP_RECOVERY_SDP_MEDIA", {line.type, line.protocol, line.formats}));
    }
  }
  return checked;
}

absl::StatusOr<std::span<const VariableView>> RecoveryVariableWriter::Write(
    const DialogState& dialog, const RecoveryOptions& options) {
  ABSL_ASSIGN_OR_RETURN(const CheckedVariables checked, CheckVariables(dialog, options));
  text_.clear();
  text_.reserve(MostBytes(dialog));
  ValueWriter out(&text_);
  variables_.clear();
  auto add = [this](std::string_view name, std::string_view value) {
    variables_.push_back({name, value});
  };
  add("PJSIP_RECOVERY_FROM_DISPLAY", Unquoted(dialog.local.display, out));
  add("PJSIP_RECOVERY_FROM_URI", dialog.local.uri);
  add("PJSIP_RECOVERY_FROM_TAG", dialog.local.tag);
  add("PJSIP_RECOVERY_TO_DISPLAY", Unquoted(dialog.remote.display, out));
  add("PJSIP_RECOVERY_TO_URI", dialog.remote.uri);
  add("PJSIP_RECOVERY_TO_TAG", dialog.remote.tag);
  add("PJSIP_RECOVERY_CALL-ID", dialog.call_id);
  add("PJSIP_RECOVERY_CSEQ", out.Put(checked.cseq).Take());
  add("PJSIP_RECOVERY_ROUTES", RouteValue(dialog.route_set, out));
  add("PJSIP_RECOVERY_RECORD-ROUTES", RouteValue(dialog.record_route, out));
  ForRequestUri(checked.target, [&](std::string_view piece) { out.Put(piece); });
  add("PJSIP_RECOVERY_REQUEST_URI", out.Take());
  if (dialog.remote_seq && *dialog.remote_seq <= 0x7fffffffu) {
    add("PJSIP_RECOVERY_REMOTE_CSEQ", out.Put(*dialog.remote_seq).Take());
  }
  if (checked.origin_version) {
    add("PJSIP_RECOVERY_SDP_ORIGIN", OriginValue(dialog.local_sdp, *checked.origin_version, out));
  }
  if (checked.has_media) {
    add("PJSIP_RECOVERY_SDP_MEDIA", MediaValue(dialog.local_sdp.media, out));
  }
  return std::span<const VariableView>(variables_);
}

absl::StatusOr<std::vector<ChannelVariable>> RecoveryVariables(const DialogState& dialog,
                                                               const RecoveryOptions& options) {
  RecoveryVariableWriter writer;
  ABSL_ASSIGN_OR_RETURN(const std::span<const VariableView> views, writer.Write(dialog, options));
  std::vector<ChannelVariable> variables;
  variables.reserve(views.size());
  for (const VariableView& view : views) variables.emplace_back(view.name, view.value);
  return variables;
}

}  // namespace sipheal::inline v0_1::sip
