// SPDX-License-Identifier: Apache-2.0
// The daemon over fakes: everything but the adapters is real.
#include "cli/daemon.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <filesystem>
#include <mutex>
#include <sstream>

#include "cli/control_client.h"
#include "cli/daemon_commands.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "sipheal/testing/fake_flow_resumer.h"
#include "sipheal/testing/fake_media_server.h"

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Json = nlohmann::ordered_json;

// What a fake set saw; outlives it.
struct SetLog {
  std::vector<std::string> steps;
};

class SwitchInMemory final : public KillSwitch {
 public:
  absl::Status Check(const CallContext&) override {
    const std::lock_guard lock(mutex_);
    return reason_.empty() ? absl::OkStatus() : absl::FailedPreconditionError(reason_);
  }
  absl::Status Throw(const CallContext&, const std::string& reason) override {
    const std::lock_guard lock(mutex_);
    reason_ = reason;
    return absl::OkStatus();
  }
  absl::Status Clear(const CallContext&) override { return Throw({}, ""); }

 private:
  std::mutex mutex_;
  std::string reason_;
};

// Says when it is started: that is when a Healer begins to work.
class NotedDetector final : public CrashDetector {
 public:
  NotedDetector(std::shared_ptr<CrashDetector> real, SetLog& log)
      : real_(std::move(real)), log_(log) {}
  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    log_.steps.emplace_back("healer");
    return real_->Start(std::move(listener));
  }
  void Stop() override { real_->Stop(); }
  absl::Status Expect(const Incarnation& incarnation) override {
    return real_->Expect(incarnation);
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return real_->AnnounceStop(params);
  }

 private:
  const std::shared_ptr<CrashDetector> real_;
  SetLog& log_;
};

class FakeSet final : public EmbeddedSet {
 public:
  explicit FakeSet(SetLog& log) : log_(log) {
    detector = std::make_shared<testing::FakeCrashDetector>();
    parts_.detector = std::make_shared<NotedDetector>(detector, log);
    parts_.store = MakeMemorySessionStore();
    parts_.capture = MakeMemorySipCapture();
    parts_.driver = driver = std::make_shared<testing::FakeMediaServer>();
    parts_.resumer = std::make_shared<testing::FakeFlowResumer>();
    parts_.kill_switch = kill_switch = std::make_shared<SwitchInMemory>();
  }

  HealerParts parts() override { return parts_; }
  std::string controller_name() const override { return "as-the-relay"; }
  absl::Status StartCapture() override {
    log_.steps.emplace_back("capture");
    return capture_status;
  }
  absl::Status StartTracking() override {
    log_.steps.emplace_back("tracking");
    return absl::OkStatus();
  }
  absl::Status StartServing(Healer& /*healer*/) override {
    log_.steps.emplace_back("serving");
    return serve_status;
  }
  void Stop() override { log_.steps.emplace_back("stop"); }
  absl::Status AddInstance(const InstanceConfig& instance) override {
    log_.steps.push_back("add " + instance.name);
    return instance.name == "refused" ? absl::InvalidArgumentError("not this one")
                                      : absl::OkStatus();
  }
  absl::Status RemoveInstance(const std::string& name) override {
    log_.steps.push_back("remove " + name);
    return absl::OkStatus();
  }
  Json Status() override {
    return {{"hep", {{"udp", "127.0.0.1:9060"}}}, {"instances", Json::object()}};
  }

  std::shared_ptr<SwitchInMemory> kill_switch;
  std::shared_ptr<testing::FakeCrashDetector> detector;
  std::shared_ptr<testing::FakeMediaServer> driver;
  absl::Status capture_status;
  absl::Status serve_status;

 private:
  SetLog& log_;
  HealerParts parts_;
};

InstanceConfig Instance(const std::string& name) {
  InstanceConfig instance;
  instance.name = name;
  instance.sip = {"127.0.0.1:5060"};
  instance.ari.url = "http://127.0.0.1:8088";
  instance.ari.user = "u";
  instance.ari.password = "p";
  return instance;
}

