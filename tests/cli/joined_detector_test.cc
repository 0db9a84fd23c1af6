// SPDX-License-Identifier: Apache-2.0
// One detector that listens and one that is told, as one.
#include "cli/joined_detector.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <future>
#include <set>
#include <thread>
#include <utility>
#include <vector>

namespace sipheal::inline v0_1::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const Incarnation kLife{"pbx1", "life1"};

// Says what the test says, on the test's thread.
class Puppet final : public CrashDetector {
 public:
  absl::Status Start(std::shared_ptr<CrashListener> listener) override {
    listener_ = std::move(listener);
    return start_status;
  }
  void Stop() override {
    ++stops;
    if (on_stop) on_stop();
    listener_ = nullptr;
  }
  absl::Status Expect(const Incarnation& incarnation) override {
    if (!known.contains(incarnation.instance)) return absl::NotFoundError("no such instance");
    expected.push_back(incarnation);
    return absl::OkStatus();
  }
  absl::Status AnnounceStop(const AnnounceStopParams& params) override {
    return known.contains(params.instance) ? absl::OkStatus() : absl::NotFoundError("none such");
  }

  void Dead(CrashKind kind, const std::string& evidence = "it says so") {
    CrashEvent event;
    event.incarnation = kLife;
    event.kind = kind;
    event.evidence = {evidence};
    const std::shared_ptr<CrashListener> listener = listener_;
    listener->OnCrash(event);
  }
  void Back() {
    const std::shared_ptr<CrashListener> listener = listener_;
    listener->OnReturned({kLife, {}});
  }

  absl::Status start_status;
  std::set<std::string> known{"pbx1"};
  std::vector<Incarnation> expected;
  std::function<void()> on_stop;
  int stops = 0;

 private:
  std::shared_ptr<CrashListener> listener_;
};

class Listener final : public CrashListener {
 public:
  void OnCrash(const CrashEvent& event) override {
    last = event;
    heard.emplace_back(ToString(event.kind));
    if (on_crash) on_crash();
  }
  void OnReturned(const ReturnEvent& /*event*/) override { heard.emplace_back("returned"); }

  std::vector<std::string> heard;
  CrashEvent last;
  std::function<void()> on_crash;
};

class JoinedDetectorTest : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(joined_->Start(listener_).ok()); }

  const std::shared_ptr<Puppet> own_ = std::make_shared<Puppet>();
  const std::shared_ptr<Puppet> reports_ = std::make_shared<Puppet>();
  const std::shared_ptr<Listener> listener_ = std::make_shared<Listener>();
  const std::shared_ptr<CrashDetector> joined_ = JoinDetectors(own_, reports_);
};

TEST_F(JoinedDetectorTest, ADeathThatBothSayIsToldOnce) {
  own_->Dead(CrashKind::kProcessGone);
  reports_->Dead(CrashKind::kProcessGone);
  EXPECT_THAT(listener_->heard, ElementsAre("process_gone"));
}

TEST_F(JoinedDetectorTest, AReportOfSilenceMovesNothingFromAServerThatIsHeard) {
  reports_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, IsEmpty());
  EXPECT_THAT(own_->expected, ElementsAre(kLife)) << "it is asked to look at it";
  reports_->Back();
  own_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, ElementsAre("silent"));
  EXPECT_THAT(listener_->last.evidence, ElementsAre("it says so")) << "the report was taken back";
}

TEST_F(JoinedDetectorTest, SilenceThatBothSidesSeeIsTold) {
  reports_->Dead(CrashKind::kSilent, "the agent hears nothing");
  own_->Dead(CrashKind::kSilent, "nor do we");
  EXPECT_THAT(listener_->heard, ElementsAre("silent"));
  EXPECT_THAT(listener_->last.evidence, ElementsAre("nor do we", "the agent hears nothing"));
}

TEST_F(JoinedDetectorTest, ReportedSilenceCountsWhereTheOwnSideKnowsNoSuchInstance) {
  own_->known.clear();
  reports_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, ElementsAre("silent"));
  reports_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "returned"));
}

