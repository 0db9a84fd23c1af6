// SPDX-License-Identifier: Apache-2.0
#include "sip/link_dialogs.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sip/derive.h"
#include "sip/text.h"
#include "sipheal/sip/dialog_codec.h"
#include "sipheal/sip/link_legs.h"
#include "sipheal/sip/next_request.h"
#include "sipheal/sip/uri.h"

namespace sipheal::inline v0_1::sip {
namespace {

// A number told by somebody else is believed no further above what was seen (rule 12.5).
constexpr std::uint32_t kSaneJump = 1'000'000;
// A leg follows the one that caused it within this time.
constexpr std::chrono::seconds kLegDelay{1};
// A BYE has come, or was given up, 64*T1 after it was sent (RFC 3261 17.1.2.2).
constexpr std::chrono::seconds kByeIsThere{32};

void CiteAnew(DialogState& dialog, Field field, const MessageRef& message, Reason reason,
              std::string_view named = {}) {
  std::erase_if(dialog.evidence, [field](const Evidence& entry) { return entry.field == field; });
  const auto at = std::find_if(dialog.evidence.begin(), dialog.evidence.end(),
                               [field](const Evidence& entry) { return entry.field > field; });
  dialog.evidence.insert(at, {field, message, reason, std::string(named)});
}

// Whether the INVITE that opened `call` names `named` in its Replaces. The to-tag is that of the
// side which got the INVITE (RFC 3891 3).
bool NamesInReplaces(const DialogState& call, const DialogState& named) {
  const std::string_view text = call.references.replaces;
  const std::size_t semicolon = text.find(';');
  if (semicolon == text.npos || TrimLws(text.substr(0, semicolon)) != named.call_id) return false;
  const std::string_view params = text.substr(semicolon);
  const auto to_tag = FindParam(params, "to-tag");
  const auto from_tag = FindParam(params, "from-tag");
  if (!to_tag || !from_tag || to_tag->empty() || from_tag->empty()) return false;
  const bool by_server = call.role == DialogRole::kUac;
  const std::string& receiver = by_server ? named.remote.tag : named.local.tag;
  const std::string& sender = by_server ? named.local.tag : named.remote.tag;
  if (receiver != *to_tag || sender != *from_tag) return false;
  return !FindParam(params, "early-only") || named.phase == DialogPhase::kEarly;
}

// Its INVITE was: by the server's own 2xx, or by the peer's to the server's.
bool IsAccepted(const DialogState& dialog) {
  return dialog.confirmed_at != CaptureTime{} && !dialog.IsMissing(Field::kInviteUsage);
}

// The newest of what both sides had a part in.
CaptureTime WentOnUntil(const DialogState& dialog) {
  CaptureTime newest{};
  for (const Field field : {Field::kRemoteSeq, Field::kSessionTimer}) {
    const Evidence* const proof = dialog.FindEvidence(field);
    if (proof != nullptr) newest = std::max(newest, proof->message.time);
  }
  return newest;
}

void EndReplaced(const DialogState& call, DialogState& named) {
  if (named.phase == DialogPhase::kTerminated) return;
  const Evidence* const accepted = call.FindEvidence(Field::kPhase);
  const MessageRef since = accepted != nullptr ? accepted->message : MessageRef{};
  // Who lets a dialog be replaced sends BYE in it at once. When both sides go on in it long after
  // that, it was not: a peer that does not know Replaces takes the INVITE for a new call (rule
  // 12.7).
  if (WentOnUntil(named) > call.confirmed_at + kByeIsThere) {
    named.conflicts.push_back({Field::kEnd, since, call.call_id,
                               "an accepted INVITE with Replaces of this dialog, in which both "
                               "sides went on (RFC 3891)",
                               false});
    return;
  }
  named.phase = DialogPhase::kTerminated;
  named.end = DialogEnd::kReplaced;
  named.open_transactions.clear();
  named.deadline.reset();
  named.deadline_reason.clear();
  std::erase_if(named.evidence,
                [](const Evidence& entry) { return entry.field == Field::kDeadline; });
  std::erase(named.missing, Field::kPhase);
  for (const Field field : {Field::kPhase, Field::kEnd}) {
    CiteAnew(named, field, since, Reason::kReplaced, call.call_id);
  }
}

bool ShareAHost(const DialogState& a, const DialogState& b) {
  return std::any_of(a.seen_hosts.begin(), a.seen_hosts.end(), [&](const IpAddress& host) {
    return std::find(b.seen_hosts.begin(), b.seen_hosts.end(), host) != b.seen_hosts.end();
  });
}

void RaiseByTold(const DialogState& notifier, const ToldDialog& told, DialogState& named) {
  if (told.call_id != named.call_id || told.notifier_tag != named.remote.tag ||
      told.other_tag != named.local.tag || told.other_seq == 0) {
    return;
  }
  const std::uint32_t known = named.local_seq.value_or(0);
  if (told.other_seq <= known) return;
  // The first number is anybody's choice, but no stack begins where it could not count on.
  const std::uint32_t most = named.local_seq ? known + kSaneJump : kMaxCseq - kSaneJump;
  if (!ShareAHost(notifier, named) || told.other_seq > most) {
    named.conflicts.push_back({Field::kLocalSeq, told.message, std::to_string(told.other_seq),
                               "told by a notification that does not fit the dialog (RFC 4235)",
                               false});
    return;
  }
  named.local_seq = told.other_seq;
  CiteAnew(named, Field::kLocalSeq, told.message, Reason::kCseqTold);
}

// --- legs ---

std::string UserOf(const std::string& text) {
  const std::optional<UriView> uri = UriView::Parse(text);
  return uri && uri->is_sip ? std::string(uri->user) : std::string();
}

// Address and port of the first stream that flows; empty when there is none.
std::string MediaOf(const SdpSummary& sdp) {
  for (const SdpMedia& media : sdp.media) {
    const std::string& address = media.address.empty() ? sdp.address : media.address;
    if (media.port != 0 && !address.empty()) return address + ' ' + std::to_string(media.port);
  }
  return {};
}

class LegLinker {
 public:
  explicit LegLinker(std::span<DialogState> dialogs) : dialogs_(dialogs) {
    for (std::size_t i = 0; i < dialogs_.size(); ++i) {
      dialogs_[i].links.clear();
      if (dialogs_[i].role == DialogRole::kUas) AddKeys(i);
    }
  }