class DaemonTest : public ::testing::Test {
 protected:
  DaemonTest() {
    std::string pattern = std::filesystem::path(::testing::TempDir()) / "sipheal-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    config_.instances = {Instance("pbx1"), Instance("pbx2")};
    config_.control.socket = folder_ + "/control.sock";
    config_.store.sqlite = folder_ + "/none.db";
    next_ = config_;
  }
  ~DaemonTest() override {
    daemon_.reset();
    std::filesystem::remove_all(folder_);
  }

  absl::Status Start(absl::Status capture = absl::OkStatus(),
                     absl::Status serve = absl::OkStatus()) {
    auto set = std::make_unique<FakeSet>(log_);
    set->capture_status = std::move(capture);
    set->serve_status = std::move(serve);
    detector_ = set->detector;
    kill_switch_ = set->kill_switch;
    store_ = set->parts().store;
    for (const InstanceConfig& instance : config_.instances) {
      set->detector->AddInstance({instance.name, "life1"});
      set->driver->AddInstance({instance.name, "life1"});
    }
    DaemonOptions options;
    options.loaded.config = config_;
    options.loaded.file = "s.yaml";
    options.log = NullLogSink();
    options.metrics = std::make_shared<MemoryMetrics>();
    options.events = [this](const std::string& line) {
      const std::lock_guard lock(mutex_);
      events_.push_back(Json::parse(line));
      changed_.notify_all();
    };
    options.read_config = [this]() -> absl::StatusOr<LoadedConfig> {
      LoadedConfig loaded;
      loaded.config = next_;
      return loaded;
    };
    absl::StatusOr<std::unique_ptr<Daemon>> daemon =
        Daemon::Start(std::move(options), std::move(set));
    if (!daemon.ok()) return daemon.status();
    daemon_ = *std::move(daemon);
    return absl::OkStatus();
  }

  absl::StatusOr<Json> Ask(const Json& request) {
    return AskDaemon(config_.control.socket, request);
  }

  // The first event of this name, waited for.
  Json WaitFor(const std::string& name) {
    std::unique_lock lock(mutex_);
    Json found;
    changed_.wait_for(lock, std::chrono::seconds(20), [&] {
      for (const Json& event : events_) {
        if (event["event"] == name) {
          found = event;
          return true;
        }
      }
      return false;
    });
    return found;
  }

  void PutSession(const std::string& instance) {
    Session session;
    session.incarnation = {instance, "life1"};
    session.channel_id = "c1";
    session.id = MakeSessionId(session.incarnation, session.channel_id);
    session.call_id = "call-1";
    session.endpoint = "phone";
    session.created_at = SystemClock().Now();
    ASSERT_TRUE(store_->Put(CallContext::WithTimeout(std::chrono::seconds(5)), {{session}}).ok());
  }

