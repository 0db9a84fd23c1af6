// SPDX-License-Identifier: Apache-2.0
// Files that are wrong, locked, full or damaged: each gives a status that says what to do, and the
// rest goes on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <csignal>
#include <fstream>
#include <mutex>
#include <sstream>
#include <thread>

#include "sipheal/adapters/sqlite.h"
#include "sipheal/testing/fake_clock.h"
#include "sqlite/connection.h"
#include "sqlite/schema.h"
#include "tests/sqlite/database_file.h"
#include "tests/support/store_entries.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using tests::DatabaseFile;
using tests::Leg;
using tests::RawConnection;
using tests::Step;

absl::StatusOr<std::shared_ptr<SessionStore>> Open(const std::string& path) {
  return MakeSqliteSessionStore({.path = path, .busy_timeout = milliseconds(100)});
}

// Runs `work` in a process of its own, without rights, and gives what it returned (0 to 255).
int AsNobody(const std::function<int()>& work) {
  const pid_t child = fork();
  if (child == 0) {
    if (geteuid() == 0 && setuid(65534) != 0) _exit(255);
    _exit(work());
  }
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

std::string Contents(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(SqliteOptions, NameTheFieldThatIsWrong) {
  EXPECT_THAT(SqliteOptions{}.Validate().ToString(), HasSubstr("SqliteOptions::path"));
  EXPECT_THAT(SqliteOptions{.path = ":memory:"}.Validate().ToString(), HasSubstr("path"));
  const SqliteOptions slow{.path = "x", .busy_timeout = std::chrono::hours(1)};
  EXPECT_THAT(slow.Validate().ToString(), HasSubstr("busy_timeout"));
}

TEST(SqliteStore, RefusesASchemaOfANewerRelease) {
  const DatabaseFile file;
  ASSERT_TRUE(Open(file.path()).ok());
  RawConnection(file.path()).Run("PRAGMA user_version = 99");
  const auto store = Open(file.path());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().ToString(), HasSubstr("version 99"));
  EXPECT_THAT(store.status().ToString(), HasSubstr("newer sipheal"));
}

TEST(SqliteStore, RefusesTheDatabaseOfAnotherApplication) {
  const DatabaseFile file;
  RawConnection(file.path()).Run("CREATE TABLE invoices (id)");
  const auto store = Open(file.path());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(store.status().ToString(), HasSubstr("another application"));
  EXPECT_EQ(RawConnection(file.path()).Query("SELECT count(*) FROM sqlite_schema"), "1");
  EXPECT_EQ(RawConnection(file.path()).Query("PRAGMA journal_mode"), "delete")
      << "the file of another was changed";
}

TEST(SqliteStore, RefusesAFileThatIsNoDatabase) {
  const DatabaseFile file;
  const std::string text(5000, 'x');
  std::ofstream(file.path()) << text;
  const auto store = Open(file.path());
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(store.status().ToString(), HasSubstr("something else"));
  EXPECT_EQ(Contents(file.path()), text) << "the file was changed";
}

TEST(SqliteStore, SaysWhatIsWrongWithThePlace) {
  const DatabaseFile file;
  const auto nowhere = Open(file.path() + "/deeper/store.db");
  EXPECT_EQ(nowhere.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(nowhere.status().ToString(), HasSubstr("there is no folder"));
  const auto folder = Open(file.folder().string());
  EXPECT_EQ(folder.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(folder.status().ToString(), HasSubstr("it is a folder"));
}

TEST(SqliteStore, SaysThatFolderOrFileCannotBeWritten) {
  const DatabaseFile file;
  const auto denied = [&] {
    const auto store = Open(file.path());
    return absl::IsPermissionDenied(store.status()) ? 0 : 1;
  };
  ASSERT_TRUE(Open(file.path()).ok());
  chmod(file.folder().c_str(), 0777);
  chmod(file.path().c_str(), 0444);
  EXPECT_EQ(AsNobody(denied), 0) << "a file without the right to write";
  ASSERT_EQ(unlink(file.path().c_str()), 0);
  chmod(file.folder().c_str(), 0555);
  EXPECT_EQ(AsNobody(denied), 0) << "a folder without the right to write";
  chmod(file.folder().c_str(), 0777);
}

TEST(SqliteStore, MakesTheFileForItsOwnerOnly) {
  const DatabaseFile file;
  ASSERT_TRUE(Open(file.path()).ok());
  struct stat info = {};
  ASSERT_EQ(stat(file.path().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(SqliteStore, IsUnavailableWhileAnotherProcessHoldsTheFile) {
  const DatabaseFile file;
  const auto store = *Open(file.path());
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("before")}}).ok());
  {
    RawConnection holder(file.path());
    holder.Run("BEGIN IMMEDIATE");
    const auto put = store->Put({}, {.sessions = {Leg("during")}});
    EXPECT_EQ(put.status().code(), absl::StatusCode::kUnavailable);
    EXPECT_THAT(put.status().ToString(), HasSubstr("another process holds the file"));
    EXPECT_EQ(store->List({}, {})->sessions.size(), 1u) << "reading goes on";
  }
  EXPECT_TRUE(store->Put({}, {.sessions = {Leg("after")}}).ok());
  EXPECT_EQ(store->List({}, {})->sessions.size(), 2u);
}

TEST(SqliteConnection, SaysThatTheDatabaseIsFull) {
  const DatabaseFile file;
  auto opened = internal::Connection::Open({.path = file.path(), .clock = &SystemClock()});
  ASSERT_TRUE(opened.ok());
  internal::Connection& db = **opened;
  ASSERT_TRUE(internal::MigrateSqlite(db, internal::SqliteMigrations()).ok());
  ASSERT_TRUE(db.Execute("PRAGMA max_page_count = 20").ok());
  absl::Status status;
  for (int i = 0; i < 200 && status.ok(); ++i) {
    auto insert = db.Prepare(
        "INSERT INTO sessions (id, epoch, instance, life, record) VALUES (?, 0, '', '', ?)");
    ASSERT_TRUE(insert.ok());
    status = insert->Text(std::to_string(i)).Blob(std::string(1000, 'x')).Run();
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("make room"));
}

// The file may not grow any more (a quota): nothing half is written, and it goes on afterwards.
TEST(SqliteStore, WritesNothingHalfWhenTheFileMayNotGrow) {
  const DatabaseFile file;
  const pid_t child = fork();
  if (child == 0) {
    std::signal(SIGXFSZ, SIG_IGN);
    const auto store = Open(file.path());
    if (!store.ok() || !(*store)->Put({}, {.sessions = tests::Legs(10)}).ok()) _exit(1);
    rlimit limit = {};
    getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit tight{256 * 1024, limit.rlim_max};
    setrlimit(RLIMIT_FSIZE, &tight);
    const auto put = (*store)->Put({}, {.sessions = tests::Legs(2000, "t")});
    if (!absl::IsUnavailable(put.status()) && !absl::IsResourceExhausted(put.status())) _exit(2);
    const auto listed = (*store)->List({}, {.limit = 5000});
    if (!listed.ok() || listed->sessions.size() != 10) _exit(3);
    setrlimit(RLIMIT_FSIZE, &limit);
    if (!(*store)->Put({}, {.sessions = tests::Legs(2000, "t")}).ok()) _exit(4);
    const auto again = (*store)->List({}, {.limit = 5000});
    _exit(again.ok() && again->sessions.size() == 2010 ? 0 : 5);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "step " << WEXITSTATUS(status);
}

// F79: damage costs what is damaged, and never the process.
TEST(SqliteStore, SaysThatTheFileIsDamaged) {
  const DatabaseFile file;
  {
    const auto store = *Open(file.path());
    ASSERT_TRUE(store->Put({}, {.sessions = tests::Legs(500)}).ok());
  }
  {
    std::fstream raw(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    for (int page = 4; page < 60; ++page) {
      raw.seekp(page * 4096);
      raw << std::string(4096, '\x5a');
    }
  }
  const auto store = Open(file.path());
  const absl::Status status =
      store.ok() ? (*store)->List({}, {.limit = 1000}).status() : store.status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
  EXPECT_THAT(status.ToString(), HasSubstr("damaged"));
}

class Notes final : public LogSink {
 public:
  void Write(const LogEvent& event) override {
    const std::lock_guard lock(mutex);
    std::string line = event.event;
    for (const auto& [name, value] : event.fields) line += " " + name + "=" + value;
    lines.push_back(line);
  }
  std::mutex mutex;
  std::vector<std::string> lines;
};

// F78: a record of which nothing can be read is still a session that is claimed and gets an
// outcome.
TEST(SqliteStore, KeepsASessionWhoseRecordIsDamaged) {
  const DatabaseFile file;
  const auto notes = std::make_shared<Notes>();
  const auto store = *MakeSqliteSessionStore({.path = file.path(), .log = notes});
  ASSERT_TRUE(store->Put({}, {.sessions = tests::Legs(3)}).ok());
  RawConnection(file.path()).Run("UPDATE sessions SET record = x'00ff7b' WHERE id = 's1'");
  const auto page = store->List({}, {.incarnation = Incarnation{"ast1", "life1"}});
  ASSERT_TRUE(page.ok()) << page.status();
  ASSERT_EQ(page->sessions.size(), 3u);
  EXPECT_EQ(page->sessions[1].id, "s1");
  EXPECT_EQ(page->sessions[1].call_id, "");
  EXPECT_EQ(page->sessions[2], Leg("s2"));
  EXPECT_THAT(notes->lines, Contains("session_record_damaged session_id=s1 epoch=0 field=record"));
  const auto leases = store->Claim({}, {.sessions = {{"s1", 0}}, .owner = "me"});
  ASSERT_TRUE((*leases)[0].ok());
  const auto done =
      store->Advance({}, {.steps = {{tests::Step(*(*leases)[0], RecoveryStage::kFinished), {}}}});
  EXPECT_TRUE((*done)[0].ok());
}

TEST(SqliteStore, TakesAStageItCannotReadAsOneThatMayHaveSent) {
  const DatabaseFile file;
  const auto store = *Open(file.path());
  ASSERT_TRUE(store->Put({}, {.sessions = {Leg("s")}}).ok());
  const auto leases = store->Claim({}, {.sessions = {{"s", 0}}, .owner = "me"});
  ASSERT_TRUE(
      store->Advance({}, {.steps = {{tests::Step(*(*leases)[0], RecoveryStage::kRebuilt), {}}}})
          .ok());
  RawConnection(file.path()).Run("UPDATE journal SET stage = 'gone wrong'");
  const auto journal = store->Journal({}, "s");
  ASSERT_TRUE(journal.ok());
  EXPECT_EQ((*journal)[0].stage, RecoveryStage::kInviting);
}

TEST(SqliteStore, ForgetsWhatIsOverForLongAndNothingElse) {
  const DatabaseFile file;
  testing::FakeClock clock;
  auto store = MakeSqliteSessionStore(
      {.path = file.path(), .keep_journal = std::chrono::hours(24), .clock = &clock});
  ASSERT_TRUE(store.ok()) << store.status();
  const auto put = [&](const Session& session) {
    EXPECT_EQ((*store)->Put({}, {.sessions = {session}}).status(), absl::OkStatus());
  };
  const auto recover = [&](const std::string& id, Outcome outcome, bool finish) {
    put(Leg(id));
    const auto leases = (*store)->Claim(
        {}, {.sessions = {{id, 0}}, .owner = "c", .lease = std::chrono::seconds(10)});
    ASSERT_TRUE(leases.ok() && (*leases)[0].ok());
    SessionStore::AdvanceParams::Step step;
    step.entry = Step(*(*leases)[0], finish ? RecoveryStage::kFinished : RecoveryStage::kInviting);
    if (finish) step.entry.outcome = outcome;
    step.entry.at = clock.Now();
    if (outcome == Outcome::kRecovered) step.successor = Leg(id, "life2", 1);
    ASSERT_EQ((*(*store)->Advance({}, {.steps = {step}, .lease = std::chrono::seconds(10)}))[0],
              absl::OkStatus());
  };
  recover("ended", Outcome::kEnded, true);
  recover("alive", Outcome::kRecovered, true);
  recover("open", Outcome::kEnded, false);
  clock.Advance(std::chrono::hours(23));
  recover("young", Outcome::kEnded, true);
  put(Leg("now"));
  EXPECT_TRUE((*store)->Journal({}, "ended").ok()) << "not old enough";
  clock.Advance(std::chrono::hours(2));
  put(Leg("now"));
  EXPECT_EQ((*store)->Journal({}, "ended").status().code(), absl::StatusCode::kNotFound);
  for (const char* id : {"alive", "open", "young"}) {
    EXPECT_TRUE((*store)->Journal({}, id).ok()) << id;
  }
  EXPECT_EQ((*store)->ListUnfinished({})->size(), 1u);
}

TEST(SqliteSchema, AFileOfTheFirstVersionKeepsItsJournal) {
  const DatabaseFile file;
  {
    auto db = internal::Connection::Open({.path = file.path(), .clock = &SystemClock()});
    ASSERT_TRUE(db.ok());
    ASSERT_TRUE(internal::MigrateSqlite(**db, internal::SqliteMigrations().first(1)).ok());
    ASSERT_TRUE((*db)
                    ->Execute("INSERT INTO journal (id, epoch, fence, stage, attempt,"
                              " target_instance, target_life, channel_id, cseq, deaths, reason, at)"
                              " VALUES ('old', 0, 1, 'inviting', 1, 'b', '1', 'c', 7, 0, '', 5)")
                    .ok());
  }
  const auto store = MakeSqliteSessionStore({.path = file.path()});
  ASSERT_TRUE(store.ok()) << store.status();
  const auto journal = (*store)->Journal({}, "old");
  ASSERT_TRUE(journal.ok()) << journal.status();
  ASSERT_EQ(journal->size(), 1u);
  EXPECT_EQ((*journal)[0].stage, RecoveryStage::kInviting);
  EXPECT_FALSE((*journal)[0].taken.has_value());
  EXPECT_THAT(*(*store)->ListTaken({}), ::testing::IsEmpty());
}

TEST(SqliteSchema, BringsAnOlderFileUpToDateStepByStep) {
  const DatabaseFile file;
  auto db = internal::Connection::Open({.path = file.path(), .clock = &SystemClock()});
  ASSERT_TRUE(db.ok());
  const char* const first[] = {"CREATE TABLE t (a)"};
  ASSERT_TRUE(internal::MigrateSqlite(**db, first).ok());
  ASSERT_TRUE((*db)->Execute("INSERT INTO t VALUES (1)").ok());
  const char* const second[] = {"CREATE TABLE t (a)", "ALTER TABLE t ADD COLUMN b DEFAULT 7",
                                "UPDATE t SET a = a + b"};
  ASSERT_TRUE(internal::MigrateSqlite(**db, second).ok());
  EXPECT_EQ(*(*db)->QueryNumber("SELECT a FROM t"), 8);
  EXPECT_EQ(*(*db)->QueryNumber("PRAGMA user_version"), 3);
  const char* const broken[] = {"", "", "", "UPDATE t SET a = 0", "no SQL at all"};
  EXPECT_FALSE(internal::MigrateSqlite(**db, broken).ok());
  EXPECT_EQ(*(*db)->QueryNumber("SELECT a FROM t"), 8) << "a failed step left something half";
}

TEST(SqliteSchema, IsMadeOnceWhenManyOpenANewFileAtOnce) {
  const DatabaseFile file;
  std::vector<std::thread> threads;
  std::mutex mutex;
  std::vector<absl::Status> results;
  for (int i = 0; i < 6; ++i) {
    threads.emplace_back([&] {
      const auto store = MakeSqliteSessionStore({.path = file.path()});
      const std::lock_guard lock(mutex);
      results.push_back(store.status());
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const absl::Status& result : results) EXPECT_TRUE(result.ok()) << result;
}

}  // namespace
}  // namespace sipheal
