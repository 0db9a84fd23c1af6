// SPDX-License-Identifier: Apache-2.0
// A MediaServerDriver knows the media servers: how they are, and how a channel is made on one that
// continues a dialog. sipheal ships one for a stock Asterisk with res_pjsip_recovery, over ARI
// (adapters/ari.h). The Healer calls it.
//
// CONTRACT (each clause has the conformance case of the same id)
//  [Threading]    MD-1  All methods may be called from several threads at once. The listener is
//                       called from any thread, never from inside a method; the events of one
//                       channel come in order, one at a time.
//  [Deadlines]    MD-2  A call returns DeadlineExceeded within 100 ms of ctx.deadline, and
//                       Cancelled within 100 ms of ctx.stop being requested. The server may
//                       still carry out what was sent: Find tells.
//  [Idempotence]  MD-3  Create with a channel id that exists on that instance makes no second
//                       channel: AlreadyExists.
//  [Events]       MD-4  A created channel gives exactly one of kAnswered or kFailed, and after
//                       kAnswered one kGone when it ends. The loss of the instance gives none of
//                       these: that is the detector's to say.
//  [Closed]       MD-5  A variable that the server refuses, or a server without the recovery
//                       module, sends nothing to the phone: FailedPrecondition, or kFailed with
//                       `sent` false.
//  [Errors]       MD-6  An instance that cannot be reached is Unavailable; one not configured is
//                       NotFound; bad credentials are Unauthenticated or PermissionDenied.
//  [Give up]      MD-7  GiveUp sends no packet to the phone; a channel that is not there is no
//                       error.
//  [Exceptions]   MD-8  None may leave a method. sipheal turns one that does into Internal.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "sipheal/base/call_context.h"
#include "sipheal/export.h"
#include "sipheal/model/incarnation.h"

namespace sipheal::inline v0_1 {

enum class ChannelEventKind { kAnswered, kFailed, kGone };

// How far the media server itself has put an answered channel back to what CreateParams::
// flow_variables told of its flow.
enum class FlowProgress {
  kNotBegun,  // nothing of it, and nothing will be: all is left to the FlowResumer
  kDone,      // all of it
  kUnknown,   // some of it may be done, or under way
};

struct ChannelEvent {
  std::string instance;
  std::string channel_id;
  ChannelEventKind kind = ChannelEventKind::kFailed;
  int sip_status = 0;                        // final answer of the phone; 0 when there was none
  std::string reason;                        // in words, or the token that the media server gave
  std::chrono::milliseconds retry_after{0};  // the peer's Retry-After; 0 when none
  bool local_timeout = false;  // nobody answered (the status, if any, was made locally)
  bool sent = true;            // false: it is certain that nothing left for the phone
  FlowProgress flow = FlowProgress::kNotBegun;  // of kAnswered
};

// Thread-safe on the host's side: see MD-1.
class SIPHEAL_EXPORT MediaServerListener {
 public:
  virtual ~MediaServerListener();
  virtual void OnChannel(const ChannelEvent& event) = 0;
};

// How an instance is, at the moment of asking.
struct InstanceStatus {
  Incarnation incarnation;
  bool can_recover = false;    // the recovery module is loaded and of a version that fits
  std::string cannot_because;  // when not: why, and what to do
  int channels = 0;            // channels it holds now
  std::vector<std::string> missing_endpoints;  // of those asked for
};

// What the created channel does in the dialog.
enum class DialogAction {
  kReinvite,  // continue the call: INVITE
  // End it: one BYE, no INVITE. kAnswered says that the BYE has a final answer (`sip_status`), and
  // kGone follows; kFailed that it has none.
  kBye,
};

class SIPHEAL_EXPORT MediaServerDriver {
 public:
  struct InspectParams {
    std::string instance;
    std::vector<std::string> endpoints;  // which of these are missing there?
  };
  struct CreateParams {
    std::string instance;
    std::string channel_id;
    std::string endpoint;
    DialogAction action = DialogAction::kReinvite;
    // The recovery variables of the dialog (sip/recovery_variables.h).
    std::vector<std::pair<std::string, std::string>> variables;
    // Plain variables of the channel, for its flow (FlowResumer::Prepare). All that the server can
    // be given are set when Create returns OK: what does not fit its request, by another one (but
    // for what tells the server itself to resume the flow, which is left out then).
    // Another status says nothing of them, also when the channel is there.
    std::vector<std::pair<std::string, std::string>> flow_variables;
    // How long the phone may take to answer; then kFailed with local_timeout. A re-INVITE that
    // fails, whatever the reason, leaves the dialog at the phone as it was: ending it is a decision
    // of its own (kBye).
    std::chrono::milliseconds answer_timeout{32'000};
  };
  struct ChannelParams {
    std::string instance;
    std::string channel_id;
  };
  struct GiveUpParams {
    std::string instance;
    std::vector<std::string> channel_ids;
  };
  enum class ChannelState {
    kInviting,  // exists, not answered yet
    kUp,        // answered
  };

  MediaServerDriver(const MediaServerDriver&) = delete;
  MediaServerDriver& operator=(const MediaServerDriver&) = delete;
  virtual ~MediaServerDriver();

  // Begins to report channel events; ends the reports. The same rules as CrashDetector's.
  virtual absl::Status Start(std::shared_ptr<MediaServerListener> listener) = 0;
  virtual void Stop() = 0;
  virtual absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                                 const InspectParams& params) = 0;
  virtual absl::Status Create(const CallContext& ctx, const CreateParams& params) = 0;
  // NotFound when the instance has no such channel.
  virtual absl::StatusOr<ChannelState> Find(const CallContext& ctx,
                                            const ChannelParams& params) = 0;
  // Ends the channel, with BYE when it is in a dialog. NotFound when there is none.
  virtual absl::Status HangUp(const CallContext& ctx, const ChannelParams& params) = 0;
  // Drops channels without a packet to their phones: their calls live elsewhere now.
  virtual absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) = 0;

 protected:
  MediaServerDriver() = default;
};

}  // namespace sipheal::inline v0_1
