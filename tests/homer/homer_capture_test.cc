// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "sipheal/adapters/homer.h"
#include "sipheal/testing/fake_homer.h"
#include "tests/homer/test_message.h"

namespace sipheal {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;
using testing::FakeHomer;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::SizeIs;

class HomerCaptureTest : public ::testing::Test {
 protected:
  explicit HomerCaptureTest(FakeHomer::Version version = FakeHomer::Version::kHomerApp1_5_20)
      : homer_(*FakeHomer::Start({.version = version})) {
    options_.url = homer_->url();
    options_.token = "fake-token";
    options_.read.ingest_delay = milliseconds(0);
    options_.read.requery_interval = milliseconds(10);
  }

  SipCapture& capture() {
    if (capture_ == nullptr) capture_ = *MakeHomerCapture(options_);
    return *capture_;
  }
  // The server died long ago, unless said otherwise: one round is enough.
  absl::StatusOr<std::vector<DialogCapture>> Fetch(
      std::vector<std::string> call_ids, milliseconds ago = std::chrono::minutes(5),
      milliseconds timeout = std::chrono::seconds(10)) {
    return capture().Fetch(
        CallContext::WithTimeout(timeout),
        {.call_ids = std::move(call_ids), .instance = "one", .until = SystemClock().Now() - ago});
  }
  std::vector<std::string> BytesOf(const std::string& call_id) {
    std::vector<std::string> bytes;
    const auto got = Fetch({call_id});
    EXPECT_TRUE(got.ok()) << got.status();
    if (!got.ok()) return bytes;
    for (const auto& message : got->at(0).messages) bytes.push_back(message.bytes);
    return bytes;
  }
  std::vector<nlohmann::json> Questions() {
    std::vector<nlohmann::json> bodies;
    for (const auto& request : homer_->requests()) {
      if (request.path.ends_with("/call/transaction") || request.path.ends_with("/messages")) {
        bodies.push_back(nlohmann::json::parse(request.body));
      }
    }
    return bodies;
  }

  const std::unique_ptr<FakeHomer> homer_;
  HomerOptions options_;

 private:
  std::shared_ptr<SipCapture> capture_;
};

TEST_F(HomerCaptureTest, ReadsBothTablesThatConsumeSequenceNumbersEachByItself) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Add(Message("a@h", "2 OPTIONS", milliseconds(4000)));
  EXPECT_THAT(BytesOf("a@h"), ElementsAre(Sip("a@h", "1 INVITE"), Sip("a@h", "2 OPTIONS")));
  std::set<std::string> tables;
  for (const auto& question : Questions()) {
    const auto& search = question["param"]["search"];
    EXPECT_THAT(search, SizeIs(1));
    tables.insert(search.begin().key());
  }
  EXPECT_THAT(tables, ElementsAre("1_call", "1_default"));
}

TEST_F(HomerCaptureTest, AsksForATimeThatEndsWellAfterNow) {
  homer_->Add(Message("a@h", "1 INVITE"));
  const auto now = SystemClock().Now();
  ASSERT_TRUE(
      capture().Fetch({}, {.call_ids = {"a@h"}, .since = now - std::chrono::hours(2)}).ok());
  const auto ms = [](WallTime time) {
    return std::chrono::floor<milliseconds>(time.time_since_epoch()).count();
  };
  for (const auto& question : Questions()) {
    EXPECT_GE(question["timestamp"]["to"], ms(now + std::chrono::minutes(10)));
    EXPECT_EQ(question["timestamp"]["from"],
              ms(now - std::chrono::hours(2) - std::chrono::minutes(10)));
  }
}

