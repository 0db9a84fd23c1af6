// SPDX-License-Identifier: Apache-2.0
// LifeBook: what reporters said of instances, and what follows from it. No threads, no clock of its
// own: GrpcCrashDetector gives it both.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "sipheal/adapters/grpc.h"
#include "sipheal/base/clock.h"
#include "sipheal/model/crash_event.h"

namespace sipheal::inline v0_1::internal {

// One reading of both clocks.
struct Moment {
  WallTime wall{};
  MonotonicTime monotonic{};
};

class LifeBook {
 public:
  // Lives of one instance, and reporters of one life, that are remembered.
  static constexpr std::size_t kMostLives = 64;
  static constexpr std::size_t kMostReporters = 64;
  static constexpr std::size_t kMostInstances = 10'000;

  explicit LifeBook(std::chrono::milliseconds silence) : silence_(silence) {}

  absl::Status Add(const std::string& name);
  absl::Status Remove(const std::string& name);
  absl::Status Report(const LifeReport& report, const Moment& now);
  absl::Status Expect(const Incarnation& incarnation, const Moment& now);
  absl::Status AnnounceStop(const std::string& instance, WallTime until);

  struct News {
    std::vector<CrashEvent> crashes;
    std::vector<ReturnEvent> returns;
    // When something may follow from silence alone.
    std::optional<MonotonicTime> look_again;
    // A reporter contradicts what was told already: for the log.
    std::vector<std::string> contradictions;
  };
  // What is to be told of an instance now; it counts as told. What was told as silent is told once
  // more when it is known to have ended.
  News Look(const std::string& name, const Moment& now);
  std::vector<std::string> Names() const;

  // The process did not run for this long, until now: nobody could be heard meanwhile.
  void Forgive(MonotonicTime::duration lost, MonotonicTime now);

 private:
  // Something that was seen, and by whom. The wall clock may be set at any time, here and there, so
  // it is kept as a point in monotonic time; what one reporter saw is ordered by its own clock.
  struct Sign {
    std::string reporter;
    MonotonicTime at = MonotonicTime::min();
    std::optional<WallTime> said;  // what the reporter gave as the time
  };
  struct Voice {
    MonotonicTime heard{};  // here; how old what it said was does not matter
    std::optional<MonotonicTime> promised_until;
    Sign alive;
  };
  struct Death {
    LifeState state = LifeState::kGone;
    Sign sign;
    WallTime last_alive{};
    std::vector<std::string> evidence;
  };
  struct Life {
    MonotonicTime alive_at = MonotonicTime::min();  // newest; min: never
    MonotonicTime expected_at = MonotonicTime::min();
    std::map<std::string, Voice> voices;
    MonotonicTime forgotten_at = MonotonicTime::min();  // newest of voices that made room
    std::uint64_t signs = 0;                            // rises with each new sign of life
    std::optional<Death> death;
    std::optional<CrashKind> told;
    std::uint64_t told_signs = 0;  // `signs` then
    bool contradicted = false;

    MonotonicTime seen() const { return std::max(alive_at, expected_at); }
    bool AliveAfter(const Sign& sign) const;
    bool AliveSinceTold() const {
      return signs > told_signs && (!death || AliveAfter(death->sign));
    }
  };
  struct Instance {
    std::map<std::string, Life> lives;
    std::optional<Death> empty;  // none lives
    WallTime planned_until = WallTime::min();
  };

  static bool Later(const Sign& a, const Sign& b);
  static Sign SignOf(const LifeReport& report, const Moment& now);
  absl::Status MakeRoom(Instance& instance, const std::string& life);
  static void HearAlive(Life& life, const LifeReport& report, const Moment& now);
  std::optional<CrashEvent> CrashOf(const Instance& instance, const Incarnation& who,
                                    const Life& life, const Moment& now, News& news) const;

  const std::chrono::milliseconds silence_;
  std::map<std::string, Instance> instances_;
};

}  // namespace sipheal::inline v0_1::internal
