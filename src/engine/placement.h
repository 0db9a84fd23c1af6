// SPDX-License-Identifier: Apache-2.0
// Placement: which target takes a session. Healthy, able, with room, not one that just failed for
// it; sessions of one call go together, else the least loaded. Where the call of a group is not
// known yet, the group's name decides: its other sessions may be in the hands of another
// controller, which at that moment can only be met where both come to without a word.
#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "engine/pacer.h"
#include "sipheal/base/clock.h"
#include "sipheal/healer_options.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::internal {

struct Recovery;

// What the engine knows of one configured instance. Owned by the loop.
struct Target {
  Target(InstanceOptions options_in, const PacingOptions& pacing, MonotonicTime now)
      : options(std::move(options_in)), pacer(pacing, now) {}

  InstanceOptions options;
  std::optional<InstanceStatus> status;  // the last answer; none: not known, or it did not answer
  bool inspecting = false;
  MonotonicTime inspected_at{};
  std::set<std::string> has_endpoints;      // asked for and there
  std::set<std::string> missing_endpoints;  // asked for and not there
  Pacer pacer;
  int inviting = 0;   // our channels there that wait for an answer
  int placed = 0;     // channels put there since the last inspection, not yet in status.channels
  int creating = 0;   // creates under way
  bool busy = false;  // has enough to do now: set while placing
  int suspects = 0;   // of `inviting`, sessions that may be deadly
  // Answered calls whose flow waits until the channels are made, in the order of their answers.
  struct HeldResume {
    std::shared_ptr<Recovery> recovery;
    std::uint32_t attempt;
    MonotonicTime until;
  };
  std::deque<HeldResume> resumes;

  bool usable() const { return options.target && status.has_value() && status->can_recover; }
  bool has_room() const {
    return options.max_channels == 0 ||
           (status ? status->channels : 0) + placed < options.max_channels;
  }
  int load() const { return (status ? status->channels : 0) + placed; }
};

using Targets = std::map<std::string, std::unique_ptr<Target>>;

struct PlacementQuery {
  std::string endpoint;
  std::string wish;             // the instance where its call is; empty: none
  std::string group;            // its call group; empty: none
  std::set<std::string> avoid;  // that failed for this session
  Incarnation never;            // that was taken for dead with this session, should it be back
};

struct PlacementAnswer {
  Target* target = nullptr;          // none for now
  bool nobody_has_endpoint = false;  // every usable instance was asked and lacks it
};

PlacementAnswer Place(const Targets& targets, const PlacementQuery& query);

}  // namespace sipheal::inline v0_1::internal