  void Run() {
    for (std::size_t i = 0; i < dialogs_.size(); ++i) {
      if (dialogs_[i].role == DialogRole::kUac) LinkCalled(i);
    }
    for (DialogState& dialog : dialogs_) {
      std::sort(dialog.links.begin(), dialog.links.end(),
                [](const DialogLink& a, const DialogLink& b) {
                  return std::tie(a.call_id, a.local_tag, a.remote_tag) <
                         std::tie(b.call_id, b.local_tag, b.remote_tag);
                });
    }
  }

 private:
  void Add(char kind, const std::string& key, std::size_t at) {
    if (key.empty()) return;
    std::vector<std::size_t>& legs = answered_[kind + key];
    if (legs.size() < kMaxLinks) legs.push_back(at);
  }
  const std::vector<std::size_t>& Find(char kind, const std::string& key) const {
    static const std::vector<std::size_t> kNone;
    const auto found = answered_.find(kind + key);
    return key.empty() || found == answered_.end() ? kNone : found->second;
  }
  static std::string Users(const DialogParty& caller, const DialogParty& called) {
    const std::string from = UserOf(caller.uri);
    const std::string to = UserOf(called.uri);
    return from.empty() || to.empty() ? std::string() : from + '\x01' + to;
  }
  static std::string Uuid(const std::string& text) {
    return text.find_first_not_of('0') == std::string::npos ? std::string() : text;
  }

  void AddKeys(std::size_t at) {
    const DialogState& leg = dialogs_[at];
    Add('s', Uuid(leg.references.session_id), at);
    Add('i', leg.references.charging_id, at);
    Add('c', leg.call_id, at);
    Add('x', leg.references.other_call_id, at);
    Add('l', MediaOf(leg.local_sdp), at);
    Add('r', MediaOf(leg.remote_sdp), at);
    Add('u', Users(leg.remote, leg.local), at);
  }

  void LinkCalled(std::size_t at) {
    const DialogState& leg = dialogs_[at];
    const auto all = [&](char kind, const std::string& key, const char* reason) {
      for (std::size_t other : Find(kind, key)) Link(other, at, reason);
    };
    all('s', Uuid(leg.references.session_id), "same Session-ID (RFC 7989)");
    all('i', leg.references.charging_id, "same charging id (P-Charging-Vector)");
    all('c', leg.references.other_call_id, "named as the other leg's Call-ID");
    all('x', leg.call_id, "named as the other leg's Call-ID");
    all('l', MediaOf(leg.remote_sdp), "the same media address and port");
    all('r', MediaOf(leg.local_sdp), "the same media address and port");
    if (!leg.links.empty()) return;
    // The same two users within a second: only when nothing else fits as well.
    std::size_t fits = 0;
    std::size_t only = 0;
    const std::vector<std::size_t>& same_users = Find('u', Users(leg.local, leg.remote));
    if (same_users.size() == kMaxLinks) return;  // there may be more that fit
    for (std::size_t other : same_users) {
      const auto delay = leg.created_at - dialogs_[other].created_at;
      if (delay < delay.zero() || delay >= kLegDelay) continue;
      only = other;
      ++fits;
    }
    if (fits == 1) Link(only, at, "the same users, called within a second");
  }