  Config config_;
  Config next_;
  std::string folder_;
  SetLog log_;
  std::shared_ptr<testing::FakeCrashDetector> detector_;
  std::shared_ptr<SwitchInMemory> kill_switch_;
  std::shared_ptr<SessionStore> store_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<Json> events_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_F(DaemonTest, StartsCaptureFirstSaysReadyAndStopsInTheReverseOrder) {
  ASSERT_TRUE(Start().ok());
  EXPECT_THAT(log_.steps, ElementsAre("capture", "serving", "healer", "tracking"));
  const Json ready = WaitFor("ready");
  EXPECT_EQ(ready["hep_udp"], "127.0.0.1:9060");
  EXPECT_EQ(ready["control"], config_.control.socket);
  daemon_->Stop();
  daemon_->Stop();
  EXPECT_THAT(log_.steps, ElementsAre("capture", "serving", "healer", "tracking", "stop"));
  EXPECT_EQ(WaitFor("stopped")["event"], "stopped");
  EXPECT_FALSE(std::filesystem::exists(config_.control.socket));
}

TEST_F(DaemonTest, GivesBackTheReasonWhenThePortIsTaken) {
  EXPECT_EQ(Start(absl::UnavailableError("port 9060 is in use")),
            absl::UnavailableError("port 9060 is in use"));
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(DaemonTest, ClaimsNothingWhenItCannotListenForOperators) {
  EXPECT_EQ(Start(absl::OkStatus(), absl::UnavailableError("port 7443 is in use")),
            absl::UnavailableError("port 7443 is in use"));
  EXPECT_THAT(log_.steps, ElementsAre("capture", "serving", "stop"));
  EXPECT_THAT(events_, IsEmpty());
}

TEST_F(DaemonTest, RefusesASecondDaemonOnTheSameSocketBeforeItTouchesAnything) {
  ASSERT_TRUE(Start().ok());
  const std::unique_ptr<Daemon> first = std::move(daemon_);
  log_.steps.clear();
  const absl::Status second = Start();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists) << second;
  EXPECT_THAT(log_.steps, ElementsAre("stop")) << "nothing was started";
}

TEST_F(DaemonTest, AnswersStatusAndSessionsOnTheControlSocket) {
  ASSERT_TRUE(Start().ok());
  PutSession("pbx2");
  const absl::StatusOr<Json> status = Ask({{"command", "status"}});
  ASSERT_TRUE(status.ok()) << status.status();
  EXPECT_EQ((*status)["paused"], false);
  EXPECT_EQ((*status)["recoveries"], 0);
  EXPECT_EQ((*status)["hep"]["udp"], "127.0.0.1:9060");
  const absl::StatusOr<Json> sessions = Ask({{"command", "sessions"}, {"instance", "pbx2"}});
  ASSERT_TRUE(sessions.ok()) << sessions.status();
  ASSERT_EQ((*sessions)["sessions"].size(), 1U);
  EXPECT_EQ((*sessions)["sessions"][0]["call_id"], "call-1");
  EXPECT_EQ((*Ask({{"command", "sessions"}, {"instance", "pbx1"}}))["sessions"].size(), 0U);
}

TEST_F(DaemonTest, PausesAndResumesAndRefusesWhatItDoesNotKnow) {
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ((*Ask({{"command", "pause"}}))["paused"], true);
  EXPECT_EQ((*Ask({{"command", "status"}}))["paused"], true);
  EXPECT_EQ((*Ask({{"command", "resume"}}))["paused"], false);
  EXPECT_EQ(Ask({{"command", "dance"}}).status().code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(Ask({{"command", "recover"}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask({{"command", "recover"}, {"instance", "none"}}).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(
      Ask({{"command", "planned_stop"}, {"instance", "pbx1"}, {"seconds", 0}}).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(Ask({{"command", "planned_stop"}, {"instance", "pbx1"}, {"seconds", 60}}).ok());
  EXPECT_EQ(Ask({{"command", "sessions"}, {"limit", "many"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DaemonTest, ThrowsAndClearsTheKillSwitch) {
  ASSERT_TRUE(Start().ok());
  EXPECT_EQ((*Ask({{"command", "kill_switch"}, {"on", true}}))["thrown"], true);
  EXPECT_EQ(kill_switch_->Check({}).message(), "by hand");
  EXPECT_TRUE(Ask({{"command", "kill_switch"}, {"on", true}, {"reason", "wrong numbers"}}).ok());
  EXPECT_EQ(kill_switch_->Check({}).message(), "wrong numbers");
  // Whoever does not say what to do with it does not clear it.
  EXPECT_EQ(Ask({{"command", "kill_switch"}}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Ask({{"command", "kill_switch"}, {"on", "off"}}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kill_switch_->Check({}).message(), "wrong numbers");
  EXPECT_EQ((*Ask({{"command", "kill_switch"}, {"on", false}}))["thrown"], false);
  EXPECT_TRUE(kill_switch_->Check({}).ok());
}

TEST_F(DaemonTest, WritesEventsFromCrashToDone) {
  ASSERT_TRUE(Start().ok());
  PutSession("pbx1");
  detector_->Kill("pbx1");
  const Json crash = WaitFor("crash");
  EXPECT_EQ(crash["instance"], "pbx1");
  EXPECT_EQ(crash["life"], "life1");
  EXPECT_GT(crash["at_us"].get<std::int64_t>(), 1'700'000'000'000'000);
  const Json outcome = WaitFor("outcome");
  // Nothing was captured of this call, so it must end unrecovered, with a reason.
  EXPECT_EQ(outcome["outcome"], "closed") << outcome;
  EXPECT_EQ(outcome["call_id"], "call-1");
  EXPECT_EQ(outcome["old_instance"], "pbx1");
  EXPECT_TRUE(outcome.contains("reason")) << outcome;
  EXPECT_FALSE(outcome.contains("new_instance")) << outcome;
  const Json done = WaitFor("done");
  EXPECT_EQ(done["sessions"], 1);
  EXPECT_EQ(done["outcomes"]["closed"], 1);
}

// What is leased by that name is its own: anybody else would leave it alone.
TEST_F(DaemonTest, LeasesUnderTheNameThatItsPartsBear) {
  ASSERT_TRUE(Start().ok());
  PutSession("pbx1");
  const auto lease = store_->Claim({}, {.sessions = {{MakeSessionId({"pbx1", "life1"}, "c1"), 0}},
                                        .owner = "as-the-relay",
                                        .lease = std::chrono::minutes(5)});
  ASSERT_TRUE(lease.ok()) << lease.status();
  ASSERT_TRUE(lease->front().ok()) << lease->front().status();
  detector_->Kill("pbx1");
  EXPECT_EQ(WaitFor("outcome")["call_id"], "call-1");
}

TEST_F(DaemonTest, RecoversByHandAndPlansWithoutDoing) {
  ASSERT_TRUE(Start().ok());
  PutSession("pbx1");
  const absl::StatusOr<Json> plan =
      Ask({{"command", "recover"}, {"instance", "pbx1"}, {"dry_run", true}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  ASSERT_EQ((*plan)["plans"].size(), 1U);
  EXPECT_EQ((*plan)["plans"][0]["session"]["call_id"], "call-1");
  EXPECT_EQ((*plan)["plans"][0]["action"], "none");
  ASSERT_TRUE(Ask({{"command", "recover"}, {"instance", "pbx1"}}).ok());
  EXPECT_EQ(WaitFor("crash")["kind"], "reported");
  EXPECT_EQ(WaitFor("outcome")["call_id"], "call-1");
}

TEST_F(DaemonTest, ReloadAddsRemovesAndReplacesInstances) {
  ASSERT_TRUE(Start().ok());
  log_.steps.clear();
  EXPECT_TRUE(daemon_->Reload().ok());
  EXPECT_THAT(log_.steps, IsEmpty()) << "nothing changed";

  next_.instances = {Instance("pbx1"), Instance("pbx3")};
  next_.instances[0].ari.password = "changed";
  EXPECT_TRUE(daemon_->Reload().ok());
  EXPECT_THAT(log_.steps, ElementsAre("remove pbx1", "remove pbx2", "add pbx1", "add pbx3"));
  log_.steps.clear();
  EXPECT_TRUE(Ask({{"command", "reload"}}).ok());
  EXPECT_THAT(log_.steps, IsEmpty());
}

TEST_F(DaemonTest, ReloadKeepsTheOthersWhenOneInstanceIsRefused) {
  ASSERT_TRUE(Start().ok());
  log_.steps.clear();
  next_.instances = {Instance("pbx1"), Instance("refused"), Instance("pbx3")};
  EXPECT_EQ(daemon_->Reload().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(log_.steps, ElementsAre("remove pbx2", "add refused", "add pbx3"));
}

TEST_F(DaemonTest, CommandsPrintForPeopleAndForMachines) {
  ASSERT_TRUE(Start().ok());
  PutSession("pbx1");
  DaemonPlace place;
  place.socket = config_.control.socket;
  std::ostringstream out;
  std::ostringstream err;
  Console console{.out = out, .err = err};
  EXPECT_EQ(StatusCommand(place, console), 0);
  EXPECT_THAT(out.str(), HasSubstr("recoveries under way: 0"));
  out.str("");
  EXPECT_EQ(SessionsCommand(place, "", 10, console), 0);
  EXPECT_THAT(out.str(), HasSubstr("call-1"));
  EXPECT_THAT(out.str(), HasSubstr("1 sessions"));
  out.str("");
  EXPECT_EQ(RecoverCommand(place, "pbx1", true, console), 0);
  EXPECT_THAT(out.str(), HasSubstr("nothing was sent"));
  out.str("");
  EXPECT_EQ(RecoverCommand(place, "unknown", false, console), 1);
  EXPECT_THAT(err.str(), HasSubstr("unknown"));
  console.format = OutputFormat::kJson;
  EXPECT_EQ(SessionsCommand(place, "", 10, console), 0);
  EXPECT_EQ(Json::parse(out.str())["sessions"][0]["call_id"], "call-1");
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
