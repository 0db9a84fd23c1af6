// SPDX-License-Identifier: Apache-2.0
// The verdict on a rebuilt dialog: may the server's successor send a request in it?
//
// Judge() is apart from the rebuild on purpose: the dialog state is what the capture proves; the
// verdict also depends on the time of day and on the host's policy.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/captured_message.h"

namespace sipheal::inline v0_1::sip {

struct DialogState;

// The closed list. Only kRecoverable permits a re-INVITE.
enum class VerdictToken : std::uint8_t {
  kRecoverable,   // identity, route set, target and CSeq are proved
  kEnded,         // BYE, final failure, or a code that ends dialog or usage was seen
  kEnding,        // the peer sent BYE (unanswered), or the initial INVITE was cancelled
  kEarly,         // ringing, never answered
  kNeedsNewFlow,  // the connection to the peer died with the server and cannot be opened anew
  kNoEndpoint,    // no target has the endpoint; decided by the engine, never by Judge()
  kIncomplete,    // a fact without which nothing may be sent is missing; the reason names it
  kConflicting,   // evidence contradicts itself and nothing decides
  kForged,        // only one-sided or off-path evidence
  kExpired,       // the peer has given up by now (session timer, timeouts)
  kRefused,       // policy: target not allowed, SRTP or DTLS, CSeq exhausted, unsafe bytes
};

// The token as design, journal and metrics spell it: "recoverable", "needs_new_flow", ...
SIPHEAL_EXPORT std::string_view ToString(VerdictToken token);
// Empty when the text is no token.
SIPHEAL_EXPORT bool VerdictTokenFromString(std::string_view text, VerdictToken* token);

struct Verdict {
  VerdictToken token = VerdictToken::kIncomplete;
  // Why, for a person, most important first; never holds tags, numbers or addresses beyond what is
  // needed to find the message ("frame 12"). Not empty unless recoverable.
  std::vector<std::string> reasons;

  bool recoverable() const { return token == VerdictToken::kRecoverable; }
};

// Where a request may be addressed (rule 12.8). By default: any unicast host that the dialog itself
// used, but no loopback, link-local, multicast or broadcast address.
struct TargetPolicy {
  // Networks that are allowed whatever class they are in, as "127.0.0.0/8" or "fe80::/10". Tests
  // and demos on one machine put loopback here.
  std::vector<std::string> allow_targets;
  // Networks that are never allowed, e.g. the management network.
  std::vector<std::string> deny_targets;
  // Refuse a first hop (IP literal) that no captured message of the dialog came from or went to.
  bool only_seen_hosts = true;
  // Refuse ports below 1024 (no SIP service listens there, other services do).
  bool refuse_service_ports = true;
};

// How far above the highest own CSeq proved the next one is put (rule 5.8).
struct CseqPolicy {
  // HEP and HOMER carry no sequence numbers, so nothing proves that the capture's tail is complete.
  std::uint32_t headroom = 1000;
  // A capture at the server's own interface up to its death: nothing can be missing, + 1 is enough.
  bool capture_is_complete = false;
};

struct VerdictOptions {
  // The time by which deadlines are judged; zero: the time of the dialog's newest message.
  CaptureTime now{};
  TargetPolicy targets;
  CseqPolicy cseq;
  // SRTP, DTLS and ICE cannot be continued; a media server that can restart them may allow it.
  bool allow_secure_media = false;
  // How long a dialog with no session timer may be silent; zero: for ever.
  std::chrono::seconds max_silence{0};
};

// Decides. Pure: same state and options, same verdict. Thread-safe.
SIPHEAL_EXPORT Verdict Judge(const DialogState& dialog, const VerdictOptions& options = {});

}  // namespace sipheal::inline v0_1::sip
