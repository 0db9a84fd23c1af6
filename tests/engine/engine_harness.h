// SPDX-License-Identifier: Apache-2.0
// A Healer with in-memory parts that runs step by step on a clock of its own: no threads of the
// engine, no sleeping.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "engine/engine.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/testing/fake_clock.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "sipheal/testing/fake_flow_resumer.h"
#include "sipheal/testing/fake_media_server.h"
#include "sipheal/testing/forwarding_session_store.h"
#include "tests/support/captured_dialog.h"

namespace sipheal {

using std::chrono::milliseconds;

class Recorder final : public HealerListener {
 public:
  void OnEvent(const HealerEvent& event) override {
    if (event.kind == HealerEventKind::kOutcome) outcomes.push_back(event.session);
    if (event.kind == HealerEventKind::kStage)
      stages.emplace_back(event.session.session.id, event.stage);
    if (event.kind == HealerEventKind::kDone) reports.push_back(event.report);
    if (event.kind == HealerEventKind::kCrash) crashes.push_back(event.crash);
    if (event.kind == HealerEventKind::kReturned) returned.push_back(event.incarnation);
  }

  std::vector<SessionReport> outcomes;
  std::vector<std::pair<std::string, RecoveryStage>> stages;
  std::vector<std::shared_ptr<const CrashReport>> reports;
  std::vector<CrashEvent> crashes;
  std::vector<Incarnation> returned;
};

// Keeps what it is given, so that a test says which call into a part comes back when.
class StepExecutor final : public Executor {
 public:
  void Post(std::function<void()> task) override { tasks_.push_back(std::move(task)); }
  std::size_t waiting() const { return tasks_.size(); }
  // Nothing, when there is none.
  void RunOldest() {
    if (tasks_.empty()) return;
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    task();
  }
  void RunNewest() {
    auto task = std::move(tasks_.back());
    tasks_.pop_back();
    task();
  }

 private:
  std::deque<std::function<void()>> tasks_;
};

// How often each session was claimed.
class CountsClaims : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override {
    for (const SessionKey& key : params.sessions) ++claims[key];
    return ForwardingSessionStore::Claim(ctx, params);
  }

  std::map<SessionKey, int> claims;
};

// What controllers share: store, servers, phones, capture, flows.
class World {
 public:
  World()
      : store(MakeMemorySessionStore(&clock)),
        capture(MakeMemorySipCapture(&clock)),
        servers(std::make_shared<testing::FakeMediaServer>(&clock)),
        resumer(std::make_shared<testing::FakeFlowResumer>(&clock)) {
    for (const char* name : {"ast-1", "ast-2", "ast-3"}) servers->AddInstance({name, "life-1"});
  }

  static sip::DialogState Dialog(const std::string& call_id) {
    return tests::CapturedDialog(call_id);
  }

  Session MakeSession(int number, const std::string& instance = "ast-1") const {
    return tests::CapturedSession(number, instance, clock.Now());
  }

  // A call that is up on `instance`: in the store, and captured.
  Session AddCall(int number, const std::string& instance = "ast-1",
                  const std::string& group = "") {
    Session session = MakeSession(number, instance);
    session.group = group;
    Put(session);
    capture->AddDialog(Dialog(session.call_id));
    return session;
  }

  void Put(const Session& session) {
    SessionStore::PutParams params;
    params.sessions = {session};
    ASSERT_TRUE(store->Put({}, params).ok());
  }

  std::vector<Session> Stored() {
    auto page = store->List({}, {});
    return page.ok() ? page->sessions : std::vector<Session>{};
  }

  std::vector<JournalEntry> JournalOf(const Session& session) {
    auto journal = store->Journal({}, session.id);
    return journal.ok() ? *journal : std::vector<JournalEntry>{};
  }

