// SPDX-License-Identifier: Apache-2.0
// F75, F76, F77: several controllers share the sessions of a dead instance through one PostgreSQL,
// with a quorum of 1 to 3 for its death, and one of them dies at a random arrow. The media servers
// and phones are in memory, the database is real, each controller has threads and connections of
// its own.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "sipheal/adapters/memory.h"
#include "sipheal/adapters/postgres.h"
#include "sipheal/healer.h"
#include "sipheal/testing/fake_crash_detector.h"
#include "sipheal/testing/fake_flow_resumer.h"
#include "sipheal/testing/fake_media_server.h"
#include "sipheal/testing/forwarding_session_store.h"
#include "sipheal/testing/shared_media_servers.h"
#include "tests/support/captured_dialog.h"
#include "tests/support/postgres_server.h"

namespace sipheal {
namespace {

using std::chrono::seconds;
using testing::PostgresServer;

constexpr int kControllers = 3;
constexpr int kSessions = 24;

// Cuts its controller off at the n-th write, just before or just after it is durable: what a
// SIGKILL at that moment leaves.
class DyingStore final : public testing::ForwardingSessionStore {
 public:
  DyingStore(std::shared_ptr<SessionStore> store, int writes, bool written,
             std::shared_ptr<testing::SharedMediaServers::Attached> driver)
      : ForwardingSessionStore(std::move(store)),
        writes_(writes),
        written_(written),
        driver_(std::move(driver)) {}

  bool dead() const { return dead_; }

  absl::StatusOr<SessionPage> List(const CallContext& ctx, const ListParams& params) override {
    if (dead_) return Dead();
    return ForwardingSessionStore::List(ctx, params);
  }
  absl::StatusOr<std::vector<UnfinishedRecovery>> ListUnfinished(const CallContext& ctx) override {
    if (dead_) return Dead();
    return ForwardingSessionStore::ListUnfinished(ctx);
  }
  absl::StatusOr<std::vector<absl::StatusOr<Lease>>> Claim(const CallContext& ctx,
                                                           const ClaimParams& params) override {
    const bool last = Count();
    if (dead_ && !(last && written_)) return Dead();
    auto leases = ForwardingSessionStore::Claim(ctx, params);
    if (last) return Dead();
    return leases;
  }
  absl::StatusOr<std::vector<absl::Status>> Advance(const CallContext& ctx,
                                                    const AdvanceParams& params) override {
    const bool last = Count();
    if (dead_ && !(last && written_)) return Dead();
    auto results = ForwardingSessionStore::Advance(ctx, params);
    if (last) return Dead();
    return results;
  }

 private:
  static absl::Status Dead() { return absl::UnavailableError("this controller is dead"); }
  // True for the write at which it dies.
  bool Count() {
    if (--writes_ != 0) return false;
    dead_ = true;
    driver_->Cut();
    return true;
  }

  std::atomic<int> writes_;
  const bool written_;
  const std::shared_ptr<testing::SharedMediaServers::Attached> driver_;
  std::atomic<bool> dead_{false};
};

class ManyControllers : public ::testing::Test {
 protected:
  void SetUp() override {
    server_ = PostgresServer::Shared();
    if (server_ == nullptr) GTEST_SKIP() << "no PostgreSQL server on this machine";
  }

  std::shared_ptr<SessionStore> Open(const std::string& schema) {
    auto store = MakePostgresSessionStore({.dsn = server_->Dsn(), .schema = schema});
    EXPECT_TRUE(store.ok()) << store.status();
    return store.ok() ? *store : nullptr;
  }

