// SPDX-License-Identifier: Apache-2.0
// TrackerState knows what one incarnation of an Asterisk holds: ARI's events and answers in,
// changed sessions out. No I/O, no threads, no clock; the shell (tracker.cc) has those.
//
// What an event says and what an answer said that was asked for before it may contradict each
// other. The event wins: the event socket was open before anything was asked, so an entity that an
// event touched since then is newer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "ari/flow_hints.h"
#include "ari/tracked_playback.h"
#include "sipheal/model/incarnation.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

// Channel variables by which a host tells of a session; read at any time of the call.
inline constexpr char kRecoverVariable[] = "SIPHEAL_RECOVER";     // "no": end it with BYE instead
inline constexpr char kHostDataVariable[] = "SIPHEAL_HOST_DATA";  // FlowState::host_data
inline constexpr char kEndsAtVariable[] = "SIPHEAL_ENDS_AT";      // seconds since 1970, or ISO 8601
inline constexpr char kGroupVariable[] = "SIPHEAL_GROUP";         // Session::group

inline bool InStasis(const DialplanLocation& dialplan) { return dialplan.application == "Stasis"; }

class TrackerState {
 public:
  TrackerState(Incarnation incarnation, std::string own_app);

  // An event socket of this incarnation opened (again): what comes now is newer than what is known.
  void Connected();
  void Apply(const nlohmann::json& event, WallTime at);
  // GET /channels and GET /bridges, both asked after Connected.
  void Adopt(const nlohmann::json& channels, const nlohmann::json& bridges, WallTime at);
  // What the store has of this incarnation. Returns the ids of channels that it names and that are
  // unknown here; when the server does not know them either, the shell says so with ChannelGone.
  std::vector<std::string> AdoptStored(const std::vector<Session>& stored);
  void ChannelGone(const std::string& channel_id);
  // A variable as GET .../variable said it, or as ChannelVarset said it.
  void SetVariable(const std::string& channel_id, const std::string& name,
                   const std::string& value);
  // CHANNEL(onhold): whether we put the phone on hold. No event says it.
  void SetOnHold(const std::string& channel_id, bool on_hold);
  // GET /playbacks/{id}; nullptr for 404.
  void ObservePlayback(const std::string& id, const nlohmann::json* playback, WallTime at);
  void RecordingGone(const std::string& name);

  // A successor record, once the engine has made it: without it a recovered channel is no session
  // yet.
  void SetSuccessor(const Session& successor);
  // The store said that it has no such record: it is asked for again.
  void ForgetSuccessor(const SessionKey& key);
  // Whether there are recovered channels whose record is not known.
  bool WantsSuccessors() const { return !waiting_.empty(); }

  // The sessions that changed since the last call, each once, in its newest state; ended ones as
  // kEnded.
  std::vector<Session> TakeChanged();

  const Incarnation& incarnation() const { return incarnation_; }
  std::vector<std::string> ChannelIds() const;
  // Answered channels in Stasis, in order: ARI's hold is for these.
  std::vector<std::string> ChannelsThatMayBeHeld() const;
  std::vector<std::string> PlaybackIds() const;
  std::vector<std::string> RecordingNames() const;

 private:
  struct Channel {
    std::string id;
    std::string name;
    std::string endpoint;  // empty: no PJSIP channel
    std::string call_id;
    bool up = false;
    WallTime created_at{};
    std::optional<WallTime> answered_at;
    DialplanLocation dialplan;
    std::optional<std::vector<std::string>> own_app_args;  // in our own application, with these
    std::string bridge_id;
    std::uint64_t touched = 0;         // the connection in which an event last spoke of it
    std::uint64_t bridge_touched = 0;  // the same of its bridge membership
    bool held_by_peer = false;
    std::optional<bool> held_by_us;
    std::optional<bool> recover;
    std::optional<std::string> host_data;
    std::optional<WallTime> ends_at;
    std::optional<std::string> group;
    FlowHints hints;
    std::optional<RecoveryChannel> recovery;
    std::optional<Session> base;  // what the store had: for what no event tells
    std::optional<Session> said;  // what TakeChanged gave last
    bool gone = false;            // ended, but its successor record is not there yet
  };
  struct Bridge {
    BridgeMembership membership;
    std::set<std::string> members;
  };
  struct RecordingOn {
    Recording recording;
    std::string channel_id;  // one of the two
    std::string bridge_id;
  };

  Channel* Find(const std::string& channel_id);
  // Takes a channel snapshot; nullptr when it is none, or of a channel that has ended.
  Channel* Update(const nlohmann::json& snapshot, WallTime at, bool newer);
  void UpdateBridge(const nlohmann::json& bridge);
  void SetBridge(Channel& channel, const std::string& bridge_id);
  void RemoveBridge(const std::string& bridge_id);
  void End(Channel& channel);
  void Erase(const std::string& channel_id);
  void OnPlayback(const nlohmann::json& event, const std::string& type, WallTime at);
  void OnRecording(const nlohmann::json& event, const std::string& type);
  void ReadHints(Channel& channel, const std::string& value);
  void TouchTarget(const std::string& channel_id, const std::string& bridge_id);
  std::optional<Session> Compose(const Channel& channel) const;
  void FillFlow(const Channel& channel, FlowState& flow) const;

  Incarnation incarnation_;
  std::string own_app_;
  std::uint64_t connection_ = 0;
  std::unordered_map<std::string, Channel> channels_;
  std::unordered_map<std::string, Bridge> bridges_;
  std::map<std::string, TrackedPlayback> playbacks_;
  std::unordered_map<std::string, std::pair<std::string, std::string>> playback_targets_;
  std::map<std::string, RecordingOn> recordings_;
  std::map<std::string, FlowHints::PlaybackList> playback_hints_;
  std::map<std::string, FlowHints::RecordingParts> recording_hints_;
  std::unordered_set<std::string> waiting_;  // recovered channels without their record
  std::set<std::string> dirty_;              // channels to look at in TakeChanged
  std::vector<Session> ended_;
  // Ids of channels that ended: late events must not raise them.
  std::unordered_set<std::string> dead_;
  std::deque<std::string> dead_order_;
};

}  // namespace sipheal::inline v0_1::internal
