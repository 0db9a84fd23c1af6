// SPDX-License-Identifier: Apache-2.0
#include "sipheal/conformance/media_server_driver.h"

#include <algorithm>

#include "base/status_macros.h"
#include "conformance/check.h"
#include "conformance/inside.h"

namespace sipheal::inline v0_1::conformance {
namespace {

using std::chrono::milliseconds;
using CreateParams = MediaServerDriver::CreateParams;

class Recorder final : public MediaServerListener {
 public:
  void OnChannel(const ChannelEvent& event) override {
    const Visitors::Visit visit(visitors_, event.channel_id);
    std::this_thread::sleep_for(milliseconds(2));
    const std::lock_guard lock(mutex_);
    events_.push_back(event);
  }
  std::vector<ChannelEvent> Of(const std::string& channel_id) const {
    const std::lock_guard lock(mutex_);
    std::vector<ChannelEvent> events;
    for (const ChannelEvent& event : events_) {
      if (event.channel_id == channel_id) events.push_back(event);
    }
    return events;
  }
  absl::Status complaints() const { return complaints_.status(); }

 private:
  mutable std::mutex mutex_;
  std::vector<ChannelEvent> events_;
  Complaints complaints_;
  Visitors visitors_{complaints_};
};

// A started driver with its recorder.
class StartedDriver {
 public:
  static absl::StatusOr<StartedDriver> Make(MediaServerDriverHarness& harness) {
    ABSL_ASSIGN_OR_RETURN(auto driver, harness.Make());
    StartedDriver session(std::move(driver));
    const Inside inside;
    const absl::Status started = session.driver_->Start(session.recorder_);
    if (!started.ok()) return AsBroken("Start", started);
    return session;
  }
  StartedDriver(StartedDriver&&) = default;
  ~StartedDriver() {
    if (driver_ != nullptr) driver_->Stop();
  }

  absl::Status Create(const CreateParams& params) {
    const Inside inside;
    return driver_->Create({}, params);
  }
  absl::StatusOr<MediaServerDriver::ChannelState> Find(const CreateParams& params) {
    const Inside inside;
    return driver_->Find({}, {params.instance, params.channel_id});
  }
  absl::Status HangUp(const CreateParams& params) {
    const Inside inside;
    return driver_->HangUp({}, {params.instance, params.channel_id});
  }
  absl::Status GiveUp(const std::string& instance, std::vector<std::string> channels) {
    const Inside inside;
    return driver_->GiveUp({}, {instance, std::move(channels)});
  }

  // Waits until the channel has given `count` events; what it gave.
  absl::StatusOr<std::vector<ChannelEvent>> AwaitEvents(MediaServerDriverHarness& harness,
                                                        const CreateParams& params,
                                                        std::size_t count,
                                                        milliseconds extra = milliseconds(0)) {
    Await(harness.patience() + extra,
          [&] { return recorder_->Of(params.channel_id).size() >= count; });
    harness.Settle();
    std::vector<ChannelEvent> events = recorder_->Of(params.channel_id);
    if (events.size() != count) {
      return Broken(
          absl::StrFormat("a channel gave %d events instead of %d", events.size(), count));
    }
    return events;
  }

  MediaServerDriver& driver() { return *driver_; }
  Recorder& recorder() { return *recorder_; }

