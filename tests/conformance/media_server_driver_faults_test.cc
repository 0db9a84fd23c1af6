// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <stdexcept>

#include "sipheal/conformance/gtest.h"
#include "sipheal/conformance/media_server_driver.h"
#include "sipheal/testing/fake_media_server.h"
#include "tests/conformance/faults.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class FaultyDriver final : public MediaServerDriver {
 public:
  FaultyDriver(std::shared_ptr<testing::FakeMediaServer> good, std::string fault)
      : good_(std::move(good)), fault_(std::move(fault)) {}

  absl::Status Start(std::shared_ptr<MediaServerListener> listener) override {
    relay_ = std::make_shared<Relay>();
    relay_->fault = fault_;
    relay_->to = std::move(listener);
    return good_->Start(relay_);
  }
  void Stop() override { good_->Stop(); }

  absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                         const InspectParams& params) override {
    InspectParams changed = params;
    auto status = good_->Inspect(Context(ctx), {Instance(params.instance), params.endpoints});
    if (!status.ok()) return Changed(status.status());
    if (Has("AMissingModuleSendsNothing")) status->can_recover = true;
    return status;
  }
  absl::Status Create(const CallContext& ctx, const CreateParams& given) override {
    CreateParams params = given;
    params.instance = Instance(params.instance);
    if (Has("OddArgumentsDoNotThrow") && params.endpoint.empty()) throw std::runtime_error("none");
    if (Has("CreatingTwiceMakesOneChannel")) params.channel_id += std::to_string(++created_);
    if (Has("AByeChannelSendsOneBye")) params.action = DialogAction::kReinvite;
    if (Has("ARefusedVariableSendsNothing")) {
      for (auto& [name, value] : params.variables) value = value.substr(0, value.find('\r'));
    }
    const absl::Status status = good_->Create(Context(ctx), params);
    if (status.ok() && Has("EventsComeFromOutsideInOrder")) {
      relay_->to->OnChannel({params.instance, params.channel_id, ChannelEventKind::kAnswered});
    }
    return Changed(status);
  }
  absl::StatusOr<ChannelState> Find(const CallContext& ctx, const ChannelParams& params) override {
    auto state = good_->Find(Context(ctx), {Instance(params.instance), params.channel_id});
    if (!state.ok()) return Changed(state.status());
    return state;
  }
  absl::Status HangUp(const CallContext& ctx, const ChannelParams& params) override {
    if (Has("HangUpSendsOneBye")) {
      auto found = good_->Find(ctx, params);
      if (!found.ok()) return found.status();
      return good_->GiveUp(ctx, {params.instance, {params.channel_id}});
    }
    return Changed(good_->HangUp(Context(ctx), {Instance(params.instance), params.channel_id}));
  }
  absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) override {
    if (Has("GiveUpSendsNoPacket")) {
      for (const std::string& id : params.channel_ids) {
        (void)good_->HangUp(ctx, {params.instance, id});
      }
      return absl::OkStatus();
    }
    return Changed(good_->GiveUp(Context(ctx), {Instance(params.instance), params.channel_ids}));
  }

  // The instance died.
  void Died(const std::string& instance, const std::vector<std::string>& channels) {
    if (!Has("TheLossOfTheInstanceIsNoEvent")) return;
    for (const std::string& id : channels) {
      relay_->to->OnChannel({instance, id, ChannelEventKind::kGone});
    }
  }

 private:
  struct Relay final : MediaServerListener {
    std::string fault;
    std::shared_ptr<MediaServerListener> to;
    void OnChannel(const ChannelEvent& given) override {
      ChannelEvent event = given;
      if (fault == "ARefusedChannelIsToldOnce") event.sip_status = 0;
      if (fault == "ASilentPhoneIsToldOnce") event.local_timeout = false;
      to->OnChannel(event);
      if (fault == "AnAnsweredChannelIsToldOnce") to->OnChannel(event);
    }
  };
  bool Has(const char* fault) const { return fault_ == fault; }
  CallContext Context(const CallContext& ctx) const {
    return Has("OverContextSendsNothing") || Has("BlockedServerEndsInTime") ? CallContext{} : ctx;
  }
  std::string Instance(const std::string& instance) const {
    return Has("AnUnknownInstanceIsNotFound") ? "conformance" : instance;
  }
  absl::Status Changed(const absl::Status& status) const {
    if (Has("AnUnreachableInstanceIsUnavailable") && absl::IsUnavailable(status)) {
      return absl::InternalError("out of reach");
    }
    if (Has("BadCredentialsAreRefused") && absl::IsUnauthenticated(status)) {
      return absl::UnavailableError("try again");
    }
    return status;
  }
  const std::shared_ptr<testing::FakeMediaServer> good_;
  const std::string fault_;
  std::shared_ptr<Relay> relay_;
  std::atomic<int> created_ = 0;
};

