// SPDX-License-Identifier: Apache-2.0
// What a real server does to the store: it restarts, dies in the middle, runs out of disk, holds
// locks, or is not what it should be. Each gives a status that says what to do, and the rest goes
// on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sys/mount.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <thread>

#include "postgres/postgres_session_store.h"
#include "postgres/schema.h"
#include "pq/connection.h"
#include "sipheal/adapters/postgres.h"
#include "tests/support/postgres_server.h"
#include "tests/support/store_entries.h"

namespace sipheal {
namespace {

using ::testing::HasSubstr;
using testing::PostgresServer;
using tests::KeysOf;
using tests::Leg;
using tests::Legs;
using tests::Step;

class PostgresStore : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::Shared();
    if (server_ == nullptr) GTEST_SKIP() << "no PostgreSQL server on this machine";
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    server_->Query("SET client_min_messages = error; DROP SCHEMA IF EXISTS " + schema_ +
                   " CASCADE");
  }

  absl::StatusOr<std::shared_ptr<SessionStore>> Open(PostgresOptions options = {}) {
    if (options.dsn.empty()) options.dsn = server_->Dsn();
    options.schema = schema_;
    return MakePostgresSessionStore(std::move(options));
  }

  static inline int schemas_ = 0;
  const std::string schema_ = "s" + std::to_string(++schemas_);
  PostgresServer* server_ = nullptr;
};

std::vector<Lease> ClaimAll(SessionStore& store, const std::vector<SessionKey>& keys,
                            const std::string& owner) {
  const auto leases = store.Claim({}, {.sessions = keys, .owner = owner});
  EXPECT_TRUE(leases.ok()) << leases.status();
  std::vector<Lease> got;
  if (!leases.ok()) return got;
  for (const auto& lease : *leases) {
    if (lease.ok()) got.push_back(*lease);
  }
  return got;
}

// F76: a restart of the database between two calls is not seen by the caller.
TEST_F(PostgresStore, GoesOnWithANewConnectionWhenTheServerWasRestarted) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = Legs(3)}).ok());
  server_->Kill();
  const absl::Status down = store->Put({}, {.sessions = {Leg("while.down")}}).status();
  EXPECT_EQ(down.code(), absl::StatusCode::kUnavailable) << down;
  EXPECT_THAT(down.ToString(), HasSubstr("may be repeated"));
  ASSERT_TRUE(server_->Start());
  EXPECT_TRUE(store->Put({}, {.sessions = {Leg("after")}}).ok());
  EXPECT_EQ(store->List({}, {})->sessions.size(), 4u);
}

TEST_F(PostgresStore, DoesNotTellTheCallerThatAnIdleConnectionHadDied) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = Legs(3)}).ok());
  server_->Kill();
  ASSERT_TRUE(server_->Start());
  const auto put = store->Put({}, {.sessions = {Leg("after")}});
  EXPECT_TRUE(put.ok()) << put.status();
}

// The administrator ends a backend in the middle of a batch: it is done wholly or not at all.
TEST_F(PostgresStore, KeepsABatchWholeWhenItsConnectionIsKilled) {
  const auto store = *Open();
  std::atomic<bool> done = false;
  std::atomic<int> begun = 0;
  std::thread killer([&] {
    // Not in every batch: some must get through.
    for (int after = 1; !done; std::this_thread::yield()) {
      if (begun < after) continue;
      after = begun + 2;
      server_->Query(
          "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name ="
          " 'sipheal'");
    }
  });
  int written = 0;
  for (int batch = 0; batch < 40; ++batch) {
    const std::string life = std::to_string(batch);
    ++begun;
    const auto put = store->Put({}, {.sessions = Legs(50, "b" + life + ".", life)});
    EXPECT_TRUE(put.ok() || absl::IsUnavailable(put.status())) << put.status();
    written += put.ok() ? 1 : 0;
  }
  done = true;
  killer.join();
  int whole = 0;
  for (int batch = 0; batch < 40; ++batch) {
    const auto page = store->List({}, {.incarnation = Incarnation{"ast1", std::to_string(batch)}});
    ASSERT_TRUE(page.ok()) << page.status();
    EXPECT_TRUE(page->sessions.empty() || page->sessions.size() == 50u) << page->sessions.size();
    whole += page->sessions.empty() ? 0 : 1;
  }
  EXPECT_GE(whole, written) << "a Put that gave OK is not there";
  EXPECT_GT(written, 0) << "nothing was tested";
}

