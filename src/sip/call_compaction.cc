// SPDX-License-Identifier: Apache-2.0
// What a call that has been quiet for a while is shrunk to.
#include <algorithm>
#include <tuple>

#include "sip/call_facts.h"
#include "sip/ending_codes.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Completed re-INVITEs and UPDATEs that Compact keeps, besides those that made the dialog.
constexpr std::size_t kKeptRefreshes = 6;
// Of those with a session description, which may be older than all that only restart the timer.
constexpr std::size_t kKeptDescriptions = 2;
// Requests of the server that nobody answered in time: they show its numbers.
constexpr std::size_t kKeptUnanswered = 8;
// The same of REFER, SUBSCRIBE and NOTIFY, which show the dialog's other usages.
constexpr std::size_t kKeptSubscriptions = 8;

bool IsRefresh(Method method) { return method == Method::kInvite || method == Method::kUpdate; }

bool OfSubscription(Method method) {
  return method == Method::kRefer || method == Method::kSubscribe || method == Method::kNotify;
}

// Orders in which no two transactions are equal, so that what is kept does not depend on which came
// first.
auto ByTime(const Transaction& at) {
  return std::tuple(at.request.first.time_us, at.cseq, at.request.first.hash, at.branch);
}
auto ByNumber(const Transaction& at) {
  return std::tuple(at.cseq, at.request.first.time_us, at.request.first.hash, at.branch);
}

// When the oldest of the newest `count` that are wanted was sent; older ones may go.
template <typename Wanted>
std::int64_t OldestKept(const std::vector<Transaction>& transactions, std::size_t count,
                        Wanted&& wanted) {
  std::vector<std::int64_t> times;
  for (const Transaction& at : transactions) {
    if (wanted(at)) times.push_back(at.request.first.time_us);
  }
  if (times.size() <= count) return INT64_MIN;
  std::sort(times.begin(), times.end());
  return times[times.size() - count];
}

}  // namespace

