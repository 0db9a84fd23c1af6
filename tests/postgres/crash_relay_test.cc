// SPDX-License-Identifier: Apache-2.0
// F76: what one controller sees of a media server's death reaches the others through a real
// PostgreSQL, and with a quorum nobody acts before enough of them saw it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "postgres/sightings.h"
#include "sipheal/adapters/postgres.h"
#include "sipheal/testing/fake_clock.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "tests/support/pgbouncer.h"
#include "tests/support/postgres_server.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::PostgresServer;

const Incarnation kA{"a", "life-1"};
const Incarnation kB{"b", "life-1"};

template <typename Condition>
bool Await(const Condition& condition) {
  const auto deadline = std::chrono::steady_clock::now() + seconds(20);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(2));
  }
  return true;
}

class Heard final : public CrashListener {
 public:
  void OnCrash(const CrashEvent& event) override {
    const std::lock_guard lock(mutex_);
    crashes_[event.incarnation].push_back(event);
  }
  void OnReturned(const ReturnEvent& event) override {
    const std::lock_guard lock(mutex_);
    ++returns_[event.incarnation];
  }

  int crashes(const Incarnation& incarnation) {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(crashes_[incarnation].size());
  }
  int returns(const Incarnation& incarnation) {
    const std::lock_guard lock(mutex_);
    return returns_[incarnation];
  }
  CrashEvent last(const Incarnation& incarnation) {
    const std::lock_guard lock(mutex_);
    return crashes_[incarnation].empty() ? CrashEvent{} : crashes_[incarnation].back();
  }

 private:
  std::mutex mutex_;
  std::map<Incarnation, std::vector<CrashEvent>> crashes_;
  std::map<Incarnation, int> returns_;
};

class KeepsLog final : public LogSink {
 public:
  void Write(const LogEvent& event) override {
    const std::lock_guard lock(mutex_);
    events_.emplace_back(event.event);
  }
  int count(const std::string& event) {
    const std::lock_guard lock(mutex_);
    return static_cast<int>(std::count(events_.begin(), events_.end(), event));
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> events_;
};

// One controller's share: what it sees itself, and what it hears.
struct Watcher {
  std::shared_ptr<testing::FakeCrashDetector> eyes;
  std::shared_ptr<CrashDetector> relay;
  std::shared_ptr<Heard> heard = std::make_shared<Heard>();
  std::shared_ptr<KeepsLog> log = std::make_shared<KeepsLog>();