// F75: three controllers claim the sessions of a dead instance at the same moment.
TEST_F(PostgresStore, GivesEachSessionToOneOfManyControllers) {
  constexpr int kSessions = 600;
  constexpr int kControllers = 3;
  const auto keys = KeysOf(Legs(kSessions));
  ASSERT_TRUE((*Open())->Put({}, {.sessions = Legs(kSessions)}).ok());
  std::mutex mutex;
  std::map<std::string, int> times;
  std::vector<std::thread> controllers;
  for (int who = 0; who < kControllers; ++who) {
    controllers.emplace_back([&, who] {
      const auto store = Open();
      ASSERT_TRUE(store.ok()) << store.status();
      // Each begins elsewhere and takes all in the end.
      for (int part = 0; part < kControllers; ++part) {
        const int first = (who + part) % kControllers * (kSessions / kControllers);
        const std::vector<SessionKey> some(keys.begin() + first,
                                           keys.begin() + first + kSessions / kControllers);
        const auto got = ClaimAll(**store, some, "controller-" + std::to_string(who));
        const std::lock_guard lock(mutex);
        for (const Lease& lease : got) ++times[lease.session.id];
      }
    });
  }
  for (std::thread& controller : controllers) controller.join();
  EXPECT_EQ(times.size(), static_cast<std::size_t>(kSessions));
  for (const auto& [id, count] : times) EXPECT_EQ(count, 1) << id;
}

class CountsRepeats final : public LogSink {
 public:
  void Write(const LogEvent& event) override {
    if (event.event == "transaction_repeated") ++repeats;
  }
  std::atomic<int> repeats{0};
};

// Trackers and healers write the same sessions in different orders: none waits in a circle, which
// the database would end by sending one of them back to its beginning.
TEST_F(PostgresStore, WritersOfTheSameSessionsDoNotBlockEachOther) {
  auto forwards = Legs(60);
  auto backwards = forwards;
  std::reverse(backwards.begin(), backwards.end());
  ASSERT_TRUE((*Open())->Put({}, {.sessions = forwards}).ok());
  const auto log = std::make_shared<CountsRepeats>();
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&, thread] {
      const auto store = Open({.log = log});
      ASSERT_TRUE(store.ok()) << store.status();
      const auto& mine = thread % 2 == 0 ? forwards : backwards;
      for (int round = 0; round < 15; ++round) {
        const auto put = (*store)->Put({}, {.sessions = mine});
        EXPECT_TRUE(put.ok()) << put.status();
        const auto saved = (*store)->SaveDialogs({}, [&] {
          std::vector<DialogRecord> records;
          for (const Session& leg : mine) {
            records.push_back({"ast1", leg.call_id, "a", "b", "bytes",
                               WallTime(std::chrono::seconds(round)), round % 3 == 2});
          }
          return records;
        }());
        EXPECT_TRUE(saved.ok()) << saved;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(log->repeats, 0);
}

// One of the sessions is in somebody's hands until after the deadline: the others are not left
// claimed by a call that failed.
TEST_F(PostgresStore, AClaimThatEndsAtItsDeadlineLeavesNothingClaimed) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = Legs(3)}).ok());
  PGconn* const holder = PQconnectdb(server_->Dsn().c_str());
  PQclear(PQexec(holder, "BEGIN"));
  PQclear(PQexec(holder,
                 ("SELECT 1 FROM " + schema_ + ".sessions WHERE id = 's1' FOR UPDATE").c_str()));
  const CallContext ctx{.deadline = SystemClock().Monotonic() + std::chrono::milliseconds(300)};
  const auto leases = store->Claim(ctx, {.sessions = KeysOf(Legs(3)), .owner = "late"});
  EXPECT_EQ(leases.status().code(), absl::StatusCode::kDeadlineExceeded) << leases.status();
  PQfinish(holder);
  EXPECT_EQ(ClaimAll(*store, KeysOf(Legs(3)), "other").size(), 3u);
}

