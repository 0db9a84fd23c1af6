// SPDX-License-Identifier: Apache-2.0
// The facts about one Call-ID: its transactions, as far as they were captured next to the server.
//
// A fact has a key (direction, method, CSeq, From tag, top Via branch; for an answer also status
// and To tag) and merges with what is known under that key: the sighting that is first by witness,
// time and bytes wins. Merging commutes, associates and repeats without effect, so the set does not
// depend on the order of arrival.
//
// Texts are kept once each in a pool; everything else holds 16-bit references into it. Between
// messages a call lies in one block of memory (call_store.h), which is loaded into a CallFacts for
// the merge and for the derivation: so all lists here are of plain values, and one CallFacts serves
// for all calls in turn without allocating.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sip/text_pool.h"
#include "sipheal/sip/address.h"
#include "sipheal/sip/captured_message.h"
#include "sipheal/sip/dialog_folder.h"
#include "sipheal/sip/method.h"

namespace sipheal::inline v0_1::sip {

// By when a request must have been answered (RFC 3261 17.1.1.2).
inline constexpr std::chrono::seconds kT1Times64{32};

// Requests that exist only within an INVITE usage. Others may belong to a subscription that shares
// the Call-ID, and prove no call.
inline bool IsInviteUsage(Method method) {
  switch (method) {
    case Method::kInvite:
    case Method::kAck:
    case Method::kBye:
    case Method::kUpdate:
    case Method::kPrack:
    case Method::kInfo:
      return true;
    default:
      return false;
  }
}

// Index into CallFacts::tags; 0: no tag.
using TagId = std::uint8_t;
// Index + 1 into CallFacts::endpoints; 0: none.
using EndpointId = std::uint8_t;

// One sighting of a message.
struct Sighting {
  std::int64_t time_us = 0;
  std::uint64_t sequence = 0;
  std::uint32_t hash = 0;  // of the message's bytes
  std::uint16_t path = 0;  // of the other end and the transport
  std::uint8_t rank = 0;   // witness: lower is better

  // A total order, so that which sighting wins does not depend on which came first.
  bool Better(const Sighting& other) const {
    if (rank != other.rank) return rank < other.rank;
    if (time_us != other.time_us) return time_us < other.time_us;
    if (hash != other.hash) return hash < other.hash;
    return path != other.path ? path < other.path : sequence < other.sequence;
  }
};

// What requests and answers have in common.
struct MessageFact {
  Sighting first;
  std::uint32_t session_expires = 0;
  TextId contact = 0;       // URI
  TextId record_route = 0;  // URIs, each followed by '\n'
  TextId sdp_origin = 0;    // the o= line of CompactSdp, apart since it alone changes mostly
  TextId sdp = 0;           // the rest of it
  TextId from = 0;          // party_text.h
  TextId to = 0;
  TextId note = 0;  // what few messages say: message_notes.h
  bool has_sdp() const { return sdp_origin != 0 || sdp != 0; }
  template <typename Fn>
  void ForEachText(Fn&& fn) {
    for (TextId* text : {&contact, &record_route, &sdp_origin, &sdp, &from, &to, &note}) fn(text);
  }

  // The next best sighting whose bytes differ: index + 1 into CallFacts::rivals; 0: none. Rare.
  std::uint16_t rival = 0;
  EndpointId peer = 0;         // the other end of the packet
  std::uint8_t refresher = 0;  // of Session-Expires: 0 not said, 1 uac, 2 uas
  Transport transport = Transport::kUnknown;
};

struct RequestFact : MessageFact {
  TextId uri = 0;
  TextId route = 0;  // URIs, each followed by '\n'
  TextId supported = 0;
  std::uint16_t allow = 0;  // one bit for each Method
  TagId to_tag = 0;
  bool has_to_tag = false;

  template <typename Fn>
  void ForEachText(Fn&& fn) {
    MessageFact::ForEachText(fn);
    for (TextId* text : {&uri, &route, &supported}) fn(text);
  }
};

struct AnswerFact : MessageFact {
  TagId to_tag = 0;
  std::uint16_t status = 0;
  std::uint32_t rseq = 0;  // 0: not reliable
  TextId supported = 0;
  std::uint16_t allow = 0;

  bool reliable() const { return status >= 200 || rseq != 0; }
  template <typename Fn>
  void ForEachText(Fn&& fn) {
    MessageFact::ForEachText(fn);
    fn(&supported);
  }
};

// The answers of one transaction, which stand together in CallFacts::answers.
struct AnswerList {
  AnswerFact* first = nullptr;
  std::uint32_t count = 0;

  AnswerFact* begin() const { return first; }
  AnswerFact* end() const { return first + count; }
  AnswerFact& front() const { return *first; }
  bool empty() const { return count == 0; }
};

struct Transaction {
  std::uint64_t branch = 0;  // hash of the top Via's branch and sent-by
  std::uint32_t cseq = 0;
  std::uint32_t cseq_bound =
      0;  // a CSeq of the receiver that the request quotes (Event: refer;id=)
  Method method = Method::kOther;
  bool sent = false;  // by the server
  bool has_request = false;
  bool trying = false;  // a 100 was seen
  TagId from_tag = 0;
  // Of its messages, where their hop is told by nothing else; 0: by addresses.
  std::uint8_t vias = 0;
  TextId method_text = 0;  // of kOther
  RequestFact request;
  AnswerList answers;

