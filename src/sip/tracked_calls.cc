// SPDX-License-Identifier: Apache-2.0
#include "sip/tracked_calls.h"

#include <algorithm>

#include "sip/text.h"

namespace sipheal::inline v0_1::sip {

TrackedCalls::Place TrackedCalls::Find(std::string_view call_id) const {
  Place place;
  if (last_->opened != 0 && SameText(last_->call_id, call_id)) {
    place.hash = last_->hash;
    place.open = last_;
    place.stored = last_->stored;
    return place;
  }
  place.hash = CallTable::Hash(call_id);
  for (OpenCall& call : *open_) {
    if (call.hash == place.hash && call.opened != 0 && call.call_id == call_id) {
      place.open = &call;
      place.stored = call.stored;
      return place;
    }
  }
  place.stored = store_.Find(place.hash, call_id);
  return place;
}

TrackedCalls::OpenCall& TrackedCalls::Open(std::string_view call_id, const Place& place) {
  if (place.open != nullptr) {
    place.open->opened = ++opened_;
    last_ = place.open;
    return *last_;
  }
  OpenCall& call = Take();
  store_.Load(*place.stored, call.facts);
  Begin(call, call_id, place.hash);
  call.stored = place.stored;
  return call;
}

TrackedCalls::OpenCall& TrackedCalls::Add(std::string_view call_id, const Place& place) {
  OpenCall& call = Take();
  call.facts.Clear();
  Begin(call, call_id, place.hash);
  call.unsaved = true;
  return call;
}

// The place of the call that was opened before all others; nothing is open there any more.
TrackedCalls::OpenCall& TrackedCalls::Take() {
  OpenCall& call =
      *std::min_element(open_->begin(), open_->end(),
                        [](const OpenCall& a, const OpenCall& b) { return a.opened < b.opened; });
  Close(call);
  return call;
}

// Its facts are there: from now on it is found.
void TrackedCalls::Begin(OpenCall& call, std::string_view call_id, std::uint64_t hash) {
  call.call_id = call_id;
  call.hash = hash;
  call.opened = ++opened_;
  last_ = &call;
}

void TrackedCalls::Close(OpenCall& call) {
  if (call.unsaved) store_.Put(call.hash, call.call_id, call.facts, call.stored);
  call.call_id.clear();
  call.hash = call.opened = 0;
  call.stored = nullptr;
  call.unsaved = false;
}

CallStore& TrackedCalls::CloseAll() {
  for (OpenCall& call : *open_) Close(call);
  return store_;
}

void TrackedCalls::NewestChanged(OpenCall& call) {
  if (call.unsaved) return;
  // What is stored stays as it is, packed or not.
  call.stored->newest_us = call.facts.newest_us;
  call.stored->quiet = false;  // a fork that lost ends when time has passed
}

bool TrackedCalls::Erase(std::string_view call_id) {
  const Place place = Find(call_id);
  if (!place.tracked()) return false;
  if (place.open != nullptr) {
    place.open->unsaved = false;
    Close(*place.open);
  }
  if (place.stored != nullptr) store_.Erase(place.stored);
  return true;
}

std::size_t TrackedCalls::size() const {
  std::size_t count = store_.size();
  for (const OpenCall& call : *open_) {
    if (call.opened != 0 && call.stored == nullptr) ++count;
  }
  return count;
}

std::size_t TrackedCalls::size_bytes() const {
  std::size_t bytes = store_.size_bytes();
  for (const OpenCall& call : *open_) {
    if (call.unsaved) bytes += store_.Growth(call.call_id, call.facts, call.stored);
  }
  return bytes;
}

}  // namespace sipheal::inline v0_1::sip
