// SPDX-License-Identifier: Apache-2.0
#include "cli/config_printer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "cli/config_reader.h"
#include "tests/support/source_dir.h"

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Config Example() {
  Config config;
  InstanceConfig instance;
  instance.name = "pbx1";
  instance.sip = {"192.0.2.10:5060/udp", "[2001:db8::10]:5060"};
  instance.hep_agents = {"11"};
  instance.ari.url = "http://192.0.2.10:8088";
  instance.ari.user = "sipheal";
  instance.ari.password = "hunter2";
  config.instances.push_back(instance);
  config.hep.udp = "127.0.0.1:9060";
  config.hep.auth_key = "hunter3";
  config.hep.forward = "192.0.2.20:9060";
  config.store.sqlite = "/var/lib/sipheal/s.db";
  return config;
}

std::string FileText(const std::string& path) {
  std::ifstream file(SourceDir() + "/" + path);
  EXPECT_TRUE(file.good()) << path;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(ConfigPrinter, PrintsTheEffectiveConfigurationWithSecretsMasked) {
  EXPECT_EQ(ConfigToYaml(Example()), FileText("tests/cli/effective_config.golden.yaml"));
  EXPECT_THAT(ConfigToJson(Example()), Not(HasSubstr("hunter")));
}

TEST(ConfigPrinter, PrintsWhatCanBeReadAgain) {
  const absl::StatusOr<ConfigNode> root = ParseYaml(ConfigToYaml(Example()), "printed.yaml");
  ASSERT_TRUE(root.ok()) << root.status();
  const absl::StatusOr<LoadedConfig> loaded = ReadConfig(*root, "printed.yaml");
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(ConfigToYaml(loaded->config), ConfigToYaml(Example()));
}

TEST(ConfigPrinter, PrintsTheSameAsJson) {
  const nlohmann::json json = nlohmann::json::parse(ConfigToJson(Example()));
  EXPECT_EQ(json["instances"][0]["ari"]["password"], "********");
  EXPECT_EQ(json["detector"]["silence"], "900ms");
  EXPECT_EQ(json["recovery"]["max_attempts"], 5);
}

TEST(ConfigKeys, AreAllDocumented) {
  const std::string page = FileText("docs/config.md");
  for (const std::string& key : ConfigKeys()) {
    EXPECT_THAT(page, HasSubstr("`" + key + "`")) << "docs/config.md lacks this key";
  }
}

TEST(ExampleConfig, IsReadWithoutErrors) {
  const std::string file = SourceDir() + "/packaging/sipheal.example.yaml";
  const absl::StatusOr<LoadedConfig> loaded = LoadConfig(file, {});
  EXPECT_TRUE(loaded.ok()) << loaded.status();
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
