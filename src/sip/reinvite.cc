// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/reinvite.h"

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "sip/kernel/kernel.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::string_view kBranchCookie = "z9hG4bK";
// Of each Route, without its URI.
constexpr std::size_t kRouteBytes = 16;
// More than all that is written of no text of the dialog or the options, numbers included.
constexpr std::size_t kConstantBytes = 384;
// That the kernels may read and write behind the text.
constexpr std::size_t kBehind = 64;

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
std::string_view UserToTakeOver(const std::string& old_contact) {
  if (HasUnsafeBytes(old_contact)) return {};
  const std::optional<UriView> old = UriView::Parse(old_contact);
  return old ? old->user : std::string_view();
}

std::size_t SizeOf(const DialogParty& party) {
  return party.display.size() + party.uri.size() + party.params.size() + party.tag.size();
}

std::size_t MostBytes(const DialogState& dialog, const kernel::Successor& successor) {
  std::size_t size = kConstantBytes + dialog.remote_target.size() + SizeOf(dialog.local) +
                     SizeOf(dialog.remote) + dialog.call_id.size() + successor.via.size() +
                     successor.contact.size() + successor.user.size() +
                     successor.contact_rest.size() + successor.branch.size() + successor.sdp.size();
  for (const std::string& route : dialog.route_set) {
    __builtin_prefetch(route.data());  // see Prefetch
    __builtin_prefetch(route.data() + route.size());
    size += kRouteBytes + route.size();
  }
  return size;
}

// Of thousands of dialogs few are in the caches: what is written is asked for all at once.
void Prefetch(const DialogState& dialog) {
  const std::string* const texts[] = {&dialog.remote_target, &dialog.local.uri,  &dialog.local.tag,
                                      &dialog.remote.uri,    &dialog.remote.tag, &dialog.call_id};
  __builtin_prefetch(&dialog.session_timer);
  __builtin_prefetch(&dialog.last_seen);
  __builtin_prefetch(dialog.route_set.data());
  for (const std::string* text : texts) {
    __builtin_prefetch(text->data());
    __builtin_prefetch(text->data() + text->size());
  }
}

}  // namespace

absl::StatusOr<ReinviteWriter> ReinviteWriter::Create(const ReinviteOptions& options) {
  ABSL_ASSIGN_OR_RETURN(const UriView contact,
                        CheckedUri(options.contact, "ReinviteOptions::contact"));
  if (!contact.is_sip) {  // RFC 3261 8.1.1.8
    return absl::InvalidArgumentError(
        "no request can be made: ReinviteOptions::contact is no sip or sips URI");
  }
  if (HasUnsafeBytes(options.user_agent)) {
    return absl::InvalidArgumentError(
        "no request can be made: ReinviteOptions::user_agent holds CR, LF or NUL");
  }
  const std::string as_uri = "sip:" + options.via_sent_by;
  const std::optional<UriView> sent_by = UriView::Parse(as_uri);
  if (!sent_by || !sent_by->user.empty() || !sent_by->params.empty() || !sent_by->headers.empty()) {
    return absl::InvalidArgumentError(
        "no request can be made: ReinviteOptions::via_sent_by is no host or host:port: give the "
        "address that answers come back to");
  }
  ReinviteWriter writer;
  writer.cseq_ = options.cseq;
  writer.contact_is_sips_ = contact.is_sips;
  writer.takes_user_over_ = contact.user.empty();
  writer.via_ = " SIP/2.0\r\nVia: SIP/2.0/";
  writer.via_ += ViaTransport(options.transport);
  writer.via_ += ' ';
  writer.via_ += options.via_sent_by;
  writer.via_ += ";rport;branch=";
  const std::size_t host = contact.scheme.size() + 1;
  writer.contact_ = " INVITE\r\nContact: <";
  writer.contact_ += contact.text.substr(0, host);
  writer.contact_rest_ = contact.text.substr(host);
  writer.contact_rest_ += ">\r\n";
  if (!options.user_agent.empty()) {
    writer.contact_rest_ += "User-Agent: " + options.user_agent + "\r\n";
  }
  if (!writer.takes_user_over_) {
    writer.contact_ += writer.contact_rest_;
    writer.contact_rest_.clear();
  }
  return writer;
}

absl::StatusOr<std::string_view> ReinviteWriter::Write(const DialogState& dialog,
                                                       const ReinviteParams& params) {
  return kernel::BestKernel().WriteReinvite(dialog, params, this);
}

absl::StatusOr<std::string_view> kernel::Kernel::WriteReinvite(const DialogState& dialog,
                                                               const ReinviteParams& params,
                                                               ReinviteWriter* writer) const {
  Prefetch(dialog);
  const CaptureTime now = params.now == CaptureTime{} ? dialog.last_seen : params.now;
  const absl::StatusOr<std::uint32_t> cseq = NextCseq(dialog, writer->cseq_, now);
  const Successor successor{
      .via = writer->via_,
      .contact = writer->contact_,
      .user = writer->takes_user_over_ ? UserToTakeOver(dialog.local_target) : std::string_view(),
      .contact_rest = writer->contact_rest_,
      .branch = params.branch,
      .sdp = params.sdp,
      .cseq = cseq.ok() ? *cseq : 0,
  };
  const std::size_t most = MostBytes(dialog, successor) + kBehind;
  if (writer->memory_.size() < most) writer->memory_.resize(2 * most);
  char* const memory = writer->memory_.data();
  WrittenRequest written;
  std::size_t size = write_invite(dialog, nullptr, successor, memory, &written);
  // Where it is not known, a dialog over TLS may be secure.
  const bool contact_fits =
      writer->contact_is_sips_ || (!dialog.secure && !dialog.IsMissing(Field::kSecure));
  const bool allowed = cseq.ok() && contact_fits && !dialog.IsMissing(Field::kRouteSet);
  if (!allowed || !reads_back(written)) [[unlikely]] {
    if (!params.branch.starts_with(kBranchCookie) || !IsToken(params.branch)) {
      return absl::InvalidArgumentError(
          "no request can be made: ReinviteParams::branch is no token that starts with z9hG4bK");
    }
    if (!contact_fits) {
      return absl::InvalidArgumentError(
          "no request can be made: the dialog is secure (sips), or may be, and the Contact is not: "
          "give a sips "
          "URI");
    }
    if (!cseq.ok()) return cseq.status();
    if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
    ABSL_ASSIGN_OR_RETURN(const WireTarget target, FindTarget(dialog));
    size = write_invite(dialog, &target, successor, memory, &written);
  }
  return std::string_view(memory, size);
}

}  // namespace sipheal::inline v0_1::sip
