// SPDX-License-Identifier: Apache-2.0
// Room for one message more in a call that is at its limits: what a flood made up goes first (rule
// 12.10).
#include <algorithm>
#include <tuple>
#include <utility>

#include "sip/call_facts.h"

namespace sipheal::inline v0_1::sip {
namespace {

// A message brings two tags at most.
constexpr std::size_t kTagsOfMessage = 2;
constexpr std::size_t kBetweenTexts = 2048;

}  // namespace

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
  used_texts.MoveInto(texts);
  tags = std::move(used_tags);
  dropped = false;
}

// Those of messages that were dropped.
void CallFacts::DropUnusedRivals() {
  std::vector<Sighting> used;
  const auto keep = [&](MessageFact& fact) {
    if (fact.rival == 0) return;
    used.push_back(rivals[fact.rival - 1u]);
    fact.rival = static_cast<std::uint16_t>(used.size());
  };
  for (Transaction& at : transactions) keep(at.request);
  for (AnswerFact& answer : answers) keep(answer);
  rivals = std::move(used);
}

// In which the server took no part, the newest; of those of one moment, not the one that happens to
// stand first.
std::vector<Transaction>::iterator CallFacts::WorstTransaction() {
  auto worst = transactions.end();
  for (auto at = transactions.begin(); at != transactions.end(); ++at) {
    if (at->ServerTookPart()) continue;
    const auto key = [](const Transaction& one) {
      const std::uint32_t answer = one.answers.empty() ? 0 : one.answers.front().first.hash;
      return std::tuple(one.Start(), one.cseq, one.request.first.hash, answer, one.branch);
    };
    if (worst == transactions.end() || key(*at) > key(*worst)) worst = at;
  }
  return worst;
}

void CallFacts::MakeRoomForTexts(const MessageRecord& record) {
  // A message brings each of its bytes twice at most (a Contact may be a note, too), and what is
  // written between them.
  if (tags.size() + kTagsOfMessage <= kMaxTags + 1 &&
      texts.size() + 2 * record.message_size + kBetweenTexts <= TextPool::kMaxBytes) {
    return;
  }
  std::size_t bytes = 0;
  for (const std::string_view text :
       {record.method_text, record.from_tag, record.to_tag, record.uri, record.route,
        record.contact, record.record_route, record.sdp, record.from, record.to, record.supported,
        record.notes}) {
    bytes += text.size() + 2;
  }
  const auto crowded = [&] {
    return tags.size() + kTagsOfMessage > kMaxTags + 1 ||
           texts.size() + bytes > TextPool::kMaxBytes;
  };
  if (!crowded()) return;
  // What is known needs no room: a repetition must change nothing.
  if (Holds(record)) return;
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

// Drops one transaction for the new one, if the new one deserves it.
bool CallFacts::MakeRoom(const MessageRecord& record, const RebuildOptions& options) {
  if (!cannot_shrink) Compact();
  if (transactions.size() < options.max_transactions_per_call) return true;
  limits_reached = cannot_shrink = true;
  const auto worst = WorstTransaction();
  if (worst == transactions.end()) return false;
  const bool server_spoke = record.sent == record.is_request;
  if (!server_spoke && worst->Start() <= record.sighting.time_us) return false;
  EraseTransaction(worst);
  return true;
}

}  // namespace sipheal::inline v0_1::sip
