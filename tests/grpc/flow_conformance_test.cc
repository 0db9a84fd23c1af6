// SPDX-License-Identifier: Apache-2.0
// The contract of the flow resumer (FR-1 to FR-8) on the one over gRPC, with a host in C++.
#include <map>
#include <set>
#include <string>

#include "sipheal/adapters/grpc.h"
#include "sipheal/conformance/gtest.h"
#include "tests/grpc/flow_host.h"
#include "tests/grpc/scratch_folder.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;

class HostHarness final : public conformance::FlowResumerHarness {
 public:
  HostHarness() : listening_(host_.Start(address_)) {}

  absl::StatusOr<std::shared_ptr<FlowResumer>> Make() override {
    if (!listening_) return absl::InternalError("the host cannot listen");
    return MakeGrpcFlowResumer({.target = address_, .plain_text = true});
  }
  absl::StatusOr<FlowResumer::ResumeParams> NewRecovered() override {
    FlowResumer::ResumeParams params;
    const std::string id = std::to_string(++made_);
    params.session.id = "session" + id;
    params.session.flow.stasis_app = "conformance";
    params.instance = "conformance";
    params.channel_id = "channel-" + id;
    return params;
  }
  absl::StatusOr<std::set<std::string>> BridgeOf(const std::string& channel_id) override {
    for (const auto& [name, members] : host_.fake().bridges()) {
      if (members.contains(channel_id)) return members;
    }
    return std::set<std::string>();
  }
  absl::StatusOr<int> Playbacks(const std::string& channel_id) override {
    const auto playbacks = host_.fake().playbacks();
    const auto it = playbacks.find(channel_id);
    return it == playbacks.end() ? 0 : it->second;
  }
  absl::Status BreakConnection() override {
    host_.Stop();
    return absl::OkStatus();
  }
  absl::Status HealConnection() override {
    return host_.Start(address_) ? absl::OkStatus() : absl::InternalError("it cannot listen again");
  }
  absl::Status BlockInstance() override {
    host_.fake().SetDelay(milliseconds(1000));
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    host_.fake().SetDelay(milliseconds(0));
    return absl::OkStatus();
  }

 private:
  const tests::ScratchFolder folder_;
  const std::string address_ = "unix:" + folder_.File("host.sock");
  tests::FlowHost host_;
  const bool listening_;
  int made_ = 0;
};

const bool registered = (conformance::RegisterFlowResumerConformance(
                             "Grpc", [] { return std::make_unique<HostHarness>(); }),
                         true);

}  // namespace
}  // namespace sipheal