  ~Watcher() {
    if (relay != nullptr) relay->Stop();
  }
};

class CrashRelay : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::Shared();
    if (server_ == nullptr) GTEST_SKIP() << "no PostgreSQL server on this machine";
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    watchers_.clear();
    server_->Query("SET client_min_messages = error; DROP SCHEMA IF EXISTS " + schema_ +
                   " CASCADE");
  }

  Watcher& Watch(PostgresCrashRelayOptions options = {}, bool know_b = true,
                 const Incarnation& a = kA) {
    auto watcher = std::make_unique<Watcher>();
    watcher->eyes = std::make_shared<testing::FakeCrashDetector>(nullptr, milliseconds(100));
    watcher->eyes->AddInstance(a);
    if (know_b) watcher->eyes->AddInstance(kB);
    if (options.dsn.empty()) options.dsn = server_->Dsn();
    options.schema = schema_;
    if (options.owner.empty()) {
      options.owner = "controller-" + std::to_string(watchers_.size() + 1);
    }
    options.log = watcher->log;
    auto relay = MakePostgresCrashRelay(watcher->eyes, options);
    EXPECT_TRUE(relay.ok()) << relay.status();
    watcher->relay = *relay;
    EXPECT_TRUE(watcher->relay->Start(watcher->heard).ok());
    watchers_.push_back(std::move(watcher));
    return *watchers_.back();
  }
  // Until each relay has read the table once: what is written from then on is news to it.
  void AwaitListening(int number) {
    ASSERT_TRUE(Await([&] {
      return server_->Query(
                 "SELECT count(*) FROM pg_stat_activity WHERE application_name ="
                 " 'sipheal' AND query LIKE 'SELECT instance, until_us%' AND query LIKE '%" +
                 schema_ + "%'") == std::to_string(number);
    }));
  }
  // Until `watcher` has read the table after all that was written before this: another controller
  // sees "b" die, which is told after all that is due of "a".
  void AwaitReading(Watcher& watcher, Watcher& other) {
    other.eyes->Kill("b");
    ASSERT_TRUE(Await([&] { return watcher.heard->crashes(kB) == 1; }));
  }
  void AwaitAgreed() {
    ASSERT_TRUE(Await([&] {
      return server_->Query("SELECT count(*) > 0 AND bool_and(agreed) FROM " + schema_ +
                            ".sightings WHERE instance = 'a'") == "t";
    }));
  }
  void Age(const std::string& interval) {
    server_->Query("UPDATE " + schema_ + ".sightings SET seen_at = seen_at - interval '" +
                   interval + "'");
  }
  int Standing(const Incarnation& incarnation) {
    return std::stoi(server_->Query("SELECT count(*) FROM " + schema_ +
                                    ".sightings WHERE NOT withdrawn AND instance = '" +
                                    incarnation.instance + "'"));
  }

  static inline int schemas_ = 0;
  const std::string schema_ = "relay" + std::to_string(++schemas_);
  PostgresServer* server_ = nullptr;
  testing::FakeClock clock_;  // the relays' threads read it until TearDown
  std::vector<std::unique_ptr<Watcher>> watchers_;
};

// By notification: the table is not read for a minute otherwise.
TEST_F(CrashRelay, TellsAllWhatOneSaw) {
  for (int i = 0; i < 3; ++i) Watch({.window = std::chrono::hours(1), .poll = seconds(60)});
  AwaitListening(3);
  watchers_[1]->eyes->Kill("a");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->heard->crashes(kA) == 1; }));
  }
  EXPECT_THAT(watchers_[0]->heard->last(kA).evidence,
              ElementsAre("controller-2: the test let a die"));
  EXPECT_EQ(watchers_[0]->heard->last(kA).kind, CrashKind::kProcessGone);
  // The others see it a moment later themselves: that is the same death.
  watchers_[0]->eyes->Kill("a");
  watchers_[2]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 3; }));
  watchers_[0]->eyes->Kill("b");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->heard->crashes(kB) == 1; }));
    EXPECT_EQ(watcher->heard->crashes(kA), 1);
  }
}

// The word of one of three is not enough, that of two is, for all three.
TEST_F(CrashRelay, WaitsForTheQuorum) {
  for (int i = 0; i < 3; ++i) Watch({.quorum = 2});
  AwaitListening(3);
  watchers_[0]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1; }));
  for (const int who : {0, 2}) watchers_[static_cast<std::size_t>(who)]->eyes->Kill("b");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->heard->crashes(kB) == 1; }));
    EXPECT_EQ(watcher->heard->crashes(kA), 0) << "the word of one was enough";
    EXPECT_GE(watcher->log->count("crash_waits_for_quorum"), 1);
    EXPECT_LE(watcher->log->count("crash_waits_for_quorum"), 2) << "once for each instance";
  }
  watchers_[2]->eyes->Stall("a");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->heard->crashes(kA) == 1; }));
    // The end of the process says more than silence.
    EXPECT_EQ(watcher->heard->last(kA).kind, CrashKind::kProcessGone);
    EXPECT_EQ(watcher->heard->last(kA).evidence.size(), 2u);
  }
}

// What was said by a controller that is gone since does not count for ever.
TEST_F(CrashRelay, DoesNotCountAControllerThatIsGone) {
  Watch({.quorum = 2});
  AwaitListening(1);
  watchers_[0]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1; }));
  watchers_[0]->relay->Stop();
  server_->Query("UPDATE " + schema_ + ".sightings SET seen_at = seen_at - interval '31 s'");
  Watcher& second = Watch({.quorum = 2});
  Watcher& third = Watch({.quorum = 2});
  second.eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 2; }));
  second.eyes->Kill("b");
  third.eyes->Kill("b");
  EXPECT_TRUE(Await([&] { return second.heard->crashes(kB) == 1; }));
  EXPECT_EQ(second.heard->crashes(kA), 0);
  third.eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return second.heard->crashes(kA) == 1; }));
}

