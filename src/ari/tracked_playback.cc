// SPDX-License-Identifier: Apache-2.0
#include "ari/tracked_playback.h"

#include <algorithm>

#include "ari/ari_json.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

// Longer lists are cut: the rest is not resumed. Nobody plays so many files in one go.
constexpr std::size_t kMaxItems = 4096;

}  // namespace

TrackedPlayback::TrackedPlayback(const json& playback,
                                 const std::optional<FlowHints::PlaybackList>& hint, WallTime at)
    : last_seen_playing_(at) {
  state_.id = Text(playback, "id");
  state_.language = Text(playback, "language");
  state_.on_bridge = Text(playback, "target_uri").starts_with("bridge:");
  state_.item_started = at;
  SetCurrent(Text(playback, "media_uri"), Text(playback, "next_media_uri"));
  if (hint) Apply(*hint);
}

bool TrackedPlayback::IsRepeated(char kind, const json& playback, const std::string& stamp) {
  std::string mark =
      kind + stamp + '\n' + Text(playback, "media_uri") + '\n' + Text(playback, "next_media_uri");
  if (std::find(recent_.begin(), recent_.end(), mark) != recent_.end()) return true;
  recent_[next_recent_++ % recent_.size()] = std::move(mark);
  return false;
}

void TrackedPlayback::SetCurrent(const std::string& media, const std::string& next) {
  std::vector<std::string>& list = state_.media;
  if (state_.item >= list.size() || list[state_.item] != media) {
    const auto from =
        list.begin() + static_cast<std::ptrdiff_t>(std::min(state_.item, list.size()));
    const auto found = std::find(from, list.end(), media);
    if (found != list.end()) {
      state_.item = static_cast<std::size_t>(found - list.begin());
    } else {
      // What is known of the list does not fit: keep what was played, go on with what is played
      // now.
      list.erase(from, list.end());
      if (list.size() >= kMaxItems) return;
      state_.item = list.size();
      list.push_back(media);
    }
  }
  if (!next.empty() && state_.item + 1 == list.size() && list.size() < kMaxItems) {
    list.push_back(next);
  }
}

void TrackedPlayback::Started(const json& playback, const std::string& stamp, WallTime at) {
  if (IsRepeated('S', playback, stamp)) return;
  const std::string media = Text(playback, "media_uri");
  const bool other_item = state_.item >= state_.media.size() || state_.media[state_.item] != media;
  if (between_items_ || other_item) {
    SetCurrent(media, Text(playback, "next_media_uri"));
    state_.item_started = at;
    state_.skipped = std::chrono::milliseconds(0);
    state_.paused = false;
    between_items_ = false;
  } else if (state_.paused) {
    // Asterisk says "started" again when a pause ends, and says nothing when it begins.
    EndPause(at);
  }
  last_seen_playing_ = at;
}

void TrackedPlayback::EndPause(WallTime at) {
  state_.paused = false;
  state_.skipped = state_.paused_at;
  state_.paused_at = std::chrono::milliseconds(0);
  state_.item_started = at;
}

void TrackedPlayback::Continuing(const json& playback, const std::string& stamp, WallTime at) {
  if (IsRepeated('C', playback, stamp)) return;
  SetCurrent(Text(playback, "media_uri"), Text(playback, "next_media_uri"));
  if (state_.item + 1 < state_.media.size()) ++state_.item;
  state_.item_started = at;
  state_.skipped = std::chrono::milliseconds(0);
  state_.paused = false;
  state_.paused_at = std::chrono::milliseconds(0);
  between_items_ = true;
  last_seen_playing_ = at;
}

void TrackedPlayback::Observed(const json& playback, WallTime at) {
  const std::string state = Text(playback, "state");
  if (state == "paused") {
    if (state_.paused) return;
    // It was paused somewhere between the last two looks: the middle halves the error.
    const WallTime middle = last_seen_playing_ + (at - last_seen_playing_) / 2;
    state_.paused_at = state_.PositionAt(std::max(middle, state_.item_started));
    state_.paused = true;
  } else if (state == "playing") {
    if (state_.paused) EndPause(at);
    const std::string media = Text(playback, "media_uri");
    if (state_.item >= state_.media.size() || state_.media[state_.item] != media) {
      SetCurrent(media, Text(playback, "next_media_uri"));
      state_.item_started = at;
      state_.skipped = std::chrono::milliseconds(0);
    }
    last_seen_playing_ = at;
  }
}

void TrackedPlayback::Apply(const FlowHints::PlaybackList& hint) {
  if (hinted_ || hint.id != state_.id || hint.media.size() > kMaxItems || state_.media.empty()) {
    return;
  }
  const std::string& current = state_.media[std::min(state_.item, state_.media.size() - 1)];
  // The list as far as it was seen must be in the hint's, at its place; else the hint is of another
  // playback that had the same id.
  const std::size_t item = hint.item + state_.item;
  if (item >= hint.media.size() || hint.media[item] != current) return;
  hinted_ = true;
  const bool first_item = state_.item == 0;
  state_.media = hint.media;
  state_.item = item;
  if (first_item && !state_.paused) state_.skipped = hint.offset;
}

}  // namespace sipheal::inline v0_1::internal
