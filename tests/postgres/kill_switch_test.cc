// SPDX-License-Identifier: Apache-2.0
// The kill switch that controllers share through a real PostgreSQL.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>
#include <thread>

#include "sipheal/adapters/postgres.h"
#include "sipheal/testing/fake_clock.h"
#include "tests/support/postgres_server.h"

namespace sipheal {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::PostgresServer;

class PostgresKillSwitch : public ::testing::Test {
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

  std::shared_ptr<KillSwitch> Open(const std::string& who) {
    auto made =
        MakePostgresKillSwitch({.dsn = server_->Dsn(), .schema = schema_, .clock = &clock_}, who);
    EXPECT_TRUE(made.ok()) << made.status();
    return *made;
  }

  static inline int schemas_ = 0;
  const std::string schema_ = "k" + std::to_string(++schemas_);
  testing::FakeClock clock_;
  PostgresServer* server_ = nullptr;
};

TEST_F(PostgresKillSwitch, StopsAllControllersFiftyMillisecondsLater) {
  const auto one = Open("controller-1");
  const auto other = Open("controller-2");
  EXPECT_TRUE(one->Check({}).ok());
  EXPECT_TRUE(other->Check({}).ok());
  ASSERT_TRUE(one->Throw({}, "wrong numbers").ok());
  EXPECT_EQ(one->Check({}).code(), absl::StatusCode::kFailedPrecondition) << "who threw it knows";
  clock_.Advance(std::chrono::milliseconds(50));
  EXPECT_EQ(other->Check({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(other->Check({}).ToString(),
              AllOf(HasSubstr("controller-1"), HasSubstr("wrong numbers")));
  ASSERT_TRUE(other->Clear({}).ok());
  clock_.Advance(std::chrono::milliseconds(50));
  EXPECT_TRUE(one->Check({}).ok());
  EXPECT_TRUE(other->Check({}).ok());
}

TEST_F(PostgresKillSwitch, IsThrownBySqlToo) {
  const auto one = Open("controller-1");
  EXPECT_TRUE(one->Check({}).ok());
  server_->Query("UPDATE " + schema_ + ".kill_switch SET thrown = true, reason = 'by SQL'");
  clock_.Advance(std::chrono::milliseconds(50));
  EXPECT_THAT(one->Check({}).ToString(), HasSubstr("by SQL"));
}

// Who threw it the last time has nothing to do with it.
TEST_F(PostgresKillSwitch, NamesNobodyWhenSqlThrewIt) {
  const auto one = Open("controller-1");
  ASSERT_TRUE(one->Throw({}, "wrong numbers").ok());
  ASSERT_TRUE(one->Clear({}).ok());
  server_->Query("UPDATE " + schema_ + ".kill_switch SET thrown = true");
  clock_.Advance(std::chrono::milliseconds(50));
  const std::string said = one->Check({}).ToString();
  EXPECT_THAT(said, HasSubstr("was thrown by hand"));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("controller-1")));
  EXPECT_THAT(said, ::testing::Not(HasSubstr("wrong numbers")));
}

TEST_F(PostgresKillSwitch, SaysThatItCannotBeReadAndReadsAgain) {
  const auto one = Open("controller-1");
  EXPECT_TRUE(one->Check({}).ok());
  server_->Kill();
  clock_.Advance(std::chrono::milliseconds(50));
  EXPECT_EQ(one->Check({}).code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(server_->Start());
  EXPECT_TRUE(one->Check({}).ok()) << one->Check({});
}

// The idle connection died unnoticed: that says nothing about the switch.
TEST_F(PostgresKillSwitch, IsReadThoughTheServerWasRestartedMeanwhile) {
  const auto one = Open("controller-1");
  EXPECT_TRUE(one->Check({}).ok());
  server_->Kill();
  ASSERT_TRUE(server_->Start());
  clock_.Advance(std::chrono::milliseconds(50));
  EXPECT_TRUE(one->Check({}).ok());
}

TEST_F(PostgresKillSwitch, ManyThreadsAskAtOnce) {
  const auto one = Open("controller-1");
  std::vector<std::thread> threads;
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&] {
      for (int ask = 0; ask < 50; ++ask) {
        EXPECT_TRUE(one->Check({}).ok());
        clock_.Advance(std::chrono::milliseconds(20));
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace
}  // namespace sipheal