// What stays: initial INVITEs, BYE, CANCEL, whatever is open, the newest refreshes of each
// direction and the newest descriptions with their ACKs, the server's newest request (it shows
// route and target as the server used them), and every answer that ends something. The others leave
// their CSeq in a floor. A late copy of a dropped message comes back as an old transaction and
// changes nothing, since the floor and the refreshes that were kept are newer.
void CallFacts::Compact() {
  const Transaction* newest_own = nullptr;
  for (const Transaction& at : transactions) {
    if (at.sent && at.has_request && at.request.has_to_tag &&
        (newest_own == nullptr || ByTime(*newest_own) < ByTime(at))) {
      newest_own = &at;
    }
  }
  const auto refreshed = [](const Transaction& at) {
    const AnswerFact* final = at.FinalAnswer();
    return IsRefresh(at.method) && at.request.has_to_tag && final != nullptr && final->status < 300;
  };
  const auto refused = [](const Transaction& at) {
    const AnswerFact* final = at.FinalAnswer();
    return IsRefresh(at.method) && at.request.has_to_tag && final != nullptr &&
           final->status >= 300;
  };
  const auto described = [&](const Transaction& at) {
    return refreshed(at) &&
           (at.request.has_sdp() || std::any_of(at.answers.begin(), at.answers.end(),
                                                [](const AnswerFact& a) { return a.has_sdp(); }));
  };
  // Open no longer, whatever it was (RFC 3261 17.1.2.2).
  const std::int64_t timed_out = newest_us - std::chrono::microseconds(kT1Times64).count();
  const auto unanswered = [&](const Transaction& at) {
    return at.sent && at.method != Method::kInvite && at.method != Method::kAck &&
           at.FinalAnswer() == nullptr && at.request.first.time_us < timed_out;
  };
  const std::int64_t oldest_kept = OldestKept(transactions, kKeptRefreshes, refreshed);
  const std::int64_t oldest_refused = OldestKept(transactions, kKeptRefreshes, refused);
  const std::int64_t oldest_described = OldestKept(transactions, kKeptDescriptions, described);
  const std::int64_t oldest_unanswered = OldestKept(transactions, kKeptUnanswered, unanswered);
  const std::int64_t oldest_subscription =
      OldestKept(transactions, kKeptSubscriptions,
                 [](const Transaction& at) { return OfSubscription(at.method) && at.has_request; });
  // The newest refresh of each side that names another party than the first INVITE (RFC 4916).
  const Transaction* newest_party[2] = {nullptr, nullptr};
  const Transaction* first_invite = nullptr;
  for (const Transaction& at : transactions) {
    if (at.method != Method::kInvite || !at.has_request || at.request.has_to_tag) continue;
    if (first_invite == nullptr || ByNumber(*first_invite) < ByNumber(at)) first_invite = &at;
  }
  for (const Transaction& at : transactions) {
    if (!IsRefresh(at.method) || !at.request.has_to_tag || first_invite == nullptr ||
        at.request.from == first_invite->request.from ||
        at.request.from == first_invite->request.to) {
      continue;
    }
    const Transaction*& newest = newest_party[at.sent];
    if (newest == nullptr || ByNumber(*newest) < ByNumber(at)) newest = &at;
  }
  const auto matters = [&](const Transaction& at) {
    if (&at == newest_own || at.method == Method::kBye || at.method == Method::kCancel) return true;
    if (!at.has_request || !at.request.has_to_tag) return true;
    const std::int64_t time = at.request.first.time_us;
    const AnswerFact* final = at.FinalAnswer();
    if (final == nullptr) return !unanswered(at) || time >= oldest_unanswered;
    if (final->status >= 300 && EndsCall(at.method, final->status)) return true;
    if (refused(at)) return time >= oldest_refused;
    if (refreshed(at)) {
      return time >= oldest_kept || &at == newest_party[at.sent] ||
             (described(at) && time >= oldest_described);
    }
    return OfSubscription(at.method) && time >= oldest_subscription;
  };
  const auto droppable = [&](const Transaction& at) {
    if (at.method != Method::kAck || !at.has_request) return !matters(at);
    // It goes with its INVITE.
    for (const Transaction& invite : transactions) {
      if (invite.method == Method::kInvite && invite.sent == at.sent && invite.cseq == at.cseq &&
          invite.from_tag == at.from_tag) {
        return &at != newest_own && !matters(invite);
      }
    }
    return &at != newest_own && at.request.first.time_us < oldest_kept;
  };
  std::vector<Transaction> kept;
  std::vector<AnswerFact> kept_answers;
  for (const Transaction& at : transactions) {
    if (!droppable(at)) {
      kept.push_back(at);
      kept_answers.insert(kept_answers.end(), at.answers.begin(), at.answers.end());
      continue;
    }
    compacted = dropped = true;
    // No floor by what proves no number: one that nobody answered (rule 12.6), and one that the
    // server did not take (rule 5.11).
    const AnswerFact* final = at.FinalAnswer();
    if (final == nullptr || (!at.sent && final->status == 500)) continue;
    auto floor = std::find_if(floors.begin(), floors.end(), [&at](const Floor& known) {
      return known.sent == at.sent && known.from_tag == at.from_tag &&
             known.to_tag == at.request.to_tag;
    });
    if (floor == floors.end()) {
      floors.push_back(
          {at.request.first, at.cseq, at.from_tag, at.request.to_tag, at.request.peer, at.sent});
    } else if (floor->cseq < at.cseq ||
               (floor->cseq == at.cseq && at.request.first.Better(floor->sighting))) {
      floor->cseq = at.cseq;
      floor->sighting = at.request.first;
      floor->peer = at.request.peer;
    }
  }
  std::sort(floors.begin(), floors.end(), [](const Floor& a, const Floor& b) {
    return a.cseq != b.cseq ? a.cseq < b.cseq : a.sighting.Better(b.sighting);
  });
  transactions.assign(kept.begin(), kept.end());
  answers.assign(kept_answers.begin(), kept_answers.end());
  Relink();
  DropUnusedRivals();
  DropUnusedTexts();
}

// Tags stay, whoever used them: a tombstone tells by them that a message is of the call that ended.
void CallFacts::DropUnusedTexts() {
  TextMover used(texts);
  const auto keep = [&](TextId* text) { *text = used.Move(*text); };
  for (TextId& tag : tags) keep(&tag);
  for (Transaction& at : transactions) {
    keep(&at.method_text);
    at.request.ForEachText(keep);
  }
  for (AnswerFact& answer : answers) answer.ForEachText(keep);
  used.MoveInto(texts);
}

}  // namespace sipheal::inline v0_1::sip
