// SPDX-License-Identifier: Apache-2.0
#include "sipheal/sip/combine_dialogs.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sip/blind_refresh.h"
#include "sip/decimal_less.h"
#include "sip/next_request_internal.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Two agents' clocks, and stamps that are cut to milliseconds, differ by less.
constexpr std::chrono::seconds kClockSkew(1);

template <typename T>
void AddNew(const std::vector<T>& from, std::vector<T>& to) {
  for (const T& one : from) {
    if (std::find(to.begin(), to.end(), one) == to.end()) to.push_back(one);
  }
}

CaptureTime Earlier(CaptureTime a, CaptureTime b) {
  if (a == CaptureTime{} || b == CaptureTime{}) return std::max(a, b);
  return std::min(a, b);
}

std::string AsRequestUri(const std::string& text) {
  const std::optional<UriView> uri = UriView::Parse(text);
  if (!uri) return text;
  std::string request_uri;
  ForRequestUri(*uri, [&](std::string_view piece) { request_uri += piece; });
  return request_uri;
}

// One witness may have it from a Contact, the other from a request that the server sent there.
bool SameTarget(const std::string& a, const std::string& b) {
  return a == b || AsRequestUri(a) == AsRequestUri(b);
}

bool IsConnectedIdentity(const Evidence* evidence) {
  return evidence != nullptr && (evidence->reason.reason == Reason::kConnectedServer ||
                                 evidence->reason.reason == Reason::kConnectedPeer);
}

class Combination {
 public:
  Combination(const DialogState& other, DialogState& dialog) : other_(other), dialog_(dialog) {}

  void Run() {
    const bool ended = CombineEnd();
    CombineIdentity();
    CombineSequence();
    CombineTarget();
    CombineSession();
    CombineTransactions();
    CombineRest();
    // A field that both lack stays missing.
    std::erase_if(dialog_.missing, [this](Field field) { return OtherProves(field); });
    if (target_is_unknown_ && !dialog_.IsMissing(Field::kRemoteTarget)) {
      dialog_.missing.push_back(Field::kRemoteTarget);
      std::sort(dialog_.missing.begin(), dialog_.missing.end());
    }
    if (ended) dialog_.deadline.reset();
    std::sort(dialog_.evidence.begin(), dialog_.evidence.end(),
              [](const Evidence& a, const Evidence& b) { return a.field < b.field; });
  }

 private:
  enum class Newer { kDialog, kOther, kUndecided };

  static CaptureTime TimeOf(const DialogState& state, Field field) {
    const Evidence* const evidence = state.FindEvidence(field);
    return evidence != nullptr ? evidence->message.time : CaptureTime{};
  }

  static Newer Compare(CaptureTime dialog, CaptureTime other) {
    if (other > dialog + kClockSkew) return Newer::kOther;
    if (dialog > other + kClockSkew) return Newer::kDialog;
    return Newer::kUndecided;
  }

  Newer WhichIsNewer(Field field) const {
    return Compare(TimeOf(dialog_, field), TimeOf(other_, field));
  }

  // A number or an end that a damaged state lost is not made up for by one that saw none.
  bool OtherProves(Field field) const {
    if (other_.IsMissing(field) || field == Field::kEnd) return false;
    if (field == Field::kRemoteTarget && target_is_unknown_) return false;
    return field != Field::kLocalSeq || other_.local_seq.has_value();
  }

  // The field has the other's value now, and its proof.
  void Cite(Field field) {
    std::erase_if(dialog_.evidence, [field](const Evidence& one) { return one.field == field; });
    if (const Evidence* const evidence = other_.FindEvidence(field)) {
      dialog_.evidence.push_back(*evidence);
    }
  }

  void Conflict(Field field, const std::string& loser, bool undecided) {
    const Evidence* const evidence = other_.FindEvidence(field);
    sip::Conflict conflict;
    conflict.field = field;
    if (evidence != nullptr) conflict.message = evidence->message;
    conflict.loser = loser;
    conflict.reason = undecided ? "two captures prove different values" : "another capture decides";
    conflict.undecided = undecided;
    dialog_.conflicts.push_back(std::move(conflict));
  }

