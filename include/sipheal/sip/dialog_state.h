// SPDX-License-Identifier: Apache-2.0
// DialogState is what a capture proves about one SIP dialog, seen from the server's side: the state
// of RFC 3261 section 12, the session's SDP and timers, and for each field the message that proves
// it. "Local" is the server, "remote" its peer, whoever sent the first INVITE.
//
// A value type: copy, move and compare it freely. It never holds a guess in silence: what conflicts
// is in `conflicts` with the losers, what is not known is in `missing`.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/evidence_reason.h"

namespace sipheal::inline v0_1::sip {

// Which side of the dialog-creating INVITE the server was. kUnknown when no part of that
// transaction was captured; the dialog may be recoverable all the same.
enum class DialogRole : std::uint8_t { kUnknown, kUac, kUas };
enum class DialogPhase : std::uint8_t { kUnknown, kEarly, kConfirmed, kTerminated };
// How a terminated or terminating dialog came to that.
enum class DialogEnd : std::uint8_t {
  kNone,
  kByeSent,           // by the server; over whatever the answer
  kByeAnswered,       // the peer's BYE, answered by the server
  kByeUnanswered,     // the peer's BYE on its known path, no answer seen: ending
  kCancelled,         // the initial INVITE was cancelled: ending, or ended with its final answer
  kInviteFailed,      // non-2xx final answer to the initial INVITE
  kEarlyTerminated,   // 199, or another fork won and 64*T1 passed
  kRejectedInDialog,  // a code that ends dialog or usage (RFC 5057), such as 481
  kReplaced,          // another call took its place: an accepted INVITE with Replaces (RFC 3891)
};

// "uac", "uas", "unknown"; "early", "confirmed", ...
SIPHEAL_EXPORT std::string_view ToString(DialogRole role);
SIPHEAL_EXPORT std::string_view ToString(DialogPhase phase);
SIPHEAL_EXPORT std::string_view ToString(DialogEnd end);

// The fields of DialogState that carry evidence, and that may be missing or in conflict.
enum class Field : std::uint8_t {
  kCallId,
  kLocalTag,
  kRemoteTag,
  kLocalUri,
  kRemoteUri,
  kRole,
  kPhase,
  kLocalSeq,
  kRemoteSeq,
  kRouteSet,
  kRemoteTarget,
  kLocalTarget,
  kTransport,
  kNextHop,
  kLocalSdp,
  kRemoteSdp,
  kSessionTimer,
  kHold,
  kInviteUsage,
  kEnd,
  kSecure,
  kPendingTarget,
  kContactTarget,
  kObservedSource,
  kRedirectTargets,
  kResync,
  kMediaSecurity,
  kAbilities,
  kDeadline,
};
inline constexpr int kFieldCount = static_cast<int>(Field::kDeadline) + 1;
// The name of the field as JSON output and reasons spell it: "local_tag", "route_set", ...
SIPHEAL_EXPORT std::string_view ToString(Field field);

// Points to a captured message without holding it.
struct MessageRef {
  std::uint64_t sequence = 0;  // CapturedMessage::sequence (the frame number of a pcap); 0 unknown
  CaptureTime time{};

  friend bool operator==(const MessageRef&, const MessageRef&) = default;
};

// "This field has its value because of this message."
struct Evidence {
  Field field = Field::kCallId;
  MessageRef message;
  EvidenceReason reason;
  std::string named;  // what the reason names besides, e.g. a Call-ID; mostly nothing

  // The reason as a sentence: "Record-Route of the 2xx, reversed (RFC 3261 12.1.2)".
  SIPHEAL_EXPORT std::string Why() const;
  friend bool operator==(const Evidence&, const Evidence&) = default;
};

// Evidence against the choice that was made.
struct Conflict {
  Field field = Field::kCallId;
  MessageRef message;
  std::string loser;   // the value that was not taken; wire bytes, quote before printing
  std::string reason;  // why it was not taken
  // True when nothing decides between choice and loser: the verdict is then `conflicting`.
  bool undecided = false;

  friend bool operator==(const Conflict&, const Conflict&) = default;
};

// A From or To value without its tag.
struct DialogParty {
  std::string display;  // as written, with quotes when it had them; empty: none
  std::string uri;      // as written, without <>
  std::string params;   // header parameters other than tag as written, e.g. ";p=1"; empty: none
  std::string tag;      // the bytes that the owner of the tag generated; empty: not known or null

