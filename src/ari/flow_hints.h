// SPDX-License-Identifier: Apache-2.0
// What ARI's events do not show of a channel's flow, as JSON in the channel variable SIPHEAL_FLOW:
// the flow resumer sets it on a recovered channel before it acts, a host may set it on any channel,
// and the tracker reads it.
//
// Asterisk names only the current and the next item of a playback's list, never the offset it began
// with, no mute, no music on hold, and not the application that a channel was moved to. Without
// this variable the second recovery of a call would not know them.
//
//   {"stasis":{"app":"host","args":["a"]},
//    "playback":{"id":"p1","media":["sound:a","sound:b"],"item":0,"offset_ms":1200},
//    "recordings":[{"name":"r-part2","earlier_parts":["r"]}],
//    "held":true,"music_on_hold":false,"muted_in":false,"muted_out":false}
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sipheal::inline v0_1::internal {

inline constexpr char kFlowVariable[] = "SIPHEAL_FLOW";

struct FlowHints {
  struct StasisApp {
    std::string app;
    std::vector<std::string> args;

    friend bool operator==(const StasisApp&, const StasisApp&) = default;
  };
  struct PlaybackList {
    std::string id;
    std::vector<std::string> media;
    std::size_t item = 0;                 // the one that the playback begins with
    std::chrono::milliseconds offset{0};  // where in that item it begins

    friend bool operator==(const PlaybackList&, const PlaybackList&) = default;
  };
  struct RecordingParts {
    std::string name;
    std::vector<std::string> earlier_parts;

    friend bool operator==(const RecordingParts&, const RecordingParts&) = default;
  };

  std::optional<StasisApp> stasis;
  std::optional<PlaybackList> playback;
  std::vector<RecordingParts> recordings;
  std::optional<bool> held;
  std::optional<bool> music_on_hold;
  std::optional<bool> muted_in;
  std::optional<bool> muted_out;

  friend bool operator==(const FlowHints&, const FlowHints&) = default;
};

// Leaves out what it cannot read; never fails.
FlowHints ParseFlowHints(std::string_view text);
std::string FormatFlowHints(const FlowHints& hints);

}  // namespace sipheal::inline v0_1::internal
