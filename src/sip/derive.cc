// SPDX-License-Identifier: Apache-2.0
#include "sip/derive.h"

#include <algorithm>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/text.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// More dialogs than any call has in earnest.
constexpr std::size_t kDraftsKept = 16;

// Lowest CSeq first; of equal ones (a merged request, a forged copy) the better witness.
bool Earlier(const Transaction& a, const Transaction& b) {
  if (a.cseq != b.cseq) return a.cseq < b.cseq;
  auto key = [](const Transaction& at) {
    const Sighting& first =
        at.has_request || at.answers.empty() ? at.request.first : at.answers.front().first;
    return std::tuple(!at.has_request, first.rank, first.time_us, first.hash, at.branch, at.method,
                      at.sent);
  };
  return key(a) < key(b);
}

bool AnswerEarlier(const AnswerFact& a, const AnswerFact& b) {
  if (a.first.Better(b.first)) return true;
  if (b.first.Better(a.first)) return false;
  return std::tie(a.status, a.rseq) < std::tie(b.status, b.rseq);
}

// As newly made, but with its memory. What Publish() writes over is left to it: lists of texts hold
// memory in each entry.
void Reset(DialogState& state) {
  for (std::string* text : {&state.local.display,
                            &state.local.uri,
                            &state.local.params,
                            &state.local.tag,
                            &state.remote.display,
                            &state.remote.uri,
                            &state.remote.params,
                            &state.remote.tag,
                            &state.remote_target,
                            &state.pending_remote_target,
                            &state.contact_target,
                            &state.local_target,
                            &state.highest_local_sdp_version,
                            &state.references.replaces,
                            &state.references.session_id,
                            &state.references.charging_id,
                            &state.references.other_call_id,
                            &state.remote_supported,
                            &state.remote_allow,
                            &state.deadline_reason}) {
    text->clear();
  }
  state.role = DialogRole::kUnknown;
  state.phase = DialogPhase::kUnknown;
  state.end = DialogEnd::kNone;
  state.local_seq.reset();
  state.local_pace = {};
  state.remote_seq.reset();
  state.redirect_targets.clear();
  state.secure = false;
  state.transport = Transport::kUnknown;
  state.next_hop = {};
  state.observed_source = {};
  state.flow_held_by_server = false;
  state.seen_hosts.clear();
  state.held_by_local = false;
  state.held_by_remote = false;
  state.media_security = {};
  state.session_timer = {};
  state.open_transactions.clear();
  state.resync_needed = false;
  state.usages.clear();
  state.references.told.clear();
  state.links.clear();
  state.created_at = {};
  state.confirmed_at = {};
  state.last_seen = {};
  state.deadline.reset();
  state.conflicts.clear();
  state.missing.clear();
  state.warnings.clear();
  state.quarantined = 0;
  state.limits_reached = false;
  state.from_stored_state = false;
}

void Assign(const std::vector<std::string_view>& from, std::vector<std::string>* to) {
  to->resize(from.size());
  std::copy(from.begin(), from.end(), to->begin());
}

}  // namespace

bool SameUserHostPort(std::string_view a, std::string_view b) {
  if (SameText(a, b)) return true;
  std::optional<UriView> left = UriView::Parse(a);
  std::optional<UriView> right = UriView::Parse(b);
  if (!left || !right || !left->is_sip || !right->is_sip) return a == b;
  auto port = [](const UriView& uri) {
    return uri.port != 0 ? uri.port : uri.is_sips ? 5061 : 5060;
  };
  std::optional<IpAddress> left_ip = IpAddress::Parse(left->host);
  std::optional<IpAddress> right_ip = IpAddress::Parse(right->host);
  const bool host =
      left_ip && right_ip ? *left_ip == *right_ip : EqualsIgnoreCase(left->host, right->host);
  return host && left->user == right->user && left->is_sips == right->is_sips &&
         port(*left) == port(*right);
}

