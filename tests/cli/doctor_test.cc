// SPDX-License-Identifier: Apache-2.0
#include "cli/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace sipheal::inline v0_1::cli {
namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using ::testing::HasSubstr;

InstanceConfig Pbx() {
  InstanceConfig instance;
  instance.name = "pbx1";
  instance.hep_agents = {"11"};
  instance.ari.url = "http://192.0.2.10:8088";
  instance.ari.user = "sipheal";
  instance.ari.password_file = "/etc/sipheal/pbx1.secret";
  return instance;
}

TEST(DoctorRules, TellWhyAriDoesNotAnswerAndWhatToDo) {
  EXPECT_EQ(JudgeAri(Pbx(), absl::OkStatus(), 200, "22.1").level, FindingLevel::kOk);
  const Finding away = JudgeAri(Pbx(), absl::UnavailableError("connection refused"), 0, "");
  EXPECT_EQ(away.level, FindingLevel::kFail);
  EXPECT_THAT(away.seen, HasSubstr("http://192.0.2.10:8088 does not answer: connection refused"));
  EXPECT_THAT(away.fix, HasSubstr("http show status"));
  const Finding password = JudgeAri(Pbx(), absl::OkStatus(), 401, "");
  EXPECT_EQ(password.level, FindingLevel::kFail);
  EXPECT_THAT(password.seen, HasSubstr("refuses user 'sipheal' (401)"));
  EXPECT_THAT(password.fix, HasSubstr("/etc/sipheal/pbx1.secret"));
  EXPECT_THAT(JudgeAri(Pbx(), absl::OkStatus(), 404, "").fix, HasSubstr("prefix"));
  EXPECT_EQ(JudgeAri(Pbx(), absl::OkStatus(), 500, "").level, FindingLevel::kFail);
}

TEST(DoctorRules, TellAReadOnlyUser) {
  EXPECT_EQ(JudgeRights(Pbx(), 404).level, FindingLevel::kOk);
  const Finding finding = JudgeRights(Pbx(), 403);
  EXPECT_EQ(finding.level, FindingLevel::kFail);
  EXPECT_THAT(finding.fix, HasSubstr("read_only = no"));
}

TEST(DoctorRules, TellAnEventSocketThatDoesNotOpen) {
  EXPECT_EQ(JudgeEvents(Pbx(), true).level, FindingLevel::kOk);
  EXPECT_EQ(JudgeEvents(Pbx(), false).level, FindingLevel::kFail);
  EXPECT_THAT(JudgeEvents(Pbx(), false).fix, HasSubstr("res_http_websocket.so"));
}

TEST(DoctorRules, TellAMissingModule) {
  InstanceStatus status;
  status.cannot_because = "res_pjsip_recovery is not loaded";
  const Finding finding = JudgeModule(Pbx(), status);
  EXPECT_EQ(finding.level, FindingLevel::kFail);
  EXPECT_EQ(finding.seen, "res_pjsip_recovery is not loaded");
  EXPECT_THAT(finding.fix, HasSubstr("module load res_pjsip_recovery.so"));
  status.can_recover = true;
  EXPECT_EQ(JudgeModule(Pbx(), status).level, FindingLevel::kOk);
}