TEST_F(CrashRelay, TellsThoseWhoKnewByOthersThatItReturned) {
  Watch();
  Watch();
  AwaitListening(2);
  for (int time = 1; time <= 2; ++time) {
    watchers_[0]->eyes->Stall("a");
    for (const auto& watcher : watchers_) {
      ASSERT_TRUE(Await([&] { return watcher->heard->crashes(kA) == time; })) << time;
      EXPECT_EQ(watcher->heard->last(kA).kind, CrashKind::kSilent);
      EXPECT_EQ(watcher->heard->returns(kA), time - 1);
    }
    watchers_[0]->eyes->Wake("a");
    for (const auto& watcher : watchers_) {
      ASSERT_TRUE(Await([&] { return watcher->heard->returns(kA) == time; })) << time;
    }
  }
}

// One that sees it alive again is told so at once, though another is still cut off from it.
TEST_F(CrashRelay, BelievesItsOwnEyesThatItReturned) {
  Watch();
  Watch();
  AwaitListening(2);
  for (const auto& watcher : watchers_) watcher->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 2; }));
  watchers_[0]->eyes->Wake("a");
  EXPECT_TRUE(Await([&] { return watchers_[0]->heard->returns(kA) == 1; }));
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1; }));
  watchers_[1]->eyes->Kill("b");
  EXPECT_TRUE(Await([&] { return watchers_[0]->heard->crashes(kB) == 1; }));
  EXPECT_EQ(watchers_[0]->heard->crashes(kA), 1) << "an older sighting was taken for a new death";
  EXPECT_EQ(watchers_[1]->heard->returns(kA), 0) << "it is still silent for that one";
}

// The database is away: what one sees itself is reported at once, and the others hear of it later.
TEST_F(CrashRelay, NeedsNoDatabaseForWhatItSeesItself) {
  Watch();
  Watch();
  AwaitListening(2);
  server_->Kill();
  watchers_[0]->eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return watchers_[0]->heard->crashes(kA) == 1; }));
  EXPECT_TRUE(Await([&] { return watchers_[0]->log->count("crash_relay_failed") == 1; }));
  EXPECT_EQ(watchers_[1]->heard->crashes(kA), 0);
  ASSERT_TRUE(server_->Start());
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  EXPECT_TRUE(Await([&] { return watchers_[0]->log->count("crash_relay_back") == 1; }));
  EXPECT_EQ(watchers_[0]->heard->crashes(kA), 1);
}

TEST_F(CrashRelay, WithAQuorumWaitsForTheDatabaseAndSaysSo) {
  Watch({.quorum = 2});
  Watch({.quorum = 2});
  AwaitListening(2);
  server_->Kill();
  for (const auto& watcher : watchers_) watcher->eyes->Kill("a");
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->log->count("crash_waits_for_quorum") == 1; }));
    EXPECT_TRUE(Await([&] { return watcher->log->count("crash_relay_failed") == 1; }));
    EXPECT_EQ(watcher->heard->crashes(kA), 0);
  }
  ASSERT_TRUE(server_->Start());
  for (const auto& watcher : watchers_) {
    EXPECT_TRUE(Await([&] { return watcher->heard->crashes(kA) == 1; }));
  }
}

