// SPDX-License-Identifier: Apache-2.0
// The kill switch stops all sending and loses nothing; a controller that stops in order hands over.
#include "tests/engine/engine_harness.h"

namespace sipheal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;

// Throws itself when it was asked this often.
class CountingSwitch final : public KillSwitch {
 public:
  explicit CountingSwitch(int times = 1'000'000) : free(times) {}

  absl::Status Check(const CallContext&) override {
    ++asked;
    if (error.ok() && free-- > 0) return absl::OkStatus();
    return error.ok() ? absl::FailedPreconditionError("thrown: maintenance") : error;
  }
  absl::Status Throw(const CallContext&, const std::string&) override {
    free = 0;
    return absl::OkStatus();
  }
  absl::Status Clear(const CallContext&) override {
    free = 1'000'000;
    return absl::OkStatus();
  }

  int free;
  int asked = 0;
  absl::Status error;
};

TEST(KillSwitch, StopsWhatIsUnderWayAndNotYetSentAndLosesNothing) {
  World world;
  for (int i = 0; i < 8; ++i) world.AddCall(i);
  const auto kill_switch = std::make_shared<CountingSwitch>(3);
  world.kill_switch = kill_switch;
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->sent().size(), 3u) << "one for each time that it was not thrown";
  EXPECT_EQ(controller.heard->outcomes.size(), 3u);
  EXPECT_THAT(controller.engine->status().halted, HasSubstr("maintenance"));
  EXPECT_LT(kill_switch->asked, 20) << "it is looked at now and then, not for each session";

  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(controller.RunUntilOutcomes(8, milliseconds(5'000))) << controller.Reasons();
  EXPECT_THAT(controller.Counts(), ElementsAre(Pair(Outcome::kRecovered, 8)));
  EXPECT_EQ(controller.engine->status().halted, "");
  for (int i = 0; i < 8; ++i) {
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), 1);
  }
}

