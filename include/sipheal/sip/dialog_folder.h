// SPDX-License-Identifier: Apache-2.0
// From captured messages to dialog state.
//
// A message is folded into a set of facts kept per Call-ID: which transactions there were, in which
// direction seen from the server, with which tags, answers, Contacts, routes and session
// descriptions. Facts merge by key, whatever the order of arrival; the dialog state is a pure
// function of the set. So shuffled, repeated or retransmitted messages give the same state, and a
// lost one leaves a gap that is named, never a guess.
//
//   DialogFolder folder(identity);
//   folder.Fold(message);                          // as messages come in
//   for (DialogState& dialog : folder.Snapshot(call_id)) ... Judge(dialog) ...
//
// or, for a whole capture at once, Rebuild(messages, identity).
//
// Not thread-safe: one folder belongs to one thread at a time, also for Snapshot(), which works in
// memory of the folder. Nothing here does I/O.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sipheal/export.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_state.h"
#include "sipheal/sip/message_view.h"
#include "sipheal/sip/server_identity.h"

namespace sipheal::inline v0_1::sip {

// Which address a server sends to when a phone behind a NAT wrote an unreachable Contact.
enum class ContactRewrite : std::uint8_t {
  kAsServerDid,  // the server's own last request shows it; without one, the Contact (RFC 3261)
  kAlways,       // the packet's source, as Asterisk's rewrite_contact does on a direct flow
};

struct RebuildOptions {
  ContactRewrite contact_rewrite = ContactRewrite::kAsServerDid;
  // Limits against floods of forged messages (rule 12.10). What is kept first: transactions in
  // which the server took part, then the oldest.
  std::size_t max_dialogs_per_call = 32;
  std::size_t max_transactions_per_call = 96;
  std::size_t max_answers_per_transaction = 24;
  std::size_t max_message_bytes = 64 * 1024;
  // Of one folder. New calls are refused above it.
  std::size_t max_calls = 2'000'000;
  std::size_t max_tombstones = 1'000'000;
};

enum class FoldResult : std::uint8_t {
  kFolded,     // new evidence
  kDuplicate,  // seen before; nothing changed
  kNotOurs,    // touches neither the server's addresses nor its agents
  kIgnored,    // belongs to no INVITE dialog (REGISTER, OPTIONS, ...)
  kMalformed,  // not to be believed; see FoldOutcome::parse
  kTombstone,  // its call ended before and was swept
  kLimit,      // a limit was reached
};

struct FoldOutcome {
  FoldResult result = FoldResult::kIgnored;
  ParseResult parse;
  // Points into the message; empty when malformed.
  std::string_view call_id;
  // True when Snapshot(call_id) may differ from what it was.
  bool changed() const { return result == FoldResult::kFolded; }
};

// Left by a call that ended.
struct Tombstone {
  std::string call_id;
  DialogEnd end = DialogEnd::kNone;
  CaptureTime ended_at{};
};

class SIPHEAL_EXPORT DialogFolder {
 public:
  explicit DialogFolder(ServerIdentity server, RebuildOptions options = {});
  DialogFolder(DialogFolder&&) noexcept;
  DialogFolder& operator=(DialogFolder&&) noexcept;
  ~DialogFolder();

  const ServerIdentity& server() const;

  // Takes one message. Never fails: hostile bytes give kMalformed.
  FoldOutcome Fold(const CapturedMessageView& message);
  // For callers that have parsed it already; `view` must be of `message.bytes`.
  FoldOutcome Fold(const CapturedMessageView& message, const MessageView& view);

  // Whether messages of this call have been folded and are still held.
  bool Tracks(std::string_view call_id) const;

  // The dialogs of one Call-ID in a stable order; empty when there are none. Costs some
  // microseconds. What other calls in the folder say of them counts, too (Replaces, the dialog
  // package).
  std::vector<DialogState> Snapshot(std::string_view call_id) const;
  // The same, written over what is in `dialogs`, whose memory is used again: who looks at many
  // calls one behind the other then allocates nothing, unless one of them is larger than those
  // before.
  void Snapshot(std::string_view call_id, std::vector<DialogState>* dialogs) const;

  // Calls fn for every Call-ID tracked, in no particular order. fn must not change the folder.
  void ForEachCall(const std::function<void(std::string_view call_id)>& fn) const;

  // Ended calls whose newest message is older than now - linger become tombstones (linger: 64*T1
  // plus the capture's skew); tombstones older than now - tombstone_ttl go; so do calls that were
  // never answered and silent for an hour, and subscriptions without a call. Also shrinks calls
  // that have been quiet. Returns how many calls ended. Call it every few seconds.
  std::size_t Sweep(CaptureTime now, std::chrono::seconds linger = std::chrono::seconds(36),
                    std::chrono::seconds tombstone_ttl = std::chrono::seconds(300));

  std::optional<Tombstone> FindTombstone(std::string_view call_id) const;
  // Drops everything known of the call; true if there was any.
  bool Forget(std::string_view call_id);

  std::size_t call_count() const;
  std::size_t tombstone_count() const;
  // Bytes held, allocator overhead included as far as it can be known.
  std::size_t size_bytes() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

// All dialogs of a capture, ordered by Call-ID, then by first message, then by tags. Messages may
// be in any order.
SIPHEAL_EXPORT std::vector<DialogState> Rebuild(std::span<const CapturedMessage> messages,
                                                const ServerIdentity& server,
                                                const RebuildOptions& options = {});

}  // namespace sipheal::inline v0_1::sip
