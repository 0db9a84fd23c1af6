// SPDX-License-Identifier: Apache-2.0
// What an orderly stop leaves to the next controller: every call that was not done with, and only
// those leases under which nothing can be on its way any more.
#include <condition_variable>
#include <mutex>
#include <semaphore>
#include <stop_token>

#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using std::chrono::seconds;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// --- with threads: calls into the parts are under way when it stops

void AwaitStop(const CallContext& ctx) {
  std::mutex mutex;
  std::condition_variable_any never;
  std::unique_lock lock(mutex);
  never.wait(lock, ctx.stop, [] { return false; });
}

class ResumesUntilStopped final : public FlowResumer {
 public:
  explicit ResumesUntilStopped(absl::Status answer) : answer_(std::move(answer)) {}

  absl::Status Accept(const Session&) override { return absl::OkStatus(); }
  absl::Status Resume(const CallContext& ctx, const ResumeParams&) override {
    begun.release();
    AwaitStop(ctx);
    return answer_;
  }

  std::counting_semaphore<> begun{0};

 private:
  const absl::Status answer_;
};

// Its Create and HangUp end with the Healer, while their request is on the wire: what became of it
// is not known here.
class EndsWithTheHealer final : public MediaServerDriver {
 public:
  EndsWithTheHealer(std::shared_ptr<MediaServerDriver> servers, bool creates)
      : servers_(std::move(servers)), creates_(creates) {}

  absl::Status Start(std::shared_ptr<MediaServerListener> listener) override {
    return servers_->Start(std::move(listener));
  }
  void Stop() override { servers_->Stop(); }
  absl::StatusOr<InstanceStatus> Inspect(const CallContext& ctx,
                                         const InspectParams& params) override {
    return servers_->Inspect(ctx, params);
  }
  absl::Status Create(const CallContext& ctx, const CreateParams& params) override {
    if (creates_) return servers_->Create(ctx, params);
    return EndWithIt(ctx);
  }
  absl::StatusOr<ChannelState> Find(const CallContext& ctx, const ChannelParams& params) override {
    return servers_->Find(ctx, params);
  }
  absl::Status HangUp(const CallContext& ctx, const ChannelParams&) override {
    return EndWithIt(ctx);
  }
  absl::Status GiveUp(const CallContext& ctx, const GiveUpParams& params) override {
    return servers_->GiveUp(ctx, params);
  }

  std::counting_semaphore<> begun{0};

 private:
  absl::Status EndWithIt(const CallContext& ctx) {
    begun.release();
    AwaitStop(ctx);
    return absl::CancelledError("the request was on the wire");
  }

  const std::shared_ptr<MediaServerDriver> servers_;
  const bool creates_;
};

// One Healer with threads of its own, by the system's clock.
class RealHealer : public ::testing::Test {
 protected:
  RealHealer() {
    for (const char* name : {"ast-1", "ast-2", "ast-3"}) {
      servers->AddInstance({name, "life-1"});
      detector->AddInstance({name, "life-1"});
    }
    parts.detector = detector;
    parts.store = store;
    parts.capture = capture;
    parts.driver = servers;
    parts.resumer = std::make_shared<testing::FakeFlowResumer>();
  }

  void AddCalls(int count) {
    for (int i = 0; i < count; ++i) {
      sessions.push_back(tests::CapturedSession(i, "ast-1", SystemClock().Now()));
      capture->AddDialog(World::Dialog(sessions.back().call_id));
    }
    SessionStore::PutParams params;
    params.sessions = sessions;
    ASSERT_TRUE(store->Put({}, params).ok());
  }

  // Runs until `begun` was released for each call, then stops.
  void StopWhen(std::counting_semaphore<>& begun) {
    auto healer = Healer::Create(Controller::Options(), parts);
    ASSERT_TRUE(healer.ok()) << healer.status();
    ASSERT_TRUE((*healer)->Start().ok());
    servers->Kill("ast-1");
    detector->Kill("ast-1");
    for (std::size_t i = 0; i < sessions.size(); ++i) {
      ASSERT_TRUE(begun.try_acquire_for(seconds(20))) << i;
    }
    (*healer)->Stop();
  }

  JournalEntry LastOf(const Session& session) {
    const auto journal = store->Journal({}, session.id);
    return journal.ok() && !journal->empty() ? journal->back() : JournalEntry{};
  }

  // Those that another controller may have; the given-back leases end 1 ms after the stop.
  std::size_t Offered() {
    const MonotonicTime enough = SystemClock().Monotonic() + seconds(20);
    std::size_t offered = 0;
    while (offered < sessions.size() && SystemClock().Monotonic() < enough) {
      const auto unfinished = store->ListUnfinished({});
      offered = unfinished.ok() ? unfinished->size() : 0;
    }
    return offered;
  }