TEST_F(HomerCaptureTest, LeavesOutReportsLogsAndOtherLegs) {
  homer_->Add(Message("a@h", "1 INVITE"));
  FakeHomer::Row rtcp{.message = Message("x", "1 INVITE"), .profile = "5_default", .sid = "a@h"};
  rtcp.message.bytes = "{\"sender_information\":{}}";
  rtcp.payload_type = 5;
  homer_->Add(rtcp);
  rtcp.profile = "100_default";
  rtcp.payload_type = 100;
  rtcp.message.bytes = Sip("a@h", "9 BYE");  // a log line that quotes a message
  homer_->Add(rtcp);
  homer_->Add({.message = Message("other@h", "1 BYE"), .correlation_id = "a@h"});
  // Filed under another Call-ID than it bears: what it bears counts.
  homer_->Add({.message = Message("A@h", "1 BYE"), .sid = "a@h"});
  FakeHomer::Row broken{.message = Message("a@h", "7 BYE"), .profile = "1_call", .sid = "a@h"};
  broken.message.bytes = "BYE of no SIP";
  homer_->Add(broken);
  EXPECT_THAT(BytesOf("a@h"), ElementsAre(Sip("a@h", "1 INVITE")));
}

TEST_F(HomerCaptureTest, ListensOnlyToTheAgentsOfTheInstance) {
  options_.read.instances = {{"one", {"ast-1"}}, {"two", {"2002"}}};
  homer_->Add(Message("a@h", "1 INVITE"));
  auto other = Message("a@h", "2 BYE");
  other.agent = "kamailio";
  homer_->Add(other);
  EXPECT_THAT(BytesOf("a@h"), ElementsAre(Sip("a@h", "1 INVITE")));
  const auto everybodys = capture().Fetch(CallContext::WithTimeout(std::chrono::seconds(10)),
                                          {.call_ids = {"a@h"}, .instance = "three"});
  ASSERT_TRUE(everybodys.ok()) << everybodys.status();
  EXPECT_THAT(everybodys->at(0).messages, SizeIs(2));
}