  const AnswerFact* FinalAnswer() const;
  // The server sent the request, or answered it with more than a rejection.
  bool ServerTookPart() const;
  // When the first of it that was seen, was.
  std::int64_t Start() const;
};

// What is left of transactions that can no longer matter by themselves.
struct Floor {
  Sighting sighting;
  std::uint32_t cseq = 0;
  TagId from_tag = 0;
  TagId to_tag = 0;
  EndpointId peer = 0;
  bool sent = false;
};

// A message, read and ready to be merged. Texts point into the message or into the reader's
// buffers.
struct MessageRecord {
  bool sent = false;
  bool is_request = false;
  Method method = Method::kOther;
  std::string_view method_text;
  std::uint32_t cseq = 0;
  std::uint32_t cseq_bound = 0;
  std::uint64_t branch = 0;
  std::uint8_t vias = 0;
  std::uint16_t status = 0;
  std::uint32_t rseq = 0;
  bool has_to_tag = false;
  std::string_view from_tag;
  std::string_view to_tag;
  std::string_view uri;
  std::string_view route;
  std::string_view contact;
  std::string_view record_route;
  std::string_view sdp;
  std::string_view from;
  std::string_view to;
  std::string_view supported;
  std::string_view notes;
  std::size_t message_size = 0;
  std::uint16_t allow = 0;
  std::uint32_t session_expires = 0;
  std::uint8_t refresher = 0;
  Endpoint peer;
  Transport transport = Transport::kUnknown;
  Sighting sighting;
};

class CallFacts {
 public:
  static constexpr std::size_t kMaxTags = 250;

  CallFacts() = default;
  // Its transactions point into it.
  CallFacts(const CallFacts&) = delete;
  CallFacts& operator=(const CallFacts&) = delete;

  TextPool texts;
  std::vector<TextId> tags;  // tags[0] is unused
  std::vector<Endpoint> endpoints;
  std::vector<Transaction> transactions;
  std::vector<AnswerFact> answers;  // those of the first transaction, then of the next, ...
  std::vector<Floor> floors;
  std::vector<Sighting> rivals;
  std::int64_t first_us = INT64_MAX;
  std::int64_t newest_us = 0;
  bool limits_reached = false;
  bool compacted = false;
  bool of_call = false;  // a message of an INVITE usage was merged, whatever became of it
  // Something may have been dropped, so that tags and texts are held that nobody refers to.
  bool dropped = true;
  // Compact() has just found nothing to drop, and nothing was merged since: a flood that gets no
  // room does not pay for looking again.
  bool cannot_shrink = false;

  // Forgets everything but keeps its memory.
  void Clear();
  // Points the transactions at their answers, after either list has moved.
  void Relink();
  // Puts the transactions into this order, and their answers with them.
  template <typename Less>
  void Sort(Less less) {
    // Mostly they are in order.
    if (std::is_sorted(transactions.begin(), transactions.end(), less)) return;
    reordered_.reserve(answers.size());  // what may fail comes before anything is changed
    std::sort(transactions.begin(), transactions.end(), less);
    Reorder();
  }
  FoldResult Merge(const MessageRecord& record, const RebuildOptions& options);
  // nullptr: nothing of its transaction is known.
  Transaction* Find(const MessageRecord& record);

  std::string_view Tag(TagId id) const {
    return id == 0 ? std::string_view() : texts.Get(tags[id]);
  }
  std::string_view Text(TextId id) const { return texts.Get(id); }
  std::string SdpText(const MessageFact& fact) const;
  const Endpoint& EndpointOf(EndpointId id) const;
  // True when the server sent or answered anything.
  bool TwoSided() const;
  // True when a message that can end a dialog was seen.
  bool MayHaveEnded() const;
  // Shrinks to what the state needs; see the .cc for what that is. Quiet calls only.
  void Compact();

 private:
  void Reorder();
  bool TagFits(std::string_view tag) const;
  TagId InternTag(std::string_view tag);
  // `likely` is what it often is.
  EndpointId InternEndpoint(const Endpoint& endpoint, EndpointId likely);
  // This very message has been merged.
  bool Holds(const MessageRecord& record);
  Transaction* FindOrAdd(const MessageRecord& record, const RebuildOptions& options);
  bool MakeRoom(const MessageRecord& record, const RebuildOptions& options);
  // Makes room for the tags and texts of one message, if there is any to be made.
  void MakeRoomForTexts(const MessageRecord& record);
  std::vector<Transaction>::iterator WorstTransaction();
  // Frees the tags and texts that nothing refers to. Changes their ids.
  void Reclaim();
  TagId FindTag(std::string_view tag) const;
  // From where an answer to the request would come.
  bool IsFromItsHop(const Transaction& transaction, const Endpoint& peer) const;
  FoldResult MergeAnswer(Transaction* transaction, const MessageRecord& record,
                         const RebuildOptions& options);
  enum class MergeStep { kSame, kWins, kLoses };
  MergeStep MergeSighting(MessageFact* fact, const Sighting& seen);
  struct Parties {
    TextId from = 0;
    TextId to = 0;
  };
  void FillCommon(MessageFact* fact, const MessageRecord& record, const MessageFact& like,
                  Parties parties);
  Parties PartiesLike(const Transaction& transaction) const;
  const RequestFact& RequestLike(const Transaction& transaction) const;
  const AnswerFact& AnswerLike(const Transaction& transaction, const AnswerFact& answer) const;
  AnswerFact* AddAnswer(Transaction* transaction);
  void EraseAnswer(Transaction* transaction, AnswerFact* answer);
  void EraseTransaction(std::vector<Transaction>::iterator transaction);
  void DropUnusedTexts();
  void DropUnusedRivals();

  std::vector<AnswerFact> reordered_;
};

}  // namespace sipheal::inline v0_1::sip