  PostgresServer* server_ = nullptr;
};

HealerOptions Options(int controller) {
  HealerOptions options;
  options.owner = absl::StrFormat("controller-%d", controller);
  options.instances = {{"ast-1", {}}, {"ast-2", {}}, {"ast-3", {}}};
  options.lease = std::chrono::milliseconds(1000);
  options.recovery_deadline = seconds(60);
  return options;
}

// What is written into a failure: how each session came to be where it is.
std::string Story(SessionStore& store, const std::string& id) {
  std::string text;
  const auto journal = store.Journal({}, id);
  if (!journal.ok()) return journal.status().ToString();
  for (const JournalEntry& entry : *journal) {
    text += absl::StrFormat("  epoch %d fence %d attempt %d %s %s\n", entry.session.epoch,
                            static_cast<int>(entry.fence), entry.attempt,
                            std::string(ToString(entry.stage)), entry.reason);
  }
  return text;
}

TEST_F(ManyControllers, BringEachCallBackOnceThoughOneDiesAtAnyArrow) {
  const char* const long_run = std::getenv("SIPHEAL_LONG");
  const int rounds = long_run != nullptr && std::string(long_run) == "1" ? 500 : 8;
  std::mt19937 random(20'261'123);  // NOLINT: the same rounds every time
  int deaths = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::string schema = "m" + std::to_string(round);
    const int victim = static_cast<int>(random() % kControllers);
    const int writes = 1 + static_cast<int>(random() % 5);
    const bool written = random() % 2 == 0;
    const int quorum = 1 + static_cast<int>(random() % kControllers);
    SCOPED_TRACE(absl::StrFormat("round %d: controller %d dies at write %d, %s; quorum %d", round,
                                 victim, writes, written ? "written" : "not written", quorum));
    const auto store = Open(schema);
    ASSERT_NE(store, nullptr);
    const auto capture = MakeMemorySipCapture();
    const auto servers = std::make_shared<testing::FakeMediaServer>();
    for (const char* const name : {"ast-1", "ast-2", "ast-3"}) {
      servers->AddInstance({name, "life-1"});
    }
    std::vector<Session> sessions;
    for (int i = 0; i < kSessions; ++i) {
      sessions.push_back(tests::CapturedSession(i, "ast-1", SystemClock().Now()));
      capture->AddDialog(tests::CapturedDialog(sessions.back().call_id));
    }
    // Calls of a server that lives: nobody may touch them.
    std::vector<Session> healthy;
    for (int i = 0; i < 4; ++i) {
      healthy.push_back(tests::CapturedSession(kSessions + i, "ast-2", SystemClock().Now()));
      capture->AddDialog(tests::CapturedDialog(healthy.back().call_id));
    }
    ASSERT_TRUE(store->Put({}, {.sessions = sessions}).ok());
    ASSERT_TRUE(store->Put({}, {.sessions = healthy}).ok());

    testing::SharedMediaServers shared(servers);
    std::shared_ptr<DyingStore> dying;
    std::vector<std::shared_ptr<testing::FakeCrashDetector>> detectors;
    std::vector<std::unique_ptr<Healer>> healers;
    for (int i = 0; i < kControllers; ++i) {
      HealerParts parts;
      const auto driver = shared.Attach();
      parts.store = Open(schema);
      if (i == victim) {
        dying = std::make_shared<DyingStore>(parts.store, writes, written, driver);
        parts.store = dying;
      }
      detectors.push_back(std::make_shared<testing::FakeCrashDetector>());
      for (const char* const name : {"ast-1", "ast-2", "ast-3"}) {
        detectors.back()->AddInstance({name, "life-1"});
      }
      const auto relay = MakePostgresCrashRelay(
          detectors.back(),
          {.dsn = server_->Dsn(), .schema = schema, .owner = Options(i).owner, .quorum = quorum});
      ASSERT_TRUE(relay.ok()) << relay.status();
      parts.detector = *relay;
      parts.capture = capture;
      parts.driver = driver;
      parts.resumer = std::make_shared<testing::FakeFlowResumer>();
      auto healer = Healer::Create(Options(i), std::move(parts));
      ASSERT_TRUE(healer.ok()) << healer.status();
      ASSERT_TRUE((*healer)->Start().ok());
      healers.push_back(*std::move(healer));
    }
    servers->Kill("ast-1");
    // No more of them than the quorum see it themselves, the victim always: the others hear of it.
    // With a quorum of one the victim hears of it first, so that it has work to die in.
    for (int i = 0; i < quorum; ++i) {
      detectors[static_cast<std::size_t>((victim + i) % kControllers)]->Kill("ast-1");
    }

    const auto all_back = [&] {
      const auto page = store->List({}, {});
      if (!page.ok()) return false;
      int back = 0;
      for (const Session& session : page->sessions) back += session.epoch == 1 ? 1 : 0;
      return back == kSessions;
    };
    const auto deadline = std::chrono::steady_clock::now() + seconds(45);
    bool back = all_back();
    while (!back && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      back = all_back();
    }
    deaths += dying->dead() ? 1 : 0;
    for (const auto& healer : healers) healer->Stop();
    ASSERT_TRUE(back) << "a session was forgotten";
    for (const Session& session : sessions) {
      ASSERT_EQ(servers->Invites(session.call_id), 1) << Story(*store, session.id);
      ASSERT_EQ(servers->LiveChannels(session.call_id), 1) << Story(*store, session.id);
      ASSERT_EQ(servers->Byes(session.call_id), 0) << Story(*store, session.id);
      const auto journal = *store->Journal({}, session.id);
      int outcomes = 0;
      for (const JournalEntry& entry : journal) outcomes += entry.outcome ? 1 : 0;
      ASSERT_EQ(outcomes, 1) << Story(*store, session.id);
    }
    for (const Session& session : healthy) {
      ASSERT_EQ(servers->Invites(session.call_id), 0) << Story(*store, session.id);
      ASSERT_EQ(servers->Byes(session.call_id), 0) << Story(*store, session.id);
      ASSERT_TRUE(store->Journal({}, session.id)->empty()) << Story(*store, session.id);
    }
    server_->Query("SET client_min_messages = error; DROP SCHEMA " + schema + " CASCADE");
  }
  EXPECT_GE(deaths, rounds / 2) << "most victims must have died in the middle of their work";
}

}  // namespace
}  // namespace sipheal
