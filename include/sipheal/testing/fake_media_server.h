// SPDX-License-Identifier: Apache-2.0
// FakeMediaServer: a MediaServerDriver over media servers and phones that exist in memory only. A
// test scripts what the phones answer and what the servers do; the fake obeys the driver's contract
// and keeps count.
//
//   testing::FakeMediaServer servers;
//   servers.AddInstance({"ast2", "life1"});
//   servers.ScriptPhone("call-id-1", {{.sip_status = 491}, {}});  // 491 first, then 200
//   ...
//   EXPECT_EQ(servers.Invites("call-id-1"), 2);
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sipheal/base/clock.h"
#include "sipheal/export.h"
#include "sipheal/media_server_driver.h"

namespace sipheal::inline v0_1::testing {

// What a phone does with one request of a recovered channel.
struct PhoneAnswer {
  int sip_status = 200;  // its final answer; 0: it says nothing until the answer time-out
  std::string reason;
  std::chrono::milliseconds retry_after{0};
  std::chrono::milliseconds delay{0};  // until the answer, by the fake's clock
  // The request kills the server that sends it (a poison call): no answer, no event.
  bool kills_server = false;
};

// A request that left a server.
struct SentRequest {
  std::string instance;
  std::string channel_id;
  std::string endpoint;
  std::string call_id;
  DialogAction action = DialogAction::kReinvite;
  std::vector<std::pair<std::string, std::string>> variables;
  WallTime at{};
};

// Thread-safe. Phones are known by the Call-ID in the variable PJSIP_RECOVERY_CALL-ID.
class SIPHEAL_EXPORT FakeMediaServer final : public MediaServerDriver {
 public:
  // `clock` must outlive it; the system's when null.
  explicit FakeMediaServer(const Clock* clock = nullptr);
  ~FakeMediaServer() override;

  // --- servers; an instance that was not added is NotFound for every method ---
  void AddInstance(Incarnation incarnation);
  void RemoveInstance(const std::string& instance);
  // The process dies: its channels are gone without an event, it cannot be reached.
  void Kill(const std::string& instance);
  // It lives again (or is restarted while it lives) as another incarnation without channels.
  void Restart(const Incarnation& incarnation);
  // A channel that was there before, of a call that nobody recovered.
  void AddChannel(const std::string& instance, const std::string& channel_id,
                  const std::string& call_id);
  // The network to it: its channels go on, but no method reaches it; events arrive when it heals.
  void SetReachable(const std::string& instance, bool reachable);
  // Every method answers only after this long (a slow server).
  void SetDelay(const std::string& instance, std::chrono::milliseconds delay);
  // The recovery module is missing, with the reason that Inspect gives; empty: it is there.
  void SetCannotRecover(const std::string& instance, std::string because);
  void SetMissingEndpoints(const std::string& instance, std::vector<std::string> endpoints);
  // Channels besides those created here.
  void SetOwnChannels(const std::string& instance, int channels);
  // Create gives this status there, until it is set to OK again; nothing is sent.
  void SetCreateError(const std::string& instance, absl::Status error);
  // Create does what it is asked there, but its answer is lost: Unavailable.
  void SetLosesCreateAnswers(const std::string& instance, bool loses);
  // Every method gives this status there (wrong credentials, a broken server), until it is set to
  // OK again.
  void SetError(const std::string& instance, absl::Status error);
  // How far every server puts back by itself the flow of a channel that was made with flow
  // variables, and says so with the answer; kNotBegun when nothing was set.
  void SetFlowProgress(FlowProgress flow);
  // A variable of this name is refused by every server: nothing is sent (MD-5).
  void RefuseVariable(std::string name);
  // Called on the event thread when a phone's answer killed a server.
  void OnServerDeath(std::function<void(const Incarnation&)> callback);

  // --- phones ---
  // What this phone does with its requests, one after the other; the last one for all that follow.
  // A phone without script answers 200 at once.
  void ScriptPhone(const std::string& call_id, std::vector<PhoneAnswer> answers);
  // The phone hangs up: the channels of its dialog that are up end with kGone.
  void PhoneHangsUp(const std::string& call_id);

  // --- what happened ---
  std::vector<SentRequest> sent() const;
  int Invites(const std::string& call_id) const;
  int Byes(const std::string& call_id) const;  // by HangUp, or by a channel with kBye
  // Channels that live there now, created here.
  std::vector<std::string> Channels(const std::string& instance) const;
  // Channels with an answered re-INVITE for this Call-ID, over all servers that live: more than one
  // is a double recovery.
  int LiveChannels(const std::string& call_id) const;
  int given_up() const;  // channels dropped by GiveUp
  // Waits until every event that is due was delivered. Not from a listener.
  void Drain();

  // --- MediaServerDriver ---
  absl::Status Start(std::shared_ptr<MediaServerListener> listener) override;
  void Stop() override;
  absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                         const InspectParams& params) override;
  absl::Status Create(const CallContext& ctx, const CreateParams& params) override;
  absl::StatusOr<ChannelState> Find(const CallContext& ctx, const ChannelParams& params) override;
  absl::Status HangUp(const CallContext& ctx, const ChannelParams& params) override;
  absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) override;

 private:
  class Impl;
  const std::unique_ptr<Impl> impl_;
};

}  // namespace sipheal::inline v0_1::testing
