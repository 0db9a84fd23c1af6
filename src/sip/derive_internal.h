// SPDX-License-Identifier: Apache-2.0
// What the parts of the derivation share.
#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sip/call_facts.h"
#include "sip/derive_workspace.h"
#include "sip/message_notes.h"
#include "sip/server_match.h"
#include "sipheal/sip/dialog_state.h"

namespace sipheal::inline v0_1::sip {

// A CSeq that jumps further than this, without an answer, is not believed (rules 12.5, 12.6).
inline constexpr std::uint32_t kSaneJump = 1'000'000;

// The parts below see the facts through this.
class Derivation {
 public:
  Derivation(std::string_view call_id, const CallFacts& facts, const ServerMatcher& server,
             const RebuildOptions& options, Workspace& work)
      : call_id_(call_id), facts_(facts), server_(server), options_(options), work_(work) {}

  void Run(std::vector<DialogState>* dialogs);

 private:
  void Publish(Draft& draft) const;

  // --- derive_find.cc: which dialogs there are, and whose transactions ---
  void Survey();
  void CanonicaliseTags();
  void FindDialogs();
  void AddPair(TagId local, TagId remote);
  bool WasThereBefore(const Draft& draft, std::int64_t time_us) const;
  void Assign(Draft& draft);
  bool IsStrayAnswer(const Transaction& transaction) const;
  bool IsFarCopy(const Transaction& transaction) const;
  bool AckIsFor2xx(const Transaction& ack, bool* proved) const;
  bool ReadAck(const Transaction& ack, bool* proved) const;
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

  // --- derive_identity.cc: parties, role, phase, proof ---
  void DeriveIdentity(Draft& draft) const;
  // The INVITE that began this dialog or a fork of it, when its request was seen; else nullptr.
  const Transaction* FirstInviteSeen(const Draft& draft) const;
  void DerivePhase(Draft& draft) const;
  void CiteWhatRang(Draft& draft) const;

  // --- derive_sequence.cc: sequence numbers ---
  void DeriveSequence(Draft& draft) const;
  void DerivePace(Draft& draft) const;

  // --- derive_hops.cc: who stands next to the server ---
  void DeriveHops(Draft& draft) const;
  void ReadNamedHosts(const Draft& draft) const;
  void DeriveSecure(Draft& draft) const;
  // A host that speaks for the peer, or there is none known.
  bool MayBeHost(const Draft& draft, const IpAddress& ip) const;
  bool OnPath(const Draft& draft, const MessageFact& fact) const;
  // Without the INVITE it may not be known from where the peer may speak: enough to doubt.
  bool MayBeOnPath(const Draft& draft, const MessageFact& fact) const {
    return !draft.path_shown || OnPath(draft, fact);
  }

  // --- derive_route.cc: route set ---
  bool IsContactOfPeer(const Draft& draft, std::string_view uri) const;
  // Route set and target behind a request that the server sent; nullptr when that cannot be told.
  // Valid until it is asked again.
  const WireAddress* ReadWire(const Draft& draft, const RequestFact& request,
                              const std::vector<std::string_view>& predicted) const;
  bool MayBeReinvite(const Draft& draft, const Transaction& opening) const;
  void DeriveRoute(Draft& draft) const;

  // --- derive_target.cc: target, next hop ---
  struct PeersRefreshes {
    TargetClaim latest;  // that the server accepted
    // The peer acknowledges it, but no answer of the server to it was captured.
    const Transaction* acknowledged = nullptr;
    const MessageFact* ack = nullptr;
  };
  struct AnsweredRefreshes {
    TargetClaim latest;
    TargetClaim latest_asked;  // of those that the server is seen to have asked for
  };
  TargetClaim OpeningTarget(const Draft& draft) const;
  const AnswerFact* TargetAccepted(const Draft& draft, const Transaction& at) const;
  void JudgeOpenRefresh(Draft& draft, const Transaction& at, PeersRefreshes* refreshes) const;
  PeersRefreshes FindPeersRefreshes(Draft& draft) const;
  AnsweredRefreshes FindAnsweredRefreshes(const Draft& draft) const;
  bool OpenedBothWays(const Draft& draft) const;
  static const TargetClaim& LaterRefresh(const TargetClaim& by_peer, const TargetClaim& by_server,
                                         bool* crossed);
  const MessageFact* FindBlindRefresh(const Draft& draft, const PeersRefreshes& refreshes,
                                      std::string_view target) const;
  const Transaction* ShownSince(const Draft& draft, std::int64_t since,
                                const Transaction* own) const;
  std::string RewrittenTarget(std::string_view target, const MessageFact* proof) const;
  void DeriveTarget(Draft& draft) const;
  void DeriveRedirect(Draft& draft) const;
  void DeriveLocalTarget(Draft& draft) const;
  void DeriveNextHop(Draft& draft) const;

  // --- derive_sdp.cc: session descriptions and hold ---
  void FindFailedReinvites(const Draft& draft) const;
  void DeriveSdp(Draft& draft) const;
  void DeriveSdpVersion(Draft& draft) const;
  // All but its o= line, which mostly stands apart; valid until three others were read.
  const SdpView& SdpOf(const MessageFact& fact) const;
  bool Describes(const MessageFact& fact) const;
  SdpOrigin OriginOf(const MessageFact& fact) const;