TEST(KillSwitch, StopsByesToo) {
  World world;
  Session session = world.MakeSession(1);
  session.recover = false;
  world.Put(session);
  world.capture->AddDialog(World::Dialog("call-1"));
  const auto kill_switch = std::make_shared<CountingSwitch>(0);
  world.kill_switch = kill_switch;
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(3'000));
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
  EXPECT_TRUE(controller.heard->outcomes.empty());
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(controller.RunUntilOutcomes(1, milliseconds(3'000)));
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
  EXPECT_EQ(controller.heard->outcomes[0].reason, "opt_out");
}

// The flow cannot be resumed, so the phone is to be told BYE: that is sending, too.
TEST(KillSwitch, StopsTheByeToACallWhoseFlowCannotBeResumed) {
  World world;
  world.resumer->FailResume(world.AddCall(1).id, absl::InvalidArgumentError("no such flow"), 99);
  const auto kill_switch = std::make_shared<CountingSwitch>(1);
  world.kill_switch = kill_switch;
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(5'000));
  EXPECT_EQ(world.servers->LiveChannels("call-1"), 1);
  EXPECT_EQ(world.servers->Byes("call-1"), 0);
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(controller.RunUntilOutcomes(1, milliseconds(5'000)));
  EXPECT_EQ(world.servers->Byes("call-1"), 1);
}

// Whether it is thrown is not known: nothing is sent until it is.
TEST(KillSwitch, HoldsEverythingWhileItCannotBeRead) {
  World world;
  world.AddCall(1);
  const auto kill_switch = std::make_shared<CountingSwitch>();
  kill_switch->error = absl::UnavailableError("the database is away");
  world.kill_switch = kill_switch;
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(3'000));
  EXPECT_TRUE(world.servers->sent().empty());
  kill_switch->error = absl::OkStatus();
  ASSERT_TRUE(controller.RunUntilOutcomes(1, milliseconds(3'000)));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered);
}

// More held attempts than a session may have attempts: they were never sent, and do not count.
TEST(KillSwitch, TakesNoAttemptFromASession) {
  World world;
  world.AddCall(1);
  const auto kill_switch = std::make_shared<CountingSwitch>(0);
  world.kill_switch = kill_switch;
  HealerOptions options = Controller::Options();
  options.max_attempts = 1;
  Controller controller(world, options);
  controller.Start();
  controller.Kill("ast-1");
  for (int round = 0; round < 3; ++round) {
    controller.RunFor(milliseconds(500));
    kill_switch->free = 1;  // for the look that finds it cleared, not for the attempt after it
    controller.RunFor(milliseconds(1'500));
  }
  EXPECT_TRUE(world.servers->sent().empty());
  ASSERT_TRUE(kill_switch->Clear({}).ok());
  ASSERT_TRUE(controller.RunUntilOutcomes(1, milliseconds(3'000)));
  EXPECT_EQ(controller.heard->outcomes[0].outcome, Outcome::kRecovered) << controller.Reasons();
}

// --- the orderly end

bool AllBack(World& world) {
  for (const Session& session : world.Stored()) {
    if (session.epoch == 0) return false;
  }
  return true;
}

TEST(HandOver, LetsTheNextControllerGoOnLongBeforeTheLeasesEnd) {
  World world;
  for (int i = 0; i < 6; ++i) world.AddCall(i, "ast-1", i < 2 ? "bridge" : "");
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, false);
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->Kill("ast-1");
  first->RunFor(milliseconds(500));
  ASSERT_EQ(first->engine->status().recoveries, 6u);
  first->engine->Stop();
  for (const char* name : {"ast-2", "ast-3"}) world.servers->SetReachable(name, true);

  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  // The leases were given for 30 s.
  ASSERT_TRUE(second.RunUntil([&] { return AllBack(world); }, milliseconds(3'000)))
      << world.Story(world.MakeSession(0));
  for (int i = 0; i < 6; ++i) {
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), 1);
  }
}

// The re-INVITEs are out, their answers are still to come: they are not sent again.
TEST(HandOver, SendsNoSecondReinviteForOneThatIsOut) {
  World world;
  for (int i = 0; i < 4; ++i) {
    world.AddCall(i);
    world.servers->ScriptPhone(absl::StrFormat("call-%d", i), {{.delay = milliseconds(2'000)}});
  }
  auto first = std::make_unique<Controller>(world);
  first->Start();
  first->Kill("ast-1");
  first->RunFor(milliseconds(500));
  ASSERT_EQ(world.servers->sent().size(), 4u);
  first->engine->Stop();
  Controller second(world, Controller::Options(), "controller-b");
  second.Start();
  ASSERT_TRUE(second.RunUntil([&] { return AllBack(world); }, milliseconds(15'000)));
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(world.servers->Invites(absl::StrFormat("call-%d", i)), 1);
    EXPECT_EQ(world.servers->LiveChannels(absl::StrFormat("call-%d", i)), 1);
  }
}

// What waited to be written when it stopped is written, outcomes among it.
class SlowJournal final : public testing::ForwardingSessionStore {
 public:
  using ForwardingSessionStore::ForwardingSessionStore;

  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    for (const auto& step : params.steps) {
      if (step.entry.outcome && !stopping) return absl::UnavailableError("not now");
    }
    return ForwardingSessionStore::Advance(ctx, params);
  }

  bool stopping = false;
};

TEST(HandOver, WritesTheOutcomesThatWereStillToBeWritten) {
  World world;
  // All are answered before the first has an outcome, behind which nothing is written any more.
  for (int i = 0; i < 3; ++i) {
    world.resumer->FailResume(world.AddCall(i).id, absl::UnavailableError("busy"), 1);
  }
  const auto store = std::make_shared<SlowJournal>(world.store);
  world.store = store;
  Controller controller(world);
  controller.Start();
  controller.Kill("ast-1");
  controller.RunFor(milliseconds(1'000));
  ASSERT_FALSE(AllBack(world));
  store->stopping = true;
  controller.engine->Stop();
  EXPECT_TRUE(AllBack(world));
}

}  // namespace
}  // namespace sipheal