TEST_F(HomerCaptureTest, SplitsATcpBufferIntoItsMessages) {
  auto buffer = Message("a@h", "1 INVITE");
  buffer.transport = sip::Transport::kTcp;
  buffer.bytes = "\r\n\r\n" + Sip("a@h", "1 INVITE", "body") + Sip("b@h", "1 BYE") +
                 Sip("a@h", "2 BYE") + "SIP/2.0 200 OK\r\nVia: cut";
  homer_->Add({.message = buffer, .profile = "1_call", .sid = "a@h"});
  const auto got = Fetch({"b@h", "a@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_THAT(got->at(0).messages, SizeIs(1));
  EXPECT_EQ(got->at(0).messages[0].bytes, Sip("b@h", "1 BYE"));
  ASSERT_THAT(got->at(1).messages, SizeIs(2));
  EXPECT_EQ(got->at(1).messages[0].bytes, Sip("a@h", "1 INVITE", "body"));
  EXPECT_EQ(got->at(1).messages[0].sequence, 1);
  EXPECT_EQ(got->at(1).messages[1].bytes, Sip("a@h", "2 BYE"));
  EXPECT_EQ(got->at(1).messages[1].sequence, 2);
}

TEST_F(HomerCaptureTest, KeepsATcpMessageWhoseBodyLostBytesInTheDatabase) {
  auto message = Message("a@h", "1 INVITE");
  message.transport = sip::Transport::kTcp;
  message.bytes = Sip("a@h", "1 INVITE", std::string("a\0b", 3));
  homer_->Add({.message = message, .profile = "1_call", .sid = "a@h"});
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
}

TEST_F(HomerCaptureTest, AThousandCallIdsAreTenQuestions) {
  std::vector<std::string> call_ids;
  for (int i = 0; i < 1000; ++i) {
    call_ids.push_back("call-" + std::to_string(i) + "@h");
    homer_->Add(Message(call_ids.back(), "1 INVITE"));
  }
  const auto got = Fetch(call_ids);
  ASSERT_TRUE(got.ok()) << got.status();
  for (const auto& capture : *got) EXPECT_THAT(capture.messages, SizeIs(1));
  EXPECT_THAT(Questions(), SizeIs(10));
  EXPECT_LE(homer_->connections(), options_.connections);
}

TEST_F(HomerCaptureTest, ConnectionsAreKept) {
  homer_->Add(Message("a@h", "1 INVITE"));
  for (int i = 0; i < 5; ++i) EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
  EXPECT_LE(homer_->connections(), 2);  // of each question of a round one
}

TEST_F(HomerCaptureTest, ACallIdIsMissingWhenTheAnswerShowsThatTheDatabaseWasRead) {
  homer_->Add(Message("a@h", "1 INVITE"));
  const auto got = Fetch({"never@h", "a@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->at(0).completeness, Completeness::kMissing);
  EXPECT_EQ(got->at(1).completeness, Completeness::kBestEffort);
  EXPECT_THAT(Questions(), SizeIs(2));
}

TEST_F(HomerCaptureTest, WhenNothingWasFoundItIsAskedAgainBesideACallThatIsKnownToBeThere) {
  homer_->Add(Message("known@h", "1 INVITE"));
  const auto got = Fetch({"never@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->at(0).completeness, Completeness::kMissing);
  EXPECT_THAT(got->at(0).messages, IsEmpty());
  const auto last = Questions().back()["param"]["search"]["1_call"]["callid"];
  EXPECT_THAT(last, ElementsAre("never@h", "known@h"));
}

// The call that is asked beside comes twice in that round: were it counted twice, a later round
// would have less of it, and none would be the last before the deadline.
TEST_F(HomerCaptureTest, ACallThatStoodBesideAnotherHasItsMessagesOnce) {
  options_.batch = 1;
  options_.read.ingest_delay = milliseconds(60);
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Add({.message = Message("late@h", "1 INVITE"), .after_questions = 5});
  const auto got = Fetch({"a@h", "late@h"}, milliseconds(0), std::chrono::seconds(2));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(1));
  EXPECT_THAT(got->at(1).messages, SizeIs(1));
  EXPECT_LE(homer_->questions(), 5 + 3 * 4);  // it settled
}

// One that has nothing does not take the others' messages with it.
TEST_F(HomerCaptureTest, ACallOfWhichNothingIsKnownHoldsUpNoOther) {
  options_.read.ingest_delay = std::chrono::seconds(100);
  homer_->Add(Message("a@h", "1 INVITE"));
  std::thread fails([&] {
    while (homer_->questions() < 2) std::this_thread::yield();
    homer_->Fail(FakeHomer::Fault::kServerError);
  });
  const auto got = Fetch({"a@h", "never@h"}, milliseconds(0), milliseconds(400));
  fails.join();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(1));
  EXPECT_TRUE(absl::IsUnavailable(got->at(1).status)) << got->at(1).status;
  EXPECT_THAT(got->at(1).messages, IsEmpty());
}

TEST_F(HomerCaptureTest, AnEmptyAnswerOfADatabaseThatFailedIsNotBelieved) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Fail(FakeHomer::Fault::kNoRows);
  const auto got = Fetch({"a@h"}, milliseconds(0), milliseconds(300));
  EXPECT_TRUE(absl::IsUnavailable(got.status())) << got.status();
  EXPECT_THAT(std::string(got.status().message()), HasSubstr("homer-app's log"));
  homer_->Fail(FakeHomer::Fault::kNone);
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
}

TEST_F(HomerCaptureTest, ADatabaseThatComesBackIsAskedAgain) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Fail(FakeHomer::Fault::kNoRows, 6);
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
}

TEST_F(HomerCaptureTest, FailuresAreUnavailableAndSayWhatToDo) {
  homer_->Add(Message("a@h", "1 INVITE"));
  const std::pair<FakeHomer::Fault, const char*> faults[] = {
      {FakeHomer::Fault::kServerError, "database is gone"},
      {FakeHomer::Fault::kNoReply, "closes connections without a word"},
      {FakeHomer::Fault::kCut, "homer-app's log"},
      {FakeHomer::Fault::kBadJson, "cannot be read"},
      {FakeHomer::Fault::kWrongForm, "is this a HOMER?"}};
  for (const auto& [fault, words] : faults) {
    homer_->Fail(fault);
    const auto got = Fetch({"a@h"});
    EXPECT_TRUE(absl::IsUnavailable(got.status())) << got.status();
    EXPECT_THAT(std::string(got.status().message()), HasSubstr(words));
    EXPECT_THAT(std::string(got.status().message()), HasSubstr(homer_->url()));
    homer_->Fail(FakeHomer::Fault::kNone);
    EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
  }
  homer_->RefuseConnections(true);
  EXPECT_THAT(std::string(Fetch({"a@h"}).status().message()), HasSubstr("is homer-app running"));
}

TEST_F(HomerCaptureTest, AFailureAfterAGoodRoundCostsNothingButTime) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Fail(FakeHomer::Fault::kNone);
  std::thread fails([&] {
    while (homer_->questions() < 2) std::this_thread::yield();
    homer_->Fail(FakeHomer::Fault::kServerError);
  });
  const auto got = Fetch({"a@h"}, milliseconds(0), milliseconds(400));
  fails.join();
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(1));
}