 private:
  explicit StartedDriver(std::shared_ptr<MediaServerDriver> driver) : driver_(std::move(driver)) {}
  std::shared_ptr<MediaServerDriver> driver_;
  std::shared_ptr<Recorder> recorder_ = std::make_shared<Recorder>();
};

absl::Status Requests(MediaServerDriverHarness& harness, const CreateParams& dialog, int invites,
                      int byes) {
  ABSL_ASSIGN_OR_RETURN(const int got_invites, harness.Received(dialog, "INVITE"));
  ABSL_ASSIGN_OR_RETURN(const int got_byes, harness.Received(dialog, "BYE"));
  SIPHEAL_REQUIRE(got_invites == invites && got_byes == byes,
                  "the phone received %d INVITE and %d BYE instead of %d and %d", got_invites,
                  got_byes, invites, byes);
  return absl::OkStatus();
}

struct NamedCall {
  std::string name;
  std::function<absl::Status(MediaServerDriver&, const CallContext&, const CreateParams&)> call;
};

const std::vector<NamedCall>& EveryMethod() {
  static const auto* const calls = new std::vector<NamedCall>{
      {"Inspect",
       [](auto& driver, const auto& ctx, const auto& dialog) {
         return driver.Inspect(ctx, {dialog.instance, {}}).status();
       }},
      {"Create", [](auto& driver, const auto& ctx,
                    const auto& dialog) { return driver.Create(ctx, dialog); }},
      {"Find",
       [](auto& driver, const auto& ctx, const auto& dialog) {
         return driver.Find(ctx, {dialog.instance, dialog.channel_id}).status();
       }},
      {"HangUp",
       [](auto& driver, const auto& ctx, const auto& dialog) {
         return driver.HangUp(ctx, {dialog.instance, dialog.channel_id});
       }},
      {"GiveUp",
       [](auto& driver, const auto& ctx, const auto& dialog) {
         return driver.GiveUp(ctx, {dialog.instance, {dialog.channel_id}});
       }},
  };
  return *calls;
}

absl::Status EventsComeFromOutsideInOrder(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  std::vector<CreateParams> dialogs;
  for (int i = 0; i < 8; ++i) {
    ABSL_ASSIGN_OR_RETURN(CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
    dialogs.push_back(std::move(dialog));
  }
  ABSL_RETURN_IF_ERROR(OnThreads(4, [&](int thread) -> absl::Status {
    for (std::size_t i = static_cast<std::size_t>(thread); i < dialogs.size(); i += 4) {
      SIPHEAL_REQUIRE_OK(session.Create(dialogs[i]));
      const Inside inside;
      SIPHEAL_REQUIRE_OK(session.driver().Inspect({}, {harness.instance(), {}}));
    }
    return absl::OkStatus();
  }));
  for (const CreateParams& dialog : dialogs) {
    ABSL_RETURN_IF_ERROR(session.AwaitEvents(harness, dialog, 1).status());
    ABSL_RETURN_IF_ERROR(harness.PhoneHangsUp(dialog));
  }
  for (const CreateParams& dialog : dialogs) {
    ABSL_ASSIGN_OR_RETURN(const auto events, session.AwaitEvents(harness, dialog, 2));
    SIPHEAL_REQUIRE(
        events[0].kind == ChannelEventKind::kAnswered && events[1].kind == ChannelEventKind::kGone,
        "a channel's events came out of order");
  }
  return session.recorder().complaints();
}

absl::Status OverContextSendsNothing(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  Canceller canceller;
  canceller.Cancel();
  for (const NamedCall& method : EveryMethod()) {
    const absl::Status late = method.call(session.driver(), OverContext(), dialog);
    SIPHEAL_REQUIRE(late.code() == absl::StatusCode::kDeadlineExceeded,
                    "%s after its deadline gave \"%s\"", method.name, late.ToString());
    const absl::Status stopped = method.call(session.driver(), canceller.Context(), dialog);
    SIPHEAL_REQUIRE(stopped.code() == absl::StatusCode::kCancelled,
                    "%s with a stop requested gave \"%s\"", method.name, stopped.ToString());
  }
  harness.Settle();
  return Requests(harness, dialog, 0, 0);
}

absl::Status BlockedServerEndsInTime(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  ABSL_RETURN_IF_ERROR(harness.BlockInstance());
  absl::Status result;
  for (const NamedCall& method : EveryMethod()) {
    if (!result.ok()) break;
    result = EndsInTime(method.name, [&](const CallContext& ctx) {
      return method.call(session.driver(), ctx, dialog);
    });
  }
  ABSL_RETURN_IF_ERROR(harness.UnblockInstance());
  return result;
}

absl::Status CreatingTwiceMakesOneChannel(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  SIPHEAL_REQUIRE_CODE(session.Create(dialog), absl::StatusCode::kAlreadyExists);
  ABSL_RETURN_IF_ERROR(session.AwaitEvents(harness, dialog, 1).status());
  SIPHEAL_REQUIRE_CODE(session.Create(dialog), absl::StatusCode::kAlreadyExists);
  harness.Settle();
  return Requests(harness, dialog, 1, 0);
}

absl::Status AnAnsweredChannelIsToldOnce(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  SIPHEAL_REQUIRE_CODE(session.Find(dialog), absl::StatusCode::kNotFound);
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  ABSL_ASSIGN_OR_RETURN(auto events, session.AwaitEvents(harness, dialog, 1));
  SIPHEAL_REQUIRE(events[0].kind == ChannelEventKind::kAnswered,
                  "a phone answered 200, and the channel gave another event than kAnswered");
  SIPHEAL_REQUIRE(events[0].instance == harness.instance(), "the event names instance %s",
                  events[0].instance);
  SIPHEAL_TAKE(const auto state, session.Find(dialog));
  SIPHEAL_REQUIRE(state == MediaServerDriver::ChannelState::kUp,
                  "an answered channel is not found as up");
  ABSL_RETURN_IF_ERROR(harness.PhoneHangsUp(dialog));
  ABSL_ASSIGN_OR_RETURN(events, session.AwaitEvents(harness, dialog, 2));
  SIPHEAL_REQUIRE(events[1].kind == ChannelEventKind::kGone,
                  "a channel whose phone hung up gave another event than kGone");
  SIPHEAL_REQUIRE_CODE(session.Find(dialog), absl::StatusCode::kNotFound);
  return Requests(harness, dialog, 1, 0);
}

absl::Status ARefusedChannelIsToldOnce(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kRefuses));
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  ABSL_ASSIGN_OR_RETURN(const auto events, session.AwaitEvents(harness, dialog, 1));
  SIPHEAL_REQUIRE(events[0].kind == ChannelEventKind::kFailed && events[0].sip_status == 488 &&
                      events[0].sent && !events[0].local_timeout,
                  "a phone refused with 488, and the event says %d", events[0].sip_status);
  return absl::OkStatus();
}

absl::Status ASilentPhoneIsToldOnce(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(CreateParams dialog, harness.NewDialog(PhoneConduct::kSilent));
  dialog.answer_timeout = milliseconds(1000);
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  SIPHEAL_TAKE(const auto state, session.Find(dialog));
  SIPHEAL_REQUIRE(state == MediaServerDriver::ChannelState::kInviting,
                  "a channel without an answer is found as up");
  ABSL_ASSIGN_OR_RETURN(const auto events,
                        session.AwaitEvents(harness, dialog, 1, dialog.answer_timeout));
  SIPHEAL_REQUIRE(events[0].kind == ChannelEventKind::kFailed && events[0].local_timeout,
                  "nobody answered, and the event does not say so");
  return absl::OkStatus();
}

absl::Status AByeChannelSendsOneBye(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  dialog.action = DialogAction::kBye;
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  ABSL_ASSIGN_OR_RETURN(const auto events, session.AwaitEvents(harness, dialog, 2));
  SIPHEAL_REQUIRE(
      events[0].kind == ChannelEventKind::kAnswered && events[1].kind == ChannelEventKind::kGone,
      "a BYE that was answered did not give kAnswered, then kGone");
  return Requests(harness, dialog, 0, 1);
}

absl::Status HangUpSendsOneBye(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  SIPHEAL_REQUIRE_CODE(session.HangUp(dialog), absl::StatusCode::kNotFound);
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  ABSL_RETURN_IF_ERROR(session.AwaitEvents(harness, dialog, 1).status());
  SIPHEAL_REQUIRE_OK(session.HangUp(dialog));
  ABSL_ASSIGN_OR_RETURN(const auto events, session.AwaitEvents(harness, dialog, 2));
  SIPHEAL_REQUIRE(events[1].kind == ChannelEventKind::kGone, "a hung up channel is not gone");
  return Requests(harness, dialog, 1, 1);
}

absl::Status TheLossOfTheInstanceIsNoEvent(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams up, harness.NewDialog(PhoneConduct::kAnswers));
  ABSL_ASSIGN_OR_RETURN(const CreateParams inviting, harness.NewDialog(PhoneConduct::kSilent));
  SIPHEAL_REQUIRE_OK(session.Create(up));
  SIPHEAL_REQUIRE_OK(session.Create(inviting));
  ABSL_RETURN_IF_ERROR(session.AwaitEvents(harness, up, 1).status());
  ABSL_RETURN_IF_ERROR(harness.KillInstance());
  harness.Settle();
  SIPHEAL_REQUIRE(session.recorder().Of(up.channel_id).size() == 1 &&
                      session.recorder().Of(inviting.channel_id).empty(),
                  "the death of the instance was told as the end of its channels");
  return absl::OkStatus();
}