  // An end is final, and a confirmed dialog does not become early again. True when it is over.
  bool CombineEnd() {
    const auto over = [](const DialogState& state) {
      return state.phase == DialogPhase::kTerminated;
    };
    const auto ending = [](const DialogState& state) { return state.end != DialogEnd::kNone; };
    if ((over(other_) && !over(dialog_)) ||
        (ending(other_) && !ending(dialog_) && !over(dialog_))) {
      dialog_.phase = other_.phase;
      dialog_.end = other_.end;
      Cite(Field::kEnd);
      Cite(Field::kPhase);
    } else if (!over(dialog_) && !ending(dialog_) &&
               static_cast<int>(other_.phase) > static_cast<int>(dialog_.phase)) {
      dialog_.phase = other_.phase;
      Cite(Field::kPhase);
    }
    return over(dialog_);
  }

  void CombineParty(Field field, const DialogParty& other, DialogParty& party) {
    if (other.uri.empty()) return;
    if (party.uri.empty()) {
      party = other;
      Cite(field);
      return;
    }
    if (party.uri == other.uri) return;
    Take(field, WhosePartyCounts(field), other.uri, party.uri, [&] { party = other; });
  }

  // The URIs are those of the INVITE that made the dialog (RFC 3261 12.1), until one is changed by
  // connected identity (RFC 4916). Later messages may spell them another way.
  Newer WhosePartyCounts(Field field) const {
    if (IsConnectedIdentity(dialog_.FindEvidence(field)) ||
        IsConnectedIdentity(other_.FindEvidence(field))) {
      return WhichIsNewer(field);
    }
    const CaptureTime ours = TimeOf(dialog_, field);
    const CaptureTime theirs = TimeOf(other_, field);
    if (ours == theirs || ours == CaptureTime{} || theirs == CaptureTime{}) {
      return Newer::kUndecided;
    }
    return theirs < ours ? Newer::kOther : Newer::kDialog;
  }

  // Lets the newer value be the dialog's, and writes down the loser.
  template <typename Assign>
  void Take(Field field, Newer newer, const std::string& theirs, const std::string& ours,
            Assign assign) {
    if (newer == Newer::kOther) {
      const std::string loser = ours;
      Conflict(field, loser, false);
      if (const Evidence* const before = dialog_.FindEvidence(field)) {
        dialog_.conflicts.back().message = before->message;
      }
      assign();
      Cite(field);
    } else {
      Conflict(field, theirs, newer == Newer::kUndecided);
    }
  }

  void CombineIdentity() {
    CombineParty(Field::kLocalUri, other_.local, dialog_.local);
    CombineParty(Field::kRemoteUri, other_.remote, dialog_.remote);
    if (dialog_.role == DialogRole::kUnknown) {
      dialog_.role = other_.role;
      if (other_.role != DialogRole::kUnknown) Cite(Field::kRole);
    } else if (other_.role != DialogRole::kUnknown && other_.role != dialog_.role) {
      Conflict(Field::kRole, std::string(ToString(other_.role)), true);
    }
    if (dialog_.IsMissing(Field::kRouteSet)) {
      if (!other_.IsMissing(Field::kRouteSet)) {
        dialog_.route_set = other_.route_set;
        dialog_.record_route = other_.record_route;
        Cite(Field::kRouteSet);
      }
    } else if (!other_.IsMissing(Field::kRouteSet) && other_.route_set != dialog_.route_set) {
      Conflict(Field::kRouteSet, other_.route_set.empty() ? "none" : other_.route_set.front(),
               true);
    }
    if (other_.secure && !dialog_.secure) {
      dialog_.secure = true;
      Cite(Field::kSecure);
    }
  }

