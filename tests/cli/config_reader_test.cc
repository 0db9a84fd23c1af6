// SPDX-License-Identifier: Apache-2.0
#include "cli/config_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_format.h"
#include "cli/config_printer.h"

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr char kGood[] =
    "instances:\n"                         // 1
    "  - name: pbx1\n"                     // 2
    "    sip: [192.0.2.10:5060/udp]\n"     // 3
    "    hep_agents: [11]\n"               // 4
    "    ari:\n"                           // 5
    "      url: http://192.0.2.10:8088\n"  // 6
    "      user: sipheal\n"                // 7
    "      password_file: /etc/secret\n"   // 8
    "hep:\n"                               // 9
    "  udp: 127.0.0.1:9060\n"              // 10
    "store:\n"                             // 11
    "  sqlite: /var/lib/sipheal/s.db\n";   // 12

absl::StatusOr<LoadedConfig> Read(const std::string& text,
                                  const std::map<std::string, std::string>& environment = {}) {
  absl::StatusOr<ConfigNode> root = ParseYaml(text, "s.yaml");
  if (!root.ok()) return root.status();
  const absl::Status applied = ApplyEnvironment(environment, *root);
  if (!applied.ok()) return applied;
  return ReadConfig(*root, "s.yaml");
}

std::string ErrorOf(const std::string& text,
                    const std::map<std::string, std::string>& environment = {}) {
  const absl::StatusOr<LoadedConfig> loaded = Read(text, environment);
  return loaded.ok() ? "(no error)" : std::string(loaded.status().message());
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  EXPECT_NE(at, std::string::npos) << from;
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

TEST(ConfigReader, ReadsTheSmallestConfigurationAndKeepsDefaultsForTheRest) {
  const absl::StatusOr<LoadedConfig> loaded = Read(kGood);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const Config& config = loaded->config;
  ASSERT_EQ(config.instances.size(), 1U);
  EXPECT_EQ(config.instances[0].name, "pbx1");
  EXPECT_THAT(config.instances[0].sip, ElementsAre("192.0.2.10:5060/udp"));
  EXPECT_THAT(config.instances[0].hep_agents, ElementsAre("11"));
  EXPECT_TRUE(config.instances[0].target);
  EXPECT_EQ(config.detector.silence, milliseconds(900));
  EXPECT_EQ(config.recovery.max_attempts, 5);
  EXPECT_TRUE(config.targets.only_seen_hosts);
}

TEST(ConfigReader, ReadsEveryKindOfValue) {
  const absl::StatusOr<LoadedConfig> loaded =
      Read(std::string(kGood) +
           "detector: {silence: 1.2s, probe_interval: 40ms}\n"
           "recovery:\n"
           "  deadline: 2m\n"
           "  dry_run: yes\n"
           "  max_attempts: 7\n"
           "pacing: {rate: 750.5}\n"
           "targets:\n"
           "  allow:\n"
           "    - 127.0.0.0/8\n"
           "    - fd00::/8\n"
           "fence:\n"
           "  command: [/bin/fence, --now]\n"
           "log: {level: debug, format: json}\n");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.detector.silence, milliseconds(1200));
  EXPECT_EQ(loaded->config.recovery.deadline, milliseconds(120'000));
  EXPECT_TRUE(loaded->config.recovery.dry_run);
  EXPECT_EQ(loaded->config.recovery.max_attempts, 7);
  EXPECT_EQ(loaded->config.pacing.rate, 750.5);
  EXPECT_THAT(loaded->config.targets.allow, ElementsAre("127.0.0.0/8", "fd00::/8"));
  EXPECT_THAT(loaded->config.fence.command, ElementsAre("/bin/fence", "--now"));
  EXPECT_EQ(loaded->config.log.level, "debug");
}

struct BadCase {
  const char* name;
  const char* from;  // replaced in kGood; empty: `to` is added at the end
  const char* to;
  const char* error;  // the whole text
};

class BadConfig : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadConfig, NamesFileLineKeyAndWhatToDo) {
  const BadCase& bad = GetParam();
  const std::string text =
      *bad.from == '\0' ? std::string(kGood) + bad.to : Replaced(kGood, bad.from, bad.to);
  EXPECT_EQ(ErrorOf(text), bad.error) << text;
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadConfig,
    ::testing::Values(
        BadCase{"UnknownKeyWithHint", "", "detector: {silense: 1s}\n",
                "s.yaml:13: unknown key 'detector.silense': did you mean 'silence'?"},
        BadCase{"UnknownSection", "", "detektor:\n  silence: 1s\n",
                "s.yaml:13: unknown key 'detektor': did you mean 'detector'?"},
        BadCase{"UnknownKeyWithoutHint", "", "log: {zzzzzzzz: 1}\n",
                "s.yaml:13: unknown key 'log.zzzzzzzz': known here are level, format"},
        BadCase{"UnknownKeyInItem", "hep_agents", "hep_agent",
                "s.yaml:4: unknown key 'instances[0].hep_agent': did you mean 'hep_agents'?"},
        BadCase{"DurationWithoutUnit", "", "detector: {silence: 900}\n",
                "s.yaml:13: detector.silence is '900', which is no duration: write a number and a "
                "unit, as 800ms, 5s, 2m or 1h"},
        BadCase{"DurationOutOfRange", "", "detector: {silence: 50ms}\n",
                "s.yaml:13: detector.silence is 50ms: set it from 200ms to 60s"},
        BadCase{"ProbeTooSlowForSilence", "",
                "detector:\n  silence: 300ms\n  probe_interval: 200ms\n",
                "s.yaml:15: detector.probe_interval is 200ms, more than a third of "
                "detector.silence (300ms): a live instance could not answer three times in that "
                "silence; make it shorter"},
        BadCase{"KillSwitchThatIsNoPath", "", "recovery: {kill_switch: here}\n",
                "s.yaml:13: recovery.kill_switch 'here' is no absolute path: begin it with '/'"},
        BadCase{"QuorumWithoutADatabaseToShare", "", "detector: {quorum: 2}\n",
                "s.yaml:13: detector.quorum is 2, but only controllers that share a store.postgres "
                "hear each other: set store.postgres, or quorum to 1"},
        BadCase{"NoNumber", "", "recovery: {max_attempts: many}\n",
                "s.yaml:13: recovery.max_attempts is 'many': set a whole number from 1 to 100"},
        BadCase{"NumberWithRest", "", "recovery: {max_attempts: 5x}\n",
                "s.yaml:13: recovery.max_attempts is '5x': set a whole number from 1 to 100"},
        BadCase{"NotANumber", "", "pacing: {rate: nan}\n",
                "s.yaml:13: pacing.rate is 'nan': set a number from 0.1 to 100000"},
        BadCase{"MinRateAboveRate", "", "pacing: {rate: 20, min_rate: 30}\n",
                "s.yaml:13: pacing.min_rate is 30, above pacing.rate (20): make it smaller"},
        BadCase{"NoFlag", "", "recovery: {dry_run: maybe}\n",
                "s.yaml:13: recovery.dry_run is 'maybe': write true or false"},
        BadCase{"NoChoice", "", "log: {format: xml}\n",
                "s.yaml:13: log.format is 'xml': choose one of text, json"},
        BadCase{"EmptyValue", "", "log:\n  level:\n",
                "s.yaml:14: log.level has no value: write one, or leave the key out"},
        BadCase{"SectionIsText", "", "log: text\n",
                "s.yaml:13: log is no section: write its keys below it, indented"},
        BadCase{"TextIsSection", "udp: 127.0.0.1:9060", "udp: {port: 9060}",
                "s.yaml:10: hep.udp is a list or a section: write one value"},
        BadCase{"ListIsSection", "[192.0.2.10:5060/udp]", "{a: b}",
                "s.yaml:3: instances[0].sip is a section, not a list: write [first, second]"},
        BadCase{"WrongSipAddress", "192.0.2.10:5060/udp", "pbx1.example.org",
                "s.yaml:3: instances[0].sip 'pbx1.example.org' is no SIP address: write "
                "address[:port][/transport], for example 192.0.2.10:5060/udp"},
        BadCase{"WrongTransport", "192.0.2.10:5060/udp", "192.0.2.10:5060/sctp",
                "s.yaml:3: instances[0].sip '192.0.2.10:5060/sctp' is no SIP address: write "
                "address[:port][/transport], for example 192.0.2.10:5060/udp"},
        BadCase{"NoSip", "[192.0.2.10:5060/udp]", "[]",
                "s.yaml:3: instances[0].sip is empty: name at least one"},
        BadCase{"MissingSip", "    sip: [192.0.2.10:5060/udp]\n", "",
                "s.yaml:2: instances[0].sip is missing: add it"},
        BadCase{"ListenWithoutPort", "127.0.0.1:9060", "127.0.0.1",
                "s.yaml:10: hep.udp '127.0.0.1' is no address with a port: write 0.0.0.0:9060, "
                "127.0.0.1:9060 or [::]:9060"},
        BadCase{"NoHepAddress", "  udp: 127.0.0.1:9060\n", "  auth_key: k\n",
                "s.yaml:9: hep names no address: set hep.udp or hep.tcp to where the media servers "
                "send HEP, for example 127.0.0.1:9060"},
        BadCase{"ForwardToAName", "udp: 127.0.0.1:9060", "udp: 127.0.0.1:9060\n  forward: homer:0",
                "s.yaml:11: hep.forward 'homer:0' is no address to send to: write 192.0.2.20:9060 "
                "or [2001:db8::20]:9060"},
        BadCase{"ForwardToPortZero", "udp: 127.0.0.1:9060",
                "udp: 127.0.0.1:9060\n  forward: 192.0.2.20:0",
                "s.yaml:11: hep.forward '192.0.2.20:0' is no address to send to: write "
                "192.0.2.20:9060 or [2001:db8::20]:9060"},
        BadCase{"WrongUrl", "http://192.0.2.10:8088", "192.0.2.10:8088",
                "s.yaml:6: instances[0].ari.url '192.0.2.10:8088' is no URL of an HTTP server: "
                "write http://127.0.0.1:8088 or https://..."},
        BadCase{"UrlPort", "http://192.0.2.10:8088", "http://192.0.2.10:80888",
                "s.yaml:6: instances[0].ari.url 'http://192.0.2.10:80888' has no valid host and "
                "port: write http://host:8088"},
        BadCase{"MissingSecret", "      password_file: /etc/secret\n", "",
                "s.yaml:5: instances[0].ari.password_file is missing: write the password of ARI "
                "user 'sipheal' into a file that only sipheal may read, and name it here"},
        BadCase{"SecretTwice", "password_file: /etc/secret", "password_file: /x\n      password: y",
                "s.yaml:9: instances[0].ari.password is given beside password_file: keep one of "
                "them"},
        BadCase{"MissingStore", "store:\n  sqlite: /var/lib/sipheal/s.db\n", "",
                "s.yaml: store names no database: set store.sqlite to the path of a file, or "
                "store.postgres to a server that several controllers share"},
        BadCase{"TwoStores", "store:\n", "store:\n  postgres: dbname=x\n",
                "s.yaml:12: store.postgres is given beside sqlite: keep one of them"},
        BadCase{"SchemaThatIsEmpty", "store:\n", "store:\n  schema: ''\n",
                "s.yaml:12: store.schema '' is no schema name: use 1 to 63 of a-z, 0-9 and "
                "'_', not beginning with a digit"},
        BadCase{"WrongSchema", "store:\n", "store:\n  schema: 1st\n",
                "s.yaml:12: store.schema '1st' is no schema name: use 1 to 63 of a-z, 0-9 and "
                "'_', not beginning with a digit"},
        BadCase{"WrongNetwork", "", "targets: {allow: [10.0.0.0/33]}\n",
                "s.yaml:13: targets.allow '10.0.0.0/33' is no network: write for example "
                "10.0.0.0/8, 192.0.2.7 or fd00::/8"},
        BadCase{"FenceWithoutPath", "", "fence: {command: [kill-it]}\n",
                "s.yaml:13: fence.command begins with 'kill-it': give the program with its whole "
                "path; no shell looks for it"},
        BadCase{"RelativeSocket", "", "control: {socket: sipheal.sock}\n",
                "s.yaml:13: control.socket 'sipheal.sock' is no absolute path: begin it with '/'"},
        BadCase{"HomerTwice", "", "homer:\n  url: http://h:9080\n  token: t\n  postgres: host=h\n",
                "s.yaml:16: homer.postgres is given beside url: keep one of them"},
        BadCase{"HomerWithoutCredentials", "", "homer:\n  url: http://h:9080\n",
                "s.yaml:14: homer.url has no credentials: set homer.token_file, or homer.user and "
                "homer.password_file"},
        BadCase{"CaptureTooShortForHomer", "",
                "homer: {postgres: host=h, ingest_delay: 3s}\ncapture: {timeout: 3.9s}\n",
                "s.yaml:14: capture.timeout is 3900ms, shorter than homer.ingest_delay (3s) and a "
                "second: HOMER could not be waited for; set it to 4s or more, or leave it out"},
        BadCase{"PluginTimeoutTooShortForTheCapture", "",
                "homer: {postgres: host=h}\nrecovery: {plugin_timeout: 6900ms}\n",
                "s.yaml:14: recovery.plugin_timeout is 6900ms, shorter than capture.timeout (6s) "
                "and a second: what was captured could not be waited for; set it to 7s or more, or "
                "leave it out"},
        BadCase{"KeyTwice", "", "hep:\n  tcp: 127.0.0.1:9061\n",
                "s.yaml:13: 'hep' is there twice: keep one of them"},
        BadCase{"WrongName", "name: pbx1", "name: pbx 1",
                "s.yaml:2: instances[0].name 'pbx 1' is no name: use letters, digits, '-', '_' and "
                "'.'"},
        BadCase{"InstancesNoList", "", "instancs: []\n",
                "s.yaml:13: unknown key 'instancs': did you mean 'instances'?"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(ConfigReader, SaysWhereTheYamlIsBroken) {
  const std::string error = ErrorOf("instances:\n  - name: [a\n");
  EXPECT_THAT(error, HasSubstr("s.yaml:"));
  EXPECT_THAT(error, HasSubstr("this is not YAML"));
}

TEST(ConfigReader, AsksForInstancesWhenTheFileIsEmpty) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("store names no database"));
  EXPECT_THAT(ErrorOf("store: {sqlite: /x}\n"),
              HasSubstr("s.yaml: instances is empty: list at least one media server"));
  EXPECT_THAT(ErrorOf("- a\n"), HasSubstr("not a map of sections"));
}

TEST(ConfigReader, ReportsAllErrorsAtOnce) {
  const std::string error =
      ErrorOf(std::string(kGood) + "log: {level: loud, format: xml}\nbogus: 1\n");
  EXPECT_THAT(error, HasSubstr("log.level is 'loud'"));
  EXPECT_THAT(error, HasSubstr("log.format is 'xml'"));
  EXPECT_THAT(error, HasSubstr("unknown key 'bogus'"));
}

TEST(ConfigReader, RefusesTwoInstancesWithOneNameOrOneAgent) {
  const std::string second =
      "  - name: pbx1\n    sip: [192.0.2.11]\n    hep_agents: [11]\n"
      "    ari: {url: 'http://192.0.2.11:8088', user: u, password: p}\n";
  const std::string error = ErrorOf(Replaced(kGood, "hep:\n", second + "hep:\n"));
  EXPECT_THAT(error, HasSubstr("s.yaml:9: instances[1].name 'pbx1' is also that of "
                               "instances[0].name: give each instance its own name"));
  EXPECT_THAT(error, HasSubstr("s.yaml:11: instances[1].hep_agents '11' is also that of "
                               "instances[0].hep_agents"));
}

TEST(ConfigReader, LetsTheEnvironmentOverrideTheFile) {
  const absl::StatusOr<LoadedConfig> loaded =
      Read(kGood, {{"SIPHEAL_HEP__UDP", "0.0.0.0:9999"},
                   {"SIPHEAL_INSTANCES__0__NAME", "other"},
                   {"SIPHEAL_DETECTOR__SILENCE", "2s"},
                   {"SIPHEAL_TARGETS__ALLOW", "127.0.0.0/8, 10.0.0.0/8"},
                   {"SIPHEAL_TEST_DATA", "not ours"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.hep.udp, "0.0.0.0:9999");
  EXPECT_EQ(loaded->config.instances[0].name, "other");
  EXPECT_EQ(loaded->config.detector.silence, milliseconds(2000));
  EXPECT_THAT(loaded->config.targets.allow, ElementsAre("127.0.0.0/8", "10.0.0.0/8"));
}

void ExpectTimeouts(const std::string& sections, milliseconds capture, milliseconds plugin) {
  const absl::StatusOr<LoadedConfig> loaded = Read(kGood + sections);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.capture.timeout, capture) << sections;
  EXPECT_EQ(loaded->config.recovery.plugin_timeout, plugin) << sections;
}

TEST(ConfigReader, MakesTheDefaultTimeoutsLongEnoughToWaitForHomer) {
  ExpectTimeouts("", milliseconds(4'000), milliseconds(5'000));
  ExpectTimeouts("homer: {postgres: host=h}\n", milliseconds(6'000), milliseconds(7'000));
  ExpectTimeouts("homer: {postgres: host=h, ingest_delay: 0ms}\n", milliseconds(4'000),
                 milliseconds(5'000));
  ExpectTimeouts("homer: {postgres: host=h, ingest_delay: 2m}\n", milliseconds(60'000),
                 milliseconds(61'000));
  ExpectTimeouts("homer: {postgres: host=h}\ncapture: {timeout: 9s}\n", milliseconds(9'000),
                 milliseconds(10'000));
  ExpectTimeouts("homer: {postgres: host=h}\nrecovery: {plugin_timeout: 8s}\n", milliseconds(6'000),
                 milliseconds(8'000));
}

TEST(ConfigReader, LeavesWrittenTimeoutsAloneWithoutHomer) {
  ExpectTimeouts("capture: {timeout: 1s}\nrecovery: {plugin_timeout: 500ms}\n", milliseconds(1'000),
                 milliseconds(500));
}

TEST(ConfigReader, NamesTheEnvironmentVariableThatIsWrong) {
  EXPECT_EQ(ErrorOf(kGood, {{"SIPHEAL_HEP__UPD", "0.0.0.0:9999"}}),
            "environment variable SIPHEAL_HEP__UPD: unknown key 'hep.upd': did you mean 'udp'?");
  EXPECT_EQ(ErrorOf(kGood, {{"SIPHEAL_DETECTOR__SILENCE", "long"}}),
            "environment variable SIPHEAL_DETECTOR__SILENCE: detector.silence is 'long', which is "
            "no duration: write a number and a unit, as 800ms, 5s, 2m or 1h");
  EXPECT_EQ(ErrorOf(kGood, {{"SIPHEAL_INSTANCES__4__NAME", "x"}}),
            "environment variable SIPHEAL_INSTANCES__4__NAME: '4' is no item of a list of 1: count "
            "from 0");
}

TEST(ConfigReader, NeverShowsASecretInAnError) {
  const std::string error =
      ErrorOf(Replaced(kGood, "password_file: /etc/secret", "password: \"hunter2\\nx\""));
  EXPECT_THAT(error, HasSubstr("instances[0].ari.password has a line break"));
  EXPECT_THAT(error, Not(HasSubstr("hunter2")));
}

TEST(ConfigReader, SaysWhyAFileCannotBeRead) {
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig("/nonexistent/sipheal.yaml", {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(std::string(loaded.status().message()),
              HasSubstr("the configuration /nonexistent/sipheal.yaml cannot be read: No such file "
                        "or directory: check the path"));
}

TEST(ConfigReader, SaysWhichSecretFileIsMissingOrEmpty) {
  absl::StatusOr<LoadedConfig> loaded = Read(Replaced(kGood, "/etc/secret", "/nonexistent/secret"));
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(CheckSecretFiles(*loaded).message(),
            "s.yaml:8: instances[0].ari.password_file: the file /nonexistent/secret cannot be "
            "read: No such file or directory: create it with the secret in it, readable by the "
            "user that runs sipheal");

  const std::string file = std::filesystem::path(::testing::TempDir()) /
                           absl::StrFormat("sipheal_empty_secret_%d", getpid());
  std::ofstream(file).put('\n');
  loaded = Read(Replaced(kGood, "/etc/secret", file));
  EXPECT_THAT(std::string(CheckSecretFiles(*loaded).message()),
              HasSubstr("is empty: write the secret into it"));
  std::ofstream(file) << "pass word\n";
  EXPECT_TRUE(CheckSecretFiles(*loaded).ok());
  EXPECT_EQ(*ReadSecretFile(file, "x"), "pass word");
  std::filesystem::remove(file);
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
