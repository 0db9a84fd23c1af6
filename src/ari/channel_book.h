// SPDX-License-Identifier: Apache-2.0
// ChannelBook keeps, for one instance, which channels it holds and how far each recovered channel
// is, and turns ARI events into the events of the driver's contract (MD-4). No I/O, no locks: its
// owner guards it.
#pragma once

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <vector>

#include "ari/recovery_result.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::internal {

// Whether a channel, as ARI shows it, runs the application Stasis at this moment.
bool InStasis(const nlohmann::json& channel);

class ChannelBook {
 public:
  using Events = std::vector<ChannelEvent>;

  explicit ChannelBook(std::string instance) : instance_(std::move(instance)) {}

  // The event socket is open; `life` tells whether what is in the book still lives. From here until
  // EndSync, events and the snapshot that was asked for after this call are brought together.
  void BeginSync(const std::string& life);
  // The answer of GET /ari/channels. Gives what happened while nobody listened.
  Events EndSync(const nlohmann::json& channels);

  // A channel is about to be created; it counts as known from now on. `server_flow`: it is told its
  // flow (server_flow.h).
  void Expect(const std::string& channel_id, DialogAction action, bool server_flow);
  // It was not created after all.
  void Forget(const std::string& channel_id);
  Events OnEvent(const nlohmann::json& event);
  // The time for an answer is over. True when the channel is still waiting for it, and shall be
  // given up.
  bool Overdue(const std::string& channel_id);

  std::size_t channels() const { return channels_.size(); }
  bool syncing() const { return syncing_; }

 private:
  struct Entry {
    DialogAction action = DialogAction::kReinvite;
    bool server_flow = false;
    bool answered = false;
    bool overdue = false;  // given up because nobody answered in time
    bool old = false;      // it was there before the sync that is under way
    RecoveryResult result;
  };

  // Once for each channel.
  Events Answered(const std::string& id, Entry& entry, FlowProgress flow);
  ChannelEvent Event(const std::string& id, ChannelEventKind kind, const Entry& entry) const;
  // What to say when the channel is over; `cause` in words.
  Events Over(const std::string& id, const Entry& entry, const std::string& cause, int tech_cause,
              bool seen) const;

  const std::string instance_;
  std::string life_;
  std::set<std::string, std::less<>> channels_;
  std::map<std::string, Entry, std::less<>> recovered_;
  bool syncing_ = false;
  std::set<std::string, std::less<>> ended_in_sync_;
};

}  // namespace sipheal::inline v0_1::internal
