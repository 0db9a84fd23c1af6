// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/evidence_reason.h"

#include <array>

#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::array<std::string_view, static_cast<std::size_t>(kLastReason) + 1> kReasons = {
    "{name}",
    "a reason that a newer sipheal knows",
    "Call-ID of the dialog",
    "its From",
    "its To",
    "the server sent the first INVITE",
    "the server got the first INVITE",
    "the server answered the first INVITE",
    "From tag of the server's INVITE",
    "To tag of the server's answer",
    "To tag of the peer's answer",
    "From tag of the peer's INVITE",
    "tag on the server's side of a request in the dialog",
    "tag on the peer's side of a request in the dialog",
    "From of the server's {method} in the dialog (RFC 4916)",
    "From of the peer's {method} in the dialog (RFC 4916)",
    "Supported and Allow of the peer",
    "the transport that carried it",
    "2xx to the INVITE",
    "the server's ACK for a 2xx",
    "the server's re-INVITE",
    "2xx to the server's re-INVITE",
    "2xx to the server's INFO",
    "the server's BYE",
    "the peer's ACK for a 2xx",
    "the server's 2xx to a request of the peer in the dialog",
    "provisional answer with a To tag",
    "both sides held the call",
    "CSeq of the server's request",
    "CSeq in the answer to the server's request",
    "CSeq of the server's ACK",
    "Event id of the peer's NOTIFY",
    "CSeq of an earlier request",
    "CSeq of a request that the server accepted",
    "CSeq that the peer told of the dialog (RFC 4235)",
    "Record-Route of the 2xx, reversed (RFC 3261 12.1.2)",
    "Record-Route of the provisional answer, reversed (RFC 3261 12.1.2)",
    "Record-Route of the INVITE, in order (RFC 3261 12.1.1)",
    "Record-Route that the server mirrored, in order (RFC 3261 12.1.1)",
    "Record-Route of the NOTIFY, in order (RFC 6665 4.4.1)",
    "Route of the server's own {method}",
    "TLS and a sips Request-URI (RFC 3261 12.1)",
    "Contact of the INVITE",
    "Contact of the 2xx",
    "Contact of the provisional answer",
    "Contact of the peer's {method} in the dialog",
    "Contact of the answer to the server's {method} in the dialog",
    "Contact of a refresh of the peer that was not answered",
    "the peer's Contact, which was not used",
    "Request-URI of the server's own {method}",
    "the server itself sent its {method} there, not to the Contact",
    "source of the message, by the contact_rewrite option",
    "a 3xx to the server's re-INVITE",
    "the server's last Contact",
    "the peer's last accepted message",
    "where the server last sent a request in the dialog to",
    "where the peer was last heard from",
    "where the INVITE was sent to",
    "carried out in a re-INVITE that then failed",
    "direction of offer and answer",
    "keys, fingerprint or ICE of the description",
    "last completed offer and answer",
    "Session-Expires of the latest 2xx to {method}",
    "the peer's 2xx waits for its ACK (64*T1)",
    "the peer's request waits for an answer (64*T1)",
    "the peer's request waits for an answer (64*T1, sooner when its connection breaks)",
    "the peer's reliable answer waits for its PRACK (64*T1)",
    "session timer: the server had to refresh (RFC 4028 10)",
    "session timer: the peer refreshes at half and finds nobody (RFC 4028 10)",
    "CANCEL of the first INVITE",
    "{status} to the first INVITE",
    "199 for this early dialog (RFC 6228)",
    "{status} to a {method} in the dialog (RFC 5057)",
    "the server's 2xx to the peer's BYE",
    "the peer's BYE, without a 2xx of the server",
    "another fork answered, and 64*T1 passed (RFC 3261 13.2.2.4)",
    "another fork answered (RFC 3261 13.2.2.4)",
    "another fork answered (64*T1)",
    "an accepted INVITE with Replaces of the call {name} (RFC 3891)",
};

}  // namespace

std::string_view ToString(Reason reason) {
  return kReasons[static_cast<std::size_t>(reason) % kReasons.size()];
}

std::string Evidence::Why() const {
  std::string why = reason.stored_earlier ? "stored earlier: " : "";
  std::string_view rest = ToString(reason.reason);
  for (std::size_t open; (open = rest.find('{')) != rest.npos;) {
    why += rest.substr(0, open);
    const std::size_t close = rest.find('}', open);
    const std::string_view what = rest.substr(open + 1, close - open - 1);
    if (what == "method") why += ToString(reason.method);
    if (what == "status") why += std::to_string(reason.status);
    if (what == "name") why += named;
    rest.remove_prefix(close + 1);
  }
  why += rest;
  if (reason.without_own_entry) why += "; the server's own entry is left out";
  return why;
}

}  // namespace sipheal::inline v0_1::sip
