// SPDX-License-Identifier: Apache-2.0
// What the tracker knows of channels as sessions: what the store has of them, and what it is told.
#include <algorithm>
#include <utility>

#include "ari/tracker_state.h"

namespace sipheal::inline v0_1::internal {
namespace {

// The data of the application Stasis: "app,first,second".
std::vector<std::string> SplitArguments(const std::string& data) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  for (;;) {
    const std::size_t comma = data.find(',', begin);
    parts.push_back(data.substr(begin, comma - begin));
    if (comma == std::string::npos) return parts;
    begin = comma + 1;
  }
}

}  // namespace

std::vector<std::string> TrackerState::AdoptStored(const std::vector<Session>& stored) {
  std::vector<std::string> unknown;
  for (const Session& session : stored) {
    if (session.incarnation != incarnation_ || session.state == SessionState::kEnded) continue;
    Channel* channel = Find(session.channel_id);
    if (channel == nullptr) {
      const auto waiting = channels_.find(session.channel_id);
      if (waiting != channels_.end() || dead_.contains(session.channel_id)) {
        if (waiting != channels_.end()) Erase(session.channel_id);
        Session ended = session;
        ended.state = SessionState::kEnded;
        ended_.push_back(std::move(ended));
        continue;
      }
      Channel placeholder;
      placeholder.id = session.channel_id;
      placeholder.name = session.channel_name;
      placeholder.endpoint = session.endpoint;
      placeholder.call_id = session.call_id;
      placeholder.up = session.state == SessionState::kUp;
      placeholder.created_at = session.created_at;
      placeholder.recovery = ParseRecoveryChannelId(session.channel_id);
      placeholder.dialplan = session.flow.dialplan;
      channel = &(channels_[session.channel_id] = std::move(placeholder));
      unknown.push_back(session.channel_id);
    }
    // A newer record of a channel that is known: its server was silent, its session was claimed,
    // and nobody took it. What is known of the channel is the newest; what it is called is the
    // record's.
    const bool known = channel->base || channel->said;
    const std::uint32_t epoch = std::max(channel->base ? channel->base->epoch : 0,
                                         channel->said ? channel->said->epoch : 0);
    if (known && session.epoch <= epoch) continue;
    if (channel->recovery) {
      SetSuccessor(session);
      if (!channel->base) continue;
    } else {
      channel->base = session;
    }
    dirty_.insert(channel->id);
    if (known) continue;
    if (session.flow.held_by_peer) channel->held_by_peer = true;
    // Playbacks and recordings cannot be listed; the shell asks for each whether it still lives.
    if (session.flow.playback && !playbacks_.contains(session.flow.playback->id)) {
      const Playback& playback = *session.flow.playback;
      playbacks_.try_emplace(playback.id, playback);
      const std::string bridge_id = session.flow.bridge ? session.flow.bridge->id : "";
      playback_targets_[playback.id] = playback.on_bridge
                                           ? std::pair<std::string, std::string>("", bridge_id)
                                           : std::pair<std::string, std::string>(channel->id, "");
    }
    for (const Recording& recording : session.flow.recordings) {
      if (recordings_.contains(recording.name)) continue;
      RecordingOn& live = recordings_[recording.name];
      live.recording = recording;
      if (recording.on_bridge) {
        live.bridge_id = session.flow.bridge ? session.flow.bridge->id : "";
      } else {
        live.channel_id = channel->id;
      }
    }
  }
  return unknown;
}

void TrackerState::SetSuccessor(const Session& successor) {
  const auto found = channels_.find(successor.channel_id);
  if (found == channels_.end() || !found->second.recovery) return;
  Channel& channel = found->second;
  // Each attempt has a channel of its own; only the one that was answered is in the record.
  if (channel.recovery->session.id != successor.id ||
      channel.recovery->session.epoch >= successor.epoch || successor.incarnation != incarnation_) {
    return;
  }
  waiting_.erase(channel.id);
  channel.base = successor;
  dirty_.insert(channel.id);
  if (channel.gone) {
    Session ended = successor;
    ended.state = SessionState::kEnded;
    ended_.push_back(std::move(ended));
    Erase(successor.channel_id);
  }
}

void TrackerState::ForgetSuccessor(const SessionKey& key) {
  for (auto& [id, channel] : channels_) {
    if (!channel.recovery || !channel.base || channel.base->key() != key) continue;
    channel.base.reset();
    channel.said.reset();
    waiting_.insert(id);
  }
}

std::vector<Session> TrackerState::TakeChanged() {
  std::vector<Session> changed = std::exchange(ended_, {});
  for (const std::string& id : std::exchange(dirty_, {})) {
    Channel* channel = Find(id);
    if (channel == nullptr) continue;
    std::optional<Session> session = Compose(*channel);
    if (!session || session == channel->said) continue;
    channel->said = session;
    changed.push_back(*std::move(session));
  }
  return changed;
}

