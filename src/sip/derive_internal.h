// SPDX-License-Identifier: Apache-2.0
// What the parts of the derivation share: a dialog in the making, and the transactions that are
// its.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sip/call_facts.h"
#include "sip/derive_proofs.h"
#include "sip/server_match.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// A CSeq that jumps further than this, without an answer, is not believed (rules 12.5, 12.6).
inline constexpr std::uint32_t kSaneJump = 1'000'000;

// A dialog while it is derived. Pointers are into CallFacts.
struct Draft {
  TagId local = 0;
  TagId remote = 0;
  // Initial INVITEs that were answered with 101-299 under this dialog's tags, lowest CSeq first.
  std::vector<const Transaction*> creating;
  // None of `creating` has its request: it may have been a re-INVITE.
  bool assumed = false;
  // Other requests of the server that show numbers which it used: initial INVITEs under the same
  // From tag (challenged, redirected, forked) and ACKs of refused INVITEs in the dialog.
  std::vector<const Transaction*> attempts;
  // INVITEs of the peer that look like the first and were refused under this dialog's tags.
  std::vector<const Transaction*> refused;
  std::vector<const Transaction*> own;     // in the dialog, sent by the server, lowest CSeq first
  std::vector<const Transaction*> theirs;  // in the dialog, sent by the peer, lowest CSeq first
  // Both sides are proved to hold the dialog with its INVITE usage.
  bool proved = false;
  // The 2xx to the initial INVITE, as far as known.
  const AnswerFact* created_by_2xx = nullptr;
  const Transaction* created_in = nullptr;
  // Hosts that may speak for the peer: those next to the server, and those that Contact and
  // Record-Route of the opening transaction name by address (rule 12.2).
  std::vector<IpAddress> known_hosts;
  Proofs proofs;
  FieldSet missing;
  DialogState state;
};

// The parts below see the facts through this.
class Derivation {
 public:
  Derivation(std::string_view call_id, const CallFacts& facts, const ServerMatcher& server,
             const RebuildOptions& options)
      : call_id_(call_id), facts_(facts), server_(server), options_(options) {}

  std::vector<DialogState> Run();

 private:
  // --- derive.cc: which dialogs there are, and whose transactions ---
  void CanonicaliseTags();
  void FindDialogs();
  void AddPair(TagId local, TagId remote);
  bool WasThereBefore(const Draft& draft, std::int64_t time_us) const;
  void Assign(Draft& draft);
  bool IsStrayAnswer(const Transaction& transaction) const;
  bool AckIsFor2xx(const Transaction& ack, bool* proved) const;
  // Something of the INVITE that the ACK is for was captured.
  bool IsOfSeenInvite(const Draft& draft, const Transaction& ack) const;
  bool IsNamedByOpening(const Draft& draft, const IpAddress& ip) const;
  bool IsAfterFirstInvite(const Transaction& transaction) const;
  bool IsInitial(const Transaction& transaction) const;
  bool ShowsEarlierDialog(const Transaction& other, const Transaction& invite,
                          const AnswerFact& answer) const;
  std::int64_t SettledAt(const Draft& draft, const Transaction& at, const MessageFact& answer,
                         bool at_answer = false) const;
  TagId Canonical(TagId tag) const { return canonical_[tag]; }
  bool IsOf(const Draft& draft, const Floor& floor) const {
    return Canonical(floor.sent ? floor.from_tag : floor.to_tag) == draft.local &&
           Canonical(floor.sent ? floor.to_tag : floor.from_tag) == draft.remote;
  }

  // --- derive_identity.cc: parties, role, phase, sequence numbers, proof ---
  void DeriveIdentity(Draft& draft) const;
  // The INVITE that began this dialog or a fork of it, when its request was seen; else nullptr.
  const Transaction* FirstInviteSeen(const Draft& draft) const;
  void DerivePhase(Draft& draft) const;
  void DeriveSequence(Draft& draft) const;
  void DerivePace(Draft& draft) const;
  void DeriveHops(Draft& draft) const;
  bool OnPath(const Draft& draft, const MessageFact& fact) const;
  // Without the INVITE it is not known from where the peer may speak: enough to doubt.
  bool MayBeOnPath(const Draft& draft, const MessageFact& fact) const {
    return draft.assumed || OnPath(draft, fact);
  }