  friend bool operator==(const DialogParty&, const DialogParty&) = default;
};

enum class SdpDirection : std::uint8_t { kSendRecv, kSendOnly, kRecvOnly, kInactive };
SIPHEAL_EXPORT std::string_view ToString(SdpDirection direction);

// One m= line. Lines with port 0 stay in the list: their place in the order counts (RFC 3264 8).
struct SdpMedia {
  std::string type;  // "audio"
  std::uint16_t port = 0;
  std::string protocol;  // "RTP/AVP"
  std::string formats;   // payload types as written: "0 8 101"
  std::string rtpmaps;   // dynamic payload types, "101 telephone-event/8000" separated by commas
  std::string address;   // its own c= address; empty: the session's
  SdpDirection direction = SdpDirection::kSendRecv;

  friend bool operator==(const SdpMedia&, const SdpMedia&) = default;
};

// What has to be continued of a session description. The version is text: NTP values pass 2^53, and
// some stacks write more than 64 bits.
struct SdpSummary {
  std::string origin_user;
  std::string origin_session_id;
  std::string origin_version;
  std::string origin_net_type;      // "IN"
  std::string origin_address_type;  // "IP4"
  std::string origin_address;
  std::string address;                               // session-level c=
  SdpDirection direction = SdpDirection::kSendRecv;  // of the first active audio line
  std::vector<SdpMedia> media;

  bool empty() const { return origin_session_id.empty() && media.empty(); }
  // "root 555055307 555055308 IN IP4 192.0.2.10"
  SIPHEAL_EXPORT std::string Origin() const;
  friend bool operator==(const SdpSummary&, const SdpSummary&) = default;
};

struct SessionTimer {
  std::chrono::seconds interval{0};  // 0: no timer
  bool local_refreshes = false;      // the server refreshes; else the peer
  CaptureTime since{};               // the 2xx that set it
  CaptureTime expires_at{};          // since + interval
  // The least that anybody in the path asked for by Min-SE, a 422 included; 0: not said.
  std::chrono::seconds min_interval{0};

  bool active() const { return interval.count() > 0; }
  friend bool operator==(const SessionTimer&, const SessionTimer&) = default;
};

// A transaction that had not ended when the capture did.
struct OpenTransaction {
  std::string method;
  std::uint32_t cseq = 0;
  bool sent_by_server = false;
  // An INVITE that has its 2xx but no ACK: the server (or its successor) owes or awaits the ACK.
  bool awaits_ack = false;
  bool provisional_seen = false;
  MessageRef request;
  // When the peer gives up, if that can be known: Timer B or F, or 64*T1 after the 2xx.
  std::optional<CaptureTime> expires_at;

  friend bool operator==(const OpenTransaction&, const OpenTransaction&) = default;
};

// A subscription within the dialog, besides the call itself (RFC 3515, RFC 6665): the dialog lives
// until the last usage ends, whatever became of the call. Those that ended are not listed.
struct DialogUsage {
  std::string event;  // "refer", "dialog", ...
  std::string id;     // of the Event header; for refer the CSeq of its REFER; empty: none
  bool server_subscribes = false;  // the peer notifies; else the server does
  bool active = false;             // a NOTIFY said so; else pending, or none was seen
  MessageRef message;              // the newest that says so
  // When it ends if nobody refreshes it; empty: not said.
  std::optional<CaptureTime> expires_at;

  friend bool operator==(const DialogUsage&, const DialogUsage&) = default;
};

// What the peer told of a dialog, in a notification of the dialog package that the server accepted
// (RFC 4235). Tags and numbers as the notifier sees them: its own are "local" to it.
struct ToldDialog {
  std::string call_id;
  std::string notifier_tag;
  std::string other_tag;
  std::uint32_t notifier_seq = 0;  // 0: not told
  std::uint32_t other_seq = 0;
  MessageRef message;

  friend bool operator==(const ToldDialog&, const ToldDialog&) = default;
};

// How a dialog's messages point to other dialogs.
struct DialogReferences {
  std::string replaces;       // value of Replaces in the INVITE that opened it
  std::string session_id;     // UUID of the caller (RFC 7989)
  std::string charging_id;    // icid-value of P-Charging-Vector
  std::string other_call_id;  // the Call-ID that X-CID or X-Call-ID name
  std::vector<ToldDialog> told;

  friend bool operator==(const DialogReferences&, const DialogReferences&) = default;
};

// Another dialog that seems to be the other leg of the same call (rule 11.10).
struct DialogLink {
  std::string call_id;
  std::string local_tag;
  std::string remote_tag;
  std::string reason;  // "same Session-ID"

  friend bool operator==(const DialogLink&, const DialogLink&) = default;
};

// Facts that policy refuses on.
struct MediaSecurity {
  bool sdes = false;  // a=crypto or RTP/SAVP*
  bool dtls = false;  // a=fingerprint
  bool ice = false;   // a=ice-ufrag