TEST_F(CrashRelay, TellsAllOfAPlannedStop) {
  Watch();
  Watch();
  AwaitListening(2);
  const WallTime until = SystemClock().Now() + seconds(600);
  ASSERT_TRUE(watchers_[0]->relay->AnnounceStop({"a", until}).ok());
  ASSERT_TRUE(Await(
      [&] { return server_->Query("SELECT count(*) FROM " + schema_ + ".planned_stops") == "1"; }));
  // Who hears of a death after it has heard of the stop, too.
  watchers_[0]->eyes->Kill("b");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kB) == 1; }));
  watchers_[1]->eyes->Kill("a");
  watchers_[1]->eyes->Drain();
  EXPECT_EQ(watchers_[1]->heard->crashes(kA), 0);
}

// The dialogs of a server that is not configured here could not be told from anybody's.
TEST_F(CrashRelay, DoesNotReportAnInstanceThatItsControllerDoesNotKnow) {
  Watch();
  Watch({}, /*know_b=*/false);
  AwaitListening(2);
  watchers_[0]->eyes->Kill("b");
  ASSERT_TRUE(Await([&] { return Standing(kB) == 1; }));
  watchers_[0]->eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  EXPECT_EQ(watchers_[1]->heard->crashes(kB), 0);
}

// A controller that starts later hears of an earlier death when there are sessions left of it.
TEST_F(CrashRelay, TellsALateControllerOnlyOfDeathsThatLeftSessions) {
  Watch();
  AwaitListening(1);
  watchers_[0]->eyes->Kill("a");
  watchers_[0]->eyes->Kill("b");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1 && Standing(kB) == 1; }));
  Watcher& late = Watch();
  ASSERT_TRUE(late.relay->Expect(kB).ok());
  EXPECT_TRUE(Await([&] { return late.heard->crashes(kB) == 1; }));
  EXPECT_EQ(late.heard->crashes(kA), 0);
}

// A lost its path to "a", wrote so, and went. "a" lives, and nobody is left who could say so.
TEST_F(CrashRelay, TakesNoLiveServerForDeadWhenThoseWhoAgreedOnItsSilenceAreGone) {
  for (int quorum = 1; quorum <= 2; ++quorum) {
    for (int i = 0; i < quorum; ++i) Watch({.quorum = quorum});
    AwaitListening(quorum);
    for (const auto& watcher : watchers_) watcher->eyes->Stall("a");
    for (const auto& watcher : watchers_) {
      ASSERT_TRUE(Await([&] { return watcher->heard->crashes(kA) == 1; }));
    }
    AwaitAgreed();
    for (const auto& watcher : watchers_) watcher->relay->Stop();
    Age("20 hours");
    Watcher& late = Watch({.quorum = quorum});
    Watcher& other = Watch({.quorum = quorum});
    ASSERT_TRUE(late.relay->Expect(kA).ok());
    late.eyes->Kill("b");
    AwaitReading(late, other);
    EXPECT_EQ(late.heard->crashes(kA), 0) << "quorum " << quorum;
    TearDown();
  }
}

// Proof of the death outlives who brought it.
TEST_F(CrashRelay, BelievesAnAgreedEndOfTheProcessThoughItsWitnessIsGone) {
  Watch();
  AwaitListening(1);
  watchers_[0]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return watchers_[0]->heard->crashes(kA) == 1; }));
  AwaitAgreed();
  watchers_[0]->relay->Stop();
  Age("20 hours");
  Watcher& late = Watch();
  ASSERT_TRUE(late.relay->Expect(kA).ok());
  EXPECT_TRUE(Await([&] { return late.heard->crashes(kA) == 1; }));
}

TEST_F(CrashRelay, AffirmsASilenceThatIsAgreedForAsLongAsItLasts) {
  Watch({.window = seconds(1), .poll = seconds(60)});
  Watch({.window = seconds(1), .poll = seconds(60)});
  AwaitListening(2);
  watchers_[0]->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  AwaitAgreed();
  const auto affirmed = [&] {
    return server_->Query("SELECT seen_at FROM " + schema_ + ".sightings WHERE instance = 'a'");
  };
  for (int time = 0; time < 6; ++time) {
    const std::string before = affirmed();
    ASSERT_TRUE(Await([&] { return affirmed() != before; })) << time;
  }
  EXPECT_EQ(watchers_[1]->heard->returns(kA), 0) << "it is silent all the time";
  EXPECT_EQ(watchers_[1]->heard->crashes(kA), 1);
}

