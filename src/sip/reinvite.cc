// SPDX-License-Identifier: Apache-2.0
// The text of the re-INVITE.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>

#include "base/status_macros.h"
#include "sip/next_request_internal.h"
#include "sip/text.h"
#include "sipheal/sip/next_request.h"

namespace sipheal::inline v0_1::sip {
namespace {

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
std::string_view UserToTakeOver(const UriView& contact, const std::string& old_contact) {
  if (!contact.user.empty() || HasUnsafeBytes(old_contact)) return {};
  const std::optional<UriView> old = UriView::Parse(old_contact);
  return old ? old->user : std::string_view();
}

// Counts the bytes of a text that TextWriter then writes.
class TextCounter {
 public:
  void Put(std::string_view text) { size_ += text.size(); }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_ = 0;
};

class TextWriter {
 public:
  explicit TextWriter(char* at) : at_(at) {}
  void Put(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }

 private:
  char* at_;
};

// A number as text without an allocation.
class Digits {
 public:
  explicit Digits(std::uint64_t number)
      : end_(std::to_chars(digits_.data(), digits_.data() + digits_.size(), number).ptr) {}
  Digits(const Digits&) = delete;
  Digits& operator=(const Digits&) = delete;
  operator std::string_view() const {  // NOLINT: it is that text
    return {digits_.data(), static_cast<std::size_t>(end_ - digits_.data())};
  }

 private:
  std::array<char, 20> digits_;
  char* end_;
};

// What a re-INVITE is made of, all of it checked.
struct ReinviteParts {
  const DialogState& dialog;
  const ReinviteOptions& options;
  const WireTarget& target;
  std::string_view contact_scheme;  // with its colon
  std::string_view contact_user;    // the old Contact's; empty: none is taken over
  std::string_view contact_rest;
  Digits cseq;
  Digits interval;
  Digits min_interval;
  Digits content_length;
};

template <typename Out>
void PutParty(const DialogParty& party, Out& out) {
  out.Put(party.display);
  out.Put(party.display.empty() ? "<" : " <");
  out.Put(party.uri);
  out.Put(">");
  out.Put(party.params);
  out.Put(";tag=");
  out.Put(party.tag);
}

template <typename Out>
void PutReinvite(const ReinviteParts& parts, Out& out) {
  const DialogState& dialog = parts.dialog;
  const ReinviteOptions& options = parts.options;
  out.Put("INVITE ");
  ForRequestUri(parts.target.request_uri, [&](std::string_view piece) { out.Put(piece); });
  out.Put(" SIP/2.0\r\nVia: SIP/2.0/");
  out.Put(ViaTransport(options.transport));
  out.Put(" ");
  out.Put(options.via_sent_by);
  out.Put(";rport;branch=");
  out.Put(options.branch);
  out.Put("\r\n");
  for (const std::string& route : parts.target.routes) {
    out.Put("Route: <");
    out.Put(route);
    out.Put(">\r\n");
  }
  if (parts.target.last_route) {
    out.Put("Route: <");
    ForRequestUri(*parts.target.last_route, [&](std::string_view piece) { out.Put(piece); });
    out.Put(">\r\n");
  }
  out.Put("Max-Forwards: 70\r\nFrom: ");
  PutParty(dialog.local, out);
  out.Put("\r\nTo: ");
  PutParty(dialog.remote, out);
  out.Put("\r\nCall-ID: ");
  out.Put(dialog.call_id);
  out.Put("\r\nCSeq: ");
  out.Put(parts.cseq);
  out.Put(" INVITE\r\nContact: <");
  out.Put(parts.contact_scheme);
  if (!parts.contact_user.empty()) {
    out.Put(parts.contact_user);
    out.Put("@");
  }
  out.Put(parts.contact_rest);
  out.Put(">\r\n");
  if (!options.user_agent.empty()) {
    out.Put("User-Agent: ");
    out.Put(options.user_agent);
    out.Put("\r\n");
  }
  if (dialog.session_timer.active()) {
    out.Put("Supported: timer\r\nSession-Expires: ");
    out.Put(parts.interval);
    out.Put(";refresher=uac\r\n");
    if (dialog.session_timer.min_interval.count() > 0) {
      out.Put("Min-SE: ");
      out.Put(parts.min_interval);
      out.Put("\r\n");
    }
  }
  if (!options.sdp.empty()) out.Put("Content-Type: application/sdp\r\n");
  out.Put("Content-Length: ");
  out.Put(parts.content_length);
  out.Put("\r\n\r\n");
  out.Put(options.sdp);
}

}  // namespace

absl::Status WriteReinvite(const DialogState& dialog, const ReinviteOptions& options,
                           std::string* out) {
  if (absl::Status status = CheckIdentity(dialog); !status.ok()) return status;
  ABSL_ASSIGN_OR_RETURN(const WireTarget target, FindTarget(dialog));
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
  if (options.via_sent_by.empty() || !options.branch.starts_with("z9hG4bK")) {
    return absl::InvalidArgumentError(
        "no request can be made: via_sent_by and a branch that starts with z9hG4bK are needed");
  }
  const SessionTimer& timer = dialog.session_timer;
  const std::size_t host = contact.scheme.size() + 1;
  const ReinviteParts parts{
      .dialog = dialog,
      .options = options,
      .target = target,
      .contact_scheme = contact.text.substr(0, host),
      .contact_user = UserToTakeOver(contact, dialog.local_target),
      .contact_rest = contact.text.substr(host),
      .cseq = Digits(cseq),
      .interval =
          Digits(static_cast<std::uint64_t>(std::max(timer.interval, timer.min_interval).count())),
      .min_interval = Digits(static_cast<std::uint64_t>(timer.min_interval.count())),
      .content_length = Digits(options.sdp.size()),
  };
  TextCounter counter;
  PutReinvite(parts, counter);
  out->resize(counter.size());
  TextWriter writer(out->data());
  PutReinvite(parts, writer);
  return absl::OkStatus();
}

absl::StatusOr<std::string> BuildReinvite(const DialogState& dialog,
                                          const ReinviteOptions& options) {
  std::string text;
  if (absl::Status status = WriteReinvite(dialog, options, &text); !status.ok()) return status;
  return text;
}

}  // namespace sipheal::inline v0_1::sip
