// SPDX-License-Identifier: Apache-2.0
// LifeBook: what reporters said of instances, and what follows from it. No threads, no clock of its
// own: GrpcCrashDetector gives it both.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
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
  // What is to be told of an instance now; it counts as told.
  News Look(const std::string& name, const Moment& now);
  std::vector<std::string> Names() const;

  // The process did not run for this long: nobody could be heard meanwhile.
  void Forgive(MonotonicTime::duration lost);

 private:
  struct Voice {
    MonotonicTime heard{};
    std::optional<MonotonicTime> promised_until;
  };
  struct Death {
    LifeState state = LifeState::kGone;
    WallTime observed{};
    WallTime last_alive{};
    std::string reporter;
    std::vector<std::string> evidence;
  };
  struct Life {
    WallTime alive_observed = WallTime::min();  // newest; min: never
    WallTime expected_at = WallTime::min();
    std::optional<MonotonicTime> heard;
    std::map<std::string, Voice> voices;
    std::optional<Death> death;
    std::optional<CrashKind> told;
    WallTime told_seen{};  // the newest sign of life or death that was known then
    bool contradicted = false;

    WallTime seen() const { return std::max(alive_observed, expected_at); }
    bool AliveSinceTold() const {
      return alive_observed > told_seen && (!death || alive_observed > death->observed);
    }
  };
  struct Instance {
    std::map<std::string, Life> lives;
    std::optional<Death> empty;  // none lives
    WallTime planned_until = WallTime::min();
  };

  absl::Status MakeRoom(Instance& instance, const std::string& life);
  void HearAlive(Life& life, const LifeReport& report, WallTime observed, const Moment& now);
  std::optional<CrashEvent> CrashOf(const Instance& instance, const Incarnation& who,
                                    const Life& life, const Moment& now, News& news) const;

  const std::chrono::milliseconds silence_;
  std::map<std::string, Instance> instances_;
};

}  // namespace sipheal::inline v0_1::internal