TEST_F(JoinedDetectorTest, AReportedEndCountsAtOnceAlsoAfterSilenceThatDidNot) {
  reports_->Dead(CrashKind::kSilent);
  reports_->Dead(CrashKind::kReported);
  EXPECT_THAT(listener_->heard, ElementsAre("reported"));
}

TEST_F(JoinedDetectorTest, OneThatIsGoneIsNotBackBecauseTheOtherSideHearsItLate) {
  own_->known.clear();
  reports_->Dead(CrashKind::kSilent);
  own_->Dead(CrashKind::kProcessGone);
  reports_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "process_gone"));
}

TEST_F(JoinedDetectorTest, SilenceOfBothIsOverWhenBothHearIt) {
  own_->Dead(CrashKind::kSilent);
  reports_->Dead(CrashKind::kSilent);
  reports_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent"));
  own_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "returned"));
  own_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "returned", "silent"));
}

TEST_F(JoinedDetectorTest, OneThatIsHeardAgainIsBackThoughAnAgentStillCallsItSilent) {
  own_->Dead(CrashKind::kSilent);
  reports_->Dead(CrashKind::kSilent);
  own_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "returned"));
  own_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "returned", "silent"));
}

TEST_F(JoinedDetectorTest, OneThatOnlyReportsHoldDeadIsNotBackBecauseItIsHeard) {
  own_->Dead(CrashKind::kSilent);
  reports_->Dead(CrashKind::kReported);
  own_->Back();
  EXPECT_THAT(listener_->heard, ElementsAre("silent", "reported"));
}

TEST_F(JoinedDetectorTest, TheListenerMayStopIt) {
  listener_->on_crash = [this] { joined_->Stop(); };
  own_->Dead(CrashKind::kProcessGone);
  EXPECT_EQ(own_->stops, 1);
  EXPECT_EQ(reports_->stops, 1);
}

TEST_F(JoinedDetectorTest, TwoThatStopItAtOnceDoNotWaitForEachOther) {
  std::promise<void> in_call;
  std::promise<void> stopping;
  own_->on_stop = [&] { stopping.set_value(); };
  listener_->on_crash = [&] {
    in_call.set_value();
    joined_->Stop();
  };
  std::thread side([this] { own_->Dead(CrashKind::kProcessGone); });
  in_call.get_future().wait();
  joined_->Stop();
  stopping.get_future().wait();
  side.join();
  EXPECT_EQ(own_->stops, 1);
  EXPECT_EQ(reports_->stops, 1);
  EXPECT_THAT(listener_->heard, ElementsAre("process_gone"));
}

TEST_F(JoinedDetectorTest, WhatIsKnownToOneSideIsKnown) {
  own_->known = {"pbx2"};
  EXPECT_TRUE(joined_->Expect(kLife).ok());
  EXPECT_TRUE(joined_->AnnounceStop({"pbx2", {}}).ok());
  EXPECT_TRUE(absl::IsNotFound(joined_->Expect({"pbx3", "1"})));
}

TEST_F(JoinedDetectorTest, StartsBothOrNeither) {
  EXPECT_TRUE(absl::IsFailedPrecondition(joined_->Start(listener_)));
  joined_->Stop();
  EXPECT_EQ(listener_.use_count(), 1) << "it is let go";
  reports_->start_status = absl::UnavailableError("not now");
  own_->stops = 0;
  EXPECT_EQ(joined_->Start(listener_), absl::UnavailableError("not now"));
  EXPECT_EQ(own_->stops, 1);
  reports_->start_status = absl::OkStatus();
  EXPECT_TRUE(joined_->Start(listener_).ok());
  own_->Dead(CrashKind::kSilent);
  EXPECT_THAT(listener_->heard, ElementsAre("silent"));
}

}  // namespace
}  // namespace sipheal::inline v0_1::cli