// Nothing was sent: by the status of Create, or by the event.
absl::Status NothingWasSent(MediaServerDriverHarness& harness, StartedDriver& session,
                            const CreateParams& dialog) {
  const absl::Status created = session.Create(dialog);
  if (created.ok()) {
    ABSL_ASSIGN_OR_RETURN(const auto events, session.AwaitEvents(harness, dialog, 1));
    SIPHEAL_REQUIRE(events[0].kind == ChannelEventKind::kFailed && !events[0].sent,
                    "the event does not say that nothing was sent");
  } else {
    SIPHEAL_REQUIRE_CODE(created, absl::StatusCode::kFailedPrecondition);
  }
  harness.Settle();
  return Requests(harness, dialog, 0, 0);
}

absl::Status ARefusedVariableSendsNothing(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  for (auto& [name, value] : dialog.variables) {
    if (name == "PJSIP_RECOVERY_TO_TAG") value = "tag\r\nX-Injected: yes";
  }
  return NothingWasSent(harness, session, dialog);
}

absl::Status AMissingModuleSendsNothing(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  ABSL_RETURN_IF_ERROR(harness.RemoveModule());
  SIPHEAL_TAKE(const auto status, session.driver().Inspect({}, {harness.instance(), {}}));
  SIPHEAL_REQUIRE(!status.can_recover && !status.cannot_because.empty(),
                  "Inspect does not say that the recovery module is missing");
  return NothingWasSent(harness, session, dialog);
}

