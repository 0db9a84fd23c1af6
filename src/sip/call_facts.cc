// SPDX-License-Identifier: Apache-2.0
#include "sip/call_facts.h"

#include <algorithm>
#include <cstring>

#include "sip/ending_codes.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kMaxTags = 250;
constexpr std::size_t kMaxEndpoints = 120;
constexpr std::size_t kMaxPoolBytes = 60'000;
constexpr std::size_t kMaxRivals = 1000;
// A message brings two tags at most.
constexpr std::size_t kTagsOfMessage = 2;
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

// Took part: the server sent the request, or answered it with more than a rejection.
bool ServerTookPart(const Transaction& transaction) {
  if (transaction.sent) return transaction.has_request;
  return std::any_of(transaction.answers.begin(), transaction.answers.end(),
                     [](const AnswerFact& answer) { return answer.status < 300; });
}

std::int64_t StartOf(const Transaction& transaction) {
  if (transaction.has_request) return transaction.request.first.time_us;
  return transaction.answers.empty() ? 0 : transaction.answers.front().first.time_us;
}

// Moves the texts that are still used into another pool, in which no text has to be looked up: a
// flood makes room for each of its messages.
class TextMover {
 public:
  explicit TextMover(const TextPool& from) : from_(from), moved_(from.size() + 1) {}

  TextId Move(TextId id) {
    if (id == 0) return 0;
    if (moved_[id] == 0) moved_[id] = used_.Append(from_.Get(id));
    return moved_[id];
  }
  TextPool Take() { return std::move(used_); }

 private:
  const TextPool& from_;
  TextPool used_;
  std::vector<TextId> moved_;  // by the old id; 0: not yet
};

}  // namespace

TextId TextPool::Intern(std::string_view text) {
  if (text.empty()) return 0;
  std::size_t at = 0;
  while (at < bytes_.size()) {
    std::uint16_t size;
    std::memcpy(&size, bytes_.data() + at, sizeof size);
    if (size == text.size() &&
        std::memcmp(bytes_.data() + at + sizeof size, text.data(), size) == 0) {
      return static_cast<TextId>(at + 1);
    }
    at += sizeof size + size;
  }
  return Append(text);
}

TextId TextPool::Append(std::string_view text) {
  const std::size_t at = bytes_.size();
  const std::size_t needed = at + text.size() + 2;
  if (needed > kMaxPoolBytes) {
    full_ = true;
    return 0;
  }
  const auto size = static_cast<std::uint16_t>(text.size());
  const char* const head = reinterpret_cast<const char*>(&size);
  bytes_.insert(bytes_.end(), head, head + sizeof size);
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  return static_cast<TextId>(at + 1);
}

std::string_view TextPool::Get(TextId id) const {
  if (id == 0) return {};
  std::uint16_t size;
  std::memcpy(&size, bytes_.data() + id - 1, sizeof size);
  return {bytes_.data() + id - 1 + sizeof size, size};
}

void TextPool::Assign(std::string_view bytes) {
  bytes_.assign(bytes.begin(), bytes.end());
  full_ = false;
}

void CallFacts::Clear() {
  texts.Assign({});
  tags.clear();
  endpoints.clear();
  transactions.clear();
  answers.clear();
  floors.clear();
  rivals.clear();
  first_us = INT64_MAX;
  newest_us = 0;
  limits_reached = false;
  compacted = false;
  dropped = true;
}

void CallFacts::Relink() {
  AnswerFact* at = answers.data();
  for (Transaction& transaction : transactions) {
    transaction.answers.first = at;
    at += transaction.answers.count;
  }
}

AnswerFact* CallFacts::AddAnswer(Transaction* transaction) {
  const std::ptrdiff_t at = transaction->answers.end() - answers.data();
  answers.emplace(answers.begin() + at);
  ++transaction->answers.count;
  Relink();
  return transaction->answers.end() - 1;
}

void CallFacts::EraseAnswer(Transaction* transaction, AnswerFact* answer) {
  dropped = true;
  answers.erase(answers.begin() + (answer - answers.data()));
  --transaction->answers.count;
  Relink();
}