  std::shared_ptr<SessionStore> store = MakeMemorySessionStore();
  std::shared_ptr<MemorySipCapture> capture = MakeMemorySipCapture();
  std::shared_ptr<testing::FakeMediaServer> servers = std::make_shared<testing::FakeMediaServer>();
  std::shared_ptr<testing::FakeCrashDetector> detector =
      std::make_shared<testing::FakeCrashDetector>();
  HealerParts parts;
  std::vector<Session> sessions;
};

class ResumeAnswers : public RealHealer, public ::testing::WithParamInterface<absl::StatusCode> {};

TEST_P(ResumeAnswers, EndNoCallOnceTheHealerStops) {
  const auto resumer =
      std::make_shared<ResumesUntilStopped>(absl::Status(GetParam(), "the Healer stops"));
  parts.resumer = resumer;
  AddCalls(6);
  StopWhen(resumer->begun);
  EXPECT_EQ(Offered(), 6u);
  for (const Session& session : sessions) {
    EXPECT_EQ(LastOf(session).outcome, std::nullopt) << LastOf(session).reason;
    EXPECT_EQ(LastOf(session).stage, RecoveryStage::kAnswered);
    EXPECT_EQ(servers->LiveChannels(session.call_id), 1);
    EXPECT_EQ(servers->Byes(session.call_id), 0);
  }
}

INSTANTIATE_TEST_SUITE_P(OfAnyKind, ResumeAnswers,
                         ::testing::Values(absl::StatusCode::kCancelled,
                                           absl::StatusCode::kInternal,
                                           absl::StatusCode::kInvalidArgument));

TEST_F(RealHealer, KeepsTheLeaseOfACallWhoseReinviteIsOnTheWire) {
  const auto driver = std::make_shared<EndsWithTheHealer>(servers, /*creates=*/false);
  parts.driver = driver;
  AddCalls(3);
  StopWhen(driver->begun);
  SessionStore::ClaimParams claim;
  claim.owner = "controller-b";
  for (const Session& session : sessions) {
    EXPECT_EQ(LastOf(session).stage, RecoveryStage::kInviting) << LastOf(session).reason;
    claim.sessions = {session.key()};
    const auto leases = store->Claim({}, claim);
    ASSERT_TRUE(leases.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(leases->at(0).status())) << "it was given back";
  }
}

TEST_F(RealHealer, KeepsTheLeaseOfACallWhoseHangUpIsOnTheWire) {
  const auto driver = std::make_shared<EndsWithTheHealer>(servers, /*creates=*/true);
  const auto resumer = std::make_shared<testing::FakeFlowResumer>();
  resumer->SetError(absl::InvalidArgumentError("no such flow"));
  parts.driver = driver;
  parts.resumer = resumer;
  AddCalls(3);
  StopWhen(driver->begun);
  SessionStore::ClaimParams claim;
  claim.owner = "controller-b";
  for (const Session& session : sessions) {
    EXPECT_EQ(LastOf(session).stage, RecoveryStage::kEnding);
    EXPECT_EQ(LastOf(session).outcome, std::nullopt);
    claim.sessions = {session.key()};
    const auto leases = store->Claim({}, claim);
    ASSERT_TRUE(leases.ok());
    EXPECT_TRUE(absl::IsAlreadyExists(leases->at(0).status()));
  }
}

// --- step by step

class Switch final : public KillSwitch {
 public:
  absl::Status Check(const CallContext&) override { return state; }
  absl::Status Throw(const CallContext&, const std::string& reason) override {
    state = absl::FailedPreconditionError(reason);
    return absl::OkStatus();
  }
  absl::Status Clear(const CallContext&) override {
    state = absl::OkStatus();
    return absl::OkStatus();
  }

  absl::Status state;
};