// The only witness goes, and cannot say any more that it lives.
TEST_F(CrashRelay, TellsOfTheReturnWhenTheOnlyWitnessLapsesAndOfTheDeathThatComesLater) {
  Watch({.window = seconds(1)});
  Watch({.window = seconds(1)});
  AwaitListening(2);
  watchers_[0]->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  AwaitAgreed();
  watchers_[0]->relay->Stop();
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->returns(kA) == 1; }));
  watchers_[1]->eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 2; }));
  EXPECT_EQ(watchers_[1]->heard->returns(kA), 1);
}

// While the database was away nobody could affirm anything: that brings nobody back to life.
TEST_F(CrashRelay, TakesNoOutageOfTheDatabaseForAReturn) {
  Watch();
  Watch({.clock = &clock_});
  AwaitListening(2);
  watchers_[0]->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  AwaitAgreed();
  watchers_[0]->relay->Stop();  // it is the last to find its way back
  server_->Kill();
  ASSERT_TRUE(Await([&] { return watchers_[1]->log->count("crash_relay_failed") == 1; }));
  clock_.Advance(seconds(600));
  ASSERT_TRUE(server_->Start());
  Age("600 s");
  ASSERT_TRUE(Await([&] { return watchers_[1]->log->count("crash_relay_back") == 1; }));
  AwaitReading(*watchers_[1], Watch());
  EXPECT_EQ(watchers_[1]->heard->returns(kA), 0);
  clock_.Advance(seconds(31));
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->returns(kA) == 1; })) << "nor keeps it dead";
}

// Nobody can take a word back while the database is away: it grows old all the same.
TEST_F(CrashRelay, DoesNotCountOldWordsWhileTheDatabaseIsAway) {
  Watch({.quorum = 2});
  Watch({.quorum = 2, .clock = &clock_});
  AwaitListening(2);
  watchers_[0]->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->log->count("crash_waits_for_quorum") == 1; }));
  server_->Kill();
  ASSERT_TRUE(Await([&] { return watchers_[1]->log->count("crash_relay_failed") == 1; }));
  watchers_[0]->eyes->Wake("a");
  clock_.Advance(seconds(31));
  watchers_[1]->eyes->Kill("a");
  watchers_[1]->eyes->Drain();
  EXPECT_EQ(watchers_[1]->heard->crashes(kA), 0);
  ASSERT_TRUE(server_->Start());
}

// An instance that is configured later is one's own from then on.
TEST_F(CrashRelay, ReportsAnInstanceThatWasAddedLater) {
  Watch();
  Watch({}, /*know_b=*/false);
  AwaitListening(2);
  watchers_[0]->eyes->Stall("b");
  ASSERT_TRUE(Await([&] { return Standing(kB) == 1; }));
  watchers_[0]->eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  ASSERT_EQ(watchers_[1]->heard->crashes(kB), 0);
  watchers_[1]->eyes->AddInstance(kB);
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kB) == 1; })) << "that stands";
  watchers_[0]->eyes->Wake("b");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->returns(kB) == 1; }));
}

TEST_F(CrashRelay, ReportsWhatItSeesItselfOfAnInstanceThatWasUnknownBefore) {
  Watch();
  Watch({}, /*know_b=*/false);
  AwaitListening(2);
  watchers_[0]->eyes->Stall("b");
  ASSERT_TRUE(Await([&] { return Standing(kB) == 1; }));
  watchers_[0]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
  watchers_[0]->eyes->Wake("b");
  ASSERT_TRUE(Await([&] { return Standing(kB) == 0; }));
  watchers_[1]->eyes->AddInstance(kB);
  watchers_[1]->eyes->Kill("b");
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kB) == 1; }));
}

