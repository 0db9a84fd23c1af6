// SPDX-License-Identifier: Apache-2.0
#include "pq/sql_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sipheal {
namespace {

using ::testing::HasSubstr;

TEST(SqlState, GivesTheCodeThatTellsACallerWhatToDo) {
  const auto code = [](const char* state) {
    return internal::pq::StatusOfSqlState(state, "it said").code();
  };
  EXPECT_EQ(code("53100"), absl::StatusCode::kResourceExhausted) << "disk full";
  EXPECT_EQ(code("57P01"), absl::StatusCode::kUnavailable) << "the administrator stopped it";
  EXPECT_EQ(code("57P03"), absl::StatusCode::kUnavailable) << "starting up";
  EXPECT_EQ(code("53300"), absl::StatusCode::kUnavailable) << "too many connections";
  EXPECT_EQ(code("25006"), absl::StatusCode::kUnavailable) << "a standby";
  EXPECT_EQ(code("40P01"), absl::StatusCode::kUnavailable) << "deadlock";
  EXPECT_EQ(code("42501"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("28P01"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("3D000"), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code("42P01"), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code("XX001"), absl::StatusCode::kDataLoss);
  EXPECT_EQ(code("42601"), absl::StatusCode::kInternal) << "a syntax error is a bug of ours";
}

TEST(SqlState, KeepsWhatTheServerSaidAndItsState) {
  const absl::Status status = internal::pq::StatusOfSqlState("53100", "could not extend file");
  EXPECT_THAT(status.ToString(), HasSubstr("could not extend file"));
  EXPECT_THAT(status.ToString(), HasSubstr("SQLSTATE 53100"));
  EXPECT_THAT(status.ToString(), HasSubstr("make room"));
}

TEST(SqlState, TellsAConnectThatIsRefusedFromOneThatWillNeverWork) {
  const auto code = [](const char* said) { return internal::pq::StatusOfConnect(said).code(); };
  EXPECT_EQ(code("connection to server at \"127.0.0.1\", port 1 failed: Connection refused\n"),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("FATAL:  the database system is starting up\n"), absl::StatusCode::kUnavailable);
  EXPECT_EQ(code("FATAL:  password authentication failed for user \"x\"\n"),
            absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(code("FATAL:  role \"x\" does not exist\n"), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(
      code("connection to server at \"192.0.2.1\", port 1 failed: server does not support SSL, "
           "but SSL was required\n"),
      absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(code("FATAL:  database \"x\" does not exist\n"), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace sipheal