bool SameUri(std::string_view a, std::string_view b) {
  if (SameText(a, b)) return true;
  std::optional<UriView> left = UriView::Parse(a);
  std::optional<UriView> right = UriView::Parse(b);
  return left && right && SameUserHostPort(a, b) && left->params == right->params;
}

void Derivation::Run(std::vector<DialogState>* dialogs) {
  work_.transactions.assign(facts_.transactions.size(), {});
  work_.uris.Forget();
  for (Workspace::ReadSdp& read : work_.sdps) read.text = 0;
  drafts_.Clear();
  Survey();
  CanonicaliseTags();
  FindDialogs();
  dialogs->resize(drafts_.size());
  auto state = dialogs->begin();
  for (Draft& draft : drafts_) {
    draft.state = &*state++;
    Reset(*draft.state);
    draft.state->call_id = call_id_;
    Assign(draft);
    DeriveIdentity(draft);
    DeriveHops(draft);
    DerivePhase(draft);
    DeriveSequence(draft);
    DeriveConnectedIdentity(draft);
    DeriveRoute(draft);
    DeriveTarget(draft);
    DeriveSecure(draft);
    DeriveNextHop(draft);
    DeriveSdp(draft);
    DeriveTimer(draft);
    DeriveOpen(draft);
    DeriveUsages(draft);
    DeriveReferences(draft);
    NoteForeignCredentials(draft);
    NoteForeignTags(draft);
    DeriveEnd(draft);
  }
  if (drafts_.size() > 1) EndLosingForks();
  for (Draft& draft : drafts_) {
    DeriveDeadline(draft);
    Publish(draft);
  }
  if (dialogs->size() > 1) {
    std::sort(dialogs->begin(), dialogs->end(), [](const DialogState& a, const DialogState& b) {
      return std::tie(a.created_at, a.local.tag, a.remote.tag) <
             std::tie(b.created_at, b.local.tag, b.remote.tag);
    });
  }
  if (dialogs->size() > options_.max_dialogs_per_call) {
    // The confirmed ones first, then the oldest.
    std::stable_partition(dialogs->begin(), dialogs->end(), [](const DialogState& dialog) {
      return dialog.phase == DialogPhase::kConfirmed;
    });
    dialogs->resize(options_.max_dialogs_per_call);
    for (DialogState& dialog : *dialogs) dialog.limits_reached = true;
  }
  // A flood's memory is not kept.
  drafts_.Trim(kDraftsKept);
}

// What is in an order of its own, and what the state does not hold while it is derived.
void Derivation::Publish(Draft& draft) const {
  DialogState& state = *draft.state;
  if (facts_.limits_reached) state.limits_reached = true;
  sip::Assign(draft.route_set, &state.route_set);
  sip::Assign(draft.record_route, &state.record_route);
  draft.proofs.WriteTo(&state.evidence);
  draft.missing.ForEach([&state](Field field) { state.missing.push_back(field); });
  std::sort(state.conflicts.begin(), state.conflicts.end(), PublishedBefore);
  std::sort(state.warnings.begin(), state.warnings.end());
  std::sort(state.seen_hosts.begin(), state.seen_hosts.end());
}

bool PublishedBefore(const Conflict& a, const Conflict& b) {
  return std::tie(a.field, a.message.time, a.message.sequence, a.loser, a.reason) <
         std::tie(b.field, b.message.time, b.message.sequence, b.loser, b.reason);
}

Deriver::Deriver() : work_(std::make_unique<Workspace>()) {}
Deriver::~Deriver() = default;

void Deriver::Derive(std::string_view call_id, CallFacts& facts, const ServerMatcher& server,
                     const RebuildOptions& options, std::vector<DialogState>* dialogs) {
  // What was merged first must not matter: everything is looked at in one order.
  for (Transaction& at : facts.transactions) {
    if (!std::is_sorted(at.answers.begin(), at.answers.end(), AnswerEarlier)) {
      std::sort(at.answers.begin(), at.answers.end(), AnswerEarlier);
    }
  }
  facts.Sort(Earlier);
  Derivation(call_id, facts, server, options, *work_).Run(dialogs);
}

}  // namespace sipheal::inline v0_1::sip
