// SPDX-License-Identifier: Apache-2.0
// The contract of the crash detector (CD-1 to CD-8) on the ARI detector, against fake servers.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include "ari/connections.h"
#include "sipheal/adapters/ari.h"
#include "sipheal/conformance/gtest.h"
#include "sipheal/testing/fake_ari.h"

namespace sipheal::inline v0_1::internal {
namespace {

using std::chrono::milliseconds;
using testing::FakeAri;

std::string Life(int number) {
  return "2026-01-01T00:00:" + std::to_string(10 + number) + ".000+0000";
}

class DetectorHarness : public conformance::CrashDetectorHarness {
 public:
  absl::StatusOr<Incarnation> AddInstance(const std::string& name) override {
    FakeAri::Options options;
    options.life = Life(0);
    auto fake = FakeAri::Start(options);
    if (!fake.ok()) return fake.status();
    servers_[name].fake = *std::move(fake);
    servers_[name].alive = true;
    return Incarnation{name, options.life};
  }

  absl::StatusOr<std::shared_ptr<CrashDetector>> Make() override {
    AriOptions options;
    options.reconnect_min = milliseconds(5);
    options.reconnect_max = milliseconds(50);
    for (const auto& [name, server] : servers_) {
      AriInstanceOptions instance;
      instance.name = name;
      instance.url = server.fake->url();
      instance.user = "sipheal";
      instance.password = "secret";
      options.instances.push_back(instance);
    }
    auto connections = ConnectAri(options);
    if (!connections.ok()) return connections.status();
    connections_ = *std::move(connections);
    AriCrashDetectorOptions detector;
    detector.silence = silence();
    detector.probe_interval = milliseconds(20);
    return MakeAriCrashDetector(connections_, detector);
  }

  absl::Status AwaitWatched(const std::string& name) override {
    if (!FakeAri::WaitFor([&] { return connections_->Connected(name).has_value(); })) {
      return absl::InternalError("the event socket did not open");
    }
    // The pings that only the detector sends.
    const auto heard = connections_->LastHeard(name);
    if (!FakeAri::WaitFor([&] { return connections_->LastHeard(name) > heard; })) {
      return absl::InternalError("the detector does not ping");
    }
    return absl::OkStatus();
  }

  absl::Status Kill(const std::string& name) override {
    if (std::exchange(servers_[name].alive, false)) servers_[name].fake->Kill();
    return absl::OkStatus();
  }
  absl::StatusOr<Incarnation> Restart(const std::string& name) override {
    if (absl::Status killed = Kill(name); !killed.ok()) return killed;
    Server& server = servers_[name];
    server.alive = true;
    server.fake->Revive(Life(++server.lives));
    return Incarnation{name, Life(server.lives)};
  }
  absl::Status Stall(const std::string& name) override {
    servers_[name].fake->Freeze(true);
    return absl::OkStatus();
  }
  absl::Status Wake(const std::string& name) override {
    servers_[name].fake->Freeze(false);
    return absl::OkStatus();
  }
  absl::Status Blip(const std::string& name) override {
    servers_[name].fake->ResetEventSockets();
    return absl::OkStatus();
  }
  milliseconds silence() const override { return milliseconds(500); }

 private:
  struct Server {
    std::unique_ptr<FakeAri> fake;
    bool alive = false;
    int lives = 0;
  };
  std::map<std::string, Server> servers_;
  std::shared_ptr<AriConnections> connections_;
};

const bool registered =
    (conformance::RegisterCrashDetectorConformance(
         "AriCrashDetector", [] { return std::make_unique<DetectorHarness>(); }),
     true);

}  // namespace
}  // namespace sipheal::inline v0_1::internal
