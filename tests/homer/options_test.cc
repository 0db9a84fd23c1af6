// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <string>

#include "sipheal/adapters/homer.h"

namespace sipheal {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

HomerOptions Good() { return {.url = "http://127.0.0.1:1", .token = "t0ken"}; }

std::string Said(const HomerOptions& options) {
  const auto made = MakeHomerCapture(options);
  EXPECT_TRUE(made.ok() || absl::IsInvalidArgument(made.status()));
  return std::string(made.status().message());
}

TEST(HomerOptions, TakesAnAddressAndAToken) { EXPECT_EQ(Said(Good()), ""); }

TEST(HomerOptions, NamesTheFieldThatIsWrong) {
  const auto with = [](auto change) {
    HomerOptions options = Good();
    change(options);
    return Said(options);
  };
  EXPECT_THAT(with([](HomerOptions& o) { o.url = "homer:9080"; }), HasSubstr("url"));
  EXPECT_THAT(with([](HomerOptions& o) { o.url = "http://h/api/v3"; }), HasSubstr("leave /api"));
  EXPECT_THAT(with([](HomerOptions& o) { o.url = "http://h/?a=b"; }), HasSubstr("url"));
  EXPECT_THAT(with([](HomerOptions& o) { o.token = ""; }), HasSubstr("either token or user"));
  EXPECT_THAT(with([](HomerOptions& o) { o.user = "u", o.password = "p"; }),
              HasSubstr("either token or user"));
  EXPECT_THAT(with([](HomerOptions& o) { o.token = "", o.user = "u"; }),
              HasSubstr("either token or user"));
  EXPECT_THAT(with([](HomerOptions& o) { o.token_file = "/x"; }), HasSubstr("more than one"));
  EXPECT_THAT(with([](HomerOptions& o) { o.token_header = "a: b"; }), HasSubstr("token_header"));
  EXPECT_THAT(with([](HomerOptions& o) { o.profiles = {}; }), HasSubstr("profiles"));
  EXPECT_THAT(with([](HomerOptions& o) { o.profiles = {"1_call\"x"}; }), HasSubstr("profiles"));
  EXPECT_THAT(with([](HomerOptions& o) { o.batch = 201; }), HasSubstr("batch is 201"));
  EXPECT_THAT(with([](HomerOptions& o) { o.connections = 0; }), HasSubstr("connections"));
  EXPECT_THAT(with([](HomerOptions& o) { o.read.lookback = std::chrono::hours(0); }),
              HasSubstr("lookback"));
  EXPECT_THAT(with([](HomerOptions& o) { o.read.instances = {{"a", {}}}; }), HasSubstr("agents"));
  EXPECT_THAT(with([](HomerOptions& o) {
                o.read.instances = {{"a", {"1"}}, {"a", {"2"}}};
              }),
              HasSubstr("instances"));
}

TEST(HomerOptions, NoSecretIsEverRepeated) {
  HomerOptions options = Good();
  options.token = "s3cret\r\nX: y";
  EXPECT_THAT(Said(options), AllOf(HasSubstr("token"), Not(HasSubstr("s3cret"))));
  options.url = "http://u:s3cret@h";
  EXPECT_THAT(Said(options), AllOf(HasSubstr("url"), Not(HasSubstr("s3cret"))));
}

TEST(HomerOptions, ReadsSecretsFromFileOrEnvironment) {
  const std::string file = ::testing::TempDir() + "/homer_token";
  std::ofstream(file) << "from-file\n";
  HomerOptions options = Good();
  options.token = "";
  options.token_file = file;
  EXPECT_EQ(Said(options), "");
  options.token_file = file + ".absent";
  EXPECT_THAT(Said(options), HasSubstr("cannot be read"));
  std::ofstream(file, std::ios::trunc) << "\n";
  options.token_file = file;
  EXPECT_THAT(Said(options), HasSubstr("is empty"));
  options.token_file = "";
  options.token_environment = "SIPHEAL_TEST_HOMER_TOKEN";
  unsetenv("SIPHEAL_TEST_HOMER_TOKEN");
  EXPECT_THAT(Said(options), HasSubstr("SIPHEAL_TEST_HOMER_TOKEN"));
  setenv("SIPHEAL_TEST_HOMER_TOKEN", "from-environment", 1);
  EXPECT_EQ(Said(options), "");
}

}  // namespace
}  // namespace sipheal