  // --- derive_route.cc: route set, target, next hop ---
  struct WireAddress {
    std::vector<std::string> route_set;
    std::string target;
  };
  bool IsContactOfPeer(const Draft& draft, std::string_view uri) const;
  // Route set and target behind a request that the server sent; empty when that cannot be told.
  std::optional<WireAddress> ReadWire(const Draft& draft, const RequestFact& request,
                                      const std::vector<std::string>& predicted) const;
  bool MayBeReinvite(const Draft& draft, const Transaction& opening) const;
  void DeriveRoute(Draft& draft) const;
  void DeriveTarget(Draft& draft) const;
  void DeriveNextHop(Draft& draft) const;

  // --- derive_session.cc: SDP, hold, session timer, open transactions, deadline ---
  struct FailedReinvite {
    const Transaction* transaction = nullptr;
    std::int64_t from_us = 0;
    std::int64_t until_us = 0;
    std::int64_t after_us = 0;              // it was not there before
    const MessageFact* executed = nullptr;  // what had been agreed within it; nullptr: nothing

    bool Covers(const MessageFact& fact) const {
      return fact.first.time_us > from_us && fact.first.time_us < until_us;
    }
    bool MayCover(const MessageFact& fact) const {
      return fact.first.time_us > after_us && fact.first.time_us < until_us;
    }
  };
  std::vector<FailedReinvite> FailedReinvites(const Draft& draft) const;
  bool MadeTheCall(const Draft& draft, const Transaction& ack) const;
  std::int64_t BegunBy(const Draft& draft, const Transaction& invite) const;
  std::int64_t AfterAll(const Draft& draft, const Transaction& invite) const;
  const Transaction* AckOfFailure(const Transaction& invite) const;
  const Transaction* AckSeen(const Draft& draft, const Transaction& invite) const;
  bool Succeeded(const Draft& draft, const Transaction& ack) const;
  void DeriveSdp(Draft& draft) const;
  void DeriveTimer(Draft& draft) const;
  void DeriveOpen(Draft& draft) const;
  void DeriveDeadline(Draft& draft) const;

  // --- derive_connected.cc: parties that changed in mid-dialog ---
  void DeriveConnectedIdentity(Draft& draft) const;

  // --- derive_usages.cc: subscriptions within the dialog ---
  void DeriveUsages(Draft& draft) const;
  // --- derive_references.cc: how its messages point to other dialogs ---
  void DeriveReferences(Draft& draft) const;

  // The NOTIFY that opened a dialog without a call (rule 7.5); else nullptr.
  const Transaction* OpeningNotify(const Draft& draft) const;

  // --- derive_trust.cc: what does not fit ---
  bool IsOutOfProportion(const Draft& draft, const Transaction& at) const;
  void NoteForeignCredentials(Draft& draft) const;
  void NoteForeignTags(Draft& draft) const;

  // --- derive_end.cc ---
  void DeriveEnd(Draft& draft) const;
  void EndLosingForks();

  // The final answer to a transaction within the dialog: its 2xx under the dialog's own tag if
  // there is one, else the first other final.
  const AnswerFact* FinalOf(const Draft& draft, const Transaction& transaction) const;
  // The To tag that answers in this dialog to this transaction carry.
  TagId AnswerTag(const Draft& draft, const Transaction& transaction) const {
    return transaction.sent ? draft.remote : draft.local;
  }
  std::vector<std::string> UriList(TextId list) const;
  std::string_view NotesOf(const MessageFact& fact) const { return facts_.Text(fact.note); }
  static MessageRef RefOf(const MessageFact& fact) {
    return {fact.first.sequence, CaptureTime(std::chrono::microseconds(fact.first.time_us))};
  }
  static CaptureTime TimeOf(const MessageFact& fact) { return RefOf(fact).time; }
  static void Cite(Draft& draft, Field field, const MessageFact& fact, EvidenceReason reason) {
    draft.proofs.Set(field, RefOf(fact), reason);
  }
  static void Warn(DialogState& state, std::string text) {
    if (std::find(state.warnings.begin(), state.warnings.end(), text) == state.warnings.end()) {
      state.warnings.push_back(std::move(text));
    }
  }
  static std::string Frame(const MessageFact& fact) {
    return fact.first.sequence == 0 ? std::string("a message")
                                    : "message " + std::to_string(fact.first.sequence);
  }

  std::string_view call_id_;
  const CallFacts& facts_;
  const ServerMatcher& server_;
  const RebuildOptions& options_;
  std::vector<TagId> canonical_;
  bool tags_differ_in_case_ = false;
  std::vector<Draft> drafts_;
};

// True when the two URIs name the same place: user by bytes, host without case, port with its
// default. Parameters are not compared.
bool SameUserHostPort(std::string_view a, std::string_view b);
// Moreover, the parameters are the same bytes.
bool SameUri(std::string_view a, std::string_view b);

}  // namespace sipheal::inline v0_1::sip