// Yesterday's death is over: who starts today does not make its own detector report it.
TEST_F(CrashRelay, AsksItsDetectorNothingAboutDeathsBeforeItsStart) {
  Watch();
  Watcher& other = Watch();
  AwaitListening(2);
  watchers_[0]->eyes->Kill("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1; }));
  Watcher& late = Watch({}, /*know_b=*/true, Incarnation{"a", "life-2"});
  AwaitListening(3);
  AwaitReading(late, other);
  EXPECT_THAT(late.eyes->expected(), ::testing::Not(::testing::Contains(kA)));
  EXPECT_EQ(late.heard->crashes(kA), 0);
}

// Two of one name would be one to the others, and no quorum would come about.
TEST_F(CrashRelay, SaysThatAnotherControllerBearsItsName) {
  Watch({.owner = "same", .quorum = 2});
  Watch({.owner = "same", .quorum = 2});
  AwaitListening(2);
  for (const auto& watcher : watchers_) watcher->eyes->Kill("a");
  EXPECT_TRUE(Await([&] {
    return watchers_[0]->log->count("owner_not_unique") +
               watchers_[1]->log->count("owner_not_unique") >
           0;
  }));
}

TEST_F(CrashRelay, SaysNothingOfItsNameWhenItIsStartedAgain) {
  Watch({.owner = "same"});
  AwaitListening(1);
  watchers_[0]->eyes->Stall("a");
  AwaitAgreed();
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1; }));
  watchers_[0]->relay->Stop();
  Watcher& again = Watch({.owner = "same"});
  AwaitListening(1);
  again.eyes->Stall("a");
  ASSERT_TRUE(Await([&] { return again.heard->crashes(kA) == 1; }));
  again.eyes->Wake("a");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 0; }));
  AwaitReading(again, Watch());
  EXPECT_EQ(again.log->count("owner_not_unique"), 0);
}

// What this controller wrote before it was started again, and does not see, is not its word.
TEST_F(CrashRelay, WithdrawsWhatItsFormerSelfLeft) {
  Watch({.owner = "same"});
  AwaitListening(1);
  watchers_[0]->eyes->Stall("a");
  watchers_[0]->eyes->Kill("b");
  ASSERT_TRUE(Await([&] { return Standing(kA) == 1 && Standing(kB) == 1; }));
  watchers_[0]->relay->Stop();
  Age("31 s");
  Watch({.owner = "same"});
  EXPECT_TRUE(Await([&] { return Standing(kA) == 0; }));
  EXPECT_EQ(Standing(kB), 1) << "dead is dead";
}

// An older backup of the database: the numbers of sightings begin again further down.
TEST_F(CrashRelay, HearsOfDeathsAfterAnOlderBackupCameBack) {
  Watch();
  AwaitListening(1);
  const auto count_from = [&](const std::string& number) {
    server_->Query("SELECT setval('" + schema_ + ".sightings_seq', " + number + ")");
  };
  count_from("1000");
  watchers_[0]->eyes->Kill("b");
  ASSERT_TRUE(Await([&] { return Standing(kB) == 1; }));
  Watch();
  AwaitListening(2);
  server_->Query("DELETE FROM " + schema_ + ".sightings");
  count_from("1");
  const std::string former = server_->Query(
      "SELECT max(backend_start) FROM pg_stat_activity WHERE application_name ="
      " 'sipheal'");
  server_->Query(
      "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name ="
      " 'sipheal'");
  ASSERT_TRUE(Await([&] {
    return server_->Query(
               "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sipheal' AND"
               " query LIKE 'SELECT instance, until_us%' AND backend_start > '" +
               former + "'") == "2";
  }));
  watchers_[0]->eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
}

TEST_F(CrashRelay, AnnouncesAStopToAnInstanceThatWasAddedLater) {
  Watch();
  Watch({}, /*know_b=*/false);
  AwaitListening(2);
  ASSERT_TRUE(watchers_[0]->relay->AnnounceStop({"b", SystemClock().Now() + seconds(600)}).ok());
  for (int time = 1; time <= 2; ++time) {
    watchers_[0]->eyes->Stall("a");
    ASSERT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == time; }));
    watchers_[0]->eyes->Wake("a");
    ASSERT_TRUE(Await([&] { return watchers_[1]->heard->returns(kA) == time; }));
    if (time == 1) watchers_[1]->eyes->AddInstance(kB);
  }
  watchers_[1]->eyes->Kill("b");
  watchers_[1]->eyes->Drain();
  EXPECT_EQ(watchers_[1]->heard->crashes(kB), 0);
}

