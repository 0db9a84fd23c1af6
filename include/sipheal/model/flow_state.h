// SPDX-License-Identifier: Apache-2.0
// FlowState says what a session was doing, so that a FlowResumer can put it back there.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "sipheal/base/clock.h"

namespace sipheal::inline v0_1 {

// Where a channel was kept together with others.
struct BridgeMembership {
  // The bridge's id on the media server. A resumer makes the bridge anew under this id on the
  // target.
  std::string id;
  std::string name;  // may be empty
  std::string
      type;  // ARI bridge types, comma separated: "mixing", "holding", "mixing,dtmf_events", ...
  std::string technology;  // for the record: "simple_bridge", "softmix", ...
  bool conference =
      false;  // an application conference (ConfBridge), which has a name and no ARI id to reuse

  friend bool operator==(const BridgeMembership&, const BridgeMembership&) = default;
};

// A sound being played to the channel, or to its bridge.
struct Playback {
  std::string id;
  std::vector<std::string> media;  // media URIs in order, for example "sound:welcome"
  std::size_t item = 0;            // which of `media` was playing
  WallTime item_started{};         // when that item began
  std::chrono::milliseconds skipped{
      0};  // where in the item it began (an offset it was started with)
  bool paused = false;
  std::chrono::milliseconds paused_at{0};  // position when it was paused
  std::string language;
  bool on_bridge = false;  // played to the bridge, not to the channel

  // The position in the current item at `when`, never negative.
  std::chrono::milliseconds PositionAt(WallTime when) const {
    if (paused) return paused_at;
    const auto played = std::chrono::duration_cast<std::chrono::milliseconds>(when - item_started);
    return skipped + (played.count() > 0 ? played : std::chrono::milliseconds(0));
  }

  friend bool operator==(const Playback&, const Playback&) = default;
};

struct Recording {
  std::string name;  // as the media server knows it; the continuation is a file of its own, linked
                     // to this one
  std::string format;  // "wav", ...
  bool on_bridge = false;
  // Parts recorded by earlier incarnations, oldest first; each is a recording name on its instance.
  std::vector<std::string> earlier_parts;

  friend bool operator==(const Recording&, const Recording&) = default;
};

// Where in the dialplan a channel outside Stasis was (or a channel in Stasis had come from).
struct DialplanLocation {
  std::string context;
  std::string extension;
  int priority = 1;
  std::string
      application;  // what it was executing there: "Dial", "Queue", "ConfBridge", "Stasis", ...
  std::string application_data;

  friend bool operator==(const DialplanLocation&, const DialplanLocation&) = default;
};

struct FlowState {
  // The Stasis application that controls the channel; empty when it is outside Stasis.
  std::string stasis_app;
  std::vector<std::string> stasis_args;
  std::optional<BridgeMembership> bridge;
  std::optional<Playback> playback;
  std::vector<Recording> recordings;
  bool held_by_us = false;    // we put the phone on hold (ARI channel hold)
  bool held_by_peer = false;  // the phone put us on hold (ChannelHold)
  bool music_on_hold = false;
  bool muted_in = false;
  bool muted_out = false;
  DialplanLocation dialplan;
  // Whatever the host wants to find again: returned untouched with the session. At most 64 KiB.
  std::string host_data;

  friend bool operator==(const FlowState&, const FlowState&) = default;
};

}  // namespace sipheal::inline v0_1