TEST(DoctorRules, TellThatNoHepArrives) {
  Config config;
  config.hep.udp = "127.0.0.1:9060";
  EXPECT_EQ(JudgeHep(Pbx(), config, milliseconds(20), true).level, FindingLevel::kOk);
  const Finding never = JudgeHep(Pbx(), config, std::nullopt, true);
  EXPECT_EQ(never.level, FindingLevel::kFail);
  EXPECT_THAT(never.seen, HasSubstr("although it answered an OPTIONS"));
  EXPECT_THAT(never.fix, HasSubstr("port of 127.0.0.1:9060"));
  EXPECT_THAT(never.fix, HasSubstr("one of [11]"));
  EXPECT_EQ(JudgeHep(Pbx(), config, milliseconds(60'000), true).level, FindingLevel::kFail);
  EXPECT_THAT(JudgeHep(Pbx(), config, std::nullopt, false).seen, HasSubstr("answered no OPTIONS"));
}

TEST(DoctorRules, TellWhichWayAClockIsWrong) {
  EXPECT_EQ(JudgeClock(Pbx(), microseconds(-499'000)).level, FindingLevel::kOk);
  EXPECT_THAT(JudgeClock(Pbx(), microseconds(2'000'000)).seen, HasSubstr("2000 ms ahead"));
  EXPECT_THAT(JudgeClock(Pbx(), microseconds(-2'000'000)).seen, HasSubstr("2000 ms behind"));
}

TEST(DoctorRules, NameTheEndpointsThatOneServerLacks) {
  const auto good = JudgeEndpoints({{"a", {"x", "y"}}, {"b", {"x", "y"}}});
  ASSERT_EQ(good.size(), 1U);
  EXPECT_EQ(good[0].level, FindingLevel::kOk);
  const auto bad = JudgeEndpoints({{"a", {"x", "y"}}, {"b", {"x"}}});
  ASSERT_EQ(bad.size(), 1U);
  EXPECT_EQ(bad[0].subject, "b");
  EXPECT_THAT(bad[0].seen, HasSubstr("1 PJSIP endpoints that others have are missing: y"));
}

TEST(DoctorRules, NoteAnOpenHepPort) {
  Config config;
  config.instances = {Pbx(), Pbx()};
  config.hep.udp = "127.0.0.1:9060";
  EXPECT_TRUE(JudgeConfig(config).empty()) << "loopback is not open";
  config.hep.udp = "0.0.0.0:9060";
  ASSERT_EQ(JudgeConfig(config).size(), 2U);
  EXPECT_EQ(JudgeConfig(config)[0].level, FindingLevel::kNote);
  config.hep.auth_key_file = "/etc/key";
  EXPECT_TRUE(JudgeConfig(config).empty());
  config.instances[0].target = config.instances[1].target = false;
  EXPECT_EQ(JudgeConfig(config)[0].level, FindingLevel::kFail);
}

TEST(DoctorConfig, NotesAServerThatTakesAnybody) {
  Config config;
  config.instances = {Pbx(), Pbx()};
  config.hep.udp = "127.0.0.1:9060";
  config.grpc.any_client = true;
  EXPECT_TRUE(JudgeConfig(config).empty()) << "nothing is served";
  config.grpc.listen = "0.0.0.0:7443";
  ASSERT_EQ(JudgeConfig(config).size(), 1U);
  EXPECT_EQ(JudgeConfig(config)[0].level, FindingLevel::kNote);
  EXPECT_NE(JudgeConfig(config)[0].seen.find("0.0.0.0:7443"), std::string::npos);
  config.grpc.any_client = false;
  EXPECT_TRUE(JudgeConfig(config).empty());
}

TEST(DoctorOutput, FailsWhenAFindingFailsAndPrintsTheFixBelow) {
  std::ostringstream out;
  const Console console{.out = out, .err = out};
  EXPECT_EQ(PrintFindings({{FindingLevel::kOk, "store", "store", "fine", ""},
                           {FindingLevel::kNote, "pbx1", "x", "odd", "look"}},
                          console),
            0);
  EXPECT_EQ(out.str(),
            "OK    store  fine\n"
            "NOTE  pbx1   odd\n"
            "             -> look\n");
  EXPECT_EQ(PrintFindings({{FindingLevel::kFail, "pbx1", "ari", "bad", "mend"}}, console), 1);
}

TEST(DoctorOutput, IsJsonForMachines) {
  std::ostringstream out;
  const Console console{.out = out, .err = out, .format = OutputFormat::kJson};
  PrintFindings({{FindingLevel::kFail, "pbx1", "ari", "bad", "mend"}}, console);
  const auto json = nlohmann::json::parse(out.str());
  EXPECT_EQ(json["ok"], false);
  EXPECT_EQ(json["findings"][0]["result"], "fail");
  EXPECT_EQ(json["findings"][0]["fix"], "mend");
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
