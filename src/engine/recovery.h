// SPDX-License-Identifier: Apache-2.0
// What the engine holds in memory of one crash and of one session's recovery. Owned by the loop.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "engine/planner.h"
#include "sipheal/base/clock.h"
#include "sipheal/healer.h"
#include "sipheal/model/recovery.h"
#include "sipheal/model/session.h"

namespace sipheal::inline v0_1::internal {

// One dead incarnation, until each of its sessions has an outcome.
struct CrashWork {
  CrashEvent event;
  MonotonicTime began_at{};
  bool listing = true;         // pages of its sessions are still to come
  bool culprit_known = false;  // a suspect was alone under way there when it died
  std::size_t open = 0;        // claimed sessions without outcome
  std::map<std::string, std::string>
      group_home;            // call group -> the instance where it is, or is put
  bool homes_known = false;  // group_home and living have those of the living instances
  // Sessions of a group that none recovers, by group, with where they live.
  std::map<std::string, std::vector<std::pair<Incarnation, FlowResumer::Partner>>> living;
  std::vector<std::function<void(const absl::Status&)>> wait_for_homes;
  std::set<std::string> groups_up;  // groups with legs of this crash in Engine::legs_up_
  std::shared_ptr<CrashReport> report = std::make_shared<CrashReport>();
};

// What the recovery waits for.
enum class Waiting {
  kPlan,     // its dialog is being rebuilt
  kTarget,   // for a target, its turn, or `not_before`
  kJournal,  // a step is being made durable
  kAnswer,   // the channel is (being) created: the phone's answer
  kResume,   // the flow is being resumed
  kHangUp,   // its channel, without a flow, is hung up as soon as the kill switch lets it
  kFinish,   // the outcome is being made durable
};

// How far a call into the driver that sends something has come.
enum class Sending {
  kNotBegun,  // nothing was sent
  kUnknown,   // the driver was called: it may have been sent, or be sent yet
  kDone,
};
// Set on the executor, too: a call may have begun and its answer not have come.
using SendingState = std::shared_ptr<std::atomic<Sending>>;

// In the journal with kRebuilt, of an attempt of which nothing was sent. Whoever takes the session
// over does not count it.
inline constexpr char kNotSent[] = "held: not sent";

struct Recovery {
  Session session;
  Lease lease;
  std::shared_ptr<CrashWork> crash;
  Plan plan;
  bool capture_is_complete = false;

  RecoveryStage stage = RecoveryStage::kClaimed;
  Waiting waiting = Waiting::kPlan;
  DialogAction action = DialogAction::kReinvite;
  std::string end_reason;  // why it is ended with BYE

  std::uint32_t attempt = 0;  // channels made so far
  std::uint32_t held = 0;     // of these, by the kill switch or a stop: never sent
  SendingState create;        // of the last attempt; null when a controller before this one made it
  SendingState hang_up;       // null: not to be hung up
  UsedUp used;
  UsedUp used_before;        // by the recoveries of earlier epochs
  std::uint32_t deaths = 0;  // targets that died with it
  std::string last_failure;
  std::uint32_t same_failures = 0;
  std::set<std::string> avoid;  // targets that failed for it

  Incarnation target;
  std::string channel_id;
  std::optional<TakenChannel> taken;  // what the next attempt takes from a server that may live
  bool flow_begun = true;         // Resume may have been called, or the channel lack its variables
  bool flow_done = false;         // by the media server itself
  bool counted_inviting = false;  // it is in Target::inviting
  bool counted_creating = false;  // ... in Target::creating
  bool counted_suspect = false;   // ... in Target::suspects

  MonotonicTime not_before{};
  MonotonicTime deadline{};  // when it is given up
  bool peer_gives_up =
      false;  // the deadline is the dialog's own: after it there is nobody to send BYE to
  std::optional<WallTime> invited_at;
  std::optional<WallTime> answered_at;

  SessionKey key() const { return session.key(); }
  bool suspect() const { return deaths > 0; }
};

}  // namespace sipheal::inline v0_1::internal