void CallFacts::EraseTransaction(std::vector<Transaction>::iterator transaction) {
  dropped = true;
  const auto first = answers.begin() + (transaction->answers.begin() - answers.data());
  answers.erase(first, first + transaction->answers.count);
  transactions.erase(transaction);
  Relink();
}

// Merges a sighting of the same key into `fact`. kWins: the caller must replace the contents.
CallFacts::MergeStep CallFacts::MergeSighting(MessageFact* fact, const Sighting& seen) {
  if (seen.hash == fact->first.hash) {
    // The same bytes again: keep the earlier time and the better witness.
    if (!seen.Better(fact->first)) return MergeStep::kSame;
    fact->first = seen;
    return MergeStep::kWins;
  }
  // Of the versions that did not win, the best is kept.
  auto add_rival = [&](const Sighting& candidate) {
    if (fact->rival == 0) {
      if (rivals.size() >= kMaxRivals) {
        limits_reached = true;
        return false;
      }
      rivals.push_back(candidate);
      fact->rival = static_cast<std::uint16_t>(rivals.size());
      return true;
    }
    Sighting& known = rivals[fact->rival - 1u];
    if (!candidate.Better(known)) return false;
    known = candidate;
    return true;
  };
  if (!seen.Better(fact->first)) return add_rival(seen) ? MergeStep::kLoses : MergeStep::kSame;
  const Sighting loser = fact->first;
  fact->first = seen;
  if (fact->rival != 0 && rivals[fact->rival - 1u].hash == seen.hash) {
    rivals[fact->rival - 1u] = loser;
  } else {
    add_rival(loser);
  }
  return MergeStep::kWins;
}

const AnswerFact* Transaction::FinalAnswer() const {
  // A 2xx outlives whatever else was said under the same key.
  const AnswerFact* best = nullptr;
  for (const AnswerFact& answer : answers) {
    if (answer.status < 200) continue;
    if (best == nullptr || (answer.status < 300) > (best->status < 300) ||
        ((answer.status < 300) == (best->status < 300) && answer.first.Better(best->first))) {
      best = &answer;
    }
  }
  return best;
}

const Endpoint& CallFacts::EndpointOf(EndpointId id) const {
  static const Endpoint kNone;
  return id == 0 ? kNone : endpoints[id - 1u];
}

std::string CallFacts::SdpText(const MessageFact& fact) const {
  std::string text(texts.Get(fact.sdp_origin));
  text += texts.Get(fact.sdp);
  return text;
}

TagId CallFacts::InternTag(std::string_view tag) {
  if (tag.empty()) return 0;
  if (tags.empty()) tags.emplace_back();
  const TextId text = texts.Intern(tag);
  if (text == 0) return 0;
  for (std::size_t i = 1; i < tags.size(); ++i) {
    if (tags[i] == text) return static_cast<TagId>(i);
  }
  if (tags.size() > kMaxTags) {
    limits_reached = true;
    return 0;
  }
  tags.push_back(text);
  return static_cast<TagId>(tags.size() - 1);
}

EndpointId CallFacts::InternEndpoint(const Endpoint& endpoint) {
  if (endpoint.ip.empty()) return 0;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (endpoints[i] == endpoint) return static_cast<EndpointId>(i + 1);
  }
  if (endpoints.size() >= kMaxEndpoints) {
    limits_reached = true;
    return 0;
  }
  endpoints.push_back(endpoint);
  return static_cast<EndpointId>(endpoints.size());
}

