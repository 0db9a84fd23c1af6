// SPDX-License-Identifier: Apache-2.0
#include "sipheal/kill_switch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace sipheal {
namespace {

using ::testing::HasSubstr;

class FileKillSwitch : public ::testing::Test {
 protected:
  FileKillSwitch() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sipheal-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~FileKillSwitch() override { std::filesystem::remove_all(folder_); }

  std::string folder_;
};

TEST_F(FileKillSwitch, IsThrownWhileThereIsItsFile) {
  const auto one = MakeFileKillSwitch(folder_ + "/stop");
  const auto other = MakeFileKillSwitch(folder_ + "/stop");
  EXPECT_TRUE(one->Check({}).ok());
  ASSERT_TRUE(one->Throw({}, "wrong numbers are called").ok());
  EXPECT_EQ(other->Check({}).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(other->Check({}).ToString(), HasSubstr("wrong numbers are called"));
  ASSERT_TRUE(one->Throw({}, "again").ok());
  ASSERT_TRUE(other->Clear({}).ok());
  ASSERT_TRUE(other->Clear({}).ok());
  EXPECT_TRUE(one->Check({}).ok());
}

TEST_F(FileKillSwitch, IsThrownByAnyFileOfItsName) {
  const auto one = MakeFileKillSwitch(folder_ + "/stop");
  std::ofstream(folder_ + "/stop").flush();
  EXPECT_EQ(one->Check({}).code(), absl::StatusCode::kFailedPrecondition);
  std::filesystem::remove(folder_ + "/stop");
  std::filesystem::create_directory(folder_ + "/stop");
  EXPECT_EQ(one->Check({}).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(FileKillSwitch, SaysThatItCannotBeThrownOrRead) {
  const auto nowhere = MakeFileKillSwitch(folder_ + "/none/stop");
  EXPECT_TRUE(nowhere->Check({}).ok());
  EXPECT_EQ(nowhere->Throw({}, "x").code(), absl::StatusCode::kUnavailable);
  const auto unreadable = MakeFileKillSwitch(folder_ + "/" + std::string(5000, 'x'));
  EXPECT_EQ(unreadable->Check({}).code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace sipheal
