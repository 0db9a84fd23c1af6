// SPDX-License-Identifier: Apache-2.0
// The next request of any dialog that a store can hold: its texts are the input, cut at 0xFF bytes,
// so that no hash has to be guessed. What is written of it is in the dialog, has the lines that are
// meant and no other, and is the same each time and by each kernel.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "sip/kernel/kernel.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/message_fields.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/reinvite.h"
#include "sipheal/sip/uri.h"
#include "sipheal/sip/verdict.h"

namespace {

using namespace sipheal::sip;  // NOLINT: a fuzz target is one function and what it asks

void Require(bool condition) {
  if (!condition) std::abort();
}

// Five bytes of numbers and flags, then the texts; those that are left over are the routes.
DialogState MakeDialog(std::string_view input) {
  DialogState dialog;
  auto byte = [&input] {
    const auto value = input.empty() ? 0 : static_cast<std::uint8_t>(input.front());
    input.remove_prefix(input.empty() ? 0 : 1);
    return static_cast<unsigned>(value);
  };
  auto text = [&input] {
    const std::string_view value = input.substr(0, input.find('\xff'));
    input.remove_prefix(std::min(input.size(), value.size() + 1));
    return std::string(value);
  };
  const unsigned flags = byte();
  dialog.secure = (flags & 1) != 0;
  if ((flags & 2) != 0) dialog.missing = {Field::kRouteSet};
  if ((flags & 4) != 0) dialog.local_seq = byte() << 24 | byte();
  if ((flags & 8) != 0) dialog.remote_seq = byte() << 24;
  if ((flags & 16) != 0) {
    dialog.session_timer.interval = std::chrono::seconds(byte() << 24 | byte());
    dialog.session_timer.min_interval = std::chrono::seconds(byte() << 24 | byte());
  }
  dialog.phase = DialogPhase::kConfirmed;
  for (DialogParty* party : {&dialog.local, &dialog.remote}) {
    party->display = text();
    party->uri = text();
    party->params = text();
    party->tag = text();
  }
  dialog.call_id = text();
  dialog.remote_target = text();
  dialog.local_target = text();
  dialog.local_sdp.origin_user = text();
  dialog.local_sdp.origin_session_id = text();
  dialog.local_sdp.origin_version = text();
  dialog.local_sdp.origin_net_type = "IN";
  dialog.local_sdp.origin_address_type = "IP4";
  dialog.local_sdp.origin_address = text();
  SdpMedia media;
  media.type = text();
  media.protocol = text();
  media.formats = text();
  dialog.local_sdp.media.push_back(media);
  while (!input.empty()) dialog.route_set.push_back(text());
  dialog.record_route = dialog.route_set;
  return dialog;
}

std::vector<std::string> Uris(std::string_view list) {
  std::vector<std::string> uris;
  NameAddrView entry;
  ListStep step;
  while ((step = NextNameAddr(&list, &entry)) == ListStep::kValue) uris.emplace_back(entry.uri);
  Require(step == ListStep::kEnd);
  return uris;
}

// The names of the header lines, in order. Every line ends with CRLF and nothing else is CR or LF.
std::vector<std::string> LineNames(std::string_view text) {
  const std::size_t end = text.find("\r\n\r\n");
  Require(end != text.npos);
  std::string_view head = text.substr(0, end + 2);
  std::vector<std::string> names;
  while (!head.empty()) {
    const std::string_view line = head.substr(0, head.find("\r\n"));
    Require(line.find_first_of(std::string_view("\r\n\0", 3)) == line.npos);
    head.remove_prefix(line.size() + 2);
    names.emplace_back(line.substr(0, line.find(": ")));
  }
  names.erase(names.begin());  // the start line
  return names;
}

void CheckInvite(const DialogState& dialog, std::string_view text, std::string_view sdp) {
  const auto next = NextRequest(dialog);
  const auto cseq = NextCseq(dialog, {}, dialog.last_seen);
  Require(next.ok() && cseq.ok());
  std::vector<std::string> lines = {"Via"};
  lines.insert(lines.end(), next->route.size(), "Route");
  for (const char* name : {"Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact"}) {
    lines.emplace_back(name);
  }
  if (dialog.session_timer.active()) {
    lines.insert(lines.end(), {"Supported", "Session-Expires"});
    if (dialog.session_timer.min_interval.count() > 0) lines.emplace_back("Min-SE");
  }
  if (!sdp.empty()) lines.emplace_back("Content-Type");
  lines.emplace_back("Content-Length");
  Require(LineNames(text) == lines);

  MessageView view;
  MessageFields fields;
  Require(view.Parse(text).ok() && fields.Read(view).ok());
  Require(view.method() == Method::kInvite && view.body() == sdp && view.cseq() == *cseq);
  Require(view.call_id() == dialog.call_id && view.request_uri() == next->request_uri);
  Require(fields.from.display == dialog.local.display &&
          fields.to.display == dialog.remote.display);
  Require(fields.from.uri.text == dialog.local.uri && fields.to.uri.text == dialog.remote.uri);
  Require(fields.from_tag == dialog.local.tag && fields.to_tag == dialog.remote.tag);
  Require(fields.has_contact && fields.contact.params.empty());
  Require(fields.contact.uri.host == "192.0.2.11");
  std::vector<std::string> routes;
  view.ForEach(HeaderId::kRoute, [&](std::string_view value) {
    for (std::string& uri : Uris(value)) routes.push_back(std::move(uri));
  });
  Require(routes == next->route);
}

void CheckVariables(const DialogState& dialog) {
  RecoveryVariableWriter writer;
  const auto made = RecoveryVariables(dialog);
  const auto views = writer.Write(dialog);
  Require(views.status() == made.status());
  if (Judge(dialog).recoverable()) Require(made.ok());
  if (!made.ok()) return;
  Require(views->size() == made->size());
  for (std::size_t i = 0; i < made->size(); ++i) {
    const auto& [name, value] = (*made)[i];
    Require((*views)[i].name == name && (*views)[i].value == value);
    const std::string_view field = std::string_view(name).substr(15);  // behind PJSIP_RECOVERY_
    if (field == "FROM_URI") Require(value == dialog.local.uri && UriView::Parse(value));
    if (field == "TO_URI") Require(value == dialog.remote.uri && UriView::Parse(value));
    if (field == "FROM_TAG") Require(value == dialog.local.tag);
    if (field == "TO_TAG") Require(value == dialog.remote.tag);
    if (field == "CALL-ID") Require(value == dialog.call_id);
    if (field == "ROUTES") Require(Uris(value) == dialog.route_set);
    if (field == "REQUEST_URI") {
      const auto uri = UriView::Parse(value);
      Require(uri.has_value());
      if (uri->is_sip) Require(uri->headers.empty() && !uri->Param("method"));
    }
    Require(value.find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const DialogState made = MakeDialog({reinterpret_cast<const char*>(data), size});
  // Nobody could tell it from others.
  if (made.call_id.empty() || (made.local == DialogParty() && made.remote == DialogParty())) {
    return 0;
  }
  const auto decoded = DecodeDialog(EncodeDialog(made));
  Require(decoded.ok() && decoded->dialog == made);
  const DialogState& dialog = decoded->dialog;
  CheckVariables(dialog);
  kernel::Kernel never_plain = kernel::kPlain;
  never_plain.reads_back = [](const kernel::WrittenRequest&) { return false; };
  // One keeps its user, the other takes the server's over.
  for (const char* contact : {"sips:n@192.0.2.11", "sip:192.0.2.11;x=1"}) {
    auto writer = ReinviteWriter::Create({.contact = contact, .via_sent_by = "192.0.2.11"});
    for (const std::string_view sdp : {"", "v=0\r\n"}) {
      const ReinviteParams params{.branch = "z9hG4bKfuzz", .sdp = sdp};
      const auto slow = never_plain.WriteReinvite(dialog, params, &*writer);
      const std::string expected = slow.ok() ? std::string(*slow) : slow.status().ToString();
      if (slow.ok()) CheckInvite(dialog, expected, sdp);
      for (const kernel::Kernel* kernel : kernel::RunnableKernels()) {
        for (int time = 0; time < 2; ++time) {
          const auto text = kernel->WriteReinvite(dialog, params, &*writer);
          Require((text.ok() ? std::string(*text) : text.status().ToString()) == expected);
        }
      }
    }
  }
  return 0;
}