void CallFacts::FillCommon(MessageFact* fact, const MessageRecord& record) {
  fact->session_expires = record.session_expires;
  fact->refresher = record.refresher;
  fact->contact = texts.Intern(record.contact);
  // Within a dialog nobody reads it (rule 2.4), but a NOTIFY may be what opens one (rule 7.5).
  const bool opens = !record.has_to_tag || record.method == Method::kNotify;
  fact->record_route = record.is_request && !opens ? TextId{0} : texts.Intern(record.record_route);
  fact->note = texts.Intern(record.notes);
  const std::size_t origin_end =
      record.sdp.substr(0, 2) == "o=" ? record.sdp.find('\n') + 1 : std::size_t{0};
  fact->sdp_origin = texts.Intern(record.sdp.substr(0, origin_end));
  fact->sdp = texts.Intern(record.sdp.substr(origin_end));
  fact->from = texts.Intern(record.from);
  fact->to = texts.Intern(record.to);
  fact->peer = InternEndpoint(record.peer);
  fact->transport = record.transport;
}

TagId CallFacts::FindTag(std::string_view tag) const {
  for (std::size_t i = 1; i < tags.size(); ++i) {
    if (texts.Get(tags[i]) == tag) return static_cast<TagId>(i);
  }
  return 0;
}

bool CallFacts::IsFromItsHop(const Transaction& transaction, const Endpoint& peer) const {
  return !transaction.has_request || EndpointOf(transaction.request.peer).ip == peer.ip;
}

void CallFacts::Reclaim() {
  TextMover used_texts(texts);
  const auto keep_text = [&](TextId* text) { *text = used_texts.Move(*text); };
  std::vector<TextId> used_tags;
  std::vector<TagId> new_ids(tags.size() + 1, 0);
  const auto keep_tag = [&](TagId* tag) {
    if (*tag == 0) return;
    if (new_ids[*tag] == 0) {
      if (used_tags.empty()) used_tags.push_back(0);
      new_ids[*tag] = static_cast<TagId>(used_tags.size());
      used_tags.push_back(used_texts.Move(tags[*tag]));
    }
    *tag = new_ids[*tag];
  };
  for (Transaction& at : transactions) {
    keep_text(&at.method_text);
    keep_tag(&at.from_tag);
    if (at.has_request) {
      keep_tag(&at.request.to_tag);
      at.request.ForEachText(keep_text);
    }
    for (AnswerFact& answer : at.answers) {
      keep_tag(&answer.to_tag);
      answer.ForEachText(keep_text);
    }
  }
  for (Floor& floor : floors) {
    keep_tag(&floor.from_tag);
    keep_tag(&floor.to_tag);
  }
  texts = used_texts.Take();
  tags = std::move(used_tags);
  dropped = false;
}

// In which the server took no part, the newest.
std::vector<Transaction>::iterator CallFacts::WorstTransaction() {
  auto worst = transactions.end();
  for (auto at = transactions.begin(); at != transactions.end(); ++at) {
    if (ServerTookPart(*at)) continue;
    if (worst == transactions.end() || StartOf(*at) > StartOf(*worst)) worst = at;
  }
  return worst;
}

void CallFacts::MakeRoomForTexts(const MessageRecord& record) {
  std::size_t bytes = 0;
  for (const std::string_view text :
       {record.method_text, record.from_tag, record.to_tag, record.uri, record.route,
        record.contact, record.record_route, record.sdp, record.from, record.to, record.supported,
        record.notes}) {
    bytes += text.size() + 2;
  }
  const auto crowded = [&] {
    return tags.size() + kTagsOfMessage > kMaxTags + 1 || texts.size() + bytes > kMaxPoolBytes;
  };
  if (!crowded()) return;
  if (dropped) Reclaim();
  // What the server itself says, and answers from where it asked, go before what others made up.
  const bool server_spoke = record.sent == record.is_request;
  const bool asked = !record.is_request && record.sent &&
                     std::any_of(transactions.begin(), transactions.end(), [&](const auto& at) {
                       return at.sent && at.has_request && at.branch == record.branch &&
                              IsFromItsHop(at, record.peer);
                     });
  while (crowded() && (server_spoke || asked)) {
    const auto worst = WorstTransaction();
    if (worst == transactions.end()) return;
    limits_reached = true;
    EraseTransaction(worst);
    Reclaim();
  }
}