  void CombineSequence() {
    if (other_.local_seq && (!dialog_.local_seq || *dialog_.local_seq < *other_.local_seq)) {
      dialog_.local_seq = other_.local_seq;
      Cite(Field::kLocalSeq);
    }
    if (other_.remote_seq && (!dialog_.remote_seq || *dialog_.remote_seq < *other_.remote_seq)) {
      dialog_.remote_seq = other_.remote_seq;
      Cite(Field::kRemoteSeq);
    }
    // The faster it counts, the more head-room it needs.
    if (other_.local_pace.count() > 0 &&
        (dialog_.local_pace.count() == 0 || other_.local_pace < dialog_.local_pace)) {
      dialog_.local_pace = other_.local_pace;
    }
  }

  // Whether `blind` saw that the target moved, but not where to, and `seen` may not have seen it
  // either: its target is older than the last request that moved it may be.
  static bool MovedUnseen(const DialogState& blind, const DialogState& seen) {
    if (!blind.IsMissing(Field::kRemoteTarget)) return false;
    const auto moved_by = [&](std::string_view warning, Field field,
                              std::optional<std::uint32_t> DialogState::*seq) {
      const bool moved =
          std::find(blind.warnings.begin(), blind.warnings.end(), warning) != blind.warnings.end();
      return moved && (seen.*seq < blind.*seq || HasOpenRefresh(seen) ||
                       TimeOf(seen, Field::kRemoteTarget) + kClockSkew < TimeOf(blind, field));
    };
    return moved_by(kPeersRefreshNotCaptured, Field::kRemoteSeq, &DialogState::remote_seq) ||
           moved_by(kOwnRefreshNotCaptured, Field::kLocalSeq, &DialogState::local_seq);
  }

  // A request of the peer after the one that gave the target, of which it saw no acceptance, or a
  // Contact that the server had not used yet: the other may have seen more.
  static bool HasOpenRefresh(const DialogState& state) {
    const CaptureTime target = TimeOf(state, Field::kRemoteTarget);
    return TimeOf(state, Field::kPendingTarget) > target || !state.contact_target.empty() ||
           std::any_of(
               state.conflicts.begin(), state.conflicts.end(), [&](const sip::Conflict& conflict) {
                 return conflict.field == Field::kRemoteTarget && conflict.message.time > target;
               });
  }

  // Whether the other knows that the very request which gave the target was not accepted.
  static bool Refutes(const DialogState& witness, const DialogState& state) {
    return std::any_of(witness.conflicts.begin(), witness.conflicts.end(),
                       [&](const sip::Conflict& conflict) {
                         return conflict.field == Field::kRemoteTarget &&
                                conflict.message.time == TimeOf(state, Field::kRemoteTarget) &&
                                SameTarget(conflict.loser, state.remote_target);
                       });
  }

