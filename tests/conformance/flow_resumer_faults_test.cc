// SPDX-License-Identifier: Apache-2.0
#include <atomic>
#include <stdexcept>
#include <thread>

#include "sipheal/conformance/flow_resumer.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/testing/fake_flow_resumer.h"
#include "tests/conformance/faults.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class FaultyResumer final : public FlowResumer {
 public:
  FaultyResumer(std::shared_ptr<testing::FakeFlowResumer> good, std::string fault)
      : good_(std::move(good)), fault_(std::move(fault)) {}

  absl::Status Accept(const Session& session) override {
    if (Has("AcceptReturnsAtOnce")) std::this_thread::sleep_for(milliseconds(200));
    return good_->Accept(session);
  }
  Variables Prepare(const Session& session, WallTime died_at) override {
    // Asks the server, which does not answer.
    if (Has("PrepareReturnsAtOnce")) std::this_thread::sleep_for(milliseconds(200));
    Variables variables = good_->Prepare(session, died_at);
    if (Has("PrepareGivesTheSameAgain")) variables[0].second += std::to_string(++prepared_);
    return variables;
  }
  absl::Status Resume(const CallContext& given, const ResumeParams& given_params) override {
    const bool patient = Has("OverContextEndsAtOnce") || Has("BlockedServerEndsInTime");
    ResumeParams params = given_params;
    if (Has("OddArgumentsDoNotThrow") && params.channel_id.empty()) throw std::runtime_error("");
    if (Has("AGroupEndsInOneBridge")) {
      params.session.flow.bridge->id += params.session.id;
      params.partners.clear();
    }
    if (Has("AGroupResumedForTheFirstTimeEndsInOneBridge") && params.first) {
      params.session.flow.bridge->id += params.session.id;  // believes that it makes the bridge
      params.partners.clear();
    }
    if (Has("AGroupResumedAtOnceEndsInOneBridge")) {
      // Looks for the bridge, and makes one of its own when it is not there yet.
      if (++resuming_ > 1) params.session.flow.bridge->id += params.session.id;
      params.partners.clear();
    }
    if (Has("OneThatWasInNoBridgeIsJoinedToNone") && !params.session.flow.bridge) {
      params.session.flow.bridge = BridgeMembership{.id = "of-" + params.session.group};
    }
    if (Has("ManySessionsAtOnce") && !only_.IsServed()) return absl::OkStatus();
    if (Has("ResumingTwiceDoublesNothing") && params.session.flow.playback) ++doubled;
    if (Has("ResumingAfterTheFirstTimeDoublesNothing") && params.session.flow.playback) {
      // Remembers only what it began after looking.
      if (params.first || remembered_.insert(params.channel_id).second) ++doubled;
    }
    const absl::Status status = good_->Resume(patient ? CallContext{} : given, params);
    if (Has("AnUnreachableServerMayBeTriedAgain") && absl::IsUnavailable(status)) {
      return absl::FailedPreconditionError("no use");
    }
    return status;
  }

  std::atomic<int> doubled = 0;

 private:
  bool Has(const char* fault) const { return fault_ == fault; }
  const std::shared_ptr<testing::FakeFlowResumer> good_;
  const std::string fault_;
  std::atomic<int> resuming_ = 0;
  tests::OneThreadOnly only_;
  int prepared_ = 0;
  std::set<std::string> remembered_;
};

class FaultyHarness final : public conformance::FlowResumerHarness {
 public:
  explicit FaultyHarness(const std::string& fault)
      : resumer_(std::make_shared<FaultyResumer>(good_, fault)) {}

  absl::StatusOr<std::shared_ptr<FlowResumer>> Make() override { return resumer_; }
  absl::StatusOr<FlowResumer::ResumeParams> NewRecovered() override {
    FlowResumer::ResumeParams params;
    const std::string id = std::to_string(++made_);
    params.session.id = "session" + id;
    good_->SetPrepare(params.session.id, {{"CONFORMANCE_FLOW", id}});
    params.session.flow.stasis_app = "conformance";
    params.instance = "conformance";
    params.channel_id = "channel-" + id;
    return params;
  }
  absl::Status BearWith(const std::string& /*channel_id*/,
                        const FlowResumer::Variables& variables) override {
    return variables.size() == 1 ? absl::OkStatus() : absl::InternalError("not what was prepared");
  }
  absl::StatusOr<std::set<std::string>> BridgeOf(const std::string& channel_id) override {
    for (const auto& [name, members] : good_->bridges()) {
      if (members.contains(channel_id)) return members;
    }
    return std::set<std::string>();
  }
  absl::StatusOr<int> Playbacks(const std::string& channel_id) override {
    if (resumer_->doubled > 0) return resumer_->doubled.load();
    const auto playbacks = good_->playbacks();
    const auto it = playbacks.find(channel_id);
    return it == playbacks.end() ? 0 : it->second;
  }
  absl::Status BreakConnection() override {
    good_->SetError(absl::UnavailableError("out of reach"));
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    good_->SetError(absl::OkStatus());
    return absl::OkStatus();
  }
  absl::Status BlockInstance() override {
    good_->SetDelay(milliseconds(1000));
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    good_->SetDelay(milliseconds(0));
    return absl::OkStatus();
  }

 private:
  const std::shared_ptr<testing::FakeFlowResumer> good_ =
      std::make_shared<testing::FakeFlowResumer>();
  const std::shared_ptr<FaultyResumer> resumer_;
  int made_ = 0;
};

TEST(FlowResumerConformance, TellsGoodFromBroken) {
  tests::ExpectEveryCaseToTellGoodFromBroken(
      conformance::FlowResumerCases(),
      [](const std::string& fault) { return std::make_unique<FaultyHarness>(fault); });
}

const bool registered = (conformance::RegisterFlowResumerConformance(
                             "Fake", [] { return std::make_unique<FaultyHarness>(std::string()); }),
                         true);

}  // namespace
}  // namespace sipheal