TEST_F(PostgresStore, AStepOfTheFormerOwnerIsRefusedByTheDatabase) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s")}}).ok());
  const Lease first = ClaimAll(*store, {{"s", 0}}, "one").at(0);
  server_->Query("UPDATE " + schema_ + ".sessions SET expires_at = now() - interval '1 s'");
  const Lease second = ClaimAll(*store, {{"s", 0}}, "two").at(0);
  const auto results = store->Advance({}, {.steps = {{Step(first, RecoveryStage::kInviting), {}},
                                                     {Step(second, RecoveryStage::kRebuilt), {}}}});
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ((*results)[0].code(), absl::StatusCode::kAborted);
  EXPECT_TRUE((*results)[1].ok()) << (*results)[1];
  EXPECT_EQ(server_->Query("SELECT count(*) FROM " + schema_ + ".journal"), "1");
}

// All steps of a session in one batch, its successor's first one among them.
TEST_F(PostgresStore, KeepsTheOrderOfOneSessionsStepsInABatch) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s"), Leg("t")}}).ok());
  const Lease s = ClaimAll(*store, {{"s", 0}}, "me").at(0);
  const Lease t = ClaimAll(*store, {{"t", 0}}, "me").at(0);
  SessionStore::AdvanceParams params;
  params.steps = {{Step(s, RecoveryStage::kRebuilt), {}},
                  {Step(t, RecoveryStage::kRebuilt), {}},
                  {Step(s, RecoveryStage::kInviting), {}},
                  {Step(s, RecoveryStage::kFinished), Leg("s", "life2", 1)},
                  {Step(s, RecoveryStage::kEnding), {}}};
  const auto results = store->Advance({}, params);
  ASSERT_TRUE(results.ok()) << results.status();
  EXPECT_EQ((*results)[4].code(), absl::StatusCode::kAborted) << "a step after the outcome";
  const auto journal = *store->Journal({}, "s");
  ASSERT_EQ(journal.size(), 3u);
  EXPECT_EQ(journal[0].stage, RecoveryStage::kRebuilt);
  EXPECT_EQ(journal[1].stage, RecoveryStage::kInviting);
  EXPECT_EQ(journal[2].stage, RecoveryStage::kFinished);
  const auto listed = store->List({}, {})->sessions;
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0].epoch, 1u);
}

// F78: a record of which nothing can be read is still a session that is claimed and gets an
// outcome.
TEST_F(PostgresStore, KeepsASessionWhoseRecordIsDamaged) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = Legs(3)}).ok());
  server_->Query("UPDATE " + schema_ + ".sessions SET record = '\\x00ff7b' WHERE id = 's1'");
  const auto listed = store->List({}, {})->sessions;
  ASSERT_EQ(listed.size(), 3u);
  EXPECT_EQ(listed[1].id, "s1");
  EXPECT_EQ(listed[1].call_id, "");
  EXPECT_EQ(listed[2], Leg("s2"));
  EXPECT_EQ(ClaimAll(*store, {{"s1", 0}}, "me").size(), 1u);
}

// A Call-ID may be longer than what an index can hold, and need not be text.
TEST_F(PostgresStore, KeepsDialogsWithNamesOfAnyBytesAndLength) {
  const auto store = *Open();
  const std::string odd = std::string("\0\xff'\\", 4) + std::string(20'000, 'x');
  const DialogRecord record{"ast1",
                            odd,
                            odd + "l",
                            odd + "r",
                            std::string(65'536, '\xee'),
                            WallTime(std::chrono::seconds(5)),
                            false};
  ASSERT_TRUE(store->SaveDialogs({}, {record}).ok());
  const auto loaded = store->LoadDialogs({}, {odd});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_EQ(loaded->size(), 1u);
  EXPECT_EQ((*loaded)[0], record);
}

TEST_F(PostgresStore, ForgetsWhatIsOverForLongAndNothingElse) {
  const auto store = *Open({.keep_journal = std::chrono::hours(24)});
  for (const char* const id : {"ended", "alive", "open", "young"}) {
    ASSERT_TRUE(store->Put({}, {.sessions = {Leg(id)}}).ok());
    const Lease lease = ClaimAll(*store, {{id, 0}}, "me").at(0);
    if (id == std::string("open")) continue;
    SessionStore::AdvanceParams::Step step{Step(lease, RecoveryStage::kFinished), {}};
    step.entry.outcome = id == std::string("alive") ? Outcome::kRecovered : Outcome::kEnded;
    if (id == std::string("alive")) step.successor = Leg(id, "life2", 1);
    ASSERT_TRUE((*store->Advance({}, {.steps = {step}}))[0].ok());
  }
  server_->Query("UPDATE " + schema_ +
                 ".sessions SET expires_at = expires_at - interval '25 h',"
                 " finished_at = finished_at - interval '25 h' WHERE id <> 'young'");
  // A store looks for what is over with its first Put, and every ten minutes.
  ASSERT_TRUE(
      (*Open({.keep_journal = std::chrono::hours(24)}))->Put({}, {.sessions = {Leg("now")}}).ok());
  EXPECT_EQ(store->Journal({}, "ended").status().code(), absl::StatusCode::kNotFound);
  for (const char* const id : {"alive", "open", "young"}) {
    EXPECT_TRUE(store->Journal({}, id).ok()) << id;
  }
  EXPECT_EQ(store->ListUnfinished({})->size(), 1u);
}

TEST_F(PostgresStore, RefusesASchemaOfANewerRelease) {
  ASSERT_TRUE(Open().ok());
  server_->Query("INSERT INTO " + schema_ + ".sipheal_version (version) VALUES (99)");
  const auto store = Open();
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().ToString(), HasSubstr("version 99"));
  EXPECT_THAT(store.status().ToString(), HasSubstr("newer sipheal"));
}

TEST_F(PostgresStore, RefusesTheSchemaOfAnotherApplication) {
  server_->Query("CREATE SCHEMA " + schema_ + "; CREATE TABLE " + schema_ + ".invoices (id int)");
  const auto store = Open();
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().ToString(), HasSubstr("holds other tables"));
  EXPECT_EQ(server_->Query("SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid ="
                           " c.relnamespace WHERE n.nspname = '" +
                           schema_ + "'"),
            "1");
}