  // The journal of a session as text, for failure messages.
  std::string Story(const Session& session) {
    std::string text;
    for (const JournalEntry& entry : JournalOf(session)) {
      text += absl::StrFormat("epoch %d attempt %d %s on %s/%s deaths %d %s\n", entry.session.epoch,
                              entry.attempt, std::string(ToString(entry.stage)),
                              entry.target.instance, entry.target.life, entry.deaths, entry.reason);
    }
    return text;
  }

  testing::FakeClock clock;
  std::shared_ptr<SessionStore> store;
  std::shared_ptr<MemorySipCapture> capture;
  std::shared_ptr<SipCapture> fetch_from;  // in place of `capture`, when there is one
  std::shared_ptr<testing::FakeMediaServer> servers;
  std::shared_ptr<testing::FakeFlowResumer> resumer;
  std::shared_ptr<FlowResumer> flow;  // in place of `resumer`, when there is one
  std::shared_ptr<KillSwitch> kill_switch;
  std::shared_ptr<LogSink> log;
};

// One controller. Several may share the world.
class Controller {
 public:
  explicit Controller(World& world, HealerOptions options = Options(),
                      const std::string& owner = "controller-a",
                      std::shared_ptr<Executor> executor = InlineExecutor())
      : world_(world),
        detector(std::make_shared<testing::FakeCrashDetector>(&world.clock)),
        heard(std::make_shared<Recorder>()) {
    options.owner = owner;
    HealerParts parts;
    parts.detector = detector;
    parts.store = world.store;
    parts.capture = world.fetch_from ? world.fetch_from : world.capture;
    parts.driver = world.servers;
    parts.resumer = world.flow ? world.flow : world.resumer;
    parts.executor = std::move(executor);
    parts.clock = &world.clock;
    parts.kill_switch = world.kill_switch;
    parts.log = world.log;
    for (const char* name : {"ast-1", "ast-2", "ast-3"}) detector->AddInstance({name, "life-1"});
    engine = std::make_unique<internal::Engine>(std::move(options), std::move(parts), false);
    engine->AddListener(heard);
  }

  static HealerOptions Options() {
    HealerOptions options;
    options.instances = {{"ast-1", {}}, {"ast-2", {}}, {"ast-3", {}}};
    return options;
  }

  void Start() {
    ASSERT_TRUE(engine->Start().ok());
    Settle();
  }

  // Runs until nothing is due any more, without moving the clock.
  void Settle() {
    for (int i = 0; i < 10'000; ++i) {
      world_.servers->Drain();
      detector->Drain();
      if (!engine->RunReady()) return;
    }
    FAIL() << "the engine does not come to rest";
  }

  // Moves the clock in small steps until `done` or the time is over.
  template <typename Done>
  bool RunUntil(Done done, milliseconds limit = milliseconds(120'000)) {
    for (milliseconds passed{0}; passed < limit; passed += milliseconds(10)) {
      Settle();
      if (done()) return true;
      world_.clock.Advance(milliseconds(10));
    }
    Settle();
    return done();
  }

  // Lets that much time pass.
  void RunFor(milliseconds time) {
    RunUntil([] { return false; }, time);
  }

  void Kill(const std::string& instance) {
    world_.servers->Kill(instance);
    detector->Kill(instance);
  }

  bool RunUntilOutcomes(std::size_t count, milliseconds limit = milliseconds(120'000)) {
    return RunUntil([&] { return heard->outcomes.size() >= count; }, limit);
  }

  std::map<Outcome, int> Counts() const {
    std::map<Outcome, int> counts;
    for (const SessionReport& report : heard->outcomes) ++counts[report.outcome];
    return counts;
  }

  std::string Reasons() const {
    std::string text;
    for (const SessionReport& report : heard->outcomes) {
      text += absl::StrFormat("%s: %s (%s)\n", report.call_id,
                              std::string(ToString(report.outcome)), report.reason);
    }
    return text;
  }

 private:
  World& world_;

 public:
  std::shared_ptr<testing::FakeCrashDetector> detector;
  std::shared_ptr<Recorder> heard;
  std::unique_ptr<internal::Engine> engine;
};

}  // namespace sipheal
