// SPDX-License-Identifier: Apache-2.0
#include "cli/joined_detector.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "sipheal/testing/fake_crash_detector.h"

namespace sipheal::cli {
namespace {

class Words final : public CrashListener {
 public:
  void OnCrash(const CrashEvent& event) override { Add("crash " + event.incarnation.instance); }
  void OnReturned(const ReturnEvent& event) override {
    Add("returned " + event.incarnation.instance);
  }
  std::vector<std::string> Take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(words_, {});
  }

 private:
  void Add(std::string word) {
    const std::lock_guard lock(mutex_);
    words_.push_back(std::move(word));
  }
  std::mutex mutex_;
  std::vector<std::string> words_;
};

class JoinedDetectorTest : public ::testing::Test {
 protected:
  using List = std::vector<std::string>;

  void SetUp() override {
    first_->AddInstance({"a", "1"});
    first_->AddInstance({"b", "1"});
    second_->AddInstance({"a", "1"});
    ASSERT_TRUE(joined_->Start(words_).ok());
  }
  List News() {
    first_->Drain();
    second_->Drain();
    return words_->Take();
  }

  const std::shared_ptr<testing::FakeCrashDetector> first_ =
      std::make_shared<testing::FakeCrashDetector>();
  const std::shared_ptr<testing::FakeCrashDetector> second_ =
      std::make_shared<testing::FakeCrashDetector>();
  const std::shared_ptr<Words> words_ = std::make_shared<Words>();
  const std::shared_ptr<CrashDetector> joined_ = JoinDetectors(first_, second_);
};

TEST_F(JoinedDetectorTest, WhatEitherReportsCountsOnce) {
  second_->Kill("a");
  EXPECT_EQ(News(), List{"crash a"});
  first_->Kill("a");
  EXPECT_EQ(News(), List{});
  first_->Kill("b");
  EXPECT_EQ(News(), List{"crash b"});
}

TEST_F(JoinedDetectorTest, OnlyTheSideThatDeclaredItDeadTakesThatBack) {
  CrashEvent silent;
  silent.incarnation = {"a", "1"};
  silent.kind = CrashKind::kSilent;
  second_->Report(silent);
  EXPECT_EQ(News(), List{"crash a"});
  first_->ReportReturned({silent.incarnation, {}});
  EXPECT_EQ(News(), List{});
  second_->ReportReturned({silent.incarnation, {}});
  EXPECT_EQ(News(), List{"returned a"});
  // It lives: its next death is news again.
  first_->Report(silent);
  EXPECT_EQ(News(), List{"crash a"});
}

TEST_F(JoinedDetectorTest, AnInstanceThatOneOfThemKnowsIsKnown) {
  EXPECT_TRUE(joined_->Expect({"b", "1"}).ok());
  EXPECT_TRUE(joined_->AnnounceStop({"b", {}}).ok());
  EXPECT_TRUE(absl::IsNotFound(joined_->Expect({"c", "1"})));
  EXPECT_TRUE(absl::IsNotFound(joined_->AnnounceStop({"c", {}})));
}

TEST_F(JoinedDetectorTest, AfterStopNothingIsSaidAndItStartsAgain) {
  EXPECT_TRUE(absl::IsFailedPrecondition(joined_->Start(words_)));
  joined_->Stop();
  joined_->Stop();
  second_->Kill("a");
  EXPECT_EQ(News(), List{});
  EXPECT_EQ(words_.use_count(), 1);
  ASSERT_TRUE(joined_->Start(words_).ok());
  EXPECT_EQ(News(), List{"crash a"});
  joined_->Stop();
}

}  // namespace
}  // namespace sipheal::cli
