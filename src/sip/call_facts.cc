// SPDX-License-Identifier: Apache-2.0
#include "sip/call_facts.h"

#include <algorithm>

#include "sip/same_address.h"
#include "sip/text.h"

namespace sipheal::inline v0_1::sip {
namespace {

constexpr std::size_t kMaxEndpoints = 120;

}  // namespace

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
  compacted = of_call = cannot_shrink = false;
  dropped = true;
}

void CallFacts::Relink() {
  AnswerFact* at = answers.data();
  for (Transaction& transaction : transactions) {
    transaction.answers.first = at;
    at += transaction.answers.count;
  }
}

// The answers are put into the order of the transactions, which have been put into another.
void CallFacts::Reorder() {
  reordered_.clear();
  for (const Transaction& transaction : transactions) {
    reordered_.insert(reordered_.end(), transaction.answers.begin(), transaction.answers.end());
  }
  answers.swap(reordered_);
  Relink();
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

bool Transaction::ServerTookPart() const {
  if (sent) return has_request;
  return std::any_of(answers.begin(), answers.end(),
                     [](const AnswerFact& answer) { return answer.status < 300; });
}

std::int64_t Transaction::Start() const {
  if (has_request) return request.first.time_us;
  return answers.empty() ? 0 : answers.front().first.time_us;
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

bool CallFacts::TagFits(std::string_view tag) const {
  if (tag.empty() || FindTag(tag) != 0) return true;
  return tags.size() <= kMaxTags && texts.Fits(tag);
}

TagId CallFacts::InternTag(std::string_view tag) {
  if (tag.empty()) return 0;
  if (const TagId known = FindTag(tag); known != 0) return known;
  if (tags.empty()) tags.emplace_back();
  if (tags.size() > kMaxTags) {
    limits_reached = true;
    return 0;
  }
  const TextId text = texts.Intern(tag);
  if (text == 0) return 0;
  tags.push_back(text);
  return static_cast<TagId>(tags.size() - 1);
}

EndpointId CallFacts::InternEndpoint(const Endpoint& endpoint, EndpointId likely) {
  if (endpoint.ip.empty()) return 0;
  if (likely != 0 && SameAddress(endpoints[likely - 1u], endpoint)) return likely;
  for (std::size_t i = 0; i < endpoints.size(); ++i) {
    if (SameAddress(endpoints[i], endpoint)) return static_cast<EndpointId>(i + 1);
  }
  if (endpoints.size() >= kMaxEndpoints) {
    limits_reached = true;
    return 0;
  }
  endpoints.push_back(endpoint);
  return static_cast<EndpointId>(endpoints.size());
}

TagId CallFacts::FindTag(std::string_view tag) const {
  for (std::size_t i = 1; i < tags.size(); ++i) {
    if (SameText(texts.Get(tags[i]), tag)) return static_cast<TagId>(i);
  }
  return 0;
}

bool CallFacts::TwoSided() const {
  return !floors.empty() ||
         std::any_of(transactions.begin(), transactions.end(),
                     [](const Transaction& transaction) { return transaction.ServerTookPart(); });
}

bool CallFacts::MayHaveEnded() const {
  return std::any_of(transactions.begin(), transactions.end(), [](const Transaction& transaction) {
    if (transaction.method == Method::kBye || transaction.method == Method::kCancel) return true;
    return std::any_of(
        transaction.answers.begin(), transaction.answers.end(),
        [](const AnswerFact& answer) { return answer.status >= 300 || answer.status == 199; });
  });
}

}  // namespace sipheal::inline v0_1::sip
