// SPDX-License-Identifier: Apache-2.0
// EventRing: the newest events, numbered, for any number of readers who each know how far they are.
// A reader that is slow costs no memory: it finds a gap.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include "sipheal/v1/recovery.pb.h"

namespace sipheal::inline v0_1::internal {

// Thread-safe.
class EventRing {
 public:
  using Event = std::shared_ptr<const v1::WatchEventsResponse>;

  // Keeps `most` steps, and as many of all other events: steps are many, and shall not push out
  // what became of the calls. `run` names this run of the server.
  EventRing(std::size_t most, std::string run) : most_(most), run_(std::move(run)) {}

  // Gives it the next number, and the cursor that goes with it.
  void Append(v1::WatchEventsResponse event);

  struct Next {
    Event event;               // null: none yet
    std::uint64_t number = 0;  // of the event
    // The newest number of those that the reader wanted and that are gone; 0: none. Older ones of
    // the other shelf may still be there.
    std::uint64_t dropped = 0;
  };
  // The first event after number `after` that the reader wants.
  Next After(std::uint64_t after, bool with_steps) const;

  std::uint64_t newest() const;
  std::string CursorOf(std::uint64_t number) const;

  enum class Place { kKnown, kOtherRun, kNonsense };
  // Where a cursor stands; `number` is set when it is known.
  Place Find(std::string_view cursor, std::uint64_t& number) const;

 private:
  struct Entry {
    std::uint64_t number = 0;
    Event event;
  };
  struct Shelf {
    std::deque<Entry> entries;
    std::uint64_t dropped = 0;  // the newest number that is gone; 0: none

    void Put(Entry entry, std::size_t most);
    const Entry* After(std::uint64_t number) const;
  };

  const std::size_t most_;
  const std::string run_;
  mutable std::mutex mutex_;
  std::uint64_t newest_ = 0;  // mutex_
  Shelf steps_;               // mutex_
  Shelf others_;              // mutex_
};

}  // namespace sipheal::inline v0_1::internal