FoldResult CallFacts::Merge(const MessageRecord& record, const RebuildOptions& options) {
  MakeRoomForTexts(record);
  Transaction* transaction = FindOrAdd(record, options);
  if (transaction == nullptr) {
    limits_reached = true;
    return FoldResult::kLimit;
  }
  first_us = std::min(first_us, record.sighting.time_us);
  newest_us = std::max(newest_us, record.sighting.time_us);
  FoldResult result = FoldResult::kFolded;
  if (!record.is_request) {
    result = MergeAnswer(transaction, record, options);
  } else {
    RequestFact& request = transaction->request;
    MergeStep step = MergeStep::kWins;
    if (transaction->has_request) {
      step = MergeSighting(&request, record.sighting);
    } else {
      request.first = record.sighting;
      transaction->has_request = true;
    }
    if (step == MergeStep::kSame) result = FoldResult::kDuplicate;
    if (step == MergeStep::kWins) {
      FillCommon(&request, record);
      request.uri = texts.Intern(record.uri);
      request.route = texts.Intern(record.route);
      request.supported = texts.Intern(record.supported);
      request.allow = record.allow;
      request.to_tag = InternTag(record.to_tag);
      request.has_to_tag = record.has_to_tag;
      transaction->cseq_bound = record.cseq_bound;
    }
  }
  if (texts.full()) limits_reached = true;
  return result;
}

FoldResult CallFacts::MergeAnswer(Transaction* transaction, const MessageRecord& record,
                                  const RebuildOptions& options) {
  // A 100 creates nothing and says nothing but that the request arrived (rule 1.2).
  if (record.status == 100) {
    const bool known = transaction->trying;
    transaction->trying = true;
    return known ? FoldResult::kDuplicate : FoldResult::kFolded;
  }
  TagId to_tag = FindTag(record.to_tag);
  AnswerFact* answer = nullptr;
  for (AnswerFact& known : transaction->answers) {
    // A provisional answer may come again with a description that it did not have.
    const bool same_kind = known.status >= 200 || known.has_sdp() == !record.sdp.empty();
    if ((to_tag != 0 || record.to_tag.empty()) && known.status == record.status &&
        known.to_tag == to_tag && known.rseq == record.rseq && same_kind) {
      answer = &known;
      break;
    }
  }
  MergeStep step = MergeStep::kWins;
  if (answer != nullptr) {
    step = MergeSighting(answer, record.sighting);
    if (step == MergeStep::kSame) return FoldResult::kDuplicate;
  } else {
    const AnswerList known = transaction->answers;
    if (known.count >= options.max_answers_per_transaction) {
      // Those from where the request went, finals before provisionals, then the oldest: a flood of
      // answers with made-up tags must not push out those of the real phone (rule 12.10).
      limits_reached = true;
      const auto better = [&](const Endpoint& peer, int status, const Sighting& first,
                              const AnswerFact& other) {
        const bool here = IsFromItsHop(*transaction, peer);
        const bool other_here = IsFromItsHop(*transaction, EndpointOf(other.peer));
        if (here != other_here) return here;
        if ((status >= 200) != (other.status >= 200)) return status >= 200;
        return first.Better(other.first);
      };
      AnswerFact* const worst = std::max_element(
          known.begin(), known.end(), [&](const AnswerFact& a, const AnswerFact& b) {
            return better(EndpointOf(a.peer), a.status, a.first, b);
          });
      if (worst == known.end() || !better(record.peer, record.status, record.sighting, *worst)) {
        return FoldResult::kLimit;
      }
      EraseAnswer(transaction, worst);
    }
    to_tag = InternTag(record.to_tag);
    if (to_tag == 0 && !record.to_tag.empty()) return FoldResult::kLimit;
    answer = AddAnswer(transaction);
    answer->first = record.sighting;
    answer->status = record.status;
    answer->to_tag = to_tag;
    answer->rseq = record.rseq;
  }
  if (step == MergeStep::kWins) {
    FillCommon(answer, record);
    answer->supported = texts.Intern(record.supported);
    answer->allow = record.allow;
    // Within a dialog nobody reads it (rule 2.4).
    if (transaction->has_request && transaction->request.has_to_tag) answer->record_route = 0;
  }
  return FoldResult::kFolded;
}

