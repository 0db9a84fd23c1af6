// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/reinvite.h"

#include <algorithm>
#include <charconv>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "sip/copy_text.h"
#include "sip/kernel/kernel.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::string_view kBranchCookie = "z9hG4bK";
constexpr std::string_view kBeforeRoute = "Route: <";
constexpr std::string_view kBehindRoute = ">\r\n";
// More than all that is written of no text of the dialog or the options, numbers included.
constexpr std::size_t kConstantBytes = 384;
// That the kernels may read behind the text.
constexpr std::size_t kReadBehind = 64;

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

class TextWriter {
 public:
  explicit TextWriter(char* begin) : begin_(begin), at_(begin) {}

  [[gnu::always_inline]] void Put(std::string_view text) {
    CopyText(at_, text);
    at_ += text.size();
  }
  void PutNumber(std::uint64_t number) { at_ = std::to_chars(at_, at_ + 20, number).ptr; }
  std::size_t size() const { return static_cast<std::size_t>(at_ - begin_); }
  std::string_view From(std::size_t begin) const { return {begin_ + begin, size() - begin}; }

 private:
  char* begin_;
  char* at_;
};

std::size_t SizeOf(const DialogParty& party) {
  return party.display.size() + party.uri.size() + party.params.size() + party.tag.size();
}

[[gnu::always_inline]] inline std::string_view PutParty(const DialogParty& party, TextWriter& out) {
  const std::size_t begin = out.size();
  out.Put(party.display);
  out.Put(party.display.empty() ? "<" : " <");
  out.Put(party.uri);
  out.Put(">");
  out.Put(party.params);
  out.Put(";tag=");
  out.Put(party.tag);
  return out.From(begin);
}

// What is written of the successor, all of it checked.
struct Successor {
  std::string_view via;
  std::string_view contact;
  std::string_view user;
  std::string_view contact_rest;
  std::string_view branch;
  std::string_view sdp;
  std::uint32_t cseq;
};

std::size_t MostBytes(const DialogState& dialog, const Successor& successor) {
  std::size_t size = kConstantBytes + dialog.remote_target.size() + SizeOf(dialog.local) +
                     SizeOf(dialog.remote) + dialog.call_id.size() + successor.via.size() +
                     successor.contact.size() + successor.user.size() +
                     successor.contact_rest.size() + successor.branch.size() + successor.sdp.size();
  for (const std::string& route : dialog.route_set) {
    size += kBeforeRoute.size() + route.size() + kBehindRoute.size();
  }
  return size;
}

// Writes the text and says where the dialog's parts stand in it.
std::size_t PutReinvite(const DialogState& dialog, const WireTarget& target,
                        const Successor& successor, char* memory, kernel::WrittenRequest* written) {
  TextWriter out(memory);
  written->dialog = &dialog;
  out.Put("INVITE ");
  const std::size_t request_uri = out.size();
  ForRequestUri(target.request_uri, [&](std::string_view piece) { out.Put(piece); });
  written->request_uri = out.From(request_uri);
  out.Put(successor.via);
  out.Put(successor.branch);
  out.Put("\r\n");
  written->routes = target.routes;
  written->first_route = out.size() + kBeforeRoute.size();
  written->between_routes = kBehindRoute.size() + kBeforeRoute.size();
  for (const std::string& route : target.routes) {
    out.Put(kBeforeRoute);
    out.Put(route);
    out.Put(kBehindRoute);
  }
  if (target.last_route) {
    out.Put(kBeforeRoute);
    ForRequestUri(*target.last_route, [&](std::string_view piece) { out.Put(piece); });
    out.Put(kBehindRoute);
  }
  out.Put("Max-Forwards: 70\r\nFrom: ");
  written->from = PutParty(dialog.local, out);
  out.Put("\r\nTo: ");
  written->to = PutParty(dialog.remote, out);
  out.Put("\r\nCall-ID: ");
  const std::size_t call_id = out.size();
  out.Put(dialog.call_id);
  written->call_id = out.From(call_id);
  out.Put("\r\nCSeq: ");
  out.PutNumber(successor.cseq);
  out.Put(successor.contact);
  if (!successor.user.empty()) {
    out.Put(successor.user);
    out.Put("@");
  }
  out.Put(successor.contact_rest);
  const SessionTimer& timer = dialog.session_timer;
  if (timer.active()) {
    out.Put("Supported: timer\r\nSession-Expires: ");
    out.PutNumber(static_cast<std::uint64_t>(std::max(timer.interval, timer.min_interval).count()));
    out.Put(";refresher=uac\r\n");
    if (timer.min_interval.count() > 0) {
      out.Put("Min-SE: ");
      out.PutNumber(static_cast<std::uint64_t>(timer.min_interval.count()));
      out.Put("\r\n");
    }
  }
  if (successor.sdp.empty()) {
    out.Put("Content-Length: 0\r\n\r\n");
  } else {
    out.Put("Content-Type: application/sdp\r\nContent-Length: ");
    out.PutNumber(successor.sdp.size());
    out.Put("\r\n\r\n");
    out.Put(successor.sdp);
  }
  return out.size();
}

