// SPDX-License-Identifier: Apache-2.0
// Merging one message into a call.
#include <algorithm>

#include "sip/call_facts.h"
#include "sip/find_line_end.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kMaxRivals = 1000;

// Of the first line, with its line end, which every line of a reduced description has.
std::size_t LineSize(std::string_view text) {
  const char* const end = text.data() + text.size();
  const char* const stop = FindLineEnd(text.data(), end);
  return static_cast<std::size_t>(stop - text.data()) + (stop == end ? 0 : 1);
}

}  // namespace

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
      if (rivals.size() >= kMaxRivals) DropUnusedRivals();
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

// `like` is a message that probably says much the same; `parties` are probably the same.
void CallFacts::FillCommon(MessageFact* fact, const MessageRecord& record, const MessageFact& like,
                           Parties parties) {
  fact->session_expires = record.session_expires;
  fact->refresher = record.refresher;
  fact->contact = texts.Intern(record.contact, like.contact);
  fact->record_route = texts.Intern(record.record_route, like.record_route);
  fact->note = texts.Intern(record.notes, like.note);
  fact->sdp_origin = fact->sdp = 0;
  if (!record.sdp.empty()) {
    const std::size_t origin_end =
        record.sdp.substr(0, 2) == "o=" ? LineSize(record.sdp) : std::size_t{0};
    fact->sdp_origin = texts.Intern(record.sdp.substr(0, origin_end), like.sdp_origin);
    fact->sdp = texts.Intern(record.sdp.substr(origin_end), like.sdp);
  }
  fact->from = texts.Intern(record.from, parties.from);
  fact->to = texts.Intern(record.to, parties.to);
  fact->peer = InternEndpoint(record.peer, like.peer);
  fact->transport = record.transport;
}

// The newest request before this one that went the same way.
const RequestFact& CallFacts::RequestLike(const Transaction& transaction) const {
  static const RequestFact kNone;
  for (const Transaction* at = &transaction; at != transactions.data();) {
    --at;
    if (at->sent == transaction.sent && at->has_request) return at->request;
  }
  return kNone;
}

// As the transaction before this one had them.
CallFacts::Parties CallFacts::PartiesLike(const Transaction& transaction) const {
  if (&transaction == transactions.data()) return {};
  const Transaction& before = *(&transaction - 1);
  const MessageFact* fact = &before.request;
  if (!before.has_request) {
    if (before.answers.empty()) return {};
    fact = &before.answers.front();
  }
  if (before.sent == transaction.sent) return {fact->from, fact->to};
  return {fact->to, fact->from};
}

// The answer before this one that went the same way.
const AnswerFact& CallFacts::AnswerLike(const Transaction& transaction,
                                        const AnswerFact& answer) const {
  static const AnswerFact kNone;
  if (&answer != transaction.answers.begin()) return *(&answer - 1);
  for (const Transaction* at = &transaction; at != transactions.data();) {
    --at;
    if (at->sent == transaction.sent && !at->answers.empty()) return *(at->answers.end() - 1);
  }
  return kNone;
}

bool CallFacts::IsFromItsHop(const Transaction& transaction, const Endpoint& peer) const {
  return !transaction.has_request || EndpointOf(transaction.request.peer).ip == peer.ip;
}

FoldResult CallFacts::Merge(const MessageRecord& record, const RebuildOptions& options) {
  MakeRoomForTexts(record);
  Transaction* transaction = FindOrAdd(record, options);
  if (transaction == nullptr) {
    limits_reached = true;
    return FoldResult::kLimit;
  }
  transaction->vias = std::max(transaction->vias, record.vias);
  of_call |= IsInviteUsage(record.method);
  cannot_shrink = false;
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
      const RequestFact& like = RequestLike(*transaction);
      FillCommon(&request, record, like, PartiesLike(*transaction));
      request.uri = texts.Intern(record.uri, like.uri);
      request.route = texts.Intern(record.route, like.route);
      request.supported = texts.Intern(record.supported, like.supported);
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
    const AnswerFact& like = AnswerLike(*transaction, *answer);
    FillCommon(answer, record, like,
               transaction->has_request
                   ? Parties{transaction->request.from, transaction->request.to}
                   : PartiesLike(*transaction));
    answer->supported = texts.Intern(record.supported, like.supported);
    answer->allow = record.allow;
  }
  return FoldResult::kFolded;
}

Transaction* CallFacts::Find(const MessageRecord& record) {
  // Most messages are of the newest one.
  for (auto known = transactions.rbegin(); known != transactions.rend(); ++known) {
    if (known->cseq == record.cseq && known->branch == record.branch &&
        known->sent == record.sent && known->method == record.method &&
        SameText(Tag(known->from_tag), record.from_tag) &&
        (known->method != Method::kOther || texts.Get(known->method_text) == record.method_text)) {
      return &*known;
    }
  }
  return nullptr;
}

bool CallFacts::Holds(const MessageRecord& record) {
  const Transaction* const known = Find(record);
  if (known == nullptr) return false;
  if (record.is_request) {
    return known->has_request && known->request.first.hash == record.sighting.hash;
  }
  if (record.status == 100) return known->trying;
  return std::any_of(known->answers.begin(), known->answers.end(), [&](const AnswerFact& answer) {
    return answer.first.hash == record.sighting.hash;
  });
}

Transaction* CallFacts::FindOrAdd(const MessageRecord& record, const RebuildOptions& options) {
  if (Transaction* const known = Find(record); known != nullptr) return known;
  // Nothing is dropped for what does not fit, and nothing kept of what gets no room.
  if (transactions.size() >= options.max_transactions_per_call &&
      (!TagFits(record.from_tag) || !MakeRoom(record, options))) {
    return nullptr;
  }
  const TagId from_tag = InternTag(record.from_tag);
  if (from_tag == 0 && !record.from_tag.empty()) return nullptr;
  TextId method_text = 0;
  if (record.method == Method::kOther) {
    method_text = texts.Intern(record.method_text);
    if (method_text == 0) {
      dropped = true;
      return nullptr;
    }
  }
  Transaction& added = transactions.emplace_back();
  added.answers.first = answers.data() + answers.size();
  added.branch = record.branch;
  added.cseq = record.cseq;
  added.method = record.method;
  added.sent = record.sent;
  added.from_tag = from_tag;
  added.method_text = method_text;
  return &added;
}

}  // namespace sipheal::inline v0_1::sip
