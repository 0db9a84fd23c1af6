// SPDX-License-Identifier: Apache-2.0
// Subscriptions that share the dialog with the call, or have it for themselves (rules 7.4, 7.5).
#include <algorithm>
#include <tuple>

#include "sip/derive_internal.h"
#include "sip/message_notes.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

// "refer;id=3": the package and what tells several of it apart.
struct EventName {
  std::string_view package;
  std::string_view id;
};

EventName ReadEvent(std::string_view text) {
  const std::size_t semicolon = text.find(';');
  EventName event{TrimLws(text.substr(0, semicolon)), {}};
  if (semicolon != text.npos) {
    event.id = FindParam(text.substr(semicolon), "id").value_or(std::string_view());
  }
  return event;
}

// What the answer to a request of a subscription ends (RFC 5057 5.1, RFC 6665 4.2.2).
bool EndsSubscription(int status) {
  switch (status) {
    case 404:
    case 405:
    case 408:
    case 410:
    case 416:
    case 480:
    case 481:
    case 482:
    case 483:
    case 484:
    case 485:
    case 489:
    case 501:
    case 502:
    case 604:
      return true;
    default:
      return false;
  }
}

}  // namespace

void Derivation::DeriveUsages(Draft& draft) const {
  if (!Has(Method::kRefer) && !Has(Method::kSubscribe) && !Has(Method::kNotify)) return;
  struct Known {
    DialogUsage usage;
    bool begun = false;
    bool over = false;
    std::int64_t answered_us = INT64_MIN;  // the last answer that says how it stands
  };
  std::vector<Known> known;
  auto find = [&](const EventName& event, bool server_subscribes) -> Known& {
    for (Known& one : known) {
      if (!EqualsIgnoreCase(one.usage.event, event.package) ||
          one.usage.server_subscribes != server_subscribes) {
        continue;
      }
      // The first REFER of a dialog may be meant without its number (RFC 3515 2.4.6).
      const bool refer_without_id = event.id.empty() && EqualsIgnoreCase(event.package, "refer");
      if (one.usage.id == event.id || refer_without_id) return one;
    }
    Known& added = known.emplace_back();
    added.usage.event = event.package;
    added.usage.id = event.id;
    added.usage.server_subscribes = server_subscribes;
    return added;
  };
  auto seconds_after = [](const MessageFact& fact, std::string_view text) {
    std::optional<CaptureTime> at;
    if (std::optional<std::uint32_t> s = ParseUnsigned(TrimLws(text), 0x7fffffffu)) {
      at = TimeOf(fact) + std::chrono::seconds(*s);
    }
    return at;
  };

  // What asks for a subscription, then what its notifier says of it: the notifier has the last
  // word, by its own numbers.
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      const AnswerFact* final = FinalOf(draft, *at);
      if (final == nullptr) continue;
      const MessageFact& asked =
          at->has_request ? static_cast<const MessageFact&>(at->request) : *final;
      if (at->method == Method::kRefer && final->status < 300) {
        if (HasNote(NotesOf(asked), Note::kNoReferSub) ||
            HasNote(NotesOf(*final), Note::kNoReferSub)) {
          continue;
        }
        const std::string id = std::to_string(at->cseq);
        Known& one = find({"refer", id}, at->sent);
        one.begun = true;
        one.usage.message = RefOf(asked);
      } else if (at->method == Method::kSubscribe && at->has_request) {
        Known& one = find(ReadEvent(FindNote(NotesOf(asked), Note::kEvent)), at->sent);
        if (final->status >= 300 && one.begun && !EndsSubscription(final->status)) continue;
        one.usage.message = RefOf(asked);
        one.answered_us = final->first.time_us;
        one.over = final->status >= 300;
        if (one.over) continue;
        one.begun = true;
        std::string_view expires = FindNote(NotesOf(*final), Note::kExpires);
        if (expires.empty()) expires = FindNote(NotesOf(asked), Note::kExpires);
        one.usage.expires_at = seconds_after(*final, expires);
        one.over = expires == "0";
      }
    }
  }
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (at->method != Method::kNotify || !at->has_request) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      // One that the peer sent and nobody answered may be anybody's.
      if (!at->sent && (final == nullptr || final->status >= 300)) continue;
      Known& one = find(ReadEvent(FindNote(NotesOf(at->request), Note::kEvent)), !at->sent);
      const bool newer = at->request.first.time_us > one.answered_us;
      if (one.over && one.begun && !newer) continue;
      one.begun = true;
      if (newer) one.usage.message = RefOf(at->request);
      const std::string_view text = FindNote(NotesOf(at->request), Note::kSubscriptionState);
      const std::size_t semicolon = text.find(';');
      const std::string_view said = TrimLws(text.substr(0, semicolon));
      one.usage.active = EqualsIgnoreCase(said, "active");
      one.over = EqualsIgnoreCase(said, "terminated") ||
                 (final != nullptr && EndsSubscription(final->status));
      if (newer && semicolon != text.npos) {
        if (const auto expires = FindParam(text.substr(semicolon), "expires")) {
          one.usage.expires_at = seconds_after(at->request, *expires);
        }
      }
    }
  }
  std::vector<DialogUsage>& usages = draft.state->usages;
  for (Known& one : known) {
    if (!one.over) usages.push_back(std::move(one.usage));
  }
  std::sort(usages.begin(), usages.end(), [](const DialogUsage& a, const DialogUsage& b) {
    return std::tie(a.event, a.id, a.server_subscribes) <
           std::tie(b.event, b.id, b.server_subscribes);
  });
}

const Transaction* Derivation::OpeningNotify(const Draft& draft) const {
  if (!draft.creating.empty() || !Has(Method::kNotify)) return nullptr;
  const Transaction* first = nullptr;
  for (const auto* list : {&draft.own, &draft.theirs}) {
    for (const Transaction* at : *list) {
      if (IsInviteUsage(at->method)) return nullptr;  // a call whose opening was not captured
      if (at->method != Method::kNotify || !at->has_request) continue;
      const AnswerFact* final = FinalOf(draft, *at);
      if (final == nullptr || final->status >= 300) continue;
      if (first == nullptr || at->cseq < first->cseq) first = at;
    }
  }
  return first;
}

}  // namespace sipheal::inline v0_1::sip