absl::Status AnUnreachableInstanceIsUnavailable(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  ABSL_RETURN_IF_ERROR(harness.BreakConnection());
  absl::Status result;
  for (const NamedCall& method : EveryMethod()) {
    const absl::Status status =
        method.call(session.driver(), CallContext::WithTimeout(std::chrono::seconds(10)), dialog);
    if (result.ok() && status.code() != absl::StatusCode::kUnavailable) {
      result = Broken(absl::StrFormat("%s of an instance that cannot be reached gave \"%s\"",
                                      method.name, status.ToString()));
    }
  }
  ABSL_RETURN_IF_ERROR(harness.HealConnection());
  return result;
}

absl::Status AnUnknownInstanceIsNotFound(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  dialog.instance = "nobody";
  for (const NamedCall& method : EveryMethod()) {
    const absl::Status status = method.call(session.driver(), {}, dialog);
    SIPHEAL_REQUIRE(status.code() == absl::StatusCode::kNotFound,
                    "%s of an instance that is not configured gave \"%s\"", method.name,
                    status.ToString());
  }
  return absl::OkStatus();
}

absl::Status BadCredentialsAreRefused(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(const auto driver, harness.MakeWithBadCredentials());
  const absl::Status status = driver->Inspect({}, {harness.instance(), {}}).status();
  SIPHEAL_REQUIRE(status.code() == absl::StatusCode::kUnauthenticated ||
                      status.code() == absl::StatusCode::kPermissionDenied,
                  "wrong credentials gave \"%s\"", status.ToString());
  return absl::OkStatus();
}

absl::Status GiveUpSendsNoPacket(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  ABSL_ASSIGN_OR_RETURN(const CreateParams dialog, harness.NewDialog(PhoneConduct::kAnswers));
  SIPHEAL_REQUIRE_OK(session.Create(dialog));
  ABSL_RETURN_IF_ERROR(session.AwaitEvents(harness, dialog, 1).status());
  SIPHEAL_REQUIRE_OK(session.GiveUp(dialog.instance, {"not there", dialog.channel_id}));
  const bool gone =
      Await(harness.patience(), [&] { return absl::IsNotFound(session.Find(dialog).status()); });
  SIPHEAL_REQUIRE(gone, "a channel that was given up is still there");
  SIPHEAL_REQUIRE_OK(session.GiveUp(dialog.instance, {dialog.channel_id}));
  harness.Settle();
  return Requests(harness, dialog, 1, 0);
}

absl::Status OddArgumentsDoNotThrow(MediaServerDriverHarness& harness) {
  ABSL_ASSIGN_OR_RETURN(StartedDriver session, StartedDriver::Make(harness));
  const std::string odd("\xff\0'\"\r\n/%s{?#", 13);
  return DoesNotThrow("a driver given odd arguments", [&] {
    CreateParams params;
    for (const NamedCall& method : EveryMethod()) (void)method.call(session.driver(), {}, params);
    params.instance = harness.instance();
    params.channel_id = odd;
    params.endpoint = odd;
    params.variables = {{odd, odd}, {"", ""}};
    params.answer_timeout = milliseconds(-1);
    for (const NamedCall& method : EveryMethod()) (void)method.call(session.driver(), {}, params);
    session.driver().Stop();
    session.driver().Stop();
  });
}