TEST_F(PostgresStore, IsMadeOnceWhenManyOpenItAtOnce) {
  std::vector<std::thread> threads;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const auto store = Open();
      EXPECT_TRUE(store.ok()) << store.status();
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(server_->Query("SELECT count(*) - max(version) FROM " + schema_ + ".sipheal_version"),
            "0");
}

TEST_F(PostgresStore, BringsAnOlderSchemaUpToDateStepByStep) {
  auto connection =
      internal::pq::Connection::Open({.dsn = server_->Dsn(), .clock = &SystemClock()}, {});
  ASSERT_TRUE(connection.ok()) << connection.status();
  const char* const first[] = {"CREATE TABLE %s.t (a int)"};
  const char* const second[] = {"ALTER TABLE %s.t ADD COLUMN b int DEFAULT 7",
                                "UPDATE %s.t SET a = a + b"};
  const char* const broken[] = {"UPDATE %s.t SET a = 0", "no SQL at all"};
  const internal::postgres::Migration all[] = {first, second, broken};
  const std::span<const internal::postgres::Migration> migrations(all);
  ASSERT_TRUE(
      internal::postgres::MigratePostgres(**connection, {}, schema_, migrations.first(1)).ok());
  server_->Query("INSERT INTO " + schema_ + ".t VALUES (1)");
  ASSERT_TRUE(
      internal::postgres::MigratePostgres(**connection, {}, schema_, migrations.first(2)).ok());
  EXPECT_EQ(server_->Query("SELECT a FROM " + schema_ + ".t"), "8");
  EXPECT_FALSE(internal::postgres::MigratePostgres(**connection, {}, schema_, migrations).ok());
  EXPECT_EQ(server_->Query("SELECT a FROM " + schema_ + ".t"), "8") << "a failed step left a half";
  EXPECT_EQ(server_->Query("SELECT max(version) FROM " + schema_ + ".sipheal_version"), "2");
}

// F98: the first of several controllers is upgraded while the others still run: what these do with
// the schema of the release before goes on in the newer one, and each sees what the other did.
TEST_F(PostgresStore, AnOlderControllerGoesOnInTheSchemaOfANewerOne) {
  auto connection =
      internal::pq::Connection::Open({.dsn = server_->Dsn(), .clock = &SystemClock()}, {});
  ASSERT_TRUE(connection.ok()) << connection.status();
  const auto migrations = internal::postgres::PostgresMigrations();
  ASSERT_TRUE(
      internal::postgres::MigratePostgres(**connection, {}, schema_, migrations.first(1)).ok());
  internal::postgres::PostgresSessionStore older({.dsn = server_->Dsn(), .schema = schema_});
  ASSERT_TRUE(older.Put({}, {.sessions = Legs(4)}).ok());
  const auto newer = Open();
  ASSERT_TRUE(newer.ok()) << newer.status();
  EXPECT_EQ((*newer)->List({}, {})->sessions, Legs(4));
  const Lease by_older = ClaimAll(older, {{"s0", 0}}, "older").at(0);
  EXPECT_TRUE(ClaimAll(**newer, {{"s0", 0}}, "newer").empty());
  const Lease by_newer = ClaimAll(**newer, {{"s1", 0}}, "newer").at(0);
  EXPECT_TRUE(ClaimAll(older, {{"s1", 0}}, "older").empty());
  EXPECT_TRUE(
      (*older.Advance({}, {.steps = {{Step(by_older, RecoveryStage::kRebuilt), {}}}}))[0].ok());
  EXPECT_TRUE(
      (*(*newer)->Advance({}, {.steps = {{Step(by_newer, RecoveryStage::kRebuilt), {}}}}))[0].ok());
  EXPECT_EQ((*newer)->Journal({}, "s0")->size(), 1u);
  EXPECT_EQ(older.Journal({}, "s1")->size(), 1u);
}

