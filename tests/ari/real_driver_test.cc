// SPDX-License-Identifier: Apache-2.0
// The contract of the media server driver (MD-1 to MD-8) on a real Asterisk with a strict phone.
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <memory>
#include <string>
#include <thread>

#include "ari/connections.h"
#include "recording_handler.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/model/session.h"
#include "sipheal/testing/fake_ari.h"
#include "support/real_asterisk.h"
#include "support/sip_phone.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using testing::FakeAri;
using testing::RealAsterisk;
using testing::SipPhone;

// One server for all cases: it takes seconds to start one.
RealAsterisk* Server() {
  static const std::unique_ptr<RealAsterisk> server =
      RealAsterisk::Make("conformance", {"--endpoint", "phone"});
  return server.get();
}

AriOptions Options() {
  AriOptions options;
  options.instances = {Server()->Ari()};
  return options;
}

absl::StatusOr<std::shared_ptr<AriConnections>> Connect() {
  auto connections = ConnectAri(Options());
  if (!connections.ok()) return connections.status();
  if (!FakeAri::WaitFor([&] { return (*connections)->Connected("conformance").has_value(); })) {
    return absl::InternalError("the event socket did not open");
  }
  return connections;
}

class DriverHarness : public conformance::MediaServerDriverHarness {
 public:
  ~DriverHarness() override {
    for (const auto& [id, phone] : phones_) {
      for (const std::string& violation : phone->violations()) ADD_FAILURE() << violation;
    }
    if (!dead_) Server()->Cli("channel request hangup all");
    if (blocked_) Server()->Signal(SIGCONT);
    if (unloaded_) Server()->Cli("module load res_pjsip_recovery.so");
    if (dead_) {
      Server()->Reap();
      Server()->Boot();
    }
  }

  absl::StatusOr<std::shared_ptr<MediaServerDriver>> Make() override {
    if (Server() == nullptr) return absl::UnimplementedError("there is no Asterisk");
    auto connections = Connect();
    if (!connections.ok()) return connections.status();
    return MakeAriDriver(*connections);
  }

  absl::StatusOr<MediaServerDriver::CreateParams> NewDialog(
      conformance::PhoneConduct conduct) override {
    const auto as = conduct == conformance::PhoneConduct::kAnswers   ? SipPhone::Conduct::kAnswers
                    : conduct == conformance::PhoneConduct::kRefuses ? SipPhone::Conduct::kRefuses
                                                                     : SipPhone::Conduct::kSilent;
    auto phone = std::make_unique<SipPhone>("phone", as);
    MediaServerDriver::CreateParams params;
    params.instance = instance();
    static int count = 0;
    params.channel_id = ToChannelId({{"c" + std::to_string(++count), 0}, 1});
    params.endpoint = "phone";
    params.variables = phone->Variables();
    phones_[params.channel_id] = std::move(phone);
    return params;
  }
  absl::StatusOr<int> Received(const MediaServerDriver::CreateParams& dialog,
                               const std::string& method) override {
    return phones_.at(dialog.channel_id)->Received(method);
  }
  absl::Status PhoneHangsUp(const MediaServerDriver::CreateParams& dialog) override {
    return phones_.at(dialog.channel_id)->HangUp() ? absl::OkStatus()
                                                   : absl::InternalError("it has no call");
  }
  absl::Status KillInstance() override {
    dead_ = true;
    Server()->Kill();
    return absl::OkStatus();
  }
  absl::Status BreakConnection() override { return KillInstance(); }
  absl::Status BlockInstance() override {
    blocked_ = true;
    Server()->Signal(SIGSTOP);
    return absl::OkStatus();
  }
  absl::Status UnblockInstance() override {
    blocked_ = false;
    Server()->Signal(SIGCONT);
    return absl::OkStatus();
  }
  absl::Status RemoveModule() override {
    unloaded_ = true;
    Server()->Cli("module unload res_pjsip_recovery.so");
    return Server()->Cli("module show like res_pjsip_recovery").find("0 modules loaded") !=
                   std::string::npos
               ? absl::OkStatus()
               : absl::UnimplementedError("the module is in use");
  }
  absl::StatusOr<std::shared_ptr<MediaServerDriver>> MakeWithBadCredentials() override {
    if (Server() == nullptr) return absl::UnimplementedError("there is no Asterisk");
    AriOptions options = Options();
    options.instances[0].password = "wrong";
    auto connections = ConnectAri(options);
    if (!connections.ok()) return connections.status();
    return MakeAriDriver(*connections);
  }

 private:
  std::map<std::string, std::unique_ptr<SipPhone>> phones_;
  bool dead_ = false;
  bool blocked_ = false;
  bool unloaded_ = false;
};

const bool registered = (conformance::RegisterMediaServerDriverConformance(
                             "AriDriver", [] { return std::make_unique<DriverHarness>(); }),
                         true);

}  // namespace
}  // namespace sipheal::inline v0_1::internal