  void CombineTarget() {
    const bool refuted = Refutes(other_, dialog_) || Refutes(dialog_, other_);
    target_is_unknown_ = MovedUnseen(other_, dialog_) || MovedUnseen(dialog_, other_);
    if (!other_.remote_target.empty() && !target_is_unknown_) {
      const auto assign = [this] {
        dialog_.remote_target = other_.remote_target;
        dialog_.contact_target = other_.contact_target;
        Cite(Field::kContactTarget);
      };
      if (dialog_.remote_target.empty()) {
        assign();
        Cite(Field::kRemoteTarget);
      } else if (!SameTarget(dialog_.remote_target, other_.remote_target)) {
        Take(Field::kRemoteTarget, refuted ? Newer::kUndecided : WhichIsNewer(Field::kRemoteTarget),
             other_.remote_target, dialog_.remote_target, assign);
      } else if (TimeOf(other_, Field::kRemoteTarget) > TimeOf(dialog_, Field::kRemoteTarget)) {
        Cite(Field::kRemoteTarget);
      }
    }
    // A refresh that one of them saw unanswered is not open when the other saw its end.
    if (!other_.pending_remote_target.empty() &&
        (dialog_.pending_remote_target.empty() ||
         WhichIsNewer(Field::kPendingTarget) == Newer::kOther)) {
      dialog_.pending_remote_target = other_.pending_remote_target;
      Cite(Field::kPendingTarget);
    }
    if (dialog_.pending_remote_target == dialog_.remote_target ||
        TimeOf(dialog_, Field::kPendingTarget) < TimeOf(dialog_, Field::kRemoteTarget)) {
      dialog_.pending_remote_target.clear();
      std::erase_if(dialog_.evidence,
                    [](const Evidence& one) { return one.field == Field::kPendingTarget; });
    }
    TakeNewer(Field::kLocalTarget, other_.local_target.empty(), dialog_.local_target.empty(),
              [this] { dialog_.local_target = other_.local_target; });
    TakeNewer(Field::kRedirectTargets, other_.redirect_targets.empty(),
              dialog_.redirect_targets.empty(),
              [this] { dialog_.redirect_targets = other_.redirect_targets; });
    TakeNewer(Field::kTransport, other_.transport == Transport::kUnknown,
              dialog_.transport == Transport::kUnknown,
              [this] { dialog_.transport = other_.transport; });
    TakeNewer(Field::kNextHop, other_.next_hop.ip.empty(), dialog_.next_hop.ip.empty(),
              [this] { dialog_.next_hop = other_.next_hop; });
    TakeNewer(Field::kObservedSource, other_.observed_source.ip.empty(),
              dialog_.observed_source.ip.empty(),
              [this] { dialog_.observed_source = other_.observed_source; });
    dialog_.flow_held_by_server = dialog_.flow_held_by_server || other_.flow_held_by_server;
    AddNew(other_.seen_hosts, dialog_.seen_hosts);
  }

  // For what decides nothing by itself: the newer one without a word.
  template <typename Assign>
  void TakeNewer(Field field, bool theirs_is_empty, bool ours_is_empty, Assign assign) {
    if (theirs_is_empty) return;
    if (!ours_is_empty && TimeOf(other_, field) <= TimeOf(dialog_, field)) return;
    assign();
    Cite(field);
  }

  void CombineSession() {
    const auto exchanged = [](const DialogState& state) {
      return std::max(TimeOf(state, Field::kLocalSdp), TimeOf(state, Field::kRemoteSdp));
    };
    const bool same = dialog_.local_sdp == other_.local_sdp &&
                      dialog_.remote_sdp == other_.remote_sdp &&
                      dialog_.held_by_local == other_.held_by_local &&
                      dialog_.held_by_remote == other_.held_by_remote;
    const bool theirs_is_empty = other_.local_sdp.empty() && other_.remote_sdp.empty();
    const bool ours_is_empty = dialog_.local_sdp.empty() && dialog_.remote_sdp.empty();
    if (!same && !theirs_is_empty) {
      // Both sides of one exchange: halves of two different ones fit nobody.
      Newer newer = ours_is_empty ? Newer::kOther : Compare(exchanged(dialog_), exchanged(other_));
      if (newer == Newer::kUndecided) newer = NewerByVersion();
      if (newer == Newer::kOther) {
        dialog_.local_sdp = other_.local_sdp;
        dialog_.remote_sdp = other_.remote_sdp;
        dialog_.held_by_local = other_.held_by_local;
        dialog_.held_by_remote = other_.held_by_remote;
        for (const Field field : {Field::kLocalSdp, Field::kRemoteSdp, Field::kHold}) Cite(field);
      } else if (newer == Newer::kUndecided) {
        CombineHalves();
      }
    }
    if (DecimalLess(dialog_.highest_local_sdp_version, other_.highest_local_sdp_version)) {
      dialog_.highest_local_sdp_version = other_.highest_local_sdp_version;
    }
    dialog_.media_security.sdes = dialog_.media_security.sdes || other_.media_security.sdes;
    dialog_.media_security.dtls = dialog_.media_security.dtls || other_.media_security.dtls;
    dialog_.media_security.ice = dialog_.media_security.ice || other_.media_security.ice;
    if (dialog_.FindEvidence(Field::kMediaSecurity) == nullptr) Cite(Field::kMediaSecurity);
    if (other_.resync_needed && !dialog_.resync_needed) {
      dialog_.resync_needed = true;
      Cite(Field::kResync);
    }
    CombineTimer();
  }