// F83: each media server counts its channels by itself, so that two have one of the same name.
TEST_F(PostgresStore, KeepsChannelsOfTheSameNameOnTwoServersApart) {
  const auto store = *Open();
  std::vector<Session> legs;
  for (const char* const instance : {"ast1", "ast2"}) {
    Session leg = Leg("");
    leg.incarnation = {instance, "life"};
    leg.channel_id = "1700000000.1";
    leg.id = MakeSessionId(leg.incarnation, leg.channel_id);
    legs.push_back(leg);
  }
  ASSERT_NE(legs[0].id, legs[1].id);
  ASSERT_TRUE(store->Put({}, {.sessions = legs}).ok());
  const auto page = store->List({}, {.incarnation = legs[0].incarnation});
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->sessions, std::vector<Session>{legs[0]});
  ASSERT_EQ(ClaimAll(*store, {legs[0].key()}, "me").size(), 1u);
  EXPECT_EQ(ClaimAll(*store, {legs[1].key()}, "other").size(), 1u);
}

TEST_F(PostgresStore, SaysWhatARoleMayNotDo) {
  server_->Query("CREATE ROLE " + schema_ + "_guest LOGIN");
  const auto store = Open({.dsn = "host=127.0.0.1 dbname=postgres user=" + schema_ +
                                  "_guest port=" + std::to_string(server_->port())});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kPermissionDenied) << store.status();
  EXPECT_THAT(store.status().ToString(), HasSubstr("give this role"));
}

TEST_F(PostgresStore, SaysThatThereIsNoSuchDatabaseOrRole) {
  const std::string place = "host=127.0.0.1 port=" + std::to_string(server_->port());
  const auto database = Open({.dsn = place + " user=sipheal dbname=nowhere"});
  EXPECT_EQ(database.status().code(), absl::StatusCode::kInvalidArgument) << database.status();
  const auto role = Open({.dsn = place + " user=nobody dbname=postgres"});
  EXPECT_EQ(role.status().code(), absl::StatusCode::kPermissionDenied) << role.status();
}

