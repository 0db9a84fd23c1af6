// SPDX-License-Identifier: Apache-2.0
#include "cli/adapter_setup.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

#if SIPHEAL_CLI_HAS_HEP
TEST(HepSetup, SendsOnWhatItReceivesOnlyWhenTold) {
  Config config;
  EXPECT_FALSE(ToHepOptions(config).forward.has_value());
  config.hep.forward = "192.0.2.20:9060";
  ASSERT_TRUE(ToHepOptions(config).forward.has_value());
  EXPECT_EQ(ToHepOptions(config).forward->ToString(), "192.0.2.20:9060");
}
#endif

#if SIPHEAL_CLI_HAS_HOMER
// A call that was recovered was captured by the agents of several instances in turn.
TEST(HomerSetup, TakesOnlyWhatTheInstancesOwnAgentsCaptured) {
  Config config;
  config.instances.resize(2);
  config.instances[0].name = "pbx1";
  config.instances[0].hep_agents = {"pbx1", "11"};
  config.instances[1].name = "pbx2";
  for (const HomerReadOptions& read :
       {ToHomerOptions(config).read, ToHomerSqlOptions(config).read}) {
    ASSERT_THAT(read.instances, SizeIs(2));
    EXPECT_EQ(read.instances[0].instance, "pbx1");
    EXPECT_THAT(read.instances[0].agents, ElementsAre("pbx1", "11", "pbx2"));
    EXPECT_EQ(read.instances[1].instance, "pbx2");
    EXPECT_THAT(read.instances[1].agents, ElementsAre("pbx1", "11", "pbx2"));
    EXPECT_TRUE(read.Validate().ok()) << read.Validate();
  }
}
#endif

}  // namespace
}  // namespace sipheal::inline v0_1::cli