// Of thousands of dialogs few are in the caches: what is written is asked for all at once.
void Prefetch(const DialogState& dialog) {
  const std::string* const texts[] = {&dialog.remote_target, &dialog.local.uri,  &dialog.local.tag,
                                      &dialog.remote.uri,    &dialog.remote.tag, &dialog.call_id};
  __builtin_prefetch(&dialog.session_timer);
  __builtin_prefetch(&dialog.last_seen);
  __builtin_prefetch(dialog.route_set.data());
  for (const std::string* text : texts) __builtin_prefetch(text->data());
}

// The target as nearly all are: no strict router, nothing to be left out. What is written of it is
// sent only when it reads back.
WireTarget PlainTarget(const DialogState& dialog) {
  WireTarget target;
  target.request_uri.text = dialog.remote_target;
  target.routes = dialog.route_set;
  return target;
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
  if (!params.branch.starts_with(kBranchCookie) || !IsToken(params.branch)) {
    return absl::InvalidArgumentError(
        "no request can be made: ReinviteParams::branch is no token that starts with z9hG4bK");
  }
  if (dialog.secure && !writer->contact_is_sips_) {
    return absl::InvalidArgumentError(
        "no request can be made: the dialog is secure (sips) and the Contact is not: give a sips "
        "URI");
  }
  const CaptureTime now = params.now == CaptureTime{} ? dialog.last_seen : params.now;
  ABSL_ASSIGN_OR_RETURN(const std::uint32_t cseq, NextCseq(dialog, writer->cseq_, now));
  const Successor successor{
      .via = writer->via_,
      .contact = writer->contact_,
      .user = writer->takes_user_over_ ? UserToTakeOver(dialog.local_target) : std::string_view(),
      .contact_rest = writer->contact_rest_,
      .branch = params.branch,
      .sdp = params.sdp,
      .cseq = cseq,
  };
  const std::size_t most = MostBytes(dialog, successor) + kReadBehind;
  if (writer->memory_.size() < most) writer->memory_.resize(2 * most);
  char* const memory = writer->memory_.data();
  WrittenRequest written{.data = memory, .size = writer->memory_.size()};
  std::size_t size = PutReinvite(dialog, PlainTarget(dialog), successor, memory, &written);
  if (dialog.IsMissing(Field::kRouteSet) || !reads_back(written)) [[unlikely]] {
    if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
    ABSL_ASSIGN_OR_RETURN(const WireTarget target, FindTarget(dialog));
    size = PutReinvite(dialog, target, successor, memory, &written);
  }
  return std::string_view(memory, size);
}

}  // namespace sipheal::inline v0_1::sip