std::optional<Session> TrackerState::Compose(const Channel& channel) const {
  if (channel.endpoint.empty()) return std::nullopt;
  if (channel.recovery && !channel.base) return std::nullopt;
  Session session;
  if (channel.base) {
    session = *channel.base;
  } else {
    session.id = MakeSessionId(incarnation_, channel.id);
    session.created_at = channel.created_at;
  }
  session.incarnation = incarnation_;
  session.state = channel.up ? SessionState::kUp : SessionState::kRinging;
  // A recovered channel's protocol_id is a fresh one until the module has mended it; the record
  // knows better.
  if (!channel.recovery && !channel.call_id.empty()) session.call_id = channel.call_id;
  if (session.call_id.empty()) return std::nullopt;
  session.channel_id = channel.id;
  session.channel_name = channel.name;
  session.endpoint = channel.endpoint;
  if (!session.answered_at && channel.up) session.answered_at = channel.answered_at;
  if (channel.ends_at) session.ends_at = channel.ends_at;
  if (channel.recover) session.recover = *channel.recover;

  // A group that is not the bridge's was given by the host, and stays.
  const std::string old_bridge = session.flow.bridge ? session.flow.bridge->id : "";
  const bool hosts_group = !session.group.empty() && session.group != old_bridge;
  FillFlow(channel, session.flow);
  if (channel.group && !channel.group->empty()) {
    session.group = *channel.group;
  } else if (!hosts_group || channel.group) {
    session.group = session.flow.bridge ? session.flow.bridge->id : "";
  }
  return session;
}

void TrackerState::FillFlow(const Channel& channel, FlowState& flow) const {
  const bool in_stasis = InStasis(channel.dialplan);
  if (!in_stasis) {
    flow.stasis_app.clear();
    flow.stasis_args.clear();
  }
  if (in_stasis) {
    if (channel.hints.stasis) {
      flow.stasis_app = channel.hints.stasis->app;
      flow.stasis_args = channel.hints.stasis->args;
    } else if (channel.own_app_args && !channel.recovery) {
      flow.stasis_app = own_app_;
      flow.stasis_args = *channel.own_app_args;
    } else if (!channel.base || channel.base->flow.stasis_app.empty()) {
      std::vector<std::string> parts = SplitArguments(channel.dialplan.application_data);
      flow.stasis_app = parts.front();
      flow.stasis_args.assign(parts.begin() + 1, parts.end());
    }
  }
  // The recovered channel was originated: its place in the dialplan is the first channel's, until
  // it goes on there.
  const std::string& application = channel.dialplan.application;
  if (!channel.recovery || (!in_stasis && application != "AppDial2" && !application.empty())) {
    flow.dialplan = channel.dialplan;
  }

  const std::optional<BridgeMembership> before = std::exchange(flow.bridge, std::nullopt);
  if (const auto bridge = bridges_.find(channel.bridge_id);
      !channel.bridge_id.empty() && bridge != bridges_.end()) {
    flow.bridge = bridge->second.membership;
    flow.bridge->id = channel.bridge_id;
    // ARI shows "mixing" for "mixing,dtmf_events", too.
    if (before && before->id == channel.bridge_id && before->type.starts_with(flow.bridge->type)) {
      flow.bridge->type = before->type;
    }
  }
  flow.playback.reset();
  for (const auto& [id, playback] : playbacks_) {
    const auto target = playback_targets_.find(id);
    if (target == playback_targets_.end()) continue;
    const auto& [on_channel, on_bridge] = target->second;
    const bool own = on_channel == channel.id;
    if (!own && (on_bridge.empty() || on_bridge != channel.bridge_id)) continue;
    // Its own sound before its bridge's; of two, the one that began last.
    const Playback& candidate = playback.state();
    if (!flow.playback || (flow.playback->on_bridge && own) ||
        (flow.playback->on_bridge == !own &&
         flow.playback->item_started < candidate.item_started)) {
      flow.playback = candidate;
    }
  }
  flow.recordings.clear();
  for (const auto& [name, live] : recordings_) {
    if (live.channel_id == channel.id ||
        (!live.bridge_id.empty() && live.bridge_id == channel.bridge_id)) {
      flow.recordings.push_back(live.recording);
    }
  }
  flow.held_by_peer = channel.held_by_peer;
  if (channel.held_by_us) {
    flow.held_by_us = *channel.held_by_us;
  } else if (channel.hints.held) {
    flow.held_by_us = *channel.hints.held;
  }
  if (channel.hints.music_on_hold) flow.music_on_hold = *channel.hints.music_on_hold;
  if (channel.hints.muted_in) flow.muted_in = *channel.hints.muted_in;
  if (channel.hints.muted_out) flow.muted_out = *channel.hints.muted_out;
  if (channel.host_data) flow.host_data = *channel.host_data;
}

}  // namespace sipheal::inline v0_1::internal
