// SPDX-License-Identifier: Apache-2.0
// One playback as the tracker follows it through ARI's events.
#pragma once

#include <array>
#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "ari/flow_hints.h"
#include "sipheal/base/clock.h"
#include "sipheal/model/flow_state.h"

namespace sipheal::inline v0_1::internal {

class TrackedPlayback {
 public:
  // A playback first seen in PlaybackStarted. `hint`, when it is of this playback, gives the whole
  // list and the offset it began with.
  TrackedPlayback(const nlohmann::json& playback,
                  const std::optional<FlowHints::PlaybackList>& hint, WallTime at);
  // One that an earlier tracker had stored.
  explicit TrackedPlayback(Playback stored)
      : state_(std::move(stored)), last_seen_playing_(), hinted_(true) {}

  // `stamp` is the event's own time stamp: Asterisk sends each event of a bridge's playback twice.
  void Started(const nlohmann::json& playback, const std::string& stamp, WallTime at);
  void Continuing(const nlohmann::json& playback, const std::string& stamp, WallTime at);
  // What GET /playbacks/{id} said: the only place that tells of a pause.
  void Observed(const nlohmann::json& playback, WallTime at);
  // A hint that came after the playback began.
  void Apply(const FlowHints::PlaybackList& hint);

  const Playback& state() const { return state_; }

 private:
  bool IsRepeated(char kind, const nlohmann::json& playback, const std::string& stamp);
  void EndPause(WallTime at);
  // The item with this URI becomes the current one, added if it is not in the list.
  void SetCurrent(const std::string& media, const std::string& next);

  Playback state_;
  WallTime last_seen_playing_;
  bool between_items_ = false;
  bool hinted_ = false;  // a hint is taken once: what it said of the offset holds for the beginning
  std::array<std::string, 8> recent_;  // the last events, to know a repeated one
  std::size_t next_recent_ = 0;
};

}  // namespace sipheal::inline v0_1::internal