TEST_F(CrashRelay, IsStoppedByTwoThreadsAtOnceAndWhileItStarts) {
  Watcher& watcher = Watch();
  for (int round = 0; round < 50; ++round) {
    std::thread one([&] { watcher.relay->Stop(); });
    std::thread other([&] { watcher.relay->Stop(); });
    // Whether it was stopped before or after, Start says so.
    const absl::Status started = watcher.relay->Start(watcher.heard);
    EXPECT_TRUE(started.ok() || absl::IsFailedPrecondition(started)) << started;
    one.join();
    other.join();
    watcher.relay->Stop();
    ASSERT_TRUE(watcher.relay->Start(watcher.heard).ok());
  }
}

// PgBouncer in transaction mode hands on no notification: the table is read now and then.
TEST_F(CrashRelay, HearsByPollingThroughPgBouncer) {
  const auto bouncer = testing::PgBouncer::Make(*server_);
  if (bouncer == nullptr) GTEST_SKIP() << "no PgBouncer on this machine";
  const std::string dsn = server_->Dsn(bouncer->port());
  Watch({.dsn = dsn, .poll = milliseconds(20)});
  Watch({.dsn = dsn, .poll = milliseconds(20)});
  ASSERT_TRUE(watchers_[1]->relay->Expect(kA).ok());
  watchers_[0]->eyes->Kill("a");
  EXPECT_TRUE(Await([&] { return watchers_[1]->heard->crashes(kA) == 1; }));
}

TEST(CrashRelayOptions, NameTheFieldThatIsWrong) {
  const auto said = [](const PostgresCrashRelayOptions& options) {
    return MakePostgresCrashRelay(std::make_shared<testing::FakeCrashDetector>(), options)
        .status()
        .ToString();
  };
  EXPECT_THAT(said({.owner = "me"}), HasSubstr("dsn"));
  EXPECT_THAT(said({.dsn = "x"}), HasSubstr("::owner"));
  EXPECT_THAT(said({.dsn = "x", .owner = "me", .quorum = 0}), HasSubstr("::quorum"));
  EXPECT_THAT(said({.dsn = "x", .owner = "me", .window = milliseconds(1)}), HasSubstr("::window"));
  EXPECT_THAT(said({.dsn = "x", .owner = "me", .poll = milliseconds(1)}), HasSubstr("::poll"));
  EXPECT_EQ(MakePostgresCrashRelay(nullptr, {.dsn = "x", .owner = "me"}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(MergedSightings, HaveTheKindThatProvesMostAndTheLatestSignOfLife) {
  using internal::postgres::MergeSightings;
  using internal::postgres::Sighting;
  const auto at = [](int second) { return WallTime(seconds(second)); };
  const Sighting silent{.event = {kA, CrashKind::kSilent, at(5), at(9), {"quiet"}, "ari"},
                        .observer = "one"};
  const Sighting gone{.event = {kA, CrashKind::kRestarted, at(3), at(10), {"new life"}, "k8s"},
                      .observer = "two"};
  const CrashEvent merged = MergeSightings({silent, gone}, "one");
  EXPECT_EQ(merged.kind, CrashKind::kRestarted);
  EXPECT_EQ(merged.detector, "k8s");
  EXPECT_EQ(merged.last_alive, at(5));
  EXPECT_EQ(merged.detected_at, at(9));
  EXPECT_THAT(merged.evidence, ElementsAre("one: quiet", "two: new life"));
  EXPECT_THAT(MergeSightings({silent}, "one").evidence, ElementsAre("quiet"));
}

}  // namespace
}  // namespace sipheal