// The server's disk is full: what is said names it, nothing is half written, and it goes on when
// there is room again.
TEST_F(PostgresStore, WritesNothingHalfWhenTheDiskIsFull) {
  std::string pattern = (std::filesystem::temp_directory_path() / "sipheal-full-XXXXXX").string();
  const std::string folder = mkdtemp(pattern.data());
  if (mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=64m,mode=0755") != 0) {
    std::filesystem::remove(folder);
    GTEST_SKIP() << "SKIPPED, a small disk needs the right to mount one: run as root";
  }
  {
    const auto server = PostgresServer::Make(folder);
    ASSERT_NE(server, nullptr);
    const auto store = *MakePostgresSessionStore({.dsn = server->Dsn()});
    ASSERT_TRUE(store->Put({}, {.sessions = Legs(10)}).ok());
    const std::string filler = folder + "/filler";
    {
      std::ofstream file(filler, std::ios::binary);
      const std::string block(64 * 1024, 'x');
      while (file.write(block.data(), static_cast<std::streamsize>(block.size())).flush()) {
      }
    }
    std::vector<Session> many = Legs(3000, "t");
    for (Session& session : many) session.flow.host_data.assign(2000, 'x');
    absl::Status full;
    for (int tries = 0; tries < 20 && full.ok(); ++tries) {
      for (Session& session : many) ++session.epoch;
      full = store->Put({}, {.sessions = many}).status();
    }
    // The server may have run out of room for its own log: it then starts anew.
    EXPECT_TRUE(absl::IsResourceExhausted(full) || absl::IsUnavailable(full)) << full;
    std::filesystem::remove(filler);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    absl::Status again = store->Put({}, {.sessions = {Leg("after")}}).status();
    while (!again.ok() && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      again = store->Put({}, {.sessions = {Leg("after")}}).status();
    }
    EXPECT_TRUE(again.ok()) << again;
    std::size_t listed = 0;
    SessionStore::ListParams page{.limit = 10'000};
    const auto all = store->List({}, page);
    ASSERT_TRUE(all.ok()) << all.status();
    listed = all->sessions.size();
    EXPECT_TRUE(listed == 11 || listed == 3011) << listed << " sessions: a batch is there in part";
  }
  EXPECT_EQ(umount2(folder.c_str(), MNT_DETACH), 0);
  std::error_code ignored;
  std::filesystem::remove(folder, ignored);
}

// The successor of a session that is being recovered appears while its end waits for the row, and
// is claimed by somebody at that moment.
TEST_F(PostgresStore, AnEndThatComesTooLateRemovesNoClaimedSession) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s")}}).ok());
  const std::string sessions = schema_ + ".sessions";
  PGconn* const finisher = PQconnectdb(server_->Dsn().c_str());
  PGconn* const claimer = PQconnectdb(server_->Dsn().c_str());
  const auto run = [](PGconn* connection, const std::string& sql) {
    PGresult* const result = PQexec(connection, sql.c_str());
    EXPECT_EQ(PQresultStatus(result), PGRES_COMMAND_OK) << PQerrorMessage(connection);
    PQclear(result);
  };
  const auto wait_for_waiting = [&] {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (server_->Query("SELECT count(*) FROM pg_stat_activity WHERE application_name ="
                          " 'sipheal' AND wait_event_type = 'Lock'") != "1" &&
           std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  };
  run(finisher, "BEGIN");
  run(finisher, "UPDATE " + sessions + " SET fence = 1, outcome = 'recovered' WHERE id = 's'");
  std::thread late([&] {
    Session end = Leg("s", "life2", 1);
    end.state = SessionState::kEnded;
    EXPECT_TRUE(store->Put({}, {.sessions = {end}}).ok());
  });
  wait_for_waiting();
  server_->Query("INSERT INTO " + sessions +
                 " (id, epoch, instance, life, record) VALUES ('s', 1, 'ast1', 'life2', '')");
  run(claimer, "BEGIN");
  run(claimer, "UPDATE " + sessions + " SET fence = 2 WHERE id = 's' AND epoch = 1");
  run(finisher, "COMMIT");
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  wait_for_waiting();
  run(claimer, "COMMIT");
  late.join();
  PQfinish(finisher);
  PQfinish(claimer);
  EXPECT_EQ(server_->Query("SELECT fence FROM " + sessions + " WHERE id = 's' AND epoch = 1"), "2");
}

// An older epoch whose recovery nobody has finished is still somebody's work.
TEST_F(PostgresStore, ForgetsNoUnfinishedRecoveryWithANewerOneThatIsOver) {
  const auto store = *Open({.keep_journal = std::chrono::hours(24)});
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s")}}).ok());
  ASSERT_EQ(ClaimAll(*store, {{"s", 0}}, "dead").size(), 1u);
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s", "life2", 1)}}).ok());
  SessionStore::AdvanceParams::Step step{
      Step(ClaimAll(*store, {{"s", 1}}, "me").at(0), RecoveryStage::kFinished), {}};
  step.entry.outcome = Outcome::kEnded;
  ASSERT_TRUE((*store->Advance({}, {.steps = {step}}))[0].ok());
  server_->Query("UPDATE " + schema_ +
                 ".sessions SET expires_at = expires_at - interval '25 h',"
                 " finished_at = finished_at - interval '25 h'");
  ASSERT_TRUE(
      (*Open({.keep_journal = std::chrono::hours(24)}))->Put({}, {.sessions = {Leg("now")}}).ok());
  EXPECT_EQ(store->ListUnfinished({})->size(), 1u);
  EXPECT_TRUE(store->Journal({}, "s").ok());
}

// A reader that went away leaves nothing on the server that waits for a lock: its connections would
// soon be all that the server has.
TEST_F(PostgresStore, AReadThatWasGivenUpEndsOnTheServerToo) {
  const auto store = *Open();
  PGconn* const holder = PQconnectdb(server_->Dsn().c_str());
  for (const std::string& sql : {std::string("BEGIN"), "LOCK TABLE " + schema_ + ".sessions"}) {
    PGresult* const result = PQexec(holder, sql.c_str());
    ASSERT_EQ(PQresultStatus(result), PGRES_COMMAND_OK) << PQerrorMessage(holder);
    PQclear(result);
  }
  for (int i = 0; i < 5; ++i) {
    const CallContext ctx{.deadline = SystemClock().Monotonic() + std::chrono::milliseconds(100)};
    EXPECT_EQ(store->List(ctx, {}).status().code(), absl::StatusCode::kDeadlineExceeded);
  }
  const auto waiting = [&] {
    return server_->Query(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sipheal' AND"
        " wait_event_type = 'Lock'");
  };
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (waiting() != "0" && std::chrono::steady_clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  EXPECT_EQ(waiting(), "0");
  PQfinish(holder);
}

// What a role or database has as its default isolation does not change how writers meet.
TEST_F(PostgresStore, WritersMeetAtTheRowsWhateverTheDefaultIsolationIs) {
  const std::string dsn =
      server_->Dsn() + " options='-c default_transaction_isolation=serializable'";
  const auto store = *Open({.dsn = dsn});
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s")}}).ok());
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 6; ++thread) {
    threads.emplace_back([&] {
      const auto mine = Open({.dsn = dsn});
      ASSERT_TRUE(mine.ok()) << mine.status();
      for (int round = 0; round < 40; ++round) {
        const auto put = (*mine)->Put({}, {.sessions = {Leg("s")}});
        EXPECT_TRUE(put.ok()) << put.status();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// One host of a list is elsewhere, or the environment names it: it must prove who it is, too.
TEST_F(PostgresStore, EveryServerThatMayBeElsewhereMustProveWhoItIs) {
  const std::string port = std::to_string(server_->port());
  const std::string rest = " user=sipheal dbname=postgres port=" + port;
  const auto open = [&](const std::string& dsn) { return Open({.dsn = dsn}).status(); };
  const std::string none = " sslrootcert=/nonexistent/root.crt";
  EXPECT_TRUE(open("host=127.0.0.1,localhost" + rest + none).ok());
  EXPECT_EQ(open("host=127.0.0.1,db.invalid" + rest + none).code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(open("host=127.0.0.1.db.invalid hostaddr=127.0.0.1" + rest + none).code(),
            absl::StatusCode::kUnauthenticated);
  setenv("PGHOST", "db.invalid", 1);
  setenv("PGHOSTADDR", "127.0.0.1", 1);
  const absl::Status by_environment = open(rest + none);
  unsetenv("PGHOST");
  unsetenv("PGHOSTADDR");
  EXPECT_EQ(by_environment.code(), absl::StatusCode::kUnauthenticated) << by_environment;
}

// A name that is a word of SQL is a name all the same.
TEST_F(PostgresStore, ItsSchemaMayBeAWordOfSql) {
  const auto store = MakePostgresSessionStore({.dsn = server_->Dsn(), .schema = "order"});
  ASSERT_TRUE(store.ok()) << store.status();
  EXPECT_TRUE((*store)->Put({}, {.sessions = {Leg("s")}}).ok());
  EXPECT_EQ(ClaimAll(**store, {{"s", 0}}, "me").size(), 1u);
  server_->Query("SET client_min_messages = error; DROP SCHEMA \"order\" CASCADE");
}

// A server that accepts and never answers (a hung host): the call ends with its own deadline.
TEST_F(PostgresStore, EndsWithItsDeadlineWhenTheServerHangs) {
  const auto store = *Open();
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("before")}}).ok());
  server_->Signal(SIGSTOP);
  // The backends go on; the postmaster forks no new one.
  const auto other = MakePostgresSessionStore({.dsn = server_->Dsn(),
                                               .schema = schema_,
                                               .connect_timeout = std::chrono::milliseconds(200)});
  EXPECT_EQ(other.status().code(), absl::StatusCode::kUnavailable) << other.status();
  EXPECT_THAT(other.status().ToString(), HasSubstr("did not answer within 200 ms"));
  server_->Signal(SIGCONT);
  EXPECT_TRUE(Open().ok());
}

}  // namespace
}  // namespace sipheal