  // Each side's o= version rises with every change (RFC 3264 8).
  Newer NewerByVersion() const {
    const auto higher = [](const SdpSummary& a, const SdpSummary& b) {
      return a.origin_session_id == b.origin_session_id &&
             DecimalLess(b.origin_version, a.origin_version);
    };
    const bool ours = higher(dialog_.local_sdp, other_.local_sdp) ||
                      higher(dialog_.remote_sdp, other_.remote_sdp);
    const bool theirs = higher(other_.local_sdp, dialog_.local_sdp) ||
                        higher(other_.remote_sdp, dialog_.remote_sdp);
    if (ours == theirs) return Newer::kUndecided;
    return ours ? Newer::kDialog : Newer::kOther;
  }

  // Of one exchange each of them may have seen one half.
  void CombineHalves() {
    const auto combine = [this](Field field, const SdpSummary& theirs, SdpSummary& ours) {
      if (theirs.empty() || ours == theirs) return;
      if (ours.empty()) {
        ours = theirs;
        Cite(field);
      } else {
        Conflict(field, theirs.Origin(), true);
      }
    };
    combine(Field::kLocalSdp, other_.local_sdp, dialog_.local_sdp);
    combine(Field::kRemoteSdp, other_.remote_sdp, dialog_.remote_sdp);
    // Hold is kept, whoever held (the phone says so itself when it holds no longer).
    if ((other_.held_by_local && !dialog_.held_by_local) ||
        (other_.held_by_remote && !dialog_.held_by_remote)) {
      dialog_.held_by_local = dialog_.held_by_local || other_.held_by_local;
      dialog_.held_by_remote = dialog_.held_by_remote || other_.held_by_remote;
      Cite(Field::kHold);
    }
  }

  void CombineTimer() {
    const CaptureTime ours = TimeOf(dialog_, Field::kSessionTimer);
    const CaptureTime theirs = TimeOf(other_, Field::kSessionTimer);
    const std::chrono::seconds least =
        std::max(dialog_.session_timer.min_interval, other_.session_timer.min_interval);
    timer_is_theirs_ = theirs > ours;
    if (timer_is_theirs_) {
      dialog_.session_timer = other_.session_timer;
      Cite(Field::kSessionTimer);
    }
    dialog_.session_timer.min_interval = least;
    timer_differs_ = theirs != ours;
  }

  // Whether this one saw the end of a transaction that is open for the other.
  static bool SawTheEndOf(const OpenTransaction& open, const DialogState& state) {
    for (const OpenTransaction& own : state.open_transactions) {
      if (own.method == open.method && own.cseq == open.cseq &&
          own.sent_by_server == open.sent_by_server) {
        return own.awaits_ack && !open.awaits_ack;  // it saw the 2xx
      }
    }
    // It knows the transaction, as the newest of that side, and it is not open.
    const std::optional<std::uint32_t>& seq =
        open.sent_by_server ? state.local_seq : state.remote_seq;
    const bool confirmed_by_it = state.phase == DialogPhase::kConfirmed;
    return seq && *seq == open.cseq && confirmed_by_it && !state.from_stored_state;
  }

