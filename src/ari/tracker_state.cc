// SPDX-License-Identifier: Apache-2.0
#include "ari/tracker_state.h"

#include <algorithm>
#include <utility>

#include "ari/ari_json.h"

namespace sipheal::inline v0_1::internal {
namespace {

using nlohmann::json;

constexpr std::size_t kMaxHostData = 64 * 1024;  // FlowState::host_data
constexpr std::size_t kMaxDead = 16384;
constexpr std::size_t kMaxHints = 16384;

// "PJSIP/phone-0000002a" is of the endpoint "phone"; other technologies are of none.
std::string EndpointOf(const std::string& channel_name) {
  constexpr std::string_view kTechnology = "PJSIP/";
  if (!channel_name.starts_with(kTechnology)) return "";
  const std::size_t dash = channel_name.rfind('-');
  if (dash == std::string::npos || dash <= kTechnology.size()) return "";
  return channel_name.substr(kTechnology.size(), dash - kTechnology.size());
}

bool SaysNo(const std::string& value) {
  return value == "no" || value == "NO" || value == "No" || value == "false" || value == "0" ||
         value == "off";
}

// "channel:ID" or "bridge:ID".
std::pair<std::string, std::string> Target(const std::string& uri) {
  if (uri.starts_with("channel:")) return {uri.substr(8), ""};
  if (uri.starts_with("bridge:")) return {"", uri.substr(7)};
  return {};
}

}  // namespace

TrackerState::TrackerState(Incarnation incarnation, std::string own_app)
    : incarnation_(std::move(incarnation)), own_app_(std::move(own_app)) {}

void TrackerState::Connected() { ++connection_; }

TrackerState::Channel* TrackerState::Find(const std::string& channel_id) {
  const auto found = channels_.find(channel_id);
  return found == channels_.end() || found->second.gone ? nullptr : &found->second;
}

TrackerState::Channel* TrackerState::Update(const json& snapshot, WallTime at, bool newer) {
  const std::string id = Text(snapshot, "id");
  const std::string name = Text(snapshot, "name");
  if (id.empty() || dead_.contains(id)) return nullptr;
  const auto [entry, is_new] = channels_.try_emplace(id);
  Channel& channel = entry->second;
  if (channel.gone) return nullptr;
  if (is_new) {
    channel.id = id;
    channel.name = name;
    channel.endpoint = EndpointOf(name);
    channel.created_at = newer ? at : ParseTime(Text(snapshot, "creationtime")).value_or(at);
    channel.recovery = ParseRecoveryChannelId(id);
    if (channel.recovery && !channel.endpoint.empty()) waiting_.insert(id);
  }
  if (newer) {
    channel.touched = connection_;
  } else if (channel.touched == connection_ && !is_new) {
    return &channel;
  }
  if (const std::string call_id = Text(snapshot, "protocol_id"); !call_id.empty()) {
    channel.call_id = call_id;
  }
  // An answered channel never rings again: a snapshot that says so was late.
  if (!channel.up && Text(snapshot, "state") == "Up") {
    channel.up = true;
    if (newer) channel.answered_at = at;
  }
  if (const json* dialplan = Member(snapshot, "dialplan"); dialplan != nullptr) {
    channel.dialplan.context = Text(*dialplan, "context");
    channel.dialplan.extension = Text(*dialplan, "exten");
    channel.dialplan.priority = static_cast<int>(
        std::clamp<std::int64_t>(Integer(*dialplan, "priority").value_or(1), 0, 1'000'000));
    channel.dialplan.application = Text(*dialplan, "app_name");
    channel.dialplan.application_data = Text(*dialplan, "app_data");
    if (!InStasis(channel.dialplan)) channel.own_app_args.reset();
  }
  // ari.conf's channelvars: saves asking for each variable.
  if (const json* variables = Member(snapshot, "channelvars");
      variables != nullptr && variables->is_object()) {
    for (const char* variable :
         {kRecoverVariable, kHostDataVariable, kEndsAtVariable, kGroupVariable, kFlowVariable}) {
      if (const std::string value = Text(*variables, variable); !value.empty()) {
        SetVariable(id, variable, value);
      }
    }
  }
  dirty_.insert(id);
  return &channel;
}

void TrackerState::UpdateBridge(const json& snapshot) {
  const std::string id = Text(snapshot, "id");
  if (id.empty()) return;
  Bridge& bridge = bridges_[id];
  BridgeMembership membership{id, Text(snapshot, "name"), Text(snapshot, "bridge_type"),
                              Text(snapshot, "technology"),
                              Text(snapshot, "creator") == "ConfBridge"};
  if (membership == bridge.membership) return;
  bridge.membership = std::move(membership);
  dirty_.insert(bridge.members.begin(), bridge.members.end());
}

void TrackerState::SetBridge(Channel& channel, const std::string& bridge_id) {
  if (channel.bridge_id != bridge_id) {
    if (const auto old = bridges_.find(channel.bridge_id); old != bridges_.end()) {
      old->second.members.erase(channel.id);
    }
    channel.bridge_id = bridge_id;
  }
  if (!bridge_id.empty()) bridges_[bridge_id].members.insert(channel.id);
  dirty_.insert(channel.id);
}

void TrackerState::RemoveBridge(const std::string& bridge_id) {
  const auto found = bridges_.find(bridge_id);
  if (found == bridges_.end()) return;
  const std::set<std::string> members = found->second.members;
  for (const std::string& member : members) {
    if (Channel* channel = Find(member); channel != nullptr) SetBridge(*channel, "");
  }
  bridges_.erase(bridge_id);
  // What was played to it or recorded of it ended with it.
  std::erase_if(playbacks_, [&](const auto& entry) {
    return playback_targets_[entry.first].second == bridge_id;
  });
  std::erase_if(playback_targets_,
                [&](const auto& entry) { return entry.second.second == bridge_id; });
  std::erase_if(recordings_,
                [&](const auto& entry) { return entry.second.bridge_id == bridge_id; });
}

void TrackerState::Erase(const std::string& channel_id) {
  channels_.erase(channel_id);
  waiting_.erase(channel_id);
  dirty_.erase(channel_id);
  if (dead_.insert(channel_id).second) dead_order_.push_back(channel_id);
  while (dead_order_.size() > kMaxDead) {
    dead_.erase(dead_order_.front());
    dead_order_.pop_front();
  }
}

void TrackerState::End(Channel& channel) {
  SetBridge(channel, "");
  const std::string id = channel.id;
  std::erase_if(playbacks_,
                [&](const auto& entry) { return playback_targets_[entry.first].first == id; });
  std::erase_if(playback_targets_, [&](const auto& entry) { return entry.second.first == id; });
  std::erase_if(recordings_, [&](const auto& entry) { return entry.second.channel_id == id; });
  if (channel.recovery && !channel.base && !channel.endpoint.empty()) {
    // Its record may still come: then it must not stay behind as a live one.
    channel.gone = true;
    return;
  }
  if (channel.said || channel.base) {
    Session session = channel.said ? *channel.said : *channel.base;
    session.state = SessionState::kEnded;
    ended_.push_back(std::move(session));
  }
  Erase(id);
}

void TrackerState::ChannelGone(const std::string& channel_id) {
  if (Channel* channel = Find(channel_id); channel != nullptr) End(*channel);
}

void TrackerState::Apply(const json& event, WallTime at) {
  const std::string type = Text(event, "type");
  if (const json* bridge = Member(event, "bridge");
      bridge != nullptr && type != "BridgeDestroyed") {
    UpdateBridge(*bridge);
  }
  if (type == "Dial") {
    // Its snapshots come by another way than those of the channels' own events, and may be older.
    for (const char* side : {"caller", "peer"}) {
      const json* snapshot = Member(event, side);
      if (snapshot != nullptr && !channels_.contains(Text(*snapshot, "id"))) {
        Update(*snapshot, at, true);
      }
    }
    return;
  }
  Channel* channel = nullptr;
  if (const json* snapshot = Member(event, "channel"); snapshot != nullptr) {
    channel = Update(*snapshot, at, true);
  }
  if (type == "BridgeDestroyed") {
    if (const json* bridge = Member(event, "bridge")) RemoveBridge(Text(*bridge, "id"));
  } else if (type.starts_with("Playback")) {
    OnPlayback(event, type, at);
  } else if (type.starts_with("Recording")) {
    OnRecording(event, type);
  }
  if (channel == nullptr) return;
  if (type == "ChannelDestroyed") {
    End(*channel);
  } else if (type == "ChannelEnteredBridge" || type == "ChannelLeftBridge") {
    const json* bridge = Member(event, "bridge");
    const std::string id = bridge == nullptr ? "" : Text(*bridge, "id");
    channel->bridge_touched = connection_;
    if (type == "ChannelEnteredBridge") {
      SetBridge(*channel, id);
    } else if (channel->bridge_id == id) {
      SetBridge(*channel, "");
    }
  } else if (type == "ChannelHold") {
    channel->held_by_peer = true;
  } else if (type == "ChannelUnhold") {
    channel->held_by_peer = false;
  } else if (type == "ChannelVarset") {
    SetVariable(channel->id, Text(event, "variable"), Text(event, "value"));
  } else if (type == "StasisStart" && Text(event, "application") == own_app_) {
    channel->own_app_args = TextList(event, "args");
  } else if (type == "StasisEnd" && Text(event, "application") == own_app_) {
    channel->own_app_args.reset();
  }
}

void TrackerState::SetVariable(const std::string& channel_id, const std::string& name,
                               const std::string& value) {
  Channel* channel = Find(channel_id);
  if (channel == nullptr) return;
  if (name == kRecoverVariable) {
    channel->recover = !SaysNo(value);
  } else if (name == kHostDataVariable) {
    if (value.size() > kMaxHostData) return;
    channel->host_data = value;
  } else if (name == kEndsAtVariable) {
    channel->ends_at = ParseTime(value);
  } else if (name == kGroupVariable) {
    channel->group = value;
  } else if (name == kFlowVariable) {
    ReadHints(*channel, value);
  } else {
    return;
  }
  dirty_.insert(channel_id);
}

void TrackerState::ReadHints(Channel& channel, const std::string& value) {
  channel.hints = ParseFlowHints(value);
  if (channel.hints.playback && playback_hints_.size() < kMaxHints) {
    const FlowHints::PlaybackList& list = *channel.hints.playback;
    playback_hints_[list.id] = list;
    if (const auto playing = playbacks_.find(list.id); playing != playbacks_.end()) {
      playing->second.Apply(list);
      const auto& [on_channel, on_bridge] = playback_targets_[list.id];
      TouchTarget(on_channel, on_bridge);
    }
  }
  for (const FlowHints::RecordingParts& parts : channel.hints.recordings) {
    if (recording_hints_.size() >= kMaxHints) break;
    recording_hints_[parts.name] = parts;
    if (const auto live = recordings_.find(parts.name); live != recordings_.end()) {
      live->second.recording.earlier_parts = parts.earlier_parts;
      TouchTarget(live->second.channel_id, live->second.bridge_id);
    }
  }
}

void TrackerState::TouchTarget(const std::string& channel_id, const std::string& bridge_id) {
  if (!channel_id.empty()) dirty_.insert(channel_id);
  if (const auto bridge = bridges_.find(bridge_id); bridge != bridges_.end()) {
    dirty_.insert(bridge->second.members.begin(), bridge->second.members.end());
  }
}

void TrackerState::OnPlayback(const json& event, const std::string& type, WallTime at) {
  const json* playback = Member(event, "playback");
  if (playback == nullptr) return;
  const std::string id = Text(*playback, "id");
  const std::string stamp = Text(event, "timestamp");
  const auto [channel_id, bridge_id] = Target(Text(*playback, "target_uri"));
  if (id.empty() || (channel_id.empty() && bridge_id.empty())) return;
  const auto found = playbacks_.find(id);
  if (type == "PlaybackFinished") {
    if (found != playbacks_.end()) playbacks_.erase(found);
    playback_targets_.erase(id);
    playback_hints_.erase(id);
  } else if (found == playbacks_.end()) {
    std::optional<FlowHints::PlaybackList> hint;
    if (const auto hinted = playback_hints_.find(id); hinted != playback_hints_.end()) {
      hint = hinted->second;
    }
    const auto [added, is_new] = playbacks_.try_emplace(id, *playback, hint, at);
    playback_targets_[id] = {channel_id, bridge_id};
    if (type == "PlaybackContinuing") {
      added->second.Continuing(*playback, stamp, at);
    } else {
      added->second.Started(*playback, stamp, at);
    }
  } else if (type == "PlaybackContinuing") {
    found->second.Continuing(*playback, stamp, at);
  } else {
    found->second.Started(*playback, stamp, at);
  }
  TouchTarget(channel_id, bridge_id);
}

void TrackerState::OnRecording(const json& event, const std::string& type) {
  const json* recording = Member(event, "recording");
  if (recording == nullptr) return;
  const std::string name = Text(*recording, "name");
  const auto [channel_id, bridge_id] = Target(Text(*recording, "target_uri"));
  if (name.empty()) return;
  if (type == "RecordingStarted") {
    RecordingOn& live = recordings_[name];
    live.recording.name = name;
    live.recording.format = Text(*recording, "format");
    live.recording.on_bridge = !bridge_id.empty();
    live.channel_id = channel_id;
    live.bridge_id = bridge_id;
    if (const auto hint = recording_hints_.find(name); hint != recording_hints_.end()) {
      live.recording.earlier_parts = hint->second.earlier_parts;
    }
  } else {
    recordings_.erase(name);
    recording_hints_.erase(name);
  }
  TouchTarget(channel_id, bridge_id);
}

void TrackerState::Adopt(const json& channels, const json& bridges, WallTime at) {
  std::unordered_set<std::string> alive;
  if (channels.is_array()) {
    for (const json& snapshot : channels) {
      alive.insert(Text(snapshot, "id"));
      Update(snapshot, at, false);
    }
  }
  std::unordered_map<std::string, std::string> bridge_of;
  std::unordered_set<std::string> alive_bridges;
  if (bridges.is_array()) {
    for (const json& snapshot : bridges) {
      const std::string id = Text(snapshot, "id");
      alive_bridges.insert(id);
      UpdateBridge(snapshot);
      for (const std::string& member : TextList(snapshot, "channels")) bridge_of[member] = id;
    }
  }
  std::vector<std::string> gone;
  for (auto& [id, channel] : channels_) {
    if (channel.gone) continue;
    if (channel.bridge_touched != connection_) {
      const auto in = bridge_of.find(id);
      SetBridge(channel, in == bridge_of.end() ? "" : in->second);
    }
    if (channel.touched != connection_ && !alive.contains(id)) gone.push_back(id);
  }
  for (const std::string& id : gone) ChannelGone(id);
  std::vector<std::string> empty_bridges;
  for (const auto& [id, bridge] : bridges_) {
    if (bridge.members.empty() && !alive_bridges.contains(id)) empty_bridges.push_back(id);
  }
  for (const std::string& id : empty_bridges) RemoveBridge(id);
}

void TrackerState::SetOnHold(const std::string& channel_id, bool on_hold) {
  Channel* channel = Find(channel_id);
  if (channel == nullptr || channel->held_by_us == on_hold) return;
  channel->held_by_us = on_hold;
  dirty_.insert(channel_id);
}

void TrackerState::ObservePlayback(const std::string& id, const json* playback, WallTime at) {
  const auto found = playbacks_.find(id);
  if (found == playbacks_.end()) return;
  const auto [channel_id, bridge_id] = playback_targets_[id];
  if (playback == nullptr) {
    playbacks_.erase(found);
    playback_targets_.erase(id);
  } else {
    found->second.Observed(*playback, at);
  }
  TouchTarget(channel_id, bridge_id);
}

void TrackerState::RecordingGone(const std::string& name) {
  const auto found = recordings_.find(name);
  if (found == recordings_.end()) return;
  const RecordingOn live = found->second;
  recordings_.erase(found);
  TouchTarget(live.channel_id, live.bridge_id);
}

std::vector<std::string> TrackerState::ChannelIds() const {
  std::vector<std::string> ids;
  for (const auto& [id, channel] : channels_) {
    if (!channel.endpoint.empty() && !channel.gone) ids.push_back(id);
  }
  return ids;
}

std::vector<std::string> TrackerState::ChannelsThatMayBeHeld() const {
  std::vector<std::string> ids;
  for (const auto& [id, channel] : channels_) {
    const bool in_stasis = channel.own_app_args.has_value() || InStasis(channel.dialplan);
    if (!channel.endpoint.empty() && channel.up && !channel.gone && in_stasis) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  return ids;
}

std::vector<std::string> TrackerState::PlaybackIds() const {
  std::vector<std::string> ids;
  for (const auto& [id, playback] : playbacks_) ids.push_back(id);
  return ids;
}

std::vector<std::string> TrackerState::RecordingNames() const {
  std::vector<std::string> names;
  for (const auto& [name, recording] : recordings_) names.push_back(name);
  return names;
}

}  // namespace sipheal::inline v0_1::internal
