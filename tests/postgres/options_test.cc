// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sipheal/adapters/postgres.h"

namespace sipheal {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PostgresOptions, NameTheFieldThatIsWrong) {
  const auto said = [](const PostgresOptions& options) { return options.Validate().ToString(); };
  EXPECT_THAT(said({}), HasSubstr("PostgresOptions::dsn"));
  EXPECT_THAT(said({.dsn = "x", .schema = "Robert'); DROP"}), HasSubstr("PostgresOptions::schema"));
  EXPECT_THAT(said({.dsn = "x", .schema = "1st"}), HasSubstr("PostgresOptions::schema"));
  EXPECT_THAT(said({.dsn = "x", .connections = 0}), HasSubstr("PostgresOptions::connections"));
  EXPECT_THAT(said({.dsn = "x", .connect_timeout = std::chrono::hours(1)}),
              HasSubstr("PostgresOptions::connect_timeout"));
  EXPECT_THAT(said({.dsn = "x", .keep_journal = std::chrono::hours(0)}),
              HasSubstr("PostgresOptions::keep_journal"));
  EXPECT_TRUE(PostgresOptions{.dsn = "dbname=x"}.Validate().ok());
}

TEST(PostgresOptions, ADsnThatCannotBeReadIsNotRepeated) {
  const auto store = MakePostgresSessionStore({.dsn = "host=a password='s3cret"});
  EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(store.status().ToString(), HasSubstr("libpq's form"));
  EXPECT_THAT(store.status().ToString(), Not(HasSubstr("s3cret")));
}

// A password with a character that a URI must not have as it is: the rest of it would be taken for
// the host or the port, and be named as such.
TEST(PostgresOptions, APasswordThatIsTakenForTheHostIsNotRepeated) {
  for (const char* const dsn :
       {"postgresql://u:pa@s3cret@127.0.0.1/x", "postgresql://u:s3cret/pa@127.0.0.1/x"}) {
    const auto store = MakePostgresSessionStore({.dsn = dsn});
    EXPECT_EQ(store.status().code(), absl::StatusCode::kInvalidArgument) << dsn;
    EXPECT_THAT(store.status().ToString(), Not(HasSubstr("s3cret")));
  }
}

}  // namespace
}  // namespace sipheal