// Written, and a controller that stops in that moment: nothing was sent, so nothing is waited for.
TEST(HandOver, GivesBackACallWhoseCreateHadNotBegun) {
  World world;
  const Session session = world.AddCall(1);
  const auto executor = std::make_shared<StepExecutor>();
  Controller first(world, Controller::Options(), "controller-a", executor);
  first.Start();
  first.Kill("ast-1");
  const auto inviting = [&] {
    const auto journal = world.JournalOf(session);
    return !journal.empty() && journal.back().stage == RecoveryStage::kInviting;
  };
  for (int i = 0; i < 1'000 && !inviting(); ++i) {
    executor->RunOldest();
    if (inviting()) break;
    first.Settle();
  }
  ASSERT_TRUE(inviting()) << world.Story(session);
  first.Settle();
  first.engine->Stop();
  EXPECT_EQ(world.servers->sent().size(), 0u);

  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  ASSERT_TRUE(second.RunUntilOutcomes(1, milliseconds(3'000))) << world.Story(session);
  EXPECT_EQ(second.heard->outcomes[0].outcome, Outcome::kRecovered);
  EXPECT_EQ(world.servers->Invites("call-1"), 1);
}

// A call that is up, whose flow is not to be had, and whose BYE the kill switch holds back.
class HeldBye : public ::testing::Test {
 protected:
  // `world.store` is what the controller under test has.
  void HoldIt() {
    world.resumer->FailResume(session.id, absl::InvalidArgumentError("no such flow"), 99);
    world.servers->ScriptPhone("call-1", {{.delay = milliseconds(300)}});
    world.kill_switch = kill_switch;
    first = std::make_unique<Controller>(world);
    first->Start();
    first->Kill("ast-1");
    first->RunFor(milliseconds(100));
    ASSERT_THAT(world.servers->sent(), SizeIs(1));
    ASSERT_TRUE(kill_switch->Throw({}, "maintenance").ok());
    first->RunFor(milliseconds(2'000));
    ASSERT_EQ(world.servers->LiveChannels("call-1"), 1);
    ASSERT_EQ(world.servers->Byes("call-1"), 0);
  }

  World world;
  const Session session = world.AddCall(1);
  const std::shared_ptr<Switch> kill_switch = std::make_shared<Switch>();
  std::unique_ptr<Controller> first;
};

TEST_F(HeldBye, KeepsItsLeaseForAsLongAsItIsHeld) {
  HoldIt();
  for (int i = 0; i < 30; ++i) {
    first->RunFor(Controller::Options().lease / 10);
    ASSERT_THAT(*world.store->ListUnfinished({}), IsEmpty()) << i;
  }
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(first->RunUntilOutcomes(1, milliseconds(5'000)));
  EXPECT_EQ(first->heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

TEST_F(HeldBye, IsHandedOverAndSentByTheNextController) {
  HoldIt();
  first->engine->Stop();
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  second.RunFor(milliseconds(3'000));
  EXPECT_EQ(world.servers->Byes("call-1"), 0) << "the switch is thrown for all";
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(second.RunUntilOutcomes(1, milliseconds(5'000))) << world.Story(session);
  EXPECT_EQ(second.heard->outcomes[0].outcome, Outcome::kEnded);
  EXPECT_EQ(second.heard->outcomes[0].reason, "flow: no such flow");
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 0);
}

// A store that this controller cannot write to for a while, in which others can.
class CutOff final : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    if (cut_off) return absl::UnavailableError("cut off");
    return ForwardingSessionStore::Advance(ctx, params);
  }

  bool cut_off = false;
};

TEST_F(HeldBye, IsNotSentToACallThatAnotherControllerRecoveredMeanwhile) {
  const std::shared_ptr<SessionStore> shared = world.store;
  const auto cut_off = std::make_shared<CutOff>(world.store);
  world.store = cut_off;
  HoldIt();
  cut_off->cut_off = true;
  first->RunFor(2 * Controller::Options().lease);
  SessionStore::ClaimParams claim;
  claim.owner = "controller-b";
  claim.sessions = {session.key()};
  const auto leases = shared->Claim({}, claim);
  ASSERT_TRUE(leases.ok() && leases->at(0).ok());
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  first->RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->Byes("call-1"), 0) << "whose it is was not known";
  cut_off->cut_off = false;
  first->RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1);
  EXPECT_EQ(first->engine->status().recoveries, 0u);
}

// Attempts that the kill switch held, in one controller after the other: none was sent, so the one
// that a session may have is still to come.
TEST(HandOver, CountsNoHeldAttempt) {
  World world;
  const Session session = world.AddCall(1);
  const auto kill_switch = std::make_shared<Switch>();
  world.kill_switch = kill_switch;
  ASSERT_TRUE(kill_switch->Throw({}, "maintenance").ok());
  HealerOptions options = Controller::Options();
  options.max_attempts = 2;
  for (int i = 0; i < 3; ++i) {
    Controller held(world, options, absl::StrFormat("controller-%d", i));
    held.Start();
    if (i == 0) held.Kill("ast-1");
    held.RunFor(milliseconds(2'500));
    ASSERT_EQ(held.engine->status().recoveries, 1u) << i;
    held.engine->Stop();
  }
  ASSERT_THAT(world.servers->sent(), IsEmpty());
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  world.servers->ScriptPhone("call-1", {{.sip_status = 500}, {.sip_status = 200}});
  Controller last(world, options, "controller-last");
  last.Start();
  ASSERT_TRUE(last.RunUntilOutcomes(1, milliseconds(20'000)));
  EXPECT_EQ(last.heard->outcomes[0].outcome, Outcome::kRecovered)
      << last.Reasons() << world.Story(session);
  const auto sent = world.servers->sent();
  ASSERT_THAT(sent, SizeIs(2));
  EXPECT_NE(sent[0].channel_id, sent[1].channel_id);
  EXPECT_THAT(sent[0].channel_id, ::testing::HasSubstr("-4")) << "no channel id is used again";
}

// A target hangs, may live, and nothing is sent elsewhere before the next word in the journal: it
// must give the call up when it wakes, whoever recovers the call then.
class TakenFromASilentTarget : public ::testing::Test {
 protected:
  void SetUp() override {
    world.servers->SetReachable("ast-3", false);
    world.servers->ScriptPhone("call-1", {{.delay = milliseconds(20'000)}});
    first = std::make_unique<Controller>(world);
    first->Start();
    first->Kill("ast-1");
    first->RunFor(milliseconds(100));
    ASSERT_THAT(world.servers->sent(), SizeIs(1));
    taken = {{"ast-2", "life-1"}, world.servers->sent()[0].channel_id};
    world.servers->SetReachable("ast-2", false);
    first->detector->Stall("ast-2");
    ASSERT_TRUE(
        first->RunUntil([&] { return first->heard->crashes.size() == 2; }, milliseconds(10'000)));
  }

  World world;
  const Session session = world.AddCall(1);
  std::unique_ptr<Controller> first;
  TakenChannel taken;
};

TEST_F(TakenFromASilentTarget, IsInTheJournalAfterAHandOver) {
  first->engine->Stop();
  EXPECT_THAT(*world.store->ListTaken({}), ::testing::Contains(taken)) << world.Story(session);
}

TEST_F(TakenFromASilentTarget, IsInTheJournalWhenTheLeaseIsRenewed) {
  for (int i = 0; i < 8; ++i) first->RunFor(Controller::Options().lease / 10);
  EXPECT_THAT(*world.store->ListTaken({}), ::testing::Contains(taken)) << world.Story(session);
}

class KeepsLog final : public LogSink {
 public:
  void Write(const LogEvent& event) override { events.push_back(event); }
  std::vector<LogEvent> Named(const std::string& name) const {
    std::vector<LogEvent> named;
    for (const LogEvent& event : events) {
      if (event.event == name) named.push_back(event);
    }
    return named;
  }

  std::vector<LogEvent> events;
};

// Takes the store's word for a hand-over from some sessions: another controller has them.
class RefusesTwo final : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    auto results = ForwardingSessionStore::Advance(ctx, params);
    if (!stopping || !results.ok()) return results;
    deadline = ctx.deadline;
    for (std::size_t i = 0; i < 2; ++i) results->at(i) = absl::AbortedError("an older fence");
    return results;
  }

  bool stopping = false;
  MonotonicTime deadline{};
};

TEST(HandOver, CountsOnlyWhatTheStoreTookAndGoesByTheHealersClock) {
  World world;
  for (int i = 0; i < 5; ++i) world.AddCall(i);
  const auto store = std::make_shared<RefusesTwo>(world.store);
  const auto log = std::make_shared<KeepsLog>();
  world.store = store;
  world.log = log;
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(500));
  store->stopping = true;
  controller.engine->Stop();
  const auto said = log->Named("handed_over");
  ASSERT_THAT(said, SizeIs(1));
  EXPECT_THAT(said[0].fields,
              ::testing::IsSupersetOf(
                  {std::pair<std::string, std::string>{"sessions", "3"}, {"refused", "2"}}));
  EXPECT_GT(store->deadline, world.clock.Monotonic());
  EXPECT_LE(store->deadline, world.clock.Monotonic() + seconds(2));
}

TEST(KillSwitch, ThatCannotBeReadIsNotSaidToBeThrown) {
  World world;
  world.AddCall(1);
  const auto kill_switch = std::make_shared<Switch>();
  const auto log = std::make_shared<KeepsLog>();
  world.kill_switch = kill_switch;
  world.log = log;
  kill_switch->state = absl::UnavailableError("the database is away");
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(3'000));
  EXPECT_THAT(log->Named("kill_switch_unreadable"), SizeIs(1));
  EXPECT_THAT(log->Named("kill_switch_thrown"), IsEmpty());
  EXPECT_EQ(controller.engine->status().halted, "the database is away");

  ASSERT_TRUE(kill_switch->Throw({}, "maintenance").ok());
  controller.RunFor(milliseconds(3'000));
  EXPECT_THAT(log->Named("kill_switch_thrown"), SizeIs(1));
  EXPECT_EQ(controller.engine->status().halted, "maintenance");
}

}  // namespace
}  // namespace sipheal