TEST_F(HomerCaptureTest, AnAnswerThatTakesHalfAMinuteEndsAtTheDeadline) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Delay(std::chrono::seconds(30));
  EXPECT_TRUE(absl::IsDeadlineExceeded(
      Fetch({"a@h"}, std::chrono::minutes(5), milliseconds(100)).status()));
}

TEST_F(HomerCaptureTest, AMessageThatIsWrittenLateIsFound) {
  options_.read.ingest_delay = milliseconds(60);
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Add({.message = Message("a@h", "2 BYE", milliseconds(4000)), .after_questions = 2});
  homer_->Add({.message = Message("late@h", "1 INVITE"), .after_questions = 2});
  const auto got = Fetch({"a@h", "late@h"}, milliseconds(0));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(2));
  EXPECT_THAT(got->at(1).messages, SizeIs(1));
}

TEST_F(HomerCaptureTest, BeforeTheDeadlineWhatIsKnownIsGiven) {
  options_.read.ingest_delay = std::chrono::seconds(100);
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Add({.message = Message("a@h", "2 BYE", milliseconds(4000)), .after_questions = 2});
  const auto got = Fetch({"a@h"}, milliseconds(0), std::chrono::seconds(2));
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_THAT(got->at(0).messages, SizeIs(2));
  // Who needs more than that asks again: it may be written yet.
  EXPECT_TRUE(absl::IsUnavailable(got->at(0).status)) << got->at(0).status;
  EXPECT_THAT(Questions(), SizeIs(4));  // two rounds: at once, and as late as can be
}

TEST_F(HomerCaptureTest, ManyCallersLogInOnce) {
  options_.token = "";
  options_.user = "admin";
  options_.password = "sipcapture";
  homer_->Add(Message("a@h", "1 INVITE"));
  const auto all_fetch = [&] {
    std::vector<std::thread> callers;
    for (int i = 0; i < 8; ++i) {
      callers.emplace_back([&] { EXPECT_THAT(BytesOf("a@h"), SizeIs(1)); });
    }
    for (std::thread& caller : callers) caller.join();
  };
  capture();
  all_fetch();
  EXPECT_EQ(homer_->logins(), 1);
  homer_->ForgetLogins();
  all_fetch();
  EXPECT_EQ(homer_->logins(), 2);
}

TEST_F(HomerCaptureTest, CredentialsThatAreRefusedAreUnauthenticated) {
  options_.token = "wr0ng";
  const auto token = Fetch({"a@h"});
  EXPECT_EQ(token.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(token.status().message()),
              AllOf(HasSubstr("enable_token_access"), Not(HasSubstr("wr0ng"))));
  options_.token = "";
  options_.user = "admin";
  options_.password = "wr0ng";
  const auto user = MakeHomerCapture(options_).value()->Fetch({}, {.call_ids = {"a@h"}});
  EXPECT_EQ(user.status().code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(user.status().message()),
              AllOf(HasSubstr("incorrect password"), Not(HasSubstr("wr0ng"))));
}

TEST_F(HomerCaptureTest, AProfileThatHomerDoesNotKnowIsNamed) {
  options_.profiles = {"1_call", "5_default"};
  homer_->Add(Message("a@h", "1 INVITE"));
  const auto got = Fetch({"a@h"});
  EXPECT_TRUE(absl::IsUnavailable(got.status()));
  EXPECT_THAT(std::string(got.status().message()),
              AllOf(HasSubstr("5_default"), HasSubstr("profiles")));
}

