// SPDX-License-Identifier: Apache-2.0
// Several processes on one file: a claim is one controller's, and a killed writer leaves nothing
// half.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <map>
#include <random>
#include <sstream>
#include <thread>

#include "sipheal/adapters/sqlite.h"
#include "tests/sqlite/database_file.h"
#include "tests/support/store_entries.h"

namespace sipheal {
namespace {

using tests::DatabaseFile;
using tests::Leg;

// A process that runs `work` with a pipe to write to.
class Child {
 public:
  explicit Child(const std::function<void(int out)>& work) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[0]);
      work(ends[1]);
      _exit(0);
    }
    close(ends[1]);
    in_ = ends[0];
  }
  ~Child() {
    Kill();
    close(in_);
  }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  // Waits for at least one byte.
  char Get() {
    char c = 0;
    return read(in_, &c, 1) == 1 ? c : '\0';
  }
  // All that it wrote until it ended.
  std::string Rest() {
    std::string all;
    char buffer[4096];
    for (ssize_t size = 0; (size = read(in_, buffer, sizeof buffer)) > 0;) {
      all.append(buffer, static_cast<std::size_t>(size));
    }
    return all;
  }

 private:
  pid_t pid_ = 0;
  int in_ = -1;
};

void Say(int out, const std::string& text) {
  if (write(out, text.data(), text.size()) != static_cast<ssize_t>(text.size())) _exit(9);
}

TEST(SqliteProcesses, ClaimEachSessionOnce) {
  constexpr int kSessions = 300;
  constexpr int kProcesses = 4;
  const DatabaseFile file;
  {
    const auto store = *MakeSqliteSessionStore({.path = file.path()});
    ASSERT_TRUE(store->Put({}, {.sessions = tests::Legs(kSessions)}).ok());
  }
  std::vector<std::unique_ptr<Child>> children;
  for (int process = 0; process < kProcesses; ++process) {
    children.push_back(std::make_unique<Child>([&file, process](int out) {
      const auto store = MakeSqliteSessionStore({.path = file.path()});
      if (!store.ok()) _exit(1);
      for (int begin = 0; begin < kSessions; begin += 5) {
        SessionStore::ClaimParams params{.owner = "process-" + std::to_string(process)};
        for (int i = begin; i < begin + 5; ++i) {
          params.sessions.push_back({"s" + std::to_string(i), 0});
        }
        const auto leases = (*store)->Claim({}, params);
        if (!leases.ok()) Say(out, "failed ");
        if (!leases.ok()) continue;
        for (const auto& lease : *leases) {
          if (lease.ok()) Say(out, lease->session.id + " ");
        }
      }
    }));
  }
  std::map<std::string, int> claims;
  for (const auto& child : children) {
    std::istringstream said(child->Rest());
    for (std::string id; said >> id;) ++claims[id];
  }
  EXPECT_EQ(claims.size(), static_cast<std::size_t>(kSessions));
  EXPECT_EQ(claims.count("failed"), 0u);
  for (const auto& [id, times] : claims) EXPECT_EQ(times, 1) << id;
}

// What the process that is killed does: batches of sessions, each recovered wholly. It says "." for
// each batch that the store took, and "!" for each that was recovered.
constexpr int kBatch = 20;
void WriteForEver(const std::string& path, int first, int out) {
  const auto store = MakeSqliteSessionStore({.path = path});
  if (!store.ok()) _exit(1);
  Say(out, "r");
  for (int batch = first;; ++batch) {
    const std::string prefix = "b" + std::to_string(batch) + ".";
    const auto legs = tests::Legs(kBatch, prefix, std::to_string(batch));
    if (!(*store)->Put({}, {.sessions = legs}).ok()) _exit(2);
    Say(out, ".");
    const auto leases = (*store)->Claim({}, {.sessions = tests::KeysOf(legs), .owner = "me"});
    if (!leases.ok()) _exit(3);
    SessionStore::AdvanceParams params;
    for (const auto& lease : *leases) {
      if (!lease.ok()) _exit(4);
      params.steps.push_back({tests::Step(*lease, RecoveryStage::kInviting), {}});
      params.steps.push_back({tests::Step(*lease, RecoveryStage::kFinished),
                              Leg(lease->session.id, std::to_string(batch), 1)});
    }
    const auto results = (*store)->Advance({}, params);
    if (!results.ok()) _exit(5);
    for (const absl::Status& result : *results) {
      if (!result.ok()) _exit(6);
    }
    Say(out, "!");
  }
}

TEST(SqliteProcesses, AKilledWriterLeavesNothingHalf) {
  constexpr int kKills = 25;
  const DatabaseFile file;
  std::mt19937 random(20260101);
  int first = 0;
  for (int round = 0; round < kKills; ++round) {
    std::string said;
    {
      Child child([&](int out) { WriteForEver(file.path(), first, out); });
      ASSERT_EQ(child.Get(), 'r');
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 40'000));
      child.Kill();
      said = child.Rest();
    }
    const auto store = MakeSqliteSessionStore({.path = file.path()});
    ASSERT_TRUE(store.ok()) << store.status();
    const int put = static_cast<int>(std::count(said.begin(), said.end(), '.'));
    const int recovered = static_cast<int>(std::count(said.begin(), said.end(), '!'));
    for (int batch = 0; batch <= put; ++batch) {
      const std::string life = std::to_string(first + batch);
      const auto page = (*store)->List({}, {.incarnation = Incarnation{"ast1", life}});
      ASSERT_TRUE(page.ok()) << page.status();
      const auto count = static_cast<int>(page->sessions.size());
      EXPECT_TRUE(count == kBatch || (batch == put && count == 0))
          << "batch " << life << " is half there: " << count;
      int successors = 0;
      for (const Session& session : page->sessions) successors += session.epoch == 1 ? 1 : 0;
      EXPECT_TRUE(successors == 0 || successors == kBatch)
          << "batch " << life << " is half recovered: " << successors;
      if (batch < recovered) {
        EXPECT_EQ(successors, kBatch) << "a recovery that was written is gone";
        const auto journal = (*store)->Journal({}, "b" + life + ".0");
        EXPECT_EQ(journal->size(), 2u);
      }
    }
    EXPECT_EQ(tests::RawConnection(file.path()).Query("PRAGMA integrity_check"), "ok");
    first += put + 1;
  }
  EXPECT_GT(first, kKills) << "the writers hardly wrote before they were killed";
}

}  // namespace
}  // namespace sipheal