  void CombineTransactions() {
    std::vector<OpenTransaction> open;
    bool ours_closed = false;
    bool theirs_closed = false;
    for (const OpenTransaction& one : dialog_.open_transactions) {
      if (SawTheEndOf(one, other_)) {
        ours_closed = true;
      } else {
        open.push_back(one);
      }
    }
    for (const OpenTransaction& one : other_.open_transactions) {
      const bool known = std::any_of(open.begin(), open.end(), [&](const OpenTransaction& ours) {
        return ours.method == one.method && ours.cseq == one.cseq &&
               ours.sent_by_server == one.sent_by_server;
      });
      if (SawTheEndOf(one, dialog_)) {
        theirs_closed = true;
      } else if (!known) {
        open.push_back(one);
      }
    }
    dialog_.open_transactions = std::move(open);
    CombineDeadline(ours_closed, theirs_closed);
  }

  // The earlier of two clocks that both run; one that the other saw stopped runs no longer.
  void CombineDeadline(bool ours_closed, bool theirs_closed) {
    const bool ours_stopped = ours_closed || (timer_differs_ && timer_is_theirs_);
    const bool theirs_stopped = theirs_closed || (timer_differs_ && !timer_is_theirs_);
    const bool ours = dialog_.deadline && !ours_stopped;
    const bool theirs = other_.deadline && !theirs_stopped;
    if (theirs && (!ours || *other_.deadline < *dialog_.deadline)) {
      dialog_.deadline = other_.deadline;
      dialog_.deadline_reason = other_.deadline_reason;
      Cite(Field::kDeadline);
    } else if (!ours && !theirs) {
      dialog_.deadline.reset();
      dialog_.deadline_reason.clear();
      std::erase_if(dialog_.evidence,
                    [](const Evidence& one) { return one.field == Field::kDeadline; });
    }
  }

  // A BYE that one of them did not believe, as it came from a host that was new to it: the other
  // may know the host. When it saw the BYE itself, it has judged already.
  void DoubtEnds() {
    const auto doubt = [this](const DialogState& state, const DialogState& without) {
      for (const sip::Conflict& conflict : state.conflicts) {
        if (conflict.field != Field::kEnd || conflict.undecided) continue;
        const bool judged = std::any_of(
            without.conflicts.begin(), without.conflicts.end(), [&](const sip::Conflict& one) {
              return one.field == Field::kEnd && one.message.time == conflict.message.time;
            });
        if (!judged) doubts_.push_back(conflict);
      }
    };
    doubt(dialog_, other_);
    doubt(other_, dialog_);
    for (sip::Conflict& one : doubts_) {
      one.undecided = true;
      one.reason = "a BYE that only one of two captures has, and did not believe";
      dialog_.conflicts.push_back(std::move(one));
    }
  }

  void CombineRest() {
    for (const DialogUsage& usage : other_.usages) {
      const auto same =
          std::find_if(dialog_.usages.begin(), dialog_.usages.end(), [&](const DialogUsage& ours) {
            return ours.event == usage.event && ours.id == usage.id &&
                   ours.server_subscribes == usage.server_subscribes;
          });
      if (same == dialog_.usages.end()) {
        dialog_.usages.push_back(usage);
      } else if (usage.message.time > same->message.time) {
        *same = usage;
      }
    }
    const auto fill = [](const std::string& from, std::string& to) {
      if (to.empty()) to = from;
    };
    fill(other_.references.replaces, dialog_.references.replaces);
    fill(other_.references.session_id, dialog_.references.session_id);
    fill(other_.references.charging_id, dialog_.references.charging_id);
    fill(other_.references.other_call_id, dialog_.references.other_call_id);
    AddNew(other_.references.told, dialog_.references.told);
    AddNew(other_.links, dialog_.links);
    TakeNewer(Field::kAbilities, other_.remote_supported.empty() && other_.remote_allow.empty(),
              dialog_.remote_supported.empty() && dialog_.remote_allow.empty(), [this] {
                dialog_.remote_supported = other_.remote_supported;
                dialog_.remote_allow = other_.remote_allow;
              });
    dialog_.created_at = Earlier(dialog_.created_at, other_.created_at);
    dialog_.confirmed_at = Earlier(dialog_.confirmed_at, other_.confirmed_at);
    dialog_.last_seen = std::max(dialog_.last_seen, other_.last_seen);
    DoubtEnds();
    AddNew(other_.conflicts, dialog_.conflicts);
    AddNew(other_.warnings, dialog_.warnings);
    dialog_.quarantined = std::max(dialog_.quarantined, other_.quarantined);
    dialog_.limits_reached = dialog_.limits_reached || other_.limits_reached;
    dialog_.from_stored_state = dialog_.from_stored_state || other_.from_stored_state;
    for (const Evidence& evidence : other_.evidence) {
      const bool both_knew = !other_.IsMissing(evidence.field);
      if (both_knew && dialog_.IsMissing(evidence.field) &&
          dialog_.FindEvidence(evidence.field) == nullptr) {
        dialog_.evidence.push_back(evidence);
      }
    }
  }