constexpr Case<MediaServerDriverHarness> kCases[] = {
    {"MD-1", "EventsComeFromOutsideInOrder",
     "the listener is never called from inside a method; a channel's events come in order",
     EventsComeFromOutsideInOrder},
    {"MD-2", "OverContextSendsNothing",
     "a context that is over gives DeadlineExceeded or Cancelled", OverContextSendsNothing},
    {"MD-2", "BlockedServerEndsInTime",
     "a server that does not answer costs no more than 100 ms beyond deadline or stop",
     BlockedServerEndsInTime},
    {"MD-3", "CreatingTwiceMakesOneChannel", "a channel id that exists is AlreadyExists",
     CreatingTwiceMakesOneChannel},
    {"MD-4", "AnAnsweredChannelIsToldOnce", "an answer is one kAnswered, its end one kGone",
     AnAnsweredChannelIsToldOnce},
    {"MD-4", "ARefusedChannelIsToldOnce", "a refusal is one kFailed with the phone's status",
     ARefusedChannelIsToldOnce},
    {"MD-4", "ASilentPhoneIsToldOnce", "no answer is one kFailed, marked as a local time-out",
     ASilentPhoneIsToldOnce},
    {"MD-4", "AByeChannelSendsOneBye", "kBye sends one BYE and no INVITE", AByeChannelSendsOneBye},
    {"MD-4", "HangUpSendsOneBye", "HangUp ends the dialog with one BYE", HangUpSendsOneBye},
    {"MD-4", "TheLossOfTheInstanceIsNoEvent", "the death of the instance is no event of a channel",
     TheLossOfTheInstanceIsNoEvent},
    {"MD-5", "ARefusedVariableSendsNothing", "a variable that is refused sends nothing",
     ARefusedVariableSendsNothing},
    {"MD-5", "AMissingModuleSendsNothing", "a server without the recovery module sends nothing",
     AMissingModuleSendsNothing},
    {"MD-6", "AnUnreachableInstanceIsUnavailable", "an instance out of reach is Unavailable",
     AnUnreachableInstanceIsUnavailable},
    {"MD-6", "AnUnknownInstanceIsNotFound", "an instance not configured is NotFound",
     AnUnknownInstanceIsNotFound},
    {"MD-6", "BadCredentialsAreRefused", "bad credentials are Unauthenticated or PermissionDenied",
     BadCredentialsAreRefused},
    {"MD-7", "GiveUpSendsNoPacket", "GiveUp sends no packet; a channel that is gone is no error",
     GiveUpSendsNoPacket},
    {"MD-8", "OddArgumentsDoNotThrow", "no exception leaves a method", OddArgumentsDoNotThrow},
};

absl::Status Cannot(const char* what) {
  return absl::UnimplementedError(absl::StrFormat("the harness cannot %s", what));
}

}  // namespace

MediaServerDriverHarness::~MediaServerDriverHarness() = default;
std::string MediaServerDriverHarness::instance() const { return "conformance"; }
absl::Status MediaServerDriverHarness::KillInstance() { return Cannot("kill the instance"); }
absl::Status MediaServerDriverHarness::BreakConnection() { return Cannot("break the connection"); }
absl::Status MediaServerDriverHarness::HealConnection() { return absl::OkStatus(); }
absl::Status MediaServerDriverHarness::BlockInstance() { return Cannot("block the instance"); }
absl::Status MediaServerDriverHarness::UnblockInstance() { return absl::OkStatus(); }
absl::Status MediaServerDriverHarness::RemoveModule() { return Cannot("remove the module"); }
absl::StatusOr<std::shared_ptr<MediaServerDriver>>
MediaServerDriverHarness::MakeWithBadCredentials() {
  return Cannot("make a driver with wrong credentials");
}
milliseconds MediaServerDriverHarness::patience() const { return milliseconds(5000); }
void MediaServerDriverHarness::Settle() { std::this_thread::sleep_for(milliseconds(200)); }

std::span<const Case<MediaServerDriverHarness>> MediaServerDriverCases() { return kCases; }

}  // namespace sipheal::inline v0_1::conformance
