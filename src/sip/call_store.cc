// SPDX-License-Identifier: Apache-2.0
#include "sip/call_store.h"

#include <cstring>
#include <new>
#include <type_traits>

#include "sip/call_pack.h"

namespace sipheal::inline v0_1::sip {
namespace {

// Most calls come to a few messages more.
constexpr std::size_t kRoomToGrow = 256;
constexpr std::size_t kPerAllocation = 16;  // at most, with glibc's allocator

// The facts begin where the first of them may stand.
constexpr std::size_t FactsAt(std::size_t call_id_size) {
  return (sizeof(StoredCall) + call_id_size + 7) / 8 * 8;
}
char* FactsOf(StoredCall& call) {
  return reinterpret_cast<char*>(&call) + FactsAt(call.call_id_size);
}
const char* FactsOf(const StoredCall& call) {
  return reinterpret_cast<const char*>(&call) + FactsAt(call.call_id_size);
}

template <typename T>
std::size_t BytesOf(const std::vector<T>& list) {
  static_assert(std::is_trivially_copyable_v<T>);
  return list.size() * sizeof(T);
}

template <typename T>
void Append(const std::vector<T>& list, char** at) {
  if (!list.empty()) std::memcpy(*at, list.data(), BytesOf(list));
  *at += BytesOf(list);
}

template <typename T>
void Take(std::vector<T>& list, std::size_t count, const char** at) {
  const std::size_t size = count * sizeof(T);
  list.resize(count);
  if (count > 0) std::memcpy(list.data(), *at, size);
  *at += size;
}

std::size_t FactsSize(const CallFacts& facts) {
  return BytesOf(facts.endpoints) + BytesOf(facts.tags) + BytesOf(facts.transactions) +
         BytesOf(facts.answers) + BytesOf(facts.floors) + BytesOf(facts.rivals) +
         facts.texts.bytes().size();
}

// In a packed call, times are those since its first message, which have fewer bytes.
void Shift(Sighting& sighting, std::int64_t us) { sighting.time_us += us; }
void Shift(Floor& floor, std::int64_t us) { Shift(floor.sighting, us); }
void Shift(AnswerFact& answer, std::int64_t us) { Shift(answer.first, us); }
void Shift(Transaction& transaction, std::int64_t us) {
  if (transaction.has_request) Shift(transaction.request.first, us);
  transaction.answers.first = nullptr;
}

template <typename T>
void PackList(const std::vector<T>& list, std::int64_t first_us, std::string* out) {
  static_assert(sizeof(T) % 8 == 0);
  for (T record : list) {
    Shift(record, -first_us);
    PackRecords({reinterpret_cast<const char*>(&record), sizeof record}, out);
  }
}

template <typename T>
void UnpackList(std::vector<T>& list, std::size_t count, std::int64_t first_us,
                std::string_view* packed, std::string* scratch) {
  *packed = UnpackRecords(*packed, count * sizeof(T), scratch);
  const char* at = scratch->data();
  Take(list, count, &at);
  for (T& record : list) Shift(record, first_us);
}

}  // namespace

CallStore::~CallStore() {
  table_.ForEach([](StoredCall* call) { ::operator delete(call); });
}

void CallStore::Load(const StoredCall& call, CallFacts& facts) const {
  const char* at = FactsOf(call);
  Take(facts.endpoints, call.endpoints, &at);
  Take(facts.tags, call.tags, &at);
  if (call.packed_size != 0) {
    std::string_view packed(at, call.packed_size);
    UnpackList(facts.transactions, call.transactions, call.first_us, &packed, &scratch_);
    UnpackList(facts.answers, call.answers, call.first_us, &packed, &scratch_);
    UnpackList(facts.floors, call.floors, call.first_us, &packed, &scratch_);
    UnpackList(facts.rivals, call.rivals, call.first_us, &packed, &scratch_);
    UnpackTexts(packed, &scratch_);
    facts.texts.Assign(scratch_);
  } else {
    Take(facts.transactions, call.transactions, &at);
    Take(facts.answers, call.answers, &at);
    Take(facts.floors, call.floors, &at);
    Take(facts.rivals, call.rivals, &at);
    facts.texts.Assign({at, call.text_bytes});
  }
  facts.first_us = call.first_us;
  facts.newest_us = call.newest_us;
  facts.limits_reached = call.limits_reached;
  facts.compacted = call.compacted;
  facts.of_call = call.of_call;
  facts.dropped = true;  // not known any more
  facts.cannot_shrink = false;
  facts.Relink();
}

StoredCall* CallStore::Put(std::uint64_t hash, std::string_view call_id, const CallFacts& facts,
                           StoredCall* known) {
  if (known == nullptr) table_.MakeRoom();
  StoredCall* const call = MakeBlock(call_id, facts, known, FactsSize(facts), kRoomToGrow);
  if (known == nullptr) {
    table_.Insert(hash, call);
  } else if (call != known) {
    table_.Replace(hash, known, call);
    Free(known);
  }
  char* at = FactsOf(*call);
  Append(facts.endpoints, &at);
  Append(facts.tags, &at);
  Append(facts.transactions, &at);
  Append(facts.answers, &at);
  Append(facts.floors, &at);
  Append(facts.rivals, &at);
  const std::string_view texts = facts.texts.bytes();
  if (!texts.empty()) std::memcpy(at, texts.data(), texts.size());
  return call;
}

StoredCall* CallStore::PutQuiet(StoredCall* known, const CallFacts& facts) {
  scratch_.clear();
  PackList(facts.transactions, facts.first_us, &scratch_);
  PackList(facts.answers, facts.first_us, &scratch_);
  PackList(facts.floors, facts.first_us, &scratch_);
  PackList(facts.rivals, facts.first_us, &scratch_);
  PackTexts(facts.texts.bytes(), &scratch_);
  StoredCall* const call =
      MakeBlock(known->call_id(), facts, known,
                BytesOf(facts.endpoints) + BytesOf(facts.tags) + scratch_.size(), 0);
  if (call != known) Free(known);
  char* at = FactsOf(*call);
  Append(facts.endpoints, &at);
  Append(facts.tags, &at);
  std::memcpy(at, scratch_.data(), scratch_.size());
  call->packed_size = static_cast<std::uint32_t>(scratch_.size());
  call->may_have_ended = facts.MayHaveEnded();
  call->two_sided = facts.TwoSided();
  return call;
}

StoredCall* CallStore::MakeBlock(std::string_view call_id, const CallFacts& facts, StoredCall* call,
                                 std::size_t facts_size, std::size_t room) {
  const std::size_t size = FactsAt(call_id.size()) + facts_size;
  if (call == nullptr || call->capacity < size || (room == 0 && call->capacity > size)) {
    call = new (::operator new(size + room)) StoredCall();
    call->capacity = static_cast<std::uint32_t>(size + room);
    call->call_id_size = static_cast<std::uint32_t>(call_id.size());
    std::memcpy(static_cast<void*>(call + 1), call_id.data(), call_id.size());
    bytes_ += call->capacity;
  }
  call->first_us = facts.first_us;
  call->newest_us = facts.newest_us;
  call->packed_size = 0;
  call->transactions = static_cast<std::uint32_t>(facts.transactions.size());
  call->answers = static_cast<std::uint32_t>(facts.answers.size());
  call->floors = static_cast<std::uint32_t>(facts.floors.size());
  call->rivals = static_cast<std::uint16_t>(facts.rivals.size());
  call->text_bytes = static_cast<std::uint16_t>(facts.texts.bytes().size());
  call->tags = static_cast<std::uint8_t>(facts.tags.size());
  call->endpoints = static_cast<std::uint8_t>(facts.endpoints.size());
  call->limits_reached = facts.limits_reached;
  call->compacted = facts.compacted;
  call->of_call = facts.of_call;
  call->quiet = false;
  return call;
}

void CallStore::Free(StoredCall* call) {
  bytes_ -= call->capacity;
  ::operator delete(call);
}

void CallStore::Erase(StoredCall* call) {
  table_.Erase(CallTable::Hash(call->call_id()), call);
  Free(call);
}

std::size_t CallStore::size_bytes() const {
  return bytes_ + table_.size() * kPerAllocation + table_.size_bytes();
}

std::size_t CallStore::Growth(std::string_view call_id, const CallFacts& facts,
                              const StoredCall* known) const {
  const std::size_t size = FactsAt(call_id.size()) + FactsSize(facts);
  if (known == nullptr) return size + kRoomToGrow + kPerAllocation;
  return known->capacity >= size ? 0 : size + kRoomToGrow - known->capacity;
}

}  // namespace sipheal::inline v0_1::sip