class FaultyHarness final : public conformance::MediaServerDriverHarness {
 public:
  explicit FaultyHarness(const std::string& fault)
      : fault_(fault), driver_(std::make_shared<FaultyDriver>(good_, fault)) {
    good_->AddInstance({instance(), "life1"});
  }
  ~FaultyHarness() override { good_->Stop(); }

  absl::StatusOr<std::shared_ptr<MediaServerDriver>> Make() override { return driver_; }
  absl::StatusOr<MediaServerDriver::CreateParams> NewDialog(
      conformance::PhoneConduct conduct) override {
    MediaServerDriver::CreateParams params;
    const std::string id = std::to_string(++dialogs_);
    params.instance = instance();
    params.channel_id = "channel-" + id;
    params.endpoint = "phone";
    params.variables = {{"PJSIP_RECOVERY_CALL-ID", "call-" + id}, {"PJSIP_RECOVERY_TO_TAG", "t"}};
    testing::PhoneAnswer answer;
    if (conduct == conformance::PhoneConduct::kRefuses) answer.sip_status = 488;
    if (conduct == conformance::PhoneConduct::kSilent) answer.sip_status = 0;
    good_->ScriptPhone("call-" + id, {answer});
    return params;
  }
  absl::StatusOr<int> Received(const MediaServerDriver::CreateParams& dialog,
                               const std::string& method) override {
    const std::string& call_id = dialog.variables[0].second;
    return method == "BYE" ? good_->Byes(call_id) : good_->Invites(call_id);
  }
  absl::Status PhoneHangsUp(const MediaServerDriver::CreateParams& dialog) override {
    good_->PhoneHangsUp(dialog.variables[0].second);
    return absl::OkStatus();
  }
  absl::Status KillInstance() override {
    const auto channels = good_->Channels(instance());
    good_->Kill(instance());
    driver_->Died(instance(), channels);
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override {
    good_->SetReachable(instance(), false);
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    good_->SetReachable(instance(), true);
    return absl::OkStatus();
  }
  absl::Status BlockInstance() override {
    good_->SetDelay(instance(), milliseconds(1000));
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    good_->SetDelay(instance(), milliseconds(0));
    return absl::OkStatus();
  }
  absl::Status RemoveModule() override {
    good_->SetCannotRecover(instance(), "res_pjsip_recovery is not loaded: load it");
    return absl::OkStatus();
  }
  absl::StatusOr<std::shared_ptr<MediaServerDriver>> MakeWithBadCredentials() override {
    good_->SetError(instance(), absl::UnauthenticatedError("401"));
    return driver_;
  }
  milliseconds patience() const override { return milliseconds(500); }
  void Settle() override { good_->Drain(); }

 private:
  const std::string fault_;
  const std::shared_ptr<testing::FakeMediaServer> good_ =
      std::make_shared<testing::FakeMediaServer>();
  const std::shared_ptr<FaultyDriver> driver_;
  int dialogs_ = 0;
};

TEST(MediaServerDriverConformance, TellsGoodFromBroken) {
  tests::ExpectEveryCaseToTellGoodFromBroken(
      conformance::MediaServerDriverCases(),
      [](const std::string& fault) { return std::make_unique<FaultyHarness>(fault); });
}

const bool registered = (conformance::RegisterMediaServerDriverConformance(
                             "Fake", [] { return std::make_unique<FaultyHarness>(std::string()); }),
                         true);

}  // namespace
}  // namespace sipheal
