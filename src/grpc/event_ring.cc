// SPDX-License-Identifier: Apache-2.0
#include "grpc/event_ring.h"

#include <algorithm>
#include <charconv>
#include <utility>

namespace sipheal::inline v0_1::internal {

void EventRing::Shelf::Put(Entry entry, std::size_t most) {
  entries.push_back(std::move(entry));
  if (entries.size() <= most) return;
  dropped = entries.front().number;
  entries.pop_front();
}

const EventRing::Entry* EventRing::Shelf::After(std::uint64_t number) const {
  const auto found = std::upper_bound(
      entries.begin(), entries.end(), number,
      [](std::uint64_t after, const Entry& entry) { return after < entry.number; });
  return found == entries.end() ? nullptr : &*found;
}

void EventRing::Append(v1::WatchEventsResponse event) {
  const std::lock_guard lock(mutex_);
  const std::uint64_t number = ++newest_;
  event.set_cursor(CursorOf(number));
  Shelf& shelf = event.has_step() ? steps_ : others_;
  shelf.Put({number, std::make_shared<const v1::WatchEventsResponse>(std::move(event))}, most_);
}

EventRing::Next EventRing::After(std::uint64_t after, bool with_steps) const {
  const std::lock_guard lock(mutex_);
  Next next;
  next.dropped = with_steps ? std::max(others_.dropped, steps_.dropped) : others_.dropped;
  const Entry* entry = others_.After(after);
  if (with_steps) {
    const Entry* step = steps_.After(after);
    if (entry == nullptr || (step != nullptr && step->number < entry->number)) entry = step;
  }
  if (entry != nullptr) {
    next.event = entry->event;
    next.number = entry->number;
  }
  return next;
}

std::uint64_t EventRing::newest() const {
  const std::lock_guard lock(mutex_);
  return newest_;
}

std::string EventRing::CursorOf(std::uint64_t number) const {
  return run_ + "-" + std::to_string(number);
}

EventRing::Place EventRing::Find(std::string_view cursor, std::uint64_t& number) const {
  const std::size_t dash = cursor.rfind('-');
  if (dash == std::string_view::npos) return Place::kNonsense;
  const std::string_view digits = cursor.substr(dash + 1);
  std::uint64_t parsed = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), parsed);
  if (digits.empty() || result.ec != std::errc() || result.ptr != digits.data() + digits.size()) {
    return Place::kNonsense;
  }
  if (cursor.substr(0, dash) != run_) return Place::kOtherRun;
  if (parsed > newest()) return Place::kNonsense;
  number = parsed;
  return Place::kKnown;
}

}  // namespace sipheal::inline v0_1::internal