  bool any() const { return sdes || dtls || ice; }
  friend bool operator==(const MediaSecurity&, const MediaSecurity&) = default;
};

struct SIPHEAL_EXPORT DialogState {
  // --- identity (rules 1.x) ---
  std::string call_id;
  DialogParty local;   // the server's From in a request that it sends
  DialogParty remote;  // the peer: To
  DialogRole role = DialogRole::kUnknown;
  DialogPhase phase = DialogPhase::kUnknown;  // of the call; see `usages` for the rest
  DialogEnd end = DialogEnd::kNone;

  // --- sequence numbers (rules 5.x) ---
  // Highest CSeq that the server is proved to have used; empty: it never sent a request. A lower
  // bound where the capture may have holes.
  std::optional<std::uint32_t> local_seq;
  // The server's mean time between its last requests in the dialog; zero: too few to tell. Who
  // sends fast may have sent more that was not captured (rule 5.8).
  std::chrono::microseconds local_pace{0};
  // Highest CSeq of the peer that the server accepted; empty: none.
  std::optional<std::uint32_t> remote_seq;

  // --- route and target (rules 2.x, 3.x, 4.x) ---
  // Route values (a URI each, with its parameters, without <>) in the order of the Route headers of
  // a request that the server sends. Empty and known, or empty and in `missing`.
  std::vector<std::string> route_set;
  // Record-Route values as captured with the message that made the dialog; for the record.
  std::vector<std::string> record_route;
  std::string remote_target;          // URI without <>
  std::string pending_remote_target;  // offered by an unanswered refresh of the peer; empty: none
  std::string contact_target;         // what the peer's Contact said, where the server used another
  std::string local_target;           // the server's own last Contact URI
  // Where a 3xx to the server's re-INVITE pointed, in its order. Listed, never followed (rule
  // 12.14).
  std::vector<std::string> redirect_targets;
  bool secure = false;  // sips dialog (RFC 3261 12.1)

  // --- transport really used ---
  Transport transport = Transport::kUnknown;
  Endpoint next_hop;         // where the server last sent a request or response of the dialog to
  Endpoint observed_source;  // where the peer's last accepted message came from
  // The peer is reached only over a connection that the server held itself (no proxy between).
  bool flow_held_by_server = false;
  // IP addresses seen next to the server in this dialog.
  std::vector<IpAddress> seen_hosts;

  // --- session (rules 8.x, 9.x) ---
  SdpSummary local_sdp;  // of the last completed offer/answer pair
  SdpSummary remote_sdp;
  // Highest o= version that the server sent in any SDP, failed offers included; empty: none.
  std::string highest_local_sdp_version;
  bool held_by_local = false;
  bool held_by_remote = false;
  MediaSecurity media_security;
  SessionTimer session_timer;
  std::vector<OpenTransaction> open_transactions;
  // A re-INVITE failed after a part of it had been carried out: the two sides may see the session
  // differently, and the next offer sets that right (RFC 6141 3).
  bool resync_needed = false;

  // --- other usages and other legs (rules 7.4 to 7.8, 11.10) ---
  std::vector<DialogUsage> usages;  // ordered
  DialogReferences references;
  std::vector<DialogLink> links;  // ordered; set by LinkLegs()

  // --- the peer's abilities, as it last said ---
  std::string remote_supported;
  std::string remote_allow;

  // --- takeover clock (section 13 of the rules) ---
  CaptureTime created_at{};    // first message of the dialog
  CaptureTime confirmed_at{};  // first 2xx; zero: not confirmed
  CaptureTime last_seen{};     // newest message of the dialog
  // By when the peer gives the dialog up if nobody takes over; empty: no clock runs.
  std::optional<CaptureTime> deadline;
  std::string deadline_reason;

  // --- proof ---
  std::vector<Evidence> evidence;  // at most one per field, ordered by field
  std::vector<Conflict> conflicts;
  std::vector<Field> missing;  // ordered
  // Things worth a look that change nothing: quarantined messages, tags that differ in case, ...
  std::vector<std::string> warnings;
  // Messages that were one-sided, off-path or did not fit, and were kept out of the state.
  std::uint32_t quarantined = 0;
  // Facts were dropped because a limit was reached (a flood of forged messages).
  bool limits_reached = false;
  // local_seq also holds a bound from an earlier, stored state: use head-room even on a complete
  // capture.
  bool from_stored_state = false;

  const Evidence* FindEvidence(Field field) const;
  bool IsMissing(Field field) const;
  friend bool operator==(const DialogState&, const DialogState&) = default;
};

// Raises `dialog` by what a durable earlier state of the same dialog proves: CSeq lower bounds, SDP
// version, and every field that the capture does not give. A field that the capture proves wins.
// Does nothing when Call-ID or tags differ.
SIPHEAL_EXPORT void MergeStoredState(const DialogState& stored, DialogState& dialog);

}  // namespace sipheal::inline v0_1::sip