  const DialogState& other_;
  DialogState& dialog_;
  std::vector<sip::Conflict> doubts_;
  bool target_is_unknown_ = false;
  bool timer_is_theirs_ = false;
  bool timer_differs_ = false;
};

bool SameDialog(const DialogState& a, const DialogState& b) {
  return a.call_id == b.call_id && a.local.tag == b.local.tag && a.remote.tag == b.remote.tag;
}

// An end that is known of fewer tags than the dialog has: of the whole call, or of an INVITE that
// nobody had answered when it was cancelled.
bool EndsAll(const DialogState& end, const DialogState& dialog) {
  if (end.call_id != dialog.call_id) return false;
  const bool tombstone =
      end.phase == DialogPhase::kTerminated && end.local.tag.empty() && end.remote.tag.empty();
  if (tombstone) return true;
  if (end.end != DialogEnd::kCancelled) return false;
  if (end.local.tag.empty() == end.remote.tag.empty()) return false;
  return end.local.tag.empty() ? end.remote.tag == dialog.remote.tag
                               : end.local.tag == dialog.local.tag;
}

void ApplyEnd(const DialogState& end, DialogState& dialog) {
  if (dialog.phase == DialogPhase::kTerminated || &end == &dialog) return;
  if (dialog.end != DialogEnd::kNone && end.phase != DialogPhase::kTerminated) return;
  if (end.phase == DialogPhase::kTerminated) dialog.phase = DialogPhase::kTerminated;
  dialog.end = end.end;
  std::erase_if(dialog.evidence, [](const Evidence& one) { return one.field == Field::kEnd; });
  if (const Evidence* const evidence = end.FindEvidence(Field::kEnd)) {
    dialog.evidence.push_back(*evidence);
    std::sort(dialog.evidence.begin(), dialog.evidence.end(),
              [](const Evidence& a, const Evidence& b) { return a.field < b.field; });
  }
}

}  // namespace

void CombineDialog(const DialogState& other, DialogState& dialog) {
  if (SameDialog(other, dialog)) Combination(other, dialog).Run();
}

void CombineDialogs(std::vector<DialogState> others, std::vector<DialogState>& dialogs) {
  const std::size_t ours = dialogs.size();
  for (DialogState& other : others) {
    const auto end = dialogs.begin() + static_cast<std::ptrdiff_t>(ours);
    const auto same = std::find_if(
        dialogs.begin(), end, [&](const DialogState& dialog) { return SameDialog(dialog, other); });
    if (same != end) {
      CombineDialog(other, *same);
    } else {
      dialogs.push_back(std::move(other));
    }
  }
  for (std::size_t i = 0; i < dialogs.size(); ++i) {
    for (std::size_t j = 0; j < dialogs.size(); ++j) {
      const bool of_two_witnesses = (i < ours) != (j < ours);
      if (of_two_witnesses && EndsAll(dialogs[i], dialogs[j])) ApplyEnd(dialogs[i], dialogs[j]);
    }
  }
}

}  // namespace sipheal::inline v0_1::sip