  void Link(std::size_t a, std::size_t b, const char* reason) {
    // The first reason is the best one.
    const auto add = [&](DialogState& from, const DialogState& to) {
      const bool known =
          std::any_of(from.links.begin(), from.links.end(), [&](const DialogLink& link) {
            return link.call_id == to.call_id && link.local_tag == to.local.tag &&
                   link.remote_tag == to.remote.tag;
          });
      if (!known) from.links.push_back({to.call_id, to.local.tag, to.remote.tag, reason});
    };
    if (dialogs_[a].links.size() >= kMaxLinks || dialogs_[b].links.size() >= kMaxLinks) return;
    add(dialogs_[a], dialogs_[b]);
    add(dialogs_[b], dialogs_[a]);
  }

  static constexpr std::size_t kMaxLinks = 32;
  std::span<DialogState> dialogs_;
  std::unordered_map<std::string, std::vector<std::size_t>> answered_;
};

}  // namespace

bool RefersToOthers(const DialogState& dialog) {
  return !dialog.references.replaces.empty() || !dialog.references.told.empty();
}

std::string_view CallIdInReplaces(std::string_view replaces) {
  return TrimLws(replaces.substr(0, replaces.find(';')));
}

std::string KeepReferences(const DialogState& dialog, std::string_view named) {
  DialogState kept;
  kept.call_id = dialog.call_id;
  kept.local.tag = dialog.local.tag;
  kept.remote.tag = dialog.remote.tag;
  kept.role = dialog.role;
  kept.confirmed_at = dialog.confirmed_at;
  kept.seen_hosts = dialog.seen_hosts;
  if (dialog.IsMissing(Field::kInviteUsage)) kept.missing = {Field::kInviteUsage};
  if (const Evidence* const accepted = dialog.FindEvidence(Field::kPhase)) {
    kept.evidence.push_back(*accepted);
  }
  if (IsAccepted(dialog) && CallIdInReplaces(dialog.references.replaces) == named) {
    kept.references.replaces = dialog.references.replaces;
  }
  for (const ToldDialog& told : dialog.references.told) {
    if (told.call_id == named) kept.references.told.push_back(told);
  }
  return RefersToOthers(kept) ? EncodeDialog(kept) : std::string();
}

void ApplyReferences(std::span<DialogState> dialogs) {
  // What one dialog says may depend on what another said before, so they speak in an order of their
  // own: who was accepted first, and the lowest number first.
  std::vector<const DialogState*> replacing;
  std::vector<std::pair<const ToldDialog*, const DialogState*>> telling;
  for (const DialogState& dialog : dialogs) {
    if (!dialog.references.replaces.empty() && IsAccepted(dialog)) replacing.push_back(&dialog);
    for (const ToldDialog& told : dialog.references.told) telling.emplace_back(&told, &dialog);
  }
  if (replacing.empty() && telling.empty()) return;
  const auto identity = [](const DialogState& dialog) {
    return std::tie(dialog.call_id, dialog.local.tag, dialog.remote.tag);
  };
  std::sort(replacing.begin(), replacing.end(), [&](const DialogState* a, const DialogState* b) {
    return std::tuple(a->confirmed_at, identity(*a)) < std::tuple(b->confirmed_at, identity(*b));
  });
  std::sort(telling.begin(), telling.end(), [&](const auto& a, const auto& b) {
    const auto key = [&](const auto& one) {
      const ToldDialog& told = *one.first;
      return std::tuple(told.other_seq, told.message.time, told.message.sequence,
                        identity(*one.second));
    };
    return key(a) < key(b);
  });
  std::unordered_map<std::string_view, std::vector<DialogState*>> by_call;
  for (DialogState& dialog : dialogs) by_call[dialog.call_id].push_back(&dialog);
  const auto for_each_of = [&](std::string_view call_id, auto&& fn) {
    const auto found = by_call.find(call_id);
    if (found == by_call.end()) return;
    for (DialogState* dialog : found->second) fn(*dialog);
  };
  for (const DialogState* call : replacing) {
    for_each_of(CallIdInReplaces(call->references.replaces), [call](DialogState& named) {
      if (&named != call && NamesInReplaces(*call, named)) EndReplaced(*call, named);
    });
  }
  for (const auto& [told, notifier] : telling) {
    for_each_of(told->call_id, [told = told, notifier = notifier](DialogState& named) {
      RaiseByTold(*notifier, *told, named);
    });
  }
  for (DialogState& dialog : dialogs) {
    auto& conflicts = dialog.conflicts;
    if (!std::is_sorted(conflicts.begin(), conflicts.end(), PublishedBefore)) {
      std::sort(conflicts.begin(), conflicts.end(), PublishedBefore);
    }
  }
}

void LinkLegs(std::span<DialogState> dialogs) { LegLinker(dialogs).Run(); }

}  // namespace sipheal::inline v0_1::sip
