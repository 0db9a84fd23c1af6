// SPDX-License-Identifier: Apache-2.0
#include "cli/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandLine : public ::testing::Test {
 protected:
  CommandLine() {
    std::string pattern = std::filesystem::path(::testing::TempDir()) / "sipheal-XXXXXX";
    folder_ = mkdtemp(pattern.data());
    config_ = folder_ + "/sipheal.yaml";
    Write("");
  }
  ~CommandLine() override { std::filesystem::remove_all(folder_); }

  void Write(const std::string& more) {
    std::ofstream(config_) << "instances:\n"
                              "  - name: pbx1\n"
                              "    sip: [127.0.0.1:5060]\n"
                              "    ari: {url: 'http://127.0.0.1:1', user: u, password: hunter2}\n"
                              "hep: {udp: '127.0.0.1:0'}\n"
                              "store: {sqlite: "
                           << folder_
                           << "/s.db}\n"
                              "control: {socket: "
                           << folder_ << "/control.sock}\n"
                           << more;
  }

  int Run(std::vector<std::string> arguments) {
    out_.str("");
    err_.str("");
    return RunCommandLine(std::move(arguments), Console{.out = out_, .err = err_});
  }

  std::string folder_;
  std::string config_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(CommandLine, ShowsHelpAndVersion) {
  EXPECT_EQ(Run({"--help"}), 0);
  for (const char* command : {"run", "status", "sessions", "recover", "doctor", "pause", "resume",
                              "kill-switch", "planned-stop", "version"}) {
    EXPECT_THAT(out_.str(), HasSubstr(command));
  }
  EXPECT_EQ(Run({"run", "--help"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("--print-config"));
  EXPECT_EQ(Run({"version"}), 0);
  EXPECT_THAT(out_.str(), HasSubstr("components: core"));
  EXPECT_EQ(Run({"version", "--format", "json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["components"][0], "core");
}

TEST_F(CommandLine, RefusesWrongArgumentsWithStatusTwo) {
  for (const std::vector<std::string>& arguments :
       std::vector<std::vector<std::string>>{{},
                                             {"nonsense"},
                                             {"run", "--bogus"},
                                             {"recover"},
                                             {"status", "--format", "xml"},
                                             {"sessions", "--limit", "0"},
                                             {"sessions", "--limit", "many"}}) {
    EXPECT_EQ(Run(arguments), 2) << (arguments.empty() ? "" : arguments[0]);
    EXPECT_THAT(err_.str(), HasSubstr("see 'sipheal --help'"));
    EXPECT_EQ(out_.str(), "");
  }
}

TEST_F(CommandLine, PrintsTheEffectiveConfiguration) {
  EXPECT_EQ(Run({"run", "--config", config_, "--print-config", "--dry-run"}), 0) << err_.str();
  EXPECT_THAT(out_.str(), HasSubstr("dry_run: true"));
  EXPECT_THAT(out_.str(), Not(HasSubstr("hunter2")));
  EXPECT_EQ(Run({"--format", "json", "run", "--config", config_, "--print-config"}), 0);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["instances"][0]["name"], "pbx1");
}

TEST_F(CommandLine, EndsWithStatusTwoWhenTheConfigurationIsWrong) {
  Write("detektor: {silence: 1s}\n");
  EXPECT_EQ(Run({"run", "--config", config_}), 2);
  EXPECT_THAT(err_.str(), HasSubstr(config_ + ":8: unknown key 'detektor': did you mean"));
  EXPECT_EQ(Run({"doctor", "--config", config_}), 2);
  EXPECT_EQ(Run({"status", "--config", config_}), 2);
  EXPECT_EQ(Run({"run", "--config", "/nonexistent.yaml"}), 2);
  EXPECT_THAT(err_.str(), HasSubstr("/nonexistent.yaml cannot be read"));
}

TEST_F(CommandLine, EndsWithStatusThreeAndAdviceWhenNoDaemonRuns) {
  EXPECT_EQ(Run({"recover", "pbx1", "--config", config_}), 3);
  EXPECT_THAT(err_.str(), HasSubstr("no sipheal runs at " + folder_ + "/control.sock"));
  EXPECT_THAT(err_.str(), HasSubstr("start it with 'sipheal run --config FILE'"));
  for (const char* command : {"pause", "resume", "reload", "status", "sessions"}) {
    EXPECT_EQ(Run({command, "--config", config_}), 3) << command;
  }
  EXPECT_EQ(Run({"planned-stop", "pbx1", "--for", "5m", "--config", config_}), 3);
  EXPECT_EQ(Run({"planned-stop", "pbx1", "--for", "5", "--config", config_}), 2);
  EXPECT_EQ(Run({"pause", "--config", config_, "--format", "json"}), 3);
  EXPECT_EQ(nlohmann::json::parse(out_.str())["code"], "failed_precondition");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/s.db")) << "a look must not make a store";
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