  // --- derive_session.cc: session timer, open transactions, deadline ---
  bool MadeTheCall(const Draft& draft, const Transaction& ack) const;
  bool IsWithinLostInvite(const Draft& draft, const Transaction& update,
                          const MessageFact& start) const;
  std::int64_t BegunBy(const Draft& draft, const Transaction& invite) const;
  std::int64_t AfterAll(const Draft& draft, const Transaction& invite) const;
  const Transaction* AckOfFailure(const Transaction& invite) const;
  const Transaction* AckSeen(const Draft& draft, const Transaction& invite) const;
  bool Succeeded(const Draft& draft, const Transaction& ack) const;
  struct TimerSetting;
  bool WentOnSince(const Draft& draft, CaptureTime time) const;
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
  bool MayBeMadeUp(const Transaction& request, const AnswerFact& answer) const;
  bool IsAgreedTo(const Transaction& at) const;
  bool IsUnasked(const Draft& draft, const Transaction& at) const;
  bool MayBeForged(const Draft& draft, const Transaction& at, const MessageFact& answer) const;
  bool LeadsElsewhere(const Draft& draft, std::string_view target, std::string_view before) const;
  bool HasRivalBranch(const Transaction& invite) const;
  bool IsBorneOut(const Draft& draft, const Transaction& invite) const;
  struct LostInvite;
  LostInvite ReadLostInvite(const Draft& draft, std::span<const Transaction*> branches) const;
  static void Contest(Draft& draft, const LostInvite& invite);
  void SetAside(Draft& draft, const Transaction& at, const char* why) const;
  void ChooseBranch(Draft& draft) const;
  // Of answers to an INVITE that was lost, under several branches, any may be somebody's invention.
  static bool IsContested(const Draft& draft, const Transaction& at) {
    return draft.contested && at.sent && !at.has_request && at.method == Method::kInvite;
  }
  void DropSentToItself(Draft& draft) const;
  void NoteForeignCredentials(Draft& draft) const;
  void NoteForeignTags(Draft& draft) const;

  // --- derive_end.cc ---
  bool MayRefuseReinvite(const Draft& draft, const Transaction& opening,
                         const AnswerFact& answer) const;
  void DeriveEnd(Draft& draft) const;
  void EndLosingForks();

  // The final answer to a transaction within the dialog: its 2xx under the dialog's own tag if
  // there is one, else the first other final.
  const AnswerFact* FinalOf(const Draft& draft, const Transaction& transaction) const {
    KnownTransaction& known = Known(transaction);
    if (known.final_of != &draft) {
      known.final = FindFinal(draft, transaction);
      known.final_of = &draft;
    }
    return known.final;
  }
  const AnswerFact* FindFinal(const Draft& draft, const Transaction& transaction) const;
  KnownTransaction& Known(const Transaction& transaction) const {
    return work_.transactions[static_cast<std::size_t>(&transaction - facts_.transactions.data())];
  }
  // The To tag that answers in this dialog to this transaction carry.
  TagId AnswerTag(const Draft& draft, const Transaction& transaction) const {
    return transaction.sent ? draft.remote : draft.local;
  }
  // Calls fn for each URI of the list, or for the one that it is, until fn returns false.
  template <typename Fn>
  void ForEachUri(TextId list, Fn&& fn) const {
    for (std::string_view rest = facts_.Text(list); !rest.empty();) {
      const std::size_t end = std::min(rest.find('\n'), rest.size());
      if (!fn(rest.substr(0, end))) return;
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }
  void ReadUriList(TextId list, std::vector<std::string_view>* uris) const {
    uris->clear();
    ForEachUri(list, [uris](std::string_view uri) {
      uris->push_back(uri);
      return true;
    });
  }
  // Of a text of the facts; valid until the next one is asked for.
  const KnownUri& UriOf(std::string_view text) const { return work_.uris.Read(text, server_); }
  // Whether the call has any such message or note.
  bool Has(Method method) const {
    return (methods_seen_ >> static_cast<unsigned>(method) & 1) != 0;
  }
  bool Has(Note note) const { return (notes_seen_ & NoteBit(note)) != 0; }
  // Their letters differ in the last six bits.
  static std::uint64_t NoteBit(Note note) {
    return std::uint64_t{1} << (static_cast<unsigned char>(note) & 63);
  }
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
  Workspace& work_;
  std::vector<TagId>& canonical_ = work_.canonical;
  ReusedList<Draft>& drafts_ = work_.drafts;
  bool tags_differ_in_case_ = false;
  std::uint32_t methods_seen_ = 0;  // a bit for each Method
  std::uint64_t notes_seen_ = 0;    // NoteBit
};

// True when the two URIs name the same place: user by bytes, host without case, port with its
// default. Parameters are not compared.
bool SameUserHostPort(std::string_view a, std::string_view b);
// Moreover, the parameters are the same bytes.
bool SameUri(std::string_view a, std::string_view b);

}  // namespace sipheal::inline v0_1::sip