TEST_F(HomerCaptureTest, LimitsAreHeldByName) {
  for (int i = 1; i <= 20; ++i) homer_->Add(Message("a@h", std::to_string(i) + " INFO"));
  options_.read.max_rows = 10;
  const auto rows = Fetch({"a@h"});
  EXPECT_TRUE(absl::IsResourceExhausted(rows.status()));
  EXPECT_THAT(std::string(rows.status().message()), HasSubstr("max_rows"));
  options_.read.max_rows = 1000;
  options_.read.max_bytes = 64 * 1024;
  homer_->AnswerWith("{\"data\":{\"messages\":[],\"x\":\"" + std::string(100'000, 'x') + "\"}}");
  const auto bytes = MakeHomerCapture(options_).value()->Fetch({}, {.call_ids = {"a@h"}});
  EXPECT_TRUE(absl::IsResourceExhausted(bytes.status()));
  EXPECT_THAT(std::string(bytes.status().message()), HasSubstr("max_bytes"));
}

TEST_F(HomerCaptureTest, ACallIdThatNoDatabaseCanHoldIsMissing) {
  homer_->Add(Message("a@h", "1 INVITE"));
  const auto got = Fetch({"", "\xff@h", std::string("\0", 1), "a@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  for (int i = 0; i < 3; ++i) EXPECT_EQ(got->at(i).completeness, Completeness::kMissing);
  EXPECT_THAT(got->at(3).messages, SizeIs(1));
}

TEST_F(HomerCaptureTest, TheCheckTellsWhatIsWrong) {
  const auto check = [&] {
    return CheckHomer(CallContext::WithTimeout(std::chrono::seconds(5)), options_);
  };
  EXPECT_THAT(std::string(check().message()), HasSubstr("no message at all"));
  homer_->Add(Message("a@h", "1 INVITE"));
  EXPECT_TRUE(check().ok()) << check();
  options_.token = "wr0ng";
  EXPECT_EQ(check().code(), absl::StatusCode::kUnauthenticated);
}

class Homer11Test : public HomerCaptureTest {
 protected:
  Homer11Test() : HomerCaptureTest(FakeHomer::Version::kHomer11) {}
};

TEST_F(Homer11Test, IsFoundByItsAnswerAndThenAskedInItsOwnWay) {
  homer_->Add(Message("a@h", "1 INVITE"));
  homer_->Add(Message("a@h", "2 OPTIONS", milliseconds(4000)));
  EXPECT_THAT(BytesOf("a@h"), ElementsAre(Sip("a@h", "1 INVITE"), Sip("a@h", "2 OPTIONS")));
  EXPECT_THAT(BytesOf("a@h"), SizeIs(2));
  int old = 0;
  for (const auto& request : homer_->requests()) old += request.path.starts_with("/api/v3");
  EXPECT_EQ(old, 2);  // the first round's
}

TEST_F(Homer11Test, TakesNoMoreThanFiftyCallIdsAtATime) {
  std::vector<std::string> call_ids;
  for (int i = 0; i < 120; ++i) {
    call_ids.push_back("call-" + std::to_string(i) + "@h");
    homer_->Add(Message(call_ids.back(), "1 INVITE"));
  }
  options_.api = HomerOptions::Api::kV4;
  const auto got = Fetch(call_ids);
  ASSERT_TRUE(got.ok()) << got.status();
  for (const auto& capture : *got) EXPECT_THAT(capture.messages, SizeIs(1));
  EXPECT_THAT(Questions(), SizeIs(6));
}

TEST_F(Homer11Test, ItsEmptyAnswerIsBelievedSinceItSaysWhenItFails) {
  const auto got = Fetch({"never@h"});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->at(0).completeness, Completeness::kMissing);
}

TEST_F(Homer11Test, LogsInOverItsOwnPath) {
  options_.token = "";
  options_.user = "admin";
  options_.password = "sipcapture";
  homer_->Add(Message("a@h", "1 INVITE"));
  EXPECT_THAT(BytesOf("a@h"), SizeIs(1));
  EXPECT_EQ(homer_->logins(), 1);
}

}  // namespace
}  // namespace sipheal