Transaction* CallFacts::FindOrAdd(const MessageRecord& record, const RebuildOptions& options) {
  const TagId from_tag = InternTag(record.from_tag);
  if (from_tag == 0 && !record.from_tag.empty()) return nullptr;
  const TextId method_text =
      record.method == Method::kOther ? texts.Intern(record.method_text) : TextId{0};
  for (Transaction& known : transactions) {
    if (known.cseq == record.cseq && known.branch == record.branch && known.sent == record.sent &&
        known.method == record.method && known.from_tag == from_tag &&
        known.method_text == method_text) {
      return &known;
    }
  }
  if (transactions.size() >= options.max_transactions_per_call && !MakeRoom(record, options)) {
    return nullptr;
  }
  Transaction& added = transactions.emplace_back();
  added.answers.first = answers.data() + answers.size();
  added.branch = record.branch;
  added.cseq = record.cseq;
  added.method = record.method;
  added.sent = record.sent;
  added.from_tag = from_tag;
  // Making room may have moved the texts.
  added.method_text =
      record.method == Method::kOther ? texts.Intern(record.method_text) : TextId{0};
  return &added;
}

// Drops one transaction for the new one, if the new one deserves it.
bool CallFacts::MakeRoom(const MessageRecord& record, const RebuildOptions& options) {
  Compact();
  if (transactions.size() < options.max_transactions_per_call) return true;
  limits_reached = true;
  const auto worst = WorstTransaction();
  if (worst == transactions.end()) return false;
  const bool server_spoke = record.sent == record.is_request;
  if (!server_spoke && StartOf(*worst) <= record.sighting.time_us) return false;
  EraseTransaction(worst);
  return true;
}

bool CallFacts::TwoSided() const {
  return !floors.empty() || std::any_of(transactions.begin(), transactions.end(), ServerTookPart);
}

bool CallFacts::MayHaveEnded() const {
  return std::any_of(transactions.begin(), transactions.end(), [](const Transaction& transaction) {
    if (transaction.method == Method::kBye || transaction.method == Method::kCancel) return true;
    return std::any_of(
        transaction.answers.begin(), transaction.answers.end(),
        [](const AnswerFact& answer) { return answer.status >= 300 || answer.status == 199; });
  });
}

// What stays: initial INVITEs, BYE, CANCEL, whatever is open, the newest refreshes of each
// direction and the newest descriptions with their ACKs, the server's newest request (it shows
// route and target as the server used them), and every answer that ends something. The others leave
// their CSeq in a floor. A late copy of a dropped message comes back as an old transaction and
// changes nothing, since the floor and the refreshes that were kept are newer.
void CallFacts::Compact() {
  const Transaction* newest_own = nullptr;
  for (const Transaction& at : transactions) {
    if (at.sent && at.has_request && at.request.has_to_tag &&
        (newest_own == nullptr || newest_own->request.first.time_us < at.request.first.time_us)) {
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
  TextId first_parties[2] = {0, 0};
  for (const Transaction& at : transactions) {
    if (at.method != Method::kInvite || !at.has_request || at.request.has_to_tag) continue;
    first_parties[0] = at.request.from;
    first_parties[1] = at.request.to;
  }
  for (const Transaction& at : transactions) {
    if (!IsRefresh(at.method) || !at.request.has_to_tag || first_parties[0] == 0 ||
        at.request.from == first_parties[0] || at.request.from == first_parties[1]) {
      continue;
    }
    const Transaction*& newest = newest_party[at.sent];
    if (newest == nullptr || newest->cseq < at.cseq) newest = &at;
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
    } else if (floor->cseq < at.cseq) {
      floor->cseq = at.cseq;
      floor->sighting = at.request.first;
      floor->peer = at.request.peer;
    }
  }
  transactions.assign(kept.begin(), kept.end());
  answers.assign(kept_answers.begin(), kept_answers.end());
  Relink();
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
  texts = used.Take();
}

}  // namespace sipheal::inline v0_1::sip
